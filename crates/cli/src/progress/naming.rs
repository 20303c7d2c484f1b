//! How a person names a node of an execution: by as much of the end of its path as tells it apart.

use crate::client::wire::Node;

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// This node.
    One(&'a Node),
    /// Several nodes.
    Several(Vec<&'a Node>),
    /// None.
    Nothing,
}

/// The node that `name` stands for: its path, its identifiers from the stage down (`deploy/rollout/rolling`), or the
/// end of either. A whole name wins over the end of another one.
#[must_use]
pub fn find<'a>(nodes: &'a [Node], name: &str) -> Named<'a> {
    if let Some(node) = nodes.iter().find(|node| node.path == name) {
        return Named::One(node);
    }
    let wanted: Vec<&str> = name.split(['/', '.']).collect();
    let places = places(nodes);
    let chosen = |fits: &dyn Fn(&Place<'_>) -> bool| -> Vec<&'a Node> {
        let fitting = places.iter().zip(nodes).filter(|(place, _)| fits(place));
        fitting.map(|(_, node)| node).collect()
    };
    let whole = chosen(&|place| place.identifiers == wanted);
    let found = if whole.is_empty() {
        chosen(&|place| place.identifiers.ends_with(&wanted) || place.path.ends_with(&wanted))
    } else {
        whole
    };
    match found.as_slice() {
        [node] => Named::One(node),
        [] => Named::Nothing,
        _ => Named::Several(found),
    }
}

/// The shortest name that [`find`] takes for the node with this path.
#[must_use]
pub fn shortest(nodes: &[Node], path: &str) -> String {
    let identifiers = nodes.iter().position(|node| node.path == path);
    let identifiers = identifiers.map_or_else(Vec::new, |place| {
        places(nodes).swap_remove(place).identifiers
    });
    let parts: Vec<&str> = path.split('.').collect();
    ends(&identifiers, "/")
        .chain(ends(&parts, "."))
        .find(|name| matches!(find(nodes, name), Named::One(node) if node.path == path))
        .unwrap_or_else(|| path.to_owned())
}

/// The ends of a list, the shortest first.
fn ends(parts: &[&str], between: &str) -> impl Iterator<Item = String> {
    (0..parts.len())
        .rev()
        .map(move |from| parts.get(from..).unwrap_or_default().join(between))
}

/// What a node can be named by.
struct Place<'a> {
    identifiers: Vec<&'a str>,
    path: Vec<&'a str>,
}

/// One for each node. A parent comes before its children.
fn places(nodes: &[Node]) -> Vec<Place<'_>> {
    let mut above: Vec<&str> = Vec::new();
    let place = |node| {
        let Node {
            depth,
            identifier,
            path,
            ..
        }: &Node = node;
        above.truncate(*depth);
        above.push(identifier);
        Place {
            identifiers: above.clone(),
            path: path.split('.').collect(),
        }
    };
    nodes.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(depth: usize, path: &str) -> Node {
        Node {
            depth,
            path: path.to_owned(),
            identifier: path.rsplit('.').next().unwrap_or_default().to_owned(),
            ..Node::default()
        }
    }

    fn nodes() -> Vec<Node> {
        let stage = "pipeline.stages.deploy";
        let steps = format!("{stage}.spec.execution");
        vec![
            node(0, stage),
            node(1, &format!("{steps}.steps.rollout")),
            node(2, &format!("{steps}.steps.rollout.steps.rolling")),
            node(1, &format!("{steps}.steps.undo")),
            node(1, &format!("{steps}.steps.deploy")),
            node(1, &format!("{steps}.rollbackSteps.undo")),
            node(0, "pipeline.stages.again"),
            node(1, "pipeline.stages.again.spec.execution.steps.rolling"),
        ]
    }

    #[test]
    fn a_name_is_the_end_of_a_path() {
        let nodes = nodes();
        let path = |name: &str| match find(&nodes, name) {
            Named::One(node) => node.path.clone(),
            Named::Several(several) => format!("{} of them", several.len()),
            Named::Nothing => "none".to_owned(),
        };
        let table = [
            (
                "rollout",
                "pipeline.stages.deploy.spec.execution.steps.rollout",
            ),
            ("rollout/rolling", nodes[2].path.as_str()),
            ("rollout.steps.rolling", nodes[2].path.as_str()),
            ("deploy/rollout/rolling", nodes[2].path.as_str()),
            ("again/rolling", nodes[7].path.as_str()),
            ("rolling", "2 of them"),
            ("undo", "2 of them"),
            ("rollbackSteps.undo", nodes[5].path.as_str()),
            // The stage by its whole name, the step in it by a longer one.
            ("deploy", "pipeline.stages.deploy"),
            ("deploy/deploy", nodes[4].path.as_str()),
            // Parts are whole words.
            ("ollout", "none"),
            ("", "none"),
            ("nothing", "none"),
        ];
        for (name, expected) in table {
            assert_eq!(path(name), expected, "{name}");
        }
    }

    #[test]
    fn the_shortest_name_is_short_and_is_understood() {
        let nodes = nodes();
        let shortest: Vec<String> = nodes
            .iter()
            .map(|node| super::shortest(&nodes, &node.path))
            .collect();
        assert_eq!(
            shortest,
            [
                "deploy",
                "rollout",
                "rollout/rolling",
                "steps.undo",
                "deploy/deploy",
                "rollbackSteps.undo",
                "again",
                "again/rolling",
            ]
        );
    }
}
