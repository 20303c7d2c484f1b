//! Disruption budgets of two colours: each has its own, and no pod is seen by two, since then none of its evictions would be
//! allowed. Pure, but for [`look`].

use sortie_manifest::labels::{COLOR, OLDER_COLOR};
use sortie_manifest::workload::is_workload;
use sortie_manifest::{Object, ObjectId};
use sortie_strategy::copy::{self, Side};

use super::copies::{self, Copies, Seen};
use super::services::Colors;
use crate::adoption::object_of;
use crate::failure::Failure;
use crate::run::Run;

/// A budget of the set that covers pods of what is copied.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// Where it is, with its namespace.
    id: ObjectId,
    /// Under its own name, as it is live: from before the release had colours.
    live: Option<Object>,
}

/// Which budgets of a set the colours have to share out, and what is live of them.
///
/// # Errors
/// The cluster cannot be asked.
pub(super) async fn look(
    run: &Run<'_>,
    objects: &[Object],
    seen: &[Seen],
) -> Result<Vec<Budget>, Failure> {
    let covering = objects.iter().filter(|object| covers_any(object, seen));
    let ids = covering.map(|object| object.id().in_namespace(&run.task.release.namespace));
    let lives = run.env.cluster.survey(ids.collect()).await;
    let budget = |(id, live): (ObjectId, Result<_, sortie_cluster::Error>)| {
        let live: Option<serde_json::Value> = live.map_err(|error| Failure::cluster(&error))?;
        Ok(Budget {
            id,
            live: live.and_then(object_of),
        })
    };
    lives.into_iter().map(budget).collect()
}

/// Give the stage budgets of its own. One that is live under the set's own name stays, and is made to see one colour: the
/// one that it sees already, or the one that has the traffic, whose pods have their colour under `key`.
///
/// # Errors
/// A name becomes too long.
pub(super) fn share_out(
    objects: &mut [Object],
    budgets: &[Budget],
    (colors, key): (&Colors, &str),
    namespace: &str,
    made: &mut Copies,
) -> Result<(), Failure> {
    let others = objects
        .iter()
        .filter(|object| is_workload(object) && !copies::is_copied(object));
    let others: Vec<Object> = others.cloned().collect();
    for object in objects {
        let id = object.id().in_namespace(namespace);
        let Some(budget) = budgets.iter().find(|budget| budget.id == id) else {
            continue;
        };
        if others.iter().any(|other| copy::covers(object, other)) {
            made.notes.push(copies::no_copy(object, colors.stage));
            continue;
        }
        let whose = budget.live.as_ref().map(|live| color_of(live, colors));
        if whose != Some(colors.stage) {
            let side = side(colors.stage, COLOR);
            let copied = copy::companion(object, &side);
            let copied = copied.map_err(|error| copies::too_long(object, &error))?;
            made.others.push(copied);
        }
        match whose {
            None => {
                made.originals.insert(id);
            }
            Some(color) => {
                let key = if color == colors.primary { key } else { COLOR };
                select(object, &side(color, key));
                made.notes
                    .push(format!("{id} is the budget of {color} from now on"));
            }
        }
    }
    Ok(())
}

fn covers_any(object: &Object, seen: &[Seen]) -> bool {
    seen.iter().any(|one| copy::covers(object, &one.original))
}

fn side(color: &str, key: &str) -> Side {
    Side {
        suffix: color.to_owned(),
        key: key.to_owned(),
        value: color.to_owned(),
    }
}

/// Whose pods a live budget sees; those of both would be the primary's to have.
fn color_of(live: &Object, colors: &Colors) -> &'static str {
    let labels = live
        .value()
        .get("spec")
        .and_then(|spec| spec.pointer("/selector/matchLabels"));
    let selected = |key: &str| labels?.get(key)?.as_str();
    match selected(COLOR).or_else(|| selected(OLDER_COLOR)) {
        Some(color) if color == colors.stage => colors.stage,
        _ => colors.primary,
    }
}

fn select(budget: &mut Object, side: &Side) {
    // Neither name nor kind change, so that it stays an object.
    drop(budget.edit(|whole| copy::select(whole, side)));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sortie_manifest::{Limits, parse};

    use super::*;

    fn set(text: &str) -> Vec<Object> {
        parse("t.yaml", text.as_bytes(), &Limits::default()).unwrap()
    }

    const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: []}}}
";
    const BUDGET: &str = "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
";

    /// What the bare budget and its copy select, where they are written, when this is live.
    fn shared_out(more: &str, live: Option<Value>) -> (Option<Value>, Option<Value>) {
        let mut objects = set(&format!("{WEB}---{BUDGET}{more}"));
        let id = objects[1].id().in_namespace("shop");
        let live = live.map(|labels| {
            let mut live = objects[1].clone();
            live.edit(|whole| whole["spec"]["selector"]["matchLabels"] = labels)
                .unwrap();
            live
        });
        let budgets = [Budget {
            id: id.clone(),
            live,
        }];
        let colors = Colors {
            primary: "blue",
            stage: "green",
        };
        let mut made = Copies::default();
        share_out(
            &mut objects,
            &budgets,
            (&colors, OLDER_COLOR),
            "shop",
            &mut made,
        )
        .unwrap();
        let selected = |object: &Object| object.value()["spec"]["selector"]["matchLabels"].clone();
        let bare = (!made.originals.contains(&id)).then(|| selected(&objects[1]));
        (bare, made.others.first().map(selected))
    }

    #[test]
    fn each_colour_has_a_budget_and_no_pod_has_two() {
        let green = json!({"app": "web", "sortie.dev/color": "green"});
        let blue = json!({"app": "web", "harness.io/color": "blue"});
        let bare = json!({"app": "web"});
        for (live, kept, copied) in [
            (None, None, Some(&green)),
            // It saw both, and is the primary's now.
            (Some(&bare), Some(&blue), Some(&green)),
            (Some(&blue), Some(&blue), Some(&green)),
            // It is the stage's own already.
            (Some(&green), Some(&green), None),
        ] {
            let found = shared_out("", live.cloned());
            assert_eq!(found, (kept.cloned(), copied.cloned()), "{live:?}");
        }
    }

    #[test]
    fn a_budget_of_more_than_the_copies_stays_one() {
        let direct = WEB.replace(
            "{name: web}",
            "{name: side, annotations: {sortie.dev/direct-apply: 'true'}}",
        );
        let bare = json!({"app": "web"});
        assert_eq!(
            shared_out(&format!("---{direct}"), None),
            (Some(bare), None)
        );
    }
}
