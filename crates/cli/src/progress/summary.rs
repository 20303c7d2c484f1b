//! The last words about an execution.

use super::{Labels, State, shortest};
use crate::client::wire::{Execution, ExecutionSummary, Node};
use crate::duration;
use crate::exit::Exit;
use crate::style::{Style, Tone, harmless};

/// How the program ends for an execution with this status.
#[must_use]
pub fn exit_of(status: &str) -> Exit {
    if State::of(status).is_good() {
        Exit::Done
    } else {
        Exit::Failed
    }
}

/// How an execution ended; what failed, why, and where to read on.
#[must_use]
pub fn summary(execution: &Execution, style: Style) -> Vec<String> {
    let run = &execution.summary;
    let state = State::of(&run.status);
    let mut first = format!(
        "{} {} #{} {}",
        style.paint(state.tone(), state.mark()),
        style.paint(Tone::Strong, &harmless(&run.pipeline)),
        run.sequence,
        state.word()
    );
    if let Some(ended) = run.ended_at {
        first.push_str(&format!(
            " after {}",
            duration::show(ended.duration_since(run.created_at))
        ));
    }
    let mut lines = vec![first];
    let abort = abort(execution);
    lines.extend(abort.as_ref().map(|abort| format!("  {}", harmless(abort))));
    if state.is_good() {
        return lines;
    }
    let labels = Labels::of(&execution.nodes);
    let failed: Vec<&Node> = failed(&execution.nodes).collect();
    if failed.is_empty() && abort.is_none() {
        // It failed as a whole, of nothing that a step did.
        lines.extend(cause(run).map(|cause| format!("  {}", harmless(&cause))));
    }
    for node in &failed {
        if State::of(&node.status) == State::Aborted && abort.is_some() && node.message == abort {
            continue;
        }
        let label = style.paint(Tone::Strong, &harmless(labels.label(&node.path)));
        let message = node
            .message
            .as_deref()
            .unwrap_or_else(|| State::of(&node.status).word());
        let mut line = format!("  {label}: {}", harmless(message));
        if let Some(code) = &node.code {
            line.push_str(&format!(" ({})", harmless(code)));
        }
        lines.push(line);
    }
    if let Some(undone) = rolled_back(&execution.nodes) {
        lines.push(format!("  rollback: {}", undone.word()));
    }
    let step = failed.first().map_or(String::new(), |node| {
        let name = shortest(&execution.nodes, &node.path);
        format!(" --step {}", harmless(&name))
    });
    let hint = style.paint(Tone::Active, "hint:");
    lines.push(format!("  {hint} sortie logs {}{step}", run.id));
    lines
}

/// Who ended an execution early, and why; in the words in which the control plane tells it of each step.
#[must_use]
pub fn abort(execution: &Execution) -> Option<String> {
    let by = execution.aborted_by.as_ref()?;
    Some(match &execution.abort_reason {
        Some(reason) => format!("aborted by {by}: {reason}"),
        None => format!("aborted by {by}"),
    })
}

/// Why an execution ended as it did, with the code of the error.
#[must_use]
pub fn cause(run: &ExecutionSummary) -> Option<String> {
    let message = run.message.as_ref()?;
    Some(match &run.code {
        Some(code) => format!("{message} ({code})"),
        None => message.clone(),
    })
}

/// The nodes that failed of themselves: without a failed node below them.
pub(crate) fn failed(nodes: &[Node]) -> impl Iterator<Item = &Node> {
    nodes.iter().enumerate().filter_map(|(place, node)| {
        let below = nodes[place + 1..]
            .iter()
            .take_while(|next| next.depth > node.depth);
        let bad = State::of(&node.status).is_bad();
        let by_itself = !below
            .into_iter()
            .any(|next| State::of(&next.status).is_bad());
        (bad && by_itself).then_some(node)
    })
}

/// How the rollback ended, if there was one.
fn rolled_back(nodes: &[Node]) -> Option<State> {
    let states = nodes
        .iter()
        .filter(|node| node.rollback)
        .map(|node| State::of(&node.status));
    let ran: Vec<State> = states
        .filter(|state| !matches!(state, State::Waiting | State::Skipped))
        .collect();
    ran.iter()
        .copied()
        .find(|state| state.is_bad())
        .or_else(|| ran.last().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(status: &str, nodes: &serde_json::Value) -> Execution {
        serde_json::from_value(serde_json::json!({
            "id": "0190", "pipeline": "hello", "sequence": 4, "status": status, "ended": true,
            "requestedBy": "admin", "createdAt": "2026-01-01T00:00:00Z",
            "endedAt": "2026-01-01T00:01:05Z", "version": 9, "nodes": nodes
        }))
        .unwrap()
    }

    #[test]
    fn a_success_is_one_line() {
        let lines = summary(
            &execution("SUCCEEDED", &serde_json::json!([])),
            Style::none(),
        );
        assert_eq!(lines, ["✓ hello #4 succeeded after 1 m 05 s"]);
        assert_eq!(exit_of("SUCCEEDED"), Exit::Done);
    }

    #[test]
    fn a_failure_says_what_why_and_where_to_read_on() {
        let nodes = serde_json::json!([
            {"path": "s", "depth": 0, "identifier": "deploy", "status": "FAILED", "message": "a step failed"},
            {"path": "s.r", "depth": 1, "identifier": "rolling", "status": "FAILED",
             "message": "Deployment/web: image not found", "code": "SRT-H004"},
            {"path": "s.u", "depth": 1, "identifier": "undo", "status": "SUCCEEDED", "rollback": true},
            {"path": "s.v", "depth": 1, "identifier": "never", "status": "NOT_STARTED", "rollback": true}
        ]);
        let lines = summary(&execution("FAILED", &nodes), Style::none()).join("\n");
        insta::assert_snapshot!(lines, @r"
        ✗ hello #4 failed after 1 m 05 s
          rolling: Deployment/web: image not found (SRT-H004)
          rollback: succeeded
          hint: sortie logs 0190 --step rolling
        ");
        for status in ["FAILED", "EXPIRED", "ABORTED", "SOMETHING_NEW"] {
            assert_eq!(exit_of(status), Exit::Failed, "{status}");
        }
    }

    #[test]
    fn an_abort_is_told_once_with_who_and_why() {
        let nodes = serde_json::json!([
            {"path": "s", "depth": 0, "identifier": "deploy", "status": "ABORTED",
             "message": "aborted by admin: wrong version"},
            {"path": "s.r", "depth": 1, "identifier": "rolling", "status": "ABORTED",
             "message": "aborted by admin: wrong version"},
            {"path": "s.t", "depth": 1, "identifier": "other", "status": "FAILED", "message": "no such image"}
        ]);
        let aborted = Execution {
            aborted_by: Some("admin".to_owned()),
            abort_reason: Some("wrong version".to_owned()),
            ..execution("ABORTED", &nodes)
        };
        insta::assert_snapshot!(summary(&aborted, Style::none()).join("\n"), @r"
        ✗ hello #4 aborted after 1 m 05 s
          aborted by admin: wrong version
          other: no such image
          hint: sortie logs 0190 --step rolling
        ");
        let unsaid = Execution {
            abort_reason: None,
            ..aborted
        };
        assert_eq!(abort(&unsaid).unwrap(), "aborted by admin");
    }

    #[test]
    fn what_no_step_explains_the_execution_does() {
        let mut failed = execution("FAILED", &serde_json::json!([]));
        failed.summary.message = Some("the plan cannot be read".to_owned());
        failed.summary.code = Some("SRT-S013".to_owned());
        let lines = summary(&failed, Style::none());
        assert_eq!(lines[1], "  the plan cannot be read (SRT-S013)");
    }
}
