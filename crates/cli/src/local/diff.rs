//! `sortie diff`: what a deployment would change, or what changed between two releases.

use std::io::IsTerminal as _;

use serde_json::{Value, json};
use sortie_cluster::record::{Head, Records};
use sortie_manifest::ObjectId;
use sortie_step::difference::{Difference, Fate, between};
use sortie_step::task::{self, Action, Prune, RollingDeploy};

use super::follow::{self, Job, WayBack};
use super::view::Look;
use super::{deploy, history, records, set, sides};
use crate::args::{Diff, Output};
use crate::exit::{Exit, Failure, Result};
use crate::style::{Style, Tone, harmless};
use crate::{Surroundings, print};

/// Compare and print. Code 1 is for differences; what fails has another one.
pub(crate) async fn run(args: &Diff, around: &Surroundings) -> Result {
    let compared = match args.from {
        Some(from) => releases(args, from).await,
        None => cluster(args, around).await,
    };
    let differences = compared.map_err(|failure| Failure {
        exit: match failure.exit {
            Exit::Failed => Exit::Usage,
            exit => exit,
        },
        ..failure
    })?;
    let differs = differences.iter().any(|one| one.change.is_change());
    match around.output {
        Output::Json => print::json(&json!({ "different": differs, "objects": differences })),
        Output::Text => {
            let style = Style::new(std::io::stdout().is_terminal(), around.no_color());
            for one in &differences {
                show(one, style);
            }
            for line in hooks(&differences) {
                print::note(&line);
            }
            print::note(&summary(&differences));
        }
    }
    Ok(if differs { Exit::Failed } else { Exit::Done })
}

/// The set against what is live.
async fn cluster(args: &Diff, around: &Surroundings) -> Result<Vec<Difference>> {
    let strategy = deploy::strategy(args.strategy, args.prune)?;
    let set = set::read(&args.paths, &args.with)?;
    let (cluster, records) = records(&args.release).await?;
    let namespace = records.release().namespace().to_owned();
    if strategy != task::Strategy::BlueGreen {
        sides::check_deployable(&records.history().await?, records.release())?;
    }
    let job = Job {
        verb: "diff",
        look: Look::Warnings,
        history: sortie_step::Limits::default().history,
        way_back: WayBack::Again,
        cluster,
        namespace,
        release: args.release.release.clone(),
        timeout: args.timeout,
        action: Action::Diff(task::Diff {
            deploy: RollingDeploy {
                adopt: args.adopt,
                prune: args.prune.then_some(Prune::default()),
                ..set
            },
            strategy,
        }),
    };
    let outputs = follow::run(job, around).await?;
    let objects = outputs.get("objects").cloned().unwrap_or_default();
    serde_json::from_value(objects)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot read the result: {error}")))
}

/// Two numbers of a release against each other.
async fn releases(args: &Diff, from: u64) -> Result<Vec<Difference>> {
    let (_, records) = records(&args.release).await?;
    let history = records.history().await?;
    let newest = history.newest().map(|stored| stored.head.number);
    let Some(to) = args.to.or(newest) else {
        return Err(history::nothing(records.release()));
    };
    let mut sides = Vec::new();
    for number in [from, to] {
        let Some(stored) = history.number(number) else {
            let kept: Vec<String> = history
                .heads()
                .map(|head| head.number.to_string())
                .collect();
            let text = format!("there is no release number {number}");
            let hint = format!("the kept numbers are {}", kept.join(", "));
            return Err(Failure {
                code: Some("SRT-Z016".to_owned()),
                ..Failure::new(Exit::NotFound, text).hint(hint)
            });
        };
        sides.push(recorded(&records, &stored.head).await?);
    }
    let after = sides.pop().unwrap_or_default();
    let before = sides.pop().unwrap_or_default();
    Ok(between(&before, &after))
}

/// The objects of one number, as it was deployed.
async fn recorded(records: &Records, head: &Head) -> Result<Vec<(ObjectId, Value)>> {
    let values = records.objects(head).await?;
    let origin = sortie_manifest::Origin::outside("the record");
    let named = |value: Value| {
        let object = sortie_manifest::Object::from_value(value, origin.clone()).ok()?;
        let id = object.id().in_namespace(&head.namespace);
        Some((id, object.into_value()))
    };
    Ok(values.into_iter().filter_map(named).collect())
}

/// One object: what happens to it, who loses fields, and the text of what differs.
fn show(one: &Difference, style: Style) {
    if matches!(one.change, Fate::Unchanged | Fate::Runs) {
        return;
    }
    let name = harmless(&one.object.to_string());
    let old = match (one.change, &one.replaces) {
        (_, Some(earlier)) => harmless(&earlier.to_string()),
        (Fate::Created, None) => "/dev/null".to_owned(),
        _ => name.clone(),
    };
    let new = match one.change {
        Fate::Deleted => "/dev/null".to_owned(),
        _ => name.clone(),
    };
    let place = one.origin.as_deref().map(harmless);
    let place = place.map_or_else(String::new, |place| format!(" ({place})"));
    let head = format!("{name}: {}{place}", words(one.change));
    print::line(&style.paint(Tone::Strong, &head));
    for note in &one.notes {
        let note = format!("! {}", harmless(note));
        print::line(&style.paint(Tone::Warning, &note));
    }
    for taken in &one.conflicts {
        let text = harmless(&format!("! {}: taken from {}", taken.path, taken.manager));
        print::line(&style.paint(Tone::Warning, &text));
    }
    if one.text.is_empty() {
        return;
    }
    print::line(&style.paint(Tone::Strong, &format!("--- {old}\n+++ {new}")));
    for line in one.text.lines() {
        let tone = match line.as_bytes().first() {
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@') => Tone::Active,
            _ => Tone::Plain,
        };
        print::line(&style.paint(tone, &harmless(line)));
    }
}

/// The hooks, apart from what differs: they run with each deployment.
fn hooks(differences: &[Difference]) -> Vec<String> {
    let hooks = differences.iter().filter(|one| one.change == Fate::Runs);
    let line = |one: &Difference| {
        let place = one.origin.as_deref();
        let place = place.map_or_else(String::new, |place| format!(" ({place})"));
        harmless(&format!("  {}{place}", one.object))
    };
    let mut lines: Vec<String> = hooks.map(line).collect();
    if !lines.is_empty() {
        let head = "hooks that a deployment runs, whatever differs:";
        lines.insert(0, head.to_owned());
    }
    lines
}

const fn words(change: Fate) -> &'static str {
    match change {
        Fate::Left => "not in the set any more; it stays, deploy --prune deletes it",
        other => other.as_str(),
    }
}

/// How many of each.
fn summary(differences: &[Difference]) -> String {
    let all = [
        Fate::Created,
        Fate::Configured,
        Fate::Replaced,
        Fate::Deleted,
        Fate::Left,
        Fate::Unchanged,
        Fate::Runs,
    ];
    let counted = all.iter().filter_map(|fate| {
        let count = differences.iter().filter(|one| one.change == *fate).count();
        let word = match fate {
            Fate::Left => "not in the set any more",
            Fate::Runs if count == 1 => "hook",
            Fate::Runs => "hooks",
            fate => fate.as_str(),
        };
        (count > 0).then(|| format!("{count} {word}"))
    });
    let counted: Vec<String> = counted.collect();
    if counted.is_empty() {
        "no objects".to_owned()
    } else {
        counted.join(", ")
    }
}
