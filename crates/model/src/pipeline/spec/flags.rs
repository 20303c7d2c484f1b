//! `commandFlags`: what Harness hands on to kubectl.
//!
//! Nothing here runs kubectl. Flags that only say how it works are kept without effect; those that would make the step do
//! something else than it does are refused when it is run.

use crate::field::has_expression;
use crate::problem::Code;
use crate::reader::{Context, Fields};

/// Flags without which another thing would be done.
const DECISIVE: [&str; 6] = [
    "--dry-run",
    "--cascade",
    "--subresource",
    "--namespace",
    "--selector",
    "--prune",
];

/// Reads the flags of a step that heeds none.
pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) {
    read_each(spec, cx, &mut |_| false);
}

/// Reads the flags of `kubectl rollout undo`: the revision, if one is named.
pub(super) fn read_revision(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<u64> {
    let mut revision = None;
    read_each(spec, cx, &mut |flag| {
        let number = flag
            .strip_prefix("--to-revision")
            .map(|rest| rest.trim_start_matches(['=', ' ']));
        match number.and_then(|number| number.parse().ok()) {
            // 0 is kubectl's word for the one before the present.
            Some(0) => true,
            Some(number) => {
                revision = Some(number);
                true
            }
            None => false,
        }
    });
    revision
}

fn read_each(spec: &mut Fields<'_>, cx: &mut Context<'_>, heeded: &mut dyn FnMut(&str) -> bool) {
    for (node, path) in spec.items("commandFlags", cx) {
        let Some(mut item) = Fields::open(node, path, cx) else {
            continue;
        };
        item.accept(&["commandType"]);
        let flag = item.text("flag", cx);
        if let Some(flag) = flag {
            let (text, path) = (flag.value.text().trim(), item.path_of("flag"));
            if decides(text) {
                let message = "this flag says what is done, and cannot be run here; remove it, or use a step that does it";
                cx.not_runnable(Code::NotRunnable, &path, flag.position, message.to_owned());
            } else if !heeded(text) {
                let message = "the flag is kept and has no effect: nothing here runs kubectl";
                cx.warn(Code::NoEffect, &path, flag.position, message);
            }
        }
        item.finish(cx);
    }
}

fn decides(text: &str) -> bool {
    let unreadable =
        has_expression(text) || text.starts_with("--to-revision") && !is_revision(text);
    unreadable
        || text.split_whitespace().any(|word| {
            let name = word.split('=').next().unwrap_or(word);
            DECISIVE.contains(&name) || matches!(name, "-n" | "-l")
        })
}

fn is_revision(text: &str) -> bool {
    let number = text
        .trim_start_matches("--to-revision")
        .trim_start_matches(['=', ' ']);
    number.parse::<u64>().is_ok()
}
