//! Short names of nodes: `rolling`, or `deploy/rolling` when there are several stages.

use std::collections::HashMap;

use crate::client::wire::Node;

/// Short names by path.
#[derive(Debug, Default)]
pub struct Labels(HashMap<String, String>);

impl Labels {
    /// The names of all nodes. A parent comes before its children.
    #[must_use]
    pub fn of(nodes: &[Node]) -> Self {
        let stages = nodes.iter().filter(|node| node.depth == 0).count();
        let mut above: Vec<&str> = Vec::new();
        let mut labels = HashMap::new();
        for node in nodes {
            above.truncate(node.depth);
            above.push(&node.identifier);
            let named = if stages == 1 && above.len() > 1 {
                &above[1..]
            } else {
                &above
            };
            labels.insert(node.path.clone(), named.join("/"));
        }
        Self(labels)
    }

    /// The name of a node; its path when it is not known.
    #[must_use]
    pub fn label<'a>(&'a self, path: &'a str) -> &'a str {
        self.0.get(path).map_or(path, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(list: &[(usize, &str)]) -> Vec<Node> {
        let node = |(place, (depth, id)): (usize, &(usize, &str))| Node {
            path: place.to_string(),
            depth: *depth,
            identifier: (*id).to_owned(),
            ..Node::default()
        };
        list.iter().enumerate().map(node).collect()
    }

    #[test]
    fn the_only_stage_is_not_named() {
        let labels = Labels::of(&nodes(&[(0, "deploy"), (1, "group"), (2, "a"), (1, "b")]));
        let shown: Vec<_> = ["0", "1", "2", "3", "9"]
            .map(|path| labels.label(path))
            .to_vec();
        assert_eq!(shown, ["deploy", "group", "group/a", "b", "9"]);
    }

    #[test]
    fn stages_are_named_when_there_are_several() {
        let labels = Labels::of(&nodes(&[(0, "one"), (1, "a"), (0, "two"), (1, "a")]));
        let shown: Vec<_> = ["0", "1", "2", "3"].map(|path| labels.label(path)).to_vec();
        assert_eq!(shown, ["one", "one/a", "two", "two/a"]);
    }
}
