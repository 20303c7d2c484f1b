//! Chooses the delegate instance for a task, and says why each other one was not chosen.

use crate::{Holder, TaskId};

/// What a task asks of a delegate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The task.
    pub task: TaskId,
    /// Name of the task type.
    pub task_type: String,
    /// Organisation of the execution.
    pub organisation: String,
    /// Project of the execution.
    pub project: String,
    /// All must be among the delegate's tags; case and surrounding space do not count.
    pub selectors: Vec<String>,
}

/// A connected delegate instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub holder: Holder,
    /// Name of the delegate, for people.
    pub name: String,
    /// Organisation it serves; empty: all.
    pub organisation: String,
    /// Project it serves; empty: all of the organisation.
    pub project: String,
    /// Task types it runs.
    pub task_types: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Tasks at once.
    pub capacity: u32,
    /// Tasks held now.
    pub load: u32,
    /// Takes no new tasks.
    pub is_draining: bool,
    /// Why it refused this task lately, if it did.
    pub refused: Option<String>,
}

/// The outcome of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The one to offer the task to.
    pub chosen: Option<Holder>,
    /// Name and reason for each that was not eligible.
    pub reasons: Vec<(String, String)>,
}

/// Chooses among the connected instances: those that pass every check, then the least loaded, then by name and instance so
/// that the choice is the same everywhere.
pub fn select(requirement: &Requirement, candidates: &[Candidate]) -> Selection {
    let mut reasons = Vec::new();
    let mut eligible = Vec::new();
    for candidate in candidates {
        match objection(requirement, candidate) {
            None => eligible.push(candidate),
            Some(reason) => reasons.push((candidate.name.clone(), reason)),
        }
    }
    let chosen = eligible
        .into_iter()
        .min_by(|a, b| {
            (a.load, &a.name, &a.holder.instance).cmp(&(b.load, &b.name, &b.holder.instance))
        })
        .map(|candidate| candidate.holder.clone());
    Selection { chosen, reasons }
}

/// The first reason why a task may not go to this instance.
fn objection(requirement: &Requirement, candidate: &Candidate) -> Option<String> {
    if !candidate.organisation.is_empty() && candidate.organisation != requirement.organisation {
        return Some(format!("serves organisation {}", candidate.organisation));
    }
    if !candidate.project.is_empty() && candidate.project != requirement.project {
        return Some(format!("serves project {}", candidate.project));
    }
    if !candidate.task_types.contains(&requirement.task_type) {
        return Some(format!(
            "does not run tasks of type {}",
            requirement.task_type
        ));
    }
    let tags: Vec<String> = candidate.tags.iter().map(|tag| normal(tag)).collect();
    let missing: Vec<&str> = requirement
        .selectors
        .iter()
        .filter(|selector| !tags.contains(&normal(selector)))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Some(format!("lacks the tags {}", missing.join(", ")));
    }
    if candidate.is_draining {
        return Some("is shutting down".to_owned());
    }
    if candidate.load >= candidate.capacity {
        return Some(format!(
            "runs {} of {} tasks",
            candidate.load, candidate.capacity
        ));
    }
    candidate
        .refused
        .as_ref()
        .map(|reason| format!("refused: {reason}"))
}

fn normal(tag: &str) -> String {
    tag.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement() -> Requirement {
        Requirement {
            task: "t".into(),
            task_type: "deploy".into(),
            organisation: "acme".into(),
            project: "shop".into(),
            selectors: vec![" Prod".into(), "eu".into()],
        }
    }

    fn candidate(instance: &str) -> Candidate {
        Candidate {
            holder: Holder {
                delegate: "d".into(),
                instance: instance.into(),
                boot: "b".into(),
            },
            name: "edge".into(),
            organisation: String::new(),
            project: String::new(),
            task_types: vec!["deploy".into()],
            tags: vec!["prod".into(), "EU ".into(), "edge".into()],
            capacity: 2,
            load: 0,
            is_draining: false,
            refused: None,
        }
    }

    #[test]
    fn the_least_loaded_eligible_instance_is_chosen() {
        let busy = Candidate {
            load: 1,
            ..candidate("a")
        };
        let selection = select(&requirement(), &[busy, candidate("c"), candidate("b")]);
        assert_eq!(selection.chosen.unwrap().instance.as_str(), "b");
        assert!(selection.reasons.is_empty());
    }

    #[test]
    fn every_objection_is_named() {
        for (change, reason) in [
            (
                Candidate {
                    organisation: "other".into(),
                    ..candidate("x")
                },
                "serves organisation other",
            ),
            (
                Candidate {
                    project: "other".into(),
                    ..candidate("x")
                },
                "serves project other",
            ),
            (
                Candidate {
                    task_types: vec![],
                    ..candidate("x")
                },
                "does not run tasks of type deploy",
            ),
            (
                Candidate {
                    tags: vec!["prod".into()],
                    ..candidate("x")
                },
                "lacks the tags eu",
            ),
            (
                Candidate {
                    is_draining: true,
                    ..candidate("x")
                },
                "is shutting down",
            ),
            (
                Candidate {
                    load: 2,
                    ..candidate("x")
                },
                "runs 2 of 2 tasks",
            ),
            (
                Candidate {
                    refused: Some("memory".into()),
                    ..candidate("x")
                },
                "refused: memory",
            ),
        ] {
            let selection = select(&requirement(), &[change]);
            assert_eq!(selection.chosen, None);
            assert_eq!(selection.reasons, [("edge".to_owned(), reason.to_owned())]);
        }
    }
}
