//! Hooks of the service: scripts that run before and after the manifests are fetched, rendered and waited for.
//!
//! A hook before or after fetching or rendering may change the files; what it leaves is what the step goes on with.
//! A step that is carried on by another holder may run a hook again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use sortie_manifest::{Limits, Object, ObjectId, workload};
use sortie_render::SourceFile;

use crate::failure::{Failure, FailureKind, chain};
use crate::locked::Locked;
use crate::report::{Level, Masked, Sink as _, Unit};
use crate::resolve::Resolving;
use crate::run::Run;
use crate::scripts::{Heard, Script};
use crate::task::{HookAction, HookTime, ServiceHook};
use crate::units::Ended;

/// Characters of a line of a hook that are shown.
const SHOWN: usize = 4_000;
/// Lines that the failure of a hook repeats, and characters of each.
const LAST_LINES: usize = 3;
const LAST_SHOWN: usize = 200;
/// A hook is ended with its step. Should that not happen, it ends so much later by itself.
const GRACE: Duration = Duration::from_secs(60);

/// When hooks run.
type Point = (HookTime, HookAction);

/// The hooks of a step around what is done with files.
#[derive(Debug)]
pub(crate) struct ServiceHooks<'a> {
    run: &'a Run<'a>,
}

impl<'a> ServiceHooks<'a> {
    /// Those of the step. What their scripts name is there: one around the wait comes too late to say so itself.
    ///
    /// # Errors
    /// There are some, and nobody who runs them; or a script names what does not exist.
    pub(crate) async fn of(
        run: &'a Run<'a>,
        resolving: &mut Resolving<'_>,
    ) -> Result<Self, Failure> {
        for hook in &run.task.hooks {
            if run.env.scripts.is_none() {
                return Err(nobody(&hook.id));
            }
            resolved(hook, resolving).await?;
        }
        Ok(Self { run })
    }

    /// Run those before an action in their order. They get `files` and may change them.
    ///
    /// # Errors
    /// One fails.
    pub(crate) async fn before(
        &self,
        action: HookAction,
        files: &mut Vec<SourceFile>,
        resolving: &mut Resolving<'_>,
    ) -> Result<(), Failure> {
        let point = (HookTime::Before, action);
        around_files(self.run, point, files, resolving).await
    }

    /// Run those after an action in their order. They get `files` and may change them.
    ///
    /// # Errors
    /// One fails.
    pub(crate) async fn after(
        &self,
        action: HookAction,
        files: &mut Vec<SourceFile>,
        resolving: &mut Resolving<'_>,
    ) -> Result<(), Failure> {
        let point = (HookTime::After, action);
        around_files(self.run, point, files, resolving).await
    }
}

async fn around_files(
    run: &Run<'_>,
    point: Point,
    files: &mut Vec<SourceFile>,
    resolving: &mut Resolving<'_>,
) -> Result<(), Failure> {
    for hook in of(run, point) {
        learn(run, files, resolving);
        let given = std::mem::take(files);
        distinct(hook, &given)?;
        let left = one(run, (hook, point), (given.clone(), Vec::new()), resolving).await?;
        *files = merged(given, left, |text| {
            run.info(unit(point.1), format!("{}: {text}", name(hook, point)));
        });
    }
    Ok(())
}

/// The hooks of a step around the wait for what it has written.
#[derive(Debug)]
pub(crate) struct AroundWait<'a> {
    variables: Vec<(&'static str, String)>,
    context: &'a Value,
}

impl<'a> AroundWait<'a> {
    /// Those around the wait for `objects`.
    pub(crate) fn of<'o>(
        run: &Run<'_>,
        objects: impl Iterator<Item = &'o Object>,
        context: &'a Value,
    ) -> Self {
        let variables = match run.task.hooks.as_slice() {
            [] => Vec::new(),
            _ => workloads(&run.task.release.namespace, objects),
        };
        Self { variables, context }
    }

    /// Run those before the wait in their order.
    ///
    /// # Errors
    /// One fails, or the step ends.
    pub(crate) async fn before(&self, run: &Run<'_>, locked: &Locked) -> Result<(), Ended> {
        self.at(run, locked, HookTime::Before).await
    }

    /// Run those after the wait in their order.
    ///
    /// # Errors
    /// One fails, or the step ends.
    pub(crate) async fn after(&self, run: &Run<'_>, locked: &Locked) -> Result<(), Ended> {
        self.at(run, locked, HookTime::After).await
    }

    async fn at(&self, run: &Run<'_>, locked: &Locked, time: HookTime) -> Result<(), Ended> {
        let point = (time, HookAction::SteadyStateCheck);
        let mut resolving = Resolving::new(self.context, run.env.resolver.as_ref(), run.sink);
        for hook in of(run, point) {
            let given = (Vec::new(), self.variables.clone());
            let running = Box::pin(one(run, (hook, point), given, &mut resolving));
            let running = async { Ok(running.await?) };
            run.bounds.run(locked.lost(), running).await?;
        }
        Ok(())
    }
}

fn of<'a>(run: &Run<'a>, (time, action): Point) -> impl Iterator<Item = &'a ServiceHook> {
    let wanted = move |hook: &&ServiceHook| hook.time == time && hook.actions.contains(&action);
    run.task.hooks.iter().filter(wanted)
}

/// Run a hook; the files that it leaves.
async fn one(
    run: &Run<'_>,
    (hook, point): (&ServiceHook, Point),
    (files, variables): (Vec<SourceFile>, Vec<(&'static str, String)>),
    resolving: &mut Resolving<'_>,
) -> Result<Vec<SourceFile>, Failure> {
    let scripts = run.env.scripts.as_ref().ok_or_else(|| nobody(&hook.id))?;
    let name = name(hook, point);
    let text = resolved(hook, resolving).await?;
    let script = Script {
        text,
        files,
        variables,
        limit: run.task.timeout.saturating_add(GRACE),
    };
    run.bounds
        .pending()
        .set(format!("{name} was still running"));
    run.info(unit(point.1), format!("{name} begins"));
    let last = Mutex::new(VecDeque::new());
    let hear = |heard: Heard<'_>| match heard {
        Heard::Waiting(why) => run.info(unit(point.1), format!("{name} waits: {why}")),
        Heard::Line(line) => {
            let line = shown(run.sink, line);
            remember(&last, &line);
            run.sink.log(unit(point.1), Level::Info, &line);
        }
    };
    let left = scripts.run(script, &hear).await;
    run.bounds
        .pending()
        .set(format!("{name} was over, and the step went on"));
    let last = last.into_inner().unwrap_or_else(PoisonError::into_inner);
    let left = left.map_err(|error| error.failure(&name, &Vec::from(last)))?;
    run.info(unit(point.1), format!("{name} ended well"));
    Ok(left)
}

/// The script with its expressions replaced. Secrets in it are known to the masker.
async fn resolved(
    hook: &ServiceHook,
    resolving: &mut Resolving<'_>,
) -> Result<SecretString, Failure> {
    let text = resolving.text(&hook.script).await.map_err(|error| {
        let text = format!(
            "cannot resolve the expressions of hook {}: {}",
            hook.id,
            chain(&error)
        );
        let hint = "correct the name, or define it before this step";
        Failure::new(FailureKind::Configuration, error.code(), text, hint)
    })?;
    Ok(SecretString::from(text))
}

/// A line without known secrets and control characters. What is hidden only once a control character is gone is
/// hidden as well; a line is cut after that, so that no part of a secret is left at its end.
fn shown(masked: &Masked, line: &str) -> String {
    let clean: String = masked
        .mask(line)
        .chars()
        .filter(|c| !c.is_control() || *c == '\t')
        .collect();
    let mut line = masked.mask(&clean);
    if let Some((end, _)) = line.char_indices().nth(SHOWN) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn remember(last: &Mutex<VecDeque<String>>, line: &str) {
    let line: String = line.trim().chars().take(LAST_SHOWN).collect();
    if line.is_empty() {
        return;
    }
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    last.push_back(line);
    if last.len() > LAST_LINES {
        last.pop_front();
    }
}

/// What Secrets among the files hold is masked from here on, as far as they can be read yet.
fn learn(run: &Run<'_>, files: &[SourceFile], resolving: &Resolving<'_>) {
    for file in files {
        if let Ok(objects) = sortie_manifest::parse(&file.path, &file.content, &Limits::default()) {
            resolving.conceal(&objects, &run.task.release);
        }
    }
}

/// Files of several sources share one folder.
fn distinct(hook: &ServiceHook, files: &[SourceFile]) -> Result<(), Failure> {
    let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    let twice = paths.windows(2).find_map(|pair| match pair {
        [one, other] if one == other => Some(*one),
        _ => None,
    });
    match twice {
        None => Ok(()),
        Some(path) => Err(Failure::new(
            FailureKind::Configuration,
            "SRT-T085",
            format!(
                "hook {}: two files of the service are called {path}, and it has one folder for them",
                hook.id
            ),
            "rename one of the files, or name it once",
        )),
    }
}

/// What a hook left, in the order of what it got; what is new comes last.
fn merged(given: Vec<SourceFile>, left: Vec<SourceFile>, tell: impl Fn(String)) -> Vec<SourceFile> {
    let (mut changed, mut removed) = (0, 0);
    let mut files = Vec::with_capacity(left.len());
    let mut left: Vec<Option<SourceFile>> = left.into_iter().map(Some).collect();
    let places = left.iter().flatten().enumerate();
    let places: HashMap<String, usize> = places.map(|(at, file)| (file.path.clone(), at)).collect();
    for before in given {
        let after = places
            .get(&before.path)
            .and_then(|at| left.get_mut(*at)?.take());
        match after {
            None => removed += 1,
            Some(after) => {
                changed += usize::from(after != before);
                files.push(after);
            }
        }
    }
    let known = files.len();
    files.extend(left.into_iter().flatten());
    let new = files.len() - known;
    if changed + removed + new > 0 {
        tell(format!(
            "files of the manifests: {changed} changed, {new} new, {removed} removed"
        ));
    }
    files
}

/// The workloads that are waited for, for the environment of a hook.
fn workloads<'a>(
    namespace: &str,
    objects: impl Iterator<Item = &'a Object>,
) -> Vec<(&'static str, String)> {
    let (mut managed, mut custom) = (Vec::new(), Vec::new());
    for object in objects.filter(|object| workload::is_managed(object)) {
        let name = workload_name(&object.id(), namespace);
        if workload::is_workload(object) {
            managed.push(name);
        } else {
            custom.push(name);
        }
    }
    let all = [managed.as_slice(), custom.as_slice()].concat();
    vec![
        ("WORKLOADS_LIST", all.join(",")),
        ("MANAGED_WORKLOADS", managed.join(",")),
        ("CUSTOM_WORKLOADS", custom.join(",")),
    ]
}

/// `[namespace/]Kind/name`, as the options of steps name objects.
fn workload_name(id: &ObjectId, namespace: &str) -> String {
    let ObjectId { kind, name, .. } = id;
    match id.namespace.as_deref().filter(|own| *own != namespace) {
        Some(own) => format!("{own}/{kind}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// The hook and when it runs, for people.
fn name(hook: &ServiceHook, (time, action): Point) -> String {
    let time = match time {
        HookTime::Before => "before",
        HookTime::After => "after",
    };
    format!("hook {} ({time} {})", hook.id, action.name())
}

const fn unit(action: HookAction) -> Unit {
    match action {
        HookAction::FetchFiles => Unit::FetchFiles,
        HookAction::TemplateManifest => Unit::Initialize,
        HookAction::SteadyStateCheck => Unit::WaitForSteadyState,
    }
}

fn nobody(id: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T080",
        format!("the service has hooks ({id}), and this delegate has no runner for scripts"),
        "install the delegate's chart with runner.enabled=true, or remove the hooks from the service",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::report::Deaf;

    fn files(of: &[(&str, &str)]) -> Vec<SourceFile> {
        let file = |(path, text): &(&str, &str)| SourceFile::new(*path, *text);
        of.iter().map(file).collect()
    }

    #[test]
    fn what_a_hook_leaves_counts_in_the_order_of_before() {
        let given = [("b", "1"), ("a", "1"), ("c", "1")];
        for (left, expected, told) in [
            (&given[..], &given[..], None),
            (
                &[("a", "1"), ("b", "2"), ("d", "1")],
                &[("b", "2"), ("a", "1"), ("d", "1")],
                Some("files of the manifests: 1 changed, 1 new, 1 removed"),
            ),
            (
                &[],
                &[],
                Some("files of the manifests: 0 changed, 0 new, 3 removed"),
            ),
        ] {
            let said = Mutex::new(None);
            let tell = |text| *said.lock().unwrap() = Some(text);
            let found = merged(files(&given), files(left), tell);
            assert_eq!(found, files(expected));
            assert_eq!(said.into_inner().unwrap().as_deref(), told);
        }
    }

    #[test]
    fn files_of_one_path_cannot_share_a_folder() {
        let hook = ServiceHook {
            id: "decrypt".to_owned(),
            time: HookTime::After,
            actions: vec![HookAction::FetchFiles],
            script: String::new(),
        };
        assert!(distinct(&hook, &files(&[("a", "1"), ("b", "1")])).is_ok());
        let failure = distinct(&hook, &files(&[("b", "1"), ("a", "1"), ("b", "2")])).unwrap_err();
        assert_eq!(failure.code, "SRT-T085");
        assert!(
            failure.message.contains("are called b"),
            "{}",
            failure.message
        );
        assert_eq!(
            name(&hook, (hook.time, HookAction::FetchFiles)),
            "hook decrypt (after FetchFiles)"
        );
    }

    #[test]
    fn lines_show_no_secret_even_one_that_is_taken_apart() {
        let masked = Masked::new(Arc::new(Deaf));
        masked.learn(&SecretString::from("hunter2hunter2"));
        for (line, expected) in [
            ("plain\ttext", "plain\ttext"),
            ("\u{1b}[1mbold", "[1mbold"),
            ("is hunter2hunter2.", "is **************."),
            ("is hunter2\u{0}hunter2.", "is **************."),
        ] {
            assert_eq!(shown(&masked, line), expected);
        }
        let long = format!("{}hunter2hunter2", "x".repeat(SHOWN - 3));
        let cut = shown(&masked, &long);
        assert!(cut.ends_with("x***…"), "{cut}");
    }

    #[test]
    fn the_last_lines_are_repeated_by_the_failure() {
        let last = Mutex::default();
        for line in ["one", "", "two", "  ", "three", "four"] {
            remember(&last, line);
        }
        let last = Vec::from(last.into_inner().unwrap());
        let failure = crate::scripts::ScriptError::Exit { code: 3 }.failure("hook a", &last);
        assert_eq!(failure.code, "SRT-T083");
        assert_eq!(
            failure.message,
            "hook a: it ended with exit code 3; it said: two / three / four"
        );
    }

    #[test]
    fn workloads_are_named_by_who_manages_them() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\n\
                    apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, namespace: data}\n---\n\
                    apiVersion: example.com/v1\nkind: Cache\nmetadata: {name: c, annotations: {harness.io/managed-workload: 'true'}}\n---\n\
                    apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n---\n\
                    apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate}\n";
        let objects =
            sortie_manifest::parse("a.yaml", text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(
            workloads("shop", objects.iter()),
            [
                (
                    "WORKLOADS_LIST",
                    "Deployment/web,data/StatefulSet/db,Cache/c".to_owned()
                ),
                (
                    "MANAGED_WORKLOADS",
                    "Deployment/web,data/StatefulSet/db".to_owned()
                ),
                ("CUSTOM_WORKLOADS", "Cache/c".to_owned()),
            ]
        );
    }
}
