//! The sides of a release that stand beside each other, and which Services lead to a colour.

use serde_json::Value;
use sortie_cluster::record::{Head, History, PRIMARY, STAGE, Status};
use sortie_cluster::{Cause, Cluster, Error};
use sortie_manifest::{Object, ObjectId, hash};

use crate::progressive::Progress;
use crate::rolling::{noted, opened};
use crate::shape::{Pair, RENDERED, SERVICES};

/// The newest number of each side, whatever became of it: the release as a whole, the colour that gets the traffic, the
/// other one, a canary that was not deleted.
#[must_use]
pub fn sides(history: &History) -> Vec<&Head> {
    let heads: Vec<&Head> = history.heads().rev().collect();
    of_heads(&heads)
}

/// What was deployed to the stage of a blue-green release, has not ended well, and is the newest of its colour: where nothing
/// else stands in the stage, scaling it down takes its pods.
#[must_use]
pub fn fallen_stage(history: &History) -> Option<&Head> {
    let mut sides = sides(history).into_iter();
    sides.find(|head| {
        head.side.role.as_deref() == Some(STAGE)
            && matches!(head.status, Status::Failed | Status::InProgress)
    })
}

/// What was deployed as a whole and had the traffic before the first swap of its release: it runs on, without a colour of its
/// own in the records, until the next blue-green deployment deletes it.
#[must_use]
pub fn former_whole(history: &History) -> Option<&Head> {
    former(&sides(history))
}

fn former<'a>(sides: &[&'a Head]) -> Option<&'a Head> {
    let of_role = |role| {
        let mut sides = sides.iter();
        sides.find(move |head| head.side.role.as_deref() == Some(role))
    };
    let primary = of_role(PRIMARY).filter(|head| head.is_standing())?;
    let whole = sides.iter().copied().find(|head| head.side.is_whole())?;
    let ended_well = matches!(whole.status, Status::Succeeded | Status::Superseded);
    let is_former = ended_well && whole.number < primary.number && of_role(STAGE).is_none();
    is_former.then_some(whole)
}

/// The same of heads, the newest first.
fn of_heads<'a>(heads: &[&'a Head]) -> Vec<&'a Head> {
    let newest = |is_meant: fn(&Head) -> bool| heads.iter().copied().find(|head| is_meant(head));
    let mut colors: Vec<&Head> = Vec::new();
    for head in heads.iter().filter(|head| head.side.color.is_some()) {
        if !colors
            .iter()
            .any(|known| known.side.color == head.side.color)
        {
            colors.push(head);
        }
    }
    colors.sort_by_key(|head| head.side.role.as_deref() != Some(PRIMARY));
    let whole = newest(|head| head.side.is_whole());
    let canary = newest(|head| head.side.is_canary());
    let canary = canary.filter(|head| head.is_canary_left());
    whole.into_iter().chain(colors).chain(canary).collect()
}

/// The Services of a blue-green release that select the colour of this number now. Those that may not be read are left out.
///
/// # Errors
/// The API server does not answer.
pub async fn services(cluster: &Cluster, head: &Head) -> Result<Vec<ObjectId>, Error> {
    let mut leading = Vec::new();
    for pair in noted::<Pair>(head, SERVICES) {
        for name in [&pair.primary, &pair.stage] {
            let id = ObjectId {
                group: String::new(),
                kind: "Service".to_owned(),
                namespace: Some(pair.namespace.clone()),
                name: name.clone(),
            };
            let selected = match cluster.find(&id).await {
                Ok(Some((_, service))) => selected(&service, &pair.key),
                Ok(None) => None,
                Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => None,
                Err(error) => return Err(error),
            };
            if selected.is_some() && selected == head.side.color {
                leading.push(id);
            }
        }
    }
    Ok(leading)
}

fn selected(service: &Value, key: &str) -> Option<String> {
    let color = service.pointer("/spec/selector")?.get(key)?.as_str()?;
    Some(color.to_owned())
}

/// Whether a canary, or a colour, was deployed from this set as it is rendered for `namespace`. `None`: its record does not
/// say.
#[must_use]
pub fn is_of_set(head: &Head, objects: &[Object], namespace: &str) -> Option<bool> {
    let rendered: String = opened(head, RENDERED)?;
    Some(rendered == hash::manifest_in(objects, namespace))
}

/// Whether a canary has taken its pods from the release, so that it takes its place by getting all of them.
#[must_use]
pub fn is_progressive(head: &Head) -> bool {
    head.side.is_canary() && Progress::of(head).is_some()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sortie_cluster::record::{Release, Side};

    use super::*;

    fn head(number: u64, status: Status, side: Side) -> Head {
        let release = Release::new("shop", "web").unwrap();
        let mut head = Head::new(&release, number, Timestamp::UNIX_EPOCH);
        (head.status, head.side) = (status, side);
        head
    }

    fn color(color: &str, role: &str) -> Side {
        Side {
            track: None,
            color: Some(color.to_owned()),
            role: Some(role.to_owned()),
        }
    }

    fn numbers(heads: &[Head]) -> Vec<u64> {
        let heads: Vec<&Head> = heads.iter().rev().collect();
        of_heads(&heads).iter().map(|head| head.number).collect()
    }

    #[test]
    fn what_had_the_traffic_before_the_first_swap_is_found() {
        use Status::{Failed, Succeeded, Superseded};
        let whole = |status| head(1, status, Side::default());
        let blue = |role| head(2, Succeeded, color("blue", role));
        for (heads, expected) in [
            (vec![whole(Succeeded), blue(PRIMARY)], Some(1)),
            (vec![whole(Superseded), blue(PRIMARY)], Some(1)),
            // Not swapped yet, never a whole, none that ran, deleted by the next deployment, alone, deployed in place since.
            (vec![whole(Succeeded), blue(STAGE)], None),
            (vec![blue(PRIMARY)], None),
            (vec![whole(Failed), blue(PRIMARY)], None),
            (
                vec![
                    whole(Succeeded),
                    blue(PRIMARY),
                    head(3, Failed, color("green", STAGE)),
                ],
                None,
            ),
            (vec![whole(Succeeded)], None),
            (
                vec![
                    whole(Superseded),
                    blue(PRIMARY),
                    head(3, Succeeded, Side::default()),
                ],
                None,
            ),
        ] {
            let newest_first: Vec<&Head> = heads.iter().rev().collect();
            let found = former(&of_heads(&newest_first)).map(|head| head.number);
            let about: Vec<_> = heads.iter().map(|head| (&head.side, head.status)).collect();
            assert_eq!(found, expected, "{about:?}");
        }
    }

    #[test]
    fn of_each_side_the_newest_stands() {
        use Status::{Failed, Succeeded, Superseded};
        let whole = Side::default;
        let mut deleted = head(9, Superseded, Side::canary());
        deleted.note("Canary", "", "deleted", Timestamp::UNIX_EPOCH);
        for (heads, expected) in [
            (vec![], vec![]),
            (
                vec![head(1, Superseded, whole()), head(2, Failed, whole())],
                vec![2],
            ),
            (
                vec![
                    head(1, Succeeded, whole()),
                    head(2, Succeeded, Side::canary()),
                ],
                vec![1, 2],
            ),
            // One that failed has left pods too.
            (
                vec![head(1, Succeeded, whole()), head(2, Failed, Side::canary())],
                vec![1, 2],
            ),
            (vec![head(1, Succeeded, whole()), deleted], vec![1]),
            // The colour with the traffic first, however old it is.
            (
                vec![
                    head(1, Superseded, color("green", STAGE)),
                    head(2, Succeeded, color("blue", PRIMARY)),
                    head(3, Succeeded, color("green", STAGE)),
                ],
                vec![2, 3],
            ),
            (
                vec![
                    head(1, Succeeded, color("blue", STAGE)),
                    head(2, Succeeded, color("green", PRIMARY)),
                    head(3, Failed, color("blue", STAGE)),
                ],
                vec![2, 3],
            ),
        ] {
            assert_eq!(numbers(&heads), expected);
        }
    }
}
