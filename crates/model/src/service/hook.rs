//! Hooks of a service: scripts around what is done with its manifests.

use std::collections::HashSet;

use super::reading::unique;
use crate::field::TextField;
use crate::parse;
use crate::path;
use crate::position::Located;
use crate::problem::Code;
use crate::reader::fields::{text_of, unknown_value};
use crate::reader::{Context, Fields};

/// Bytes of the scripts of a service together: they travel with each task.
pub const MAX_SCRIPTS: usize = 128 * 1024;

/// One item of `hooks`.
#[derive(Clone, Debug)]
pub struct ServiceHook {
    /// `identifier`
    pub identifier: Located<String>,
    /// `preHook` or `postHook`
    pub time: HookTime,
    /// `actions`, at least one, each once.
    pub actions: Vec<HookAction>,
    /// `store.content`: a script for bash.
    pub script: TextField,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookTime {
    /// `preHook`
    Before,
    /// `postHook`
    After,
}

/// What a hook runs around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookAction {
    /// `FetchFiles`
    FetchFiles,
    /// `TemplateManifest`
    TemplateManifest,
    /// `SteadyStateCheck`
    SteadyStateCheck,
}

const ACTIONS: [(&str, HookAction); 3] = [
    ("FetchFiles", HookAction::FetchFiles),
    ("TemplateManifest", HookAction::TemplateManifest),
    ("SteadyStateCheck", HookAction::SteadyStateCheck),
];

impl ServiceHook {
    /// Reads `hooks`.
    pub(crate) fn read_all(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Vec<Self> {
        let mut seen = HashSet::new();
        let mut hooks: Vec<Self> = Vec::new();
        let mut bytes = 0;
        for (node, path) in spec.items("hooks", cx) {
            let Some(mut item) = Fields::open(node, path, cx) else {
                continue;
            };
            let before = item.map("preHook", cx);
            let after = item.map("postHook", cx);
            let inner = match (before, after) {
                (Some(before), None) => Some((HookTime::Before, before)),
                (None, Some(after)) => Some((HookTime::After, after)),
                (None, None) => {
                    item.missing("preHook", cx);
                    None
                }
                (Some(_), Some(_)) => {
                    let message =
                        "`preHook` and `postHook` exclude each other; make an item of each";
                    let (path, at) = (item.path_of("postHook"), item.position_of("postHook"));
                    cx.error(Code::Conflict, &path, at, message);
                    None
                }
            };
            item.finish(cx);
            let Some((time, mut inner)) = inner else {
                continue;
            };
            let hook = Self::read(time, &mut inner, cx);
            let id = inner.path_of("identifier");
            let content = path::join(&inner.path_of("store"), "content");
            inner.finish(cx);
            let Some(hook) = hook else { continue };
            unique(&mut seen, &hook.identifier, "hook", &id, cx);
            let is_small = bytes <= MAX_SCRIPTS;
            bytes += hook.script.value.text().len();
            if is_small && bytes > MAX_SCRIPTS {
                let message = format!(
                    "the scripts of a service have at most {} KiB together; keep long ones with the manifests, and call them",
                    MAX_SCRIPTS / 1024
                );
                cx.error(Code::InvalidValue, &content, hook.script.position, message);
            }
            hooks.push(hook);
        }
        hooks
    }

    fn read(time: HookTime, fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let identifier = parse::identifier(fields, cx);
        let store_type = fields.required_choice("storeType", &[("Inline", ())], cx);
        let actions = actions(fields, cx);
        let script = fields.required_map("store", cx).and_then(|mut store| {
            let script = store.required_text("content", cx);
            store.finish(cx);
            script
        });
        store_type?;
        Some(Self {
            identifier: identifier?,
            time,
            actions: actions?,
            script: script?,
        })
    }
}

fn actions(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Vec<HookAction>> {
    let items = fields.items("actions", cx);
    if items.is_empty() {
        fields.missing("actions", cx);
        return None;
    }
    let mut actions = Vec::new();
    for (node, path) in items {
        let Some(word) = text_of(node, &path, cx) else {
            continue;
        };
        let word = Located {
            value: word.value.text().to_owned(),
            position: word.position,
        };
        match ACTIONS.iter().find(|(name, _)| *name == word.value) {
            Some((_, action)) if actions.contains(action) => {
                let message = "this action is already there; remove one of them";
                cx.error(Code::InvalidValue, &path, word.position, message);
            }
            Some((_, action)) => actions.push(*action),
            None => unknown_value(&path, &word, &ACTIONS.map(|(name, _)| name), cx),
        }
    }
    Some(actions).filter(|actions| !actions.is_empty())
}
