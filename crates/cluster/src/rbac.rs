//! The rule that is missing when RBAC refuses a request, as people put it into a Role.

/// What RBAC's refusal is about.
#[derive(Debug, PartialEq, Eq)]
struct Refused<'a> {
    verb: &'a str,
    /// Plural, with the subresource after a slash.
    resource: &'a str,
    group: &'a str,
    /// `None` when it was at the scope of the cluster.
    namespace: Option<&'a str>,
}

/// The missing rule as a line of YAML after the server's words; nothing for other refusals.
pub(crate) fn clause(message: &str) -> String {
    let Some(refused) = Refused::read(message) else {
        return String::new();
    };
    let Refused {
        verb,
        resource,
        group,
        namespace,
    } = refused;
    let role = namespace.map_or_else(
        || "a ClusterRole".to_owned(),
        |namespace| format!("a Role in namespace {namespace}"),
    );
    format!(
        "; the missing rule of {role}: - {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}"
    )
}

impl<'a> Refused<'a> {
    /// Reads `User "u" cannot patch resource "configmaps" in API group "" in the namespace "shop"`.
    fn read(message: &'a str) -> Option<Self> {
        let (_, rest) = message.split_once("\" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, rest) = rest.split_once('"')?;
        let namespace = match rest.split_once(" in the namespace \"") {
            Some((_, rest)) => Some(rest.split_once('"')?.0),
            None => None,
        };
        let is_word = |text: &str| !text.contains(|c: char| c.is_whitespace() || c == '"');
        [verb, resource, group]
            .into_iter()
            .all(is_word)
            .then_some(Self {
                verb,
                resource,
                group,
                namespace,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_read_from_the_servers_words() {
        for (message, expected) in [
            (
                "User \"system:serviceaccount:a:b\" cannot patch resource \"deployments/scale\" in API group \"apps\" in the namespace \"shop\"",
                "; the missing rule of a Role in namespace shop: - {apiGroups: [\"apps\"], resources: [\"deployments/scale\"], verbs: [\"patch\"]}",
            ),
            (
                "User \"u\" cannot create resource \"namespaces\" in API group \"\" at the cluster scope",
                "; the missing rule of a ClusterRole: - {apiGroups: [\"\"], resources: [\"namespaces\"], verbs: [\"create\"]}",
            ),
            ("violates PodSecurity \"restricted:latest\"", ""),
            ("User \"u\" cannot get path \"/metrics\"", ""),
        ] {
            assert_eq!(clause(message), expected);
        }
    }
}
