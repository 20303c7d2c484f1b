//! Who may have written a field that decides about traffic: Sortie, or a person and what people deploy by. Everybody else
//! who writes it is a controller that would write it again.

/// Whether a field manager is Sortie, a person, or a tool that writes when a person asks it.
pub fn is_ours_or_a_persons(manager: &str) -> bool {
    let is_named = matches!(
        manager,
        "sortie" | "sortie-control" | "before-first-apply" | "helm" | "Helm"
    );
    let words = ["kubectl", "harness", "Harness"];
    is_named || words.iter().any(|word| manager.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_deploy_by_is_told_from_controllers() {
        for (manager, expected) in [
            ("sortie", true),
            ("sortie-control", true),
            ("kubectl", true),
            ("kubectl-client-side-apply", true),
            ("before-first-apply", true),
            ("helm", true),
            ("harness-delegate", true),
            ("helm-controller", false),
            ("rollouts-controller", false),
            ("", false),
        ] {
            assert_eq!(is_ours_or_a_persons(manager), expected, "{manager}");
        }
    }
}
