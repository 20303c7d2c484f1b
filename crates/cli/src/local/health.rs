//! `sortie health`: the verdict on each object, from files or from the cluster.

use sortie_cluster::apply::Target;
use sortie_cluster::record::Tracked;
use sortie_cluster::{Cause, Cluster, Error};
use sortie_manifest::{Limits, Object, ObjectId, Origin, ParseError, ParseErrors};
use sortie_step::health_rules;
use sortie_step::inspect::{Inspected, inspect, inspect_documents, live_identities};

use super::objects::{self, Row, ended};
use super::set::MOST;
use super::{connect, history, records, sides};
use crate::args::{Health, Output, ReleaseArgs};
use crate::exit::{Failure, Finding, Result};
use crate::files::{self, Folders};
use crate::{Surroundings, clock, print};

/// Judge. The exit says whether all are healthy, or stopped on purpose.
pub(crate) async fn run(args: &Health, around: &Surroundings) -> Result {
    let Health {
        files,
        live,
        release,
        cluster,
    } = args;
    let judged = match release {
        Some(name) => {
            let release = ReleaseArgs {
                cluster: cluster.clone(),
                release: name.clone(),
            };
            of_release(&release).await?
        }
        None => {
            let objects = named(files)?;
            if *live {
                of_cluster(objects, args).await?
            } else {
                inspect_documents(objects, clock::now())
            }
        }
    };
    match around.output {
        Output::Json => judged.iter().for_each(|one| print::json(&Row::from(one))),
        Output::Text => objects::show(&judged),
    }
    Ok(ended(&judged))
}

/// The objects in the files, in their order.
fn named(paths: &[std::path::PathBuf]) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    let (mut faults, mut more) = (Vec::new(), 0);
    for file in files::read(paths, Folders::Recursive, MOST)? {
        match sortie_manifest::parse(&file.name, &file.data, &Limits::default()) {
            Ok(parsed) => objects.extend(parsed),
            Err(errors) => {
                more += errors.more();
                faults.extend(errors);
            }
        }
    }
    if !faults.is_empty() {
        return Err(unreadable(faults, more));
    }
    if objects.is_empty() {
        return Err(Failure::usage("there is no object in what was named"));
    }
    Ok(objects)
}

/// One error as itself; several as findings, `more` of which were only counted.
fn unreadable(errors: Vec<ParseError>, more: usize) -> Failure {
    let count = errors.len() + more;
    let (mut findings, mut one) = (Vec::new(), None);
    for error in errors {
        let place = error.place().clone();
        let code = error.code().to_owned();
        let failure = Failure::from(error);
        let words = failure.message.strip_prefix(&format!("{place}: "));
        let words = words.unwrap_or(&failure.message).to_owned();
        let message = std::iter::once(words).chain(failure.causes.iter().cloned());
        let message = message.collect::<Vec<_>>().join(": ");
        findings.push(Finding {
            severity: "error".to_owned(),
            file: place.file.to_string(),
            line: Some(place.line),
            column: (place.column > 0).then_some(place.column),
            path: String::new(),
            code,
            message: match place.document {
                0 | 1 => message,
                number => format!("document {number}: {message}"),
            },
        });
        one.get_or_insert(failure);
    }
    findings.truncate(ParseErrors::KEPT);
    let text = match count.saturating_sub(findings.len()) {
        0 => format!("{count} documents are no Kubernetes objects"),
        left => format!("{count} documents are no Kubernetes objects; {left} are not shown"),
    };
    match one {
        Some(one) if count == 1 => one,
        Some(one) => Failure {
            message: text,
            causes: Vec::new(),
            problems: findings.into(),
            ..one
        },
        None => Failure::usage(text),
    }
}

/// The objects that the files name, as they are in the cluster.
async fn of_cluster(objects: Vec<Object>, args: &Health) -> Result<Vec<Inspected>> {
    let (cluster, namespace) = connect(&args.cluster).await?;
    let named: Vec<(ObjectId, Origin)> = objects
        .iter()
        .map(|one| (one.id(), one.origin().clone()))
        .collect();
    // A release may have given them other names.
    let is_secret = |one: &&Object| one.kind() == "Secret";
    let secrets: Vec<Object> = objects.iter().filter(is_secret).cloned().collect();
    let (targets, unknown) = known(&cluster, objects, &namespace).await?;
    let live = live_identities(&cluster, &targets).await?;
    let tracked = live.into_iter().map(|id| Tracked { id, uid: None });
    let tracked: Vec<Tracked> = tracked.collect();
    let namespaces = [namespace.as_str(), health_rules::SHARED_NAMESPACE];
    let rules = health_rules::read(&cluster, &namespaces).await?.rules;
    let mut inspected = inspect(&cluster, None, &tracked, &rules, secrets)
        .await?
        .into_iter();
    let row = |(id, origin)| {
        let refusal = unknown.iter().find(|why| why.origin() == Some(&origin));
        match refusal {
            Some(why) => Some(Inspected::unread(id, why)),
            None => inspected.next(),
        }
    };
    Ok(named.into_iter().filter_map(row).collect())
}

/// Where each object is whose kind the cluster knows, and why it does not know those of the others; any other fault is an
/// error.
async fn known(
    cluster: &Cluster,
    objects: Vec<Object>,
    namespace: &str,
) -> Result<(Vec<Target>, Vec<Error>)> {
    let located = cluster.locate_each(objects, namespace).await;
    let (targets, errors) = located.map_err(|error| error.doing("read"))?;
    let errors = errors.into_iter().map(|error| error.doing("read"));
    let is_unknown = |error: &Error| matches!(error.cause(), Cause::UnknownKind { .. });
    let (unknown, others): (Vec<Error>, Vec<Error>) = errors.partition(is_unknown);
    match others.into_iter().next() {
        Some(error) => Err(Failure::from(error)),
        None => Ok((targets, unknown)),
    }
}

/// The objects of a release, as they are in the cluster.
async fn of_release(args: &ReleaseArgs) -> Result<Vec<Inspected>> {
    let (cluster, records) = records(args).await?;
    let history = records.history().await?;
    let looked = sides::look(&cluster, &records, &history).await?;
    if looked.is_empty() {
        return Err(history::nothing(records.release()));
    }
    Ok(looked.into_iter().flat_map(|side| side.objects).collect())
}
