//! `sortie uninstall`: a release and everything that it owns, gone.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use serde_json::{Value, json};
use sortie_cluster::Cluster;
use sortie_cluster::record::Release;
use sortie_step::task::{self, Action};

use super::deploy::print_plan;
use super::follow::{self, Job, WayBack};
use super::view::Look;
use super::{connect, history};
use crate::args::{Output, Uninstall};
use crate::exit::{Exit, Failure, Result};
use crate::stops::Stops;
use crate::style::harmless;
use crate::{Surroundings, print};

/// Longest answer that is read.
const LONGEST: u64 = 4096;

/// Ask, uninstall and follow to the end.
pub(crate) async fn run(args: &Uninstall, around: &Surroundings) -> Result {
    let Uninstall {
        release,
        yes,
        dry_run,
        delete_storage,
        timeout,
    } = args;
    let ask = !yes && !dry_run;
    if ask && !is_person() {
        let hint = "add --yes, or --dry-run to see what would go";
        return Err(Failure::usage("nobody is there to be asked whether to uninstall").hint(hint));
    }
    let (cluster, namespace) = connect(&release.cluster).await?;
    let release = Release::new(namespace, release.release.as_str())?;
    let job = |cluster: &Cluster, dry_run, look| Job {
        verb: "uninstall",
        look,
        history: sortie_step::Limits::default().history,
        way_back: WayBack::Again,
        cluster: cluster.clone(),
        namespace: release.namespace().to_owned(),
        release: release.name().to_owned(),
        timeout: *timeout,
        action: Action::Uninstall(task::Uninstall {
            delete_storage: *delete_storage,
            dry_run,
        }),
    };
    if ask || *dry_run {
        // From here on the one that comes at any moment before the answer is heard.
        let mut stops = Stops::listen()?;
        let plan = follow::run(job(&cluster, true, Look::Warnings), around).await?;
        there_is(&plan, &release)?;
        if *dry_run && around.output == Output::Json {
            print::json(&json!({ "event": "end", "status": "SUCCEEDED", "outputs": plan }));
            return Ok(Exit::Done);
        }
        print_plan(&plan);
        print_kept(&plan);
        if *dry_run {
            print::note("dry run: nothing was written");
            return Ok(Exit::Done);
        }
        if !agrees(&release, &mut stops).await? {
            print::note("nothing was deleted");
            if around.output == Output::Json {
                print::json(
                    &json!({ "event": "end", "status": "ABORTED", "message": "nothing was deleted" }),
                );
            }
            return Ok(Exit::Interrupted);
        }
    }
    let outputs = follow::run(job(&cluster, false, Look::Whole), around).await?;
    there_is(&outputs, &release)?;
    match around.output {
        Output::Json => {
            print::json(&json!({ "event": "end", "status": "SUCCEEDED", "outputs": outputs }));
        }
        Output::Text => {
            // What is kept was told when it began.
            let deleted = counted(list(&outputs, "deleted").len());
            let kept = match list(&outputs, "kept").len() {
                0 => String::new(),
                kept => format!(", {kept} kept"),
            };
            print::line(&format!(
                "release {} is uninstalled from namespace {}: {deleted} deleted{kept}",
                release.name(),
                release.namespace()
            ));
        }
    }
    Ok(Exit::Done)
}

fn is_person() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// A release that does not exist is an error of the one who named it.
fn there_is(outputs: &Value, release: &Release) -> Result<()> {
    if outputs.get("uninstalled") == Some(&Value::Bool(false)) {
        print_kept(outputs);
        return Err(history::nothing(release));
    }
    Ok(())
}

/// A question on the terminal; everything but yes is no, Ctrl-C too.
async fn agrees(release: &Release, stops: &mut Stops) -> Result<bool> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("cannot read the answer from the terminal: {error}"))
    };
    let (name, namespace) = (release.name(), release.namespace());
    let question = format!("Uninstall release {name} from namespace {namespace}? [y/N] ");
    print::question(&question).map_err(unreadable)?;
    // A thread that still waits for keys is left behind when the program ends.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin()
            .lock()
            .take(LONGEST)
            .read_line(&mut answer)?;
        Ok(answer)
    });
    let answer = tokio::select! {
        () = stops.next() => {
            print::note("");
            return Ok(false);
        }
        answer = answer => answer.unwrap_or_else(|gone| Err(std::io::Error::other(gone))),
    };
    Ok(matches!(
        answer
            .map_err(unreadable)?
            .trim()
            .to_ascii_lowercase()
            .as_str(),
        "y" | "yes"
    ))
}

fn list<'a>(outputs: &'a Value, key: &str) -> &'a [Value] {
    let list = outputs.get(key).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

fn counted(objects: usize) -> String {
    format!("{objects} object{}", if objects == 1 { "" } else { "s" })
}

/// What stays, and why.
fn print_kept(outputs: &Value) {
    let kept = list(outputs, "kept");
    let text = |row: &Value, pointer: &str| {
        let text = row.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    for row in kept {
        let place = match text(row, "/object/namespace") {
            namespace if namespace.is_empty() => String::new(),
            namespace => format!("{namespace}/"),
        };
        let (kind, name) = (text(row, "/object/kind"), text(row, "/object/name"));
        let reason = text(row, "/reason");
        print::line(&harmless(&format!("kept: {kind}/{place}{name}: {reason}")));
    }
    let storage = |row: &Value| text(row, "/reason").contains("cannot be brought back");
    if kept.iter().any(storage) {
        print::note("--delete-storage deletes storage too");
    }
}
