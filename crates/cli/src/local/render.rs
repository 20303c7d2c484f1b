//! `sortie render`: what would be applied, without any cluster.

use std::sync::Arc;

use serde_json::{Value, json};
use sortie_manifest::{Object, secrets, yaml};
use sortie_step::Form;
use sortie_step::report::{Level, ObjectRow, Sink, Unit, UnitStatus};
use sortie_step::task::{Owner, Release};

use super::follow;
use super::set;
use crate::args::{Output, Render};
use crate::exit::{Exit, Result};
use crate::style::harmless;
use crate::{Surroundings, print};

/// The name that templates see where no release is named.
const NAMELESS: &str = "release";

/// Says on stderr what a person should look at.
#[derive(Debug)]
struct Warnings;

impl Sink for Warnings {
    fn unit(&self, _: Unit, _: UnitStatus) {}

    fn log(&self, _: Unit, level: Level, text: &str) {
        let word = match level {
            Level::Info => return,
            Level::Warning => "warning",
            Level::Error => "error",
        };
        print::note(&harmless(&format!("{word}: {text}")));
    }

    fn object(&self, _: Unit, _: ObjectRow) {}
}

/// Render and print.
pub(crate) async fn run(args: &Render, around: &Surroundings) -> Result {
    let Render {
        set,
        release,
        namespace,
        show_secrets,
    } = args;
    let options = set::read(&set.paths, &set.with)?;
    let form = match release {
        Some(_) => Form::AsApplied,
        None => Form::AsWritten,
    };
    let release = Release {
        namespace: namespace.clone(),
        name: release.as_deref().unwrap_or(NAMELESS).to_owned(),
        owner: Owner::default(),
    };
    let renderer = follow::renderer(around);
    let objects = sortie_step::render(&options, &release, form, &renderer, Arc::new(Warnings));
    let objects = objects
        .await
        .map_err(|failure| follow::explained(failure, "render failed"))?;
    let hidden = objects
        .iter()
        .filter(|object| holds_secrets(object))
        .count();
    if hidden > 0 && !show_secrets {
        let plural = if hidden == 1 { "" } else { "s" };
        print::note(&format!(
            "the values of {hidden} Secret{plural} are not shown; --show-secrets shows them"
        ));
    }
    let shown = |object: &Object| {
        let value = Value::Object(object.value().clone());
        if *show_secrets {
            value
        } else {
            secrets::masked(&value)
        }
    };
    match around.output {
        Output::Json => {
            let items: Vec<Value> = objects.iter().map(shown).collect();
            print::json(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
        }
        Output::Text => {
            for object in &objects {
                let origin = object.origin();
                let place = harmless(&origin.to_string());
                let text = yaml::write(&shown(object));
                print::line(&format!("---\n# {place}\n{}", text.trim_end_matches('\n')));
            }
        }
    }
    Ok(Exit::Done)
}

fn holds_secrets(object: &Object) -> bool {
    let filled = |key: &str| object.value().get(key).is_some_and(|data| !data.is_null());
    secrets::is_secret(object.value()) && (filled("data") || filled("stringData"))
}
