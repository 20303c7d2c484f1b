//! A canary: a few pods of the new version beside the present one, which stays as it is. Pure, but for [`shape`].
//!
//! A copy gets its share of the pods that the original has now. A DaemonSet's copy runs on that share of the nodes on which
//! the original runs.

use serde_json::{Map, Value, json};
use sortie_cluster::record::{CANARY, Head, History, Side};
use sortie_cluster::watch::Selection;
use sortie_manifest::labels::{self, Marks};
use sortie_manifest::workload::{self, Workload};
use sortie_manifest::{Object, ObjectId, hash};

use super::apart::{self, Apart};
use super::copies::{self, Copies, Seen, Word, set_in_spec};
use super::{COPIES, OUTPUTS, RENDERED, Shaped, Written};
use crate::failure::{Failure, FailureKind};
use crate::progressive;
use crate::run::Run;
use crate::task::Amount;

/// The side of a canary.
pub(super) const WORD: Word<'static> = Word {
    word: CANARY,
    key: labels::TRACK,
    older_key: labels::OLDER_TRACK,
    beside_originals: true,
    apart: None,
};

/// The copies of a set, and what is written.
///
/// # Errors
/// There is nothing to copy, a DaemonSet cannot run beside itself, a router could not tell the copies apart, a name becomes
/// too long, or the cluster cannot be asked.
pub(super) async fn shape(
    run: &Run<'_>,
    objects: &[Object],
    amount: Amount,
    is_routed: bool,
) -> Result<Shaped, Failure> {
    let namespace = &run.task.release.namespace;
    let seen = copies::look(run, objects, WORD).await?;
    let apart = apart::look(run, objects, &seen, is_routed).await?;
    let mut made = copies_of(objects, &seen, namespace, apart.as_ref())?;
    let mut instances = 0;
    let mut left = Vec::new();
    for (at, copy) in &mut made.workloads {
        let Some(one) = seen.get(*at) else { continue };
        let id = copy.id();
        match kind_of(copy) {
            Some(Workload::DaemonSet) => {
                let nodes = nodes(run, one, namespace).await?;
                let count = place(copy, &nodes, amount)?;
                if count == 0 {
                    left.push(id.clone());
                }
                instances += count;
                made.notes.push(format!(
                    "{id}: {count} of the {} nodes on which {} runs",
                    nodes.len(),
                    one.original.name()
                ));
            }
            _ => {
                let current = current(one);
                let wanted = amount.of(current).max(1);
                set_in_spec(copy, "replicas", wanted.into());
                instances += wanted;
                let beside = if one.live.is_some() {
                    let more = if wanted > current {
                        ", which are fewer"
                    } else {
                        ""
                    };
                    format!(" beside the {current} of {}{more}", one.original.name())
                } else {
                    String::new()
                };
                made.notes.push(format!("{id}: {}{beside}", pods(wanted)));
            }
        }
    }
    made.workloads
        .retain(|(_, copy)| !left.contains(&copy.id()));
    if made.workloads.is_empty() {
        return Err(no_nodes());
    }
    let mut shaped = shaped(run, made, instances);
    let rendered = hash::manifest_in(objects, &run.task.release.namespace);
    shaped.noted.insert(RENDERED.to_owned(), rendered.into());
    Ok(shaped)
}

/// The copies, and the Service that reaches them where a router tells them apart.
pub(super) fn copies_of(
    objects: &[Object],
    seen: &[Seen],
    namespace: &str,
    apart: Option<&Apart>,
) -> Result<Copies, Failure> {
    let mut made = copies::make(objects, seen, namespace, Word { apart, ..WORD })?;
    made.others
        .extend(apart.and_then(|apart| apart.service.clone()));
    made.notes.extend(apart.map(|apart| apart.note.clone()));
    Ok(made)
}

pub(super) fn shaped(run: &Run<'_>, made: Copies, instances: u32) -> Shaped {
    let release = &run.task.release;
    let marks = Marks {
        namespace: release.namespace.clone(),
        release: release.name.clone(),
        track: Some(CANARY.to_owned()),
        color: None,
    };
    let Copies {
        workloads,
        others,
        originals,
        notes,
    } = made;
    let workloads = workloads.into_iter().map(|(_, copy)| copy);
    let mut objects: Vec<Object> = workloads.chain(others).collect();
    for object in &mut objects {
        labels::stamp(object, &marks);
    }
    let ids = objects
        .iter()
        .map(|object| object.id().in_namespace(&release.namespace));
    let copies: Vec<ObjectId> = ids.collect();
    let named: Vec<String> = copies.iter().map(named).collect();
    let outputs = json!({
        "canaryWorkload": named.join(","),
        "canaryWorkloadDeployed": true,
        "targetInstances": instances,
    });
    let mut noted = Map::new();
    noted.insert(COPIES.to_owned(), json!(copies));
    noted.insert(OUTPUTS.to_owned(), outputs);
    Shaped {
        objects,
        notes,
        side: Side::canary(),
        made_up: copies.clone(),
        written: Written::Beside {
            copies: copies.into_iter().collect(),
            originals,
            only_missing: true,
        },
        noted,
        ..Shaped::default()
    }
}

/// An object as other steps of a pipeline name it.
pub(crate) fn named(id: &ObjectId) -> String {
    let namespace = id.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}/{}", id.kind, id.name)
}

fn pods(count: u32) -> String {
    format!("{count} pod{}", if count == 1 { "" } else { "s" })
}

fn kind_of(object: &Object) -> Option<Workload> {
    Workload::of(object.group(), object.kind())
}

/// How many pods the original is to have now: what is live before what the manifest says.
fn current(seen: &Seen) -> u32 {
    let stated = |object: &Object| {
        let replicas = object.value().get("spec")?.get("replicas")?.as_u64()?;
        u32::try_from(replicas).ok()
    };
    let live = seen.live.as_ref().and_then(stated);
    live.or_else(|| stated(&seen.original)).unwrap_or(1)
}

/// The nodes on which the pods of a live DaemonSet are, by name.
async fn nodes(run: &Run<'_>, seen: &Seen, namespace: &str) -> Result<Vec<String>, Failure> {
    let uid = seen.live.as_ref().and_then(|live| {
        let uid = live.value().get("metadata")?.get("uid")?;
        uid.as_str().map(str::to_owned)
    });
    let Some(uid) = uid else {
        return Ok(Vec::new());
    };
    let cluster = &run.env.cluster;
    let pods = cluster.resolve_preferred("", "Pod").await;
    let pods = pods.map_err(|error| Failure::cluster(&error))?;
    let home = seen.original.namespace().unwrap_or(namespace);
    let listed = cluster.list(&Selection::of(pods, home)).await;
    let listed = listed.map_err(|error| Failure::cluster(&error))?;
    let mut nodes: Vec<String> = listed.iter().filter_map(|pod| node_of(pod, &uid)).collect();
    nodes.sort();
    nodes.dedup();
    Ok(nodes)
}

fn node_of(pod: &Value, owner: &str) -> Option<String> {
    let owners = pod.pointer("/metadata/ownerReferences")?.as_array()?;
    let is_ours = owners
        .iter()
        .any(|one| one.get("uid").and_then(Value::as_str) == Some(owner));
    let node = pod.pointer("/spec/nodeName")?.as_str()?;
    is_ours.then(|| node.to_owned())
}

/// Bind the copy of a DaemonSet to a share of `nodes`; how many these are. None where the original runs nowhere yet.
fn place(copy: &mut Object, nodes: &[String], amount: Amount) -> Result<u32, Failure> {
    if needs_its_node(copy) {
        return Err(Failure::new(
            FailureKind::Configuration,
            "SRT-T052",
            format!(
                "{} uses ports of its node, so that no two of its pods fit on one",
                copy.id()
            ),
            "let a rolling deployment bring it in node by node (annotation sortie.dev/direct-apply), or give the canary a service of its own",
        ));
    }
    let all = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let count = amount.of(all).max(1).min(all);
    let names: Vec<&String> = nodes.iter().take(count as usize).collect();
    let terms = |stated: &Map<String, Value>| -> Vec<Value> {
        let on = |name: &&String| {
            let mut term = stated.clone();
            let field = json!([{"key": "metadata.name", "operator": "In", "values": [name]}]);
            term.insert("matchFields".to_owned(), field);
            Value::Object(term)
        };
        names.iter().map(on).collect()
    };
    let mut is_placed = false;
    let edited = copy.edit(|whole| {
        let Some(required) = required_of(whole) else {
            return;
        };
        let stated = match required.get("nodeSelectorTerms") {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::Array(stated)) => stated.iter().map(Value::as_object).collect(),
            Some(_) => None,
        };
        let Some(stated) = stated else {
            return;
        };
        let placed: Vec<Value> = match stated.as_slice() {
            [] => terms(&Map::new()),
            stated => stated.iter().flat_map(|one| terms(one)).collect(),
        };
        required.insert("nodeSelectorTerms".to_owned(), placed.into());
        is_placed = true;
    });
    if edited.is_err() || !is_placed {
        return Err(unreadable(copy));
    }
    Ok(count)
}

/// What a workload's pods require of their node; made where it is missing. `None`: something else is in its place.
fn required_of(workload: &mut Value) -> Option<&mut Map<String, Value>> {
    let pods = workload.pointer_mut("/spec/template/spec")?;
    let path = [
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
    ];
    path.iter().try_fold(pods.as_object_mut()?, |map, key| {
        let next = map.entry(*key).or_insert(Value::Null);
        if next.is_null() {
            *next = Value::Object(Map::new());
        }
        next.as_object_mut()
    })
}

fn unreadable(copy: &Object) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T059",
        format!(
            "the node affinity of {} is not what the API describes, so that its pods cannot be bound to a share of the nodes",
            copy.id()
        ),
        "correct spec.template.spec.affinity.nodeAffinity: nodeSelectorTerms is a list of maps",
    )
}

/// Whether a pod takes ports of its node.
fn needs_its_node(object: &Object) -> bool {
    let Some(spec) = workload::pod_template(object).and_then(|template| template.get("spec"))
    else {
        return false;
    };
    let is_on_host = spec.get("hostNetwork").and_then(Value::as_bool) == Some(true);
    let containers = ["containers", "initContainers"];
    let mut containers = containers
        .iter()
        .filter_map(|key| spec.get(*key)?.as_array())
        .flatten();
    let has_port = |container: &Value| {
        let ports = container.get("ports").and_then(Value::as_array);
        ports.is_some_and(|ports| ports.iter().any(|port| port.get("hostPort").is_some()))
    };
    is_on_host || containers.any(has_port)
}

/// Whether nothing keeps a set from being deployed whose numbers of pods are its own affair.
///
/// # Errors
/// A progressive one stands, whose pods were taken from the originals.
pub(super) fn has_room(history: &History) -> Result<(), Failure> {
    match progressive::standing(history) {
        Some((head, _)) => Err(in_the_way(head)),
        None => Ok(()),
    }
}

fn in_the_way(head: &Head) -> Failure {
    let number = head.number;
    let (what, way) = match head.side.is_canary() {
        true => (
            format!(
                "the progressive canary of number {number} has pods that the release is short of"
            ),
            "bring it to 100 %, or remove it, and its pods go back; then deploy again",
        ),
        false => (
            format!(
                "release number {number} has not got all its pods from its progressive canary yet"
            ),
            "promote the canary again, or roll back, or remove the canary, and its pods go back; then deploy again",
        ),
    };
    Failure::new(FailureKind::Configuration, "SRT-T111", what, way)
}

fn no_nodes() -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T053",
        "the DaemonSets of the set run nowhere yet, so that there are no nodes for a canary",
        "deploy the first version by a rolling deployment; a canary takes its share of the nodes from it",
    )
}

#[cfg(test)]
mod tests {
    use sortie_manifest::{Limits, parse};

    use super::*;

    fn object(text: &str) -> Object {
        parse("t.yaml", text.as_bytes(), &Limits::default())
            .unwrap()
            .remove(0)
    }

    const AGENT: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: a, image: a}]}}
";

    fn placed(text: &str, nodes: &[&str], amount: Amount) -> (u32, Vec<Value>) {
        let mut copy = object(text);
        let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        let count = place(&mut copy, &nodes, amount).unwrap();
        let whole = copy.into_value();
        let terms = whole.pointer(
            "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
        );
        (count, terms.and_then(Value::as_array).cloned().unwrap())
    }

    #[test]
    fn a_daemon_sets_canary_takes_a_share_of_the_nodes() {
        let nodes = ["a", "b", "c", "d"];
        for (amount, count) in [
            (Amount::Percent(50), 2),
            (Amount::Percent(1), 1),
            (Amount::Count(3), 3),
            (Amount::Count(9), 4),
        ] {
            let (found, terms) = placed(AGENT, &nodes, amount);
            assert_eq!((found, terms.len()), (count, count as usize), "{amount:?}");
            let first = json!([{"key": "metadata.name", "operator": "In", "values": ["a"]}]);
            assert_eq!(terms[0]["matchFields"], first);
        }
    }

    #[test]
    fn what_the_author_wants_of_nodes_holds_for_the_canary_too() {
        let picky = AGENT.replace(
            "spec: {containers",
            "spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: Exists}]}]}}}, containers",
        );
        let (_, terms) = placed(&picky, &["a", "b"], Amount::Count(2));
        assert_eq!(terms.len(), 2);
        for term in terms {
            assert_eq!(term["matchExpressions"][0]["key"], "disk");
            assert_eq!(term["matchFields"][0]["key"], "metadata.name");
        }
    }

    #[test]
    fn an_affinity_that_is_none_is_refused() {
        for (affinity, is_read) in [
            ("none", false),
            ("{nodeAffinity: [a]}", false),
            (
                "{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: 1}}",
                false,
            ),
            (
                "{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: {}}}}",
                false,
            ),
            (
                "{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [a]}}}",
                false,
            ),
            (
                "{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: null}}}",
                true,
            ),
            ("null", true),
        ] {
            let set = AGENT.replace(
                "spec: {containers",
                &format!("spec: {{affinity: {affinity}, containers"),
            );
            let placed = place(&mut object(&set), &["a".to_owned()], Amount::Count(1));
            match placed {
                Ok(count) => assert_eq!((count, is_read), (1, true), "{affinity}"),
                Err(failure) => assert_eq!((failure.code.as_str(), is_read), ("SRT-T059", false)),
            }
        }
    }

    #[test]
    fn what_takes_ports_of_its_node_has_no_room_beside_itself() {
        for port in [
            AGENT.replace("spec: {containers", "spec: {hostNetwork: true, containers"),
            AGENT.replace(
                "image: a}",
                "image: a, ports: [{containerPort: 80, hostPort: 80}]}",
            ),
        ] {
            let error = place(&mut object(&port), &["a".to_owned()], Amount::Count(1)).unwrap_err();
            assert_eq!(error.code, "SRT-T052");
        }
    }
}
