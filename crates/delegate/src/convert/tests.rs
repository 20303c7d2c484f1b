use sortie_render::git::Reference;
use sortie_step::task::{Action, Prune, Source, Target, Versioning};

use super::*;

pub(super) fn release() -> Option<v1::KubernetesRelease> {
    Some(v1::KubernetesRelease {
        namespace: "shop".into(),
        name: "web".into(),
        service_id: "svc".into(),
        environment_id: "env".into(),
        infrastructure_id: "infra".into(),
        number: None,
    })
}

fn deploy(deploy: v1::KubernetesRollingDeploy) -> v1::Task {
    v1::Task {
        id: "t1".into(),
        epoch: 2,
        step: Some(v1::task::Step::KubernetesRollingDeploy(deploy)),
        ..v1::Task::default()
    }
}

pub(super) fn inline(path: &str, content: v1::inline_file::Content) -> v1::Source {
    let file = v1::InlineFile {
        path: path.into(),
        content: Some(content),
    };
    let inline = v1::InlineFiles { files: vec![file] };
    v1::Source {
        id: "m".into(),
        from: Some(v1::source::From::Inline(inline)),
    }
}

fn git(revision: Option<v1::git_source::Revision>, secret: &str) -> v1::Source {
    let git = v1::GitSource {
        url: "https://git.example.com/app".into(),
        username: "bot".into(),
        password_secret: secret.into(),
        revision,
        paths: vec!["deploy".into()],
    };
    v1::Source {
        id: "g".into(),
        from: Some(v1::source::From::Git(git)),
    }
}

#[test]
fn a_deployment_is_read_whole() {
    use v1::inline_file::Content;
    let blob = v1::BlobRef {
        sha256: "aa".into(),
        size: 4,
    };
    let context = v1::BlobRef {
        sha256: "bb".into(),
        size: 9,
    };
    let mut wire = deploy(v1::KubernetesRollingDeploy {
        release: release(),
        manifests: vec![
            git(
                Some(v1::git_source::Revision::Tag("v1".into())),
                "secrets.getValue(\"git\")",
            ),
            inline("a.yaml", Content::Blob(blob.clone())),
        ],
        values: vec![inline("values.yaml", Content::Data(b"a: 1".to_vec()))],
        versioning: v1::Versioning::ReleaseNumber.into(),
        adopt: true,
        replace: true,
        prune: true,
        prune_limit: Some(7),
        skip_job_wait: true,
        ..v1::KubernetesRollingDeploy::default()
    });
    wire.context = Some(context.clone());
    wire.timeout_ms = 90_000;
    let asked = v1::RequestedBy {
        organisation: "acme".into(),
        project: "shop".into(),
        user: "ann".into(),
        execution_id: "e1".into(),
        ..v1::RequestedBy::default()
    };
    wire.requested_by = Some(asked);
    assert_eq!(check(&wire), Ok(()));
    assert_eq!(wire.blobs().collect::<Vec<_>>(), [&context, &blob]);

    let bytes: Blobs = [
        ("aa".to_owned(), b"kind".to_vec()),
        ("bb".to_owned(), b"{\"x\": 1}".to_vec()),
    ]
    .into();
    let task = task(wire, &bytes).unwrap();
    assert_eq!(
        (task.id.as_str(), task.epoch, task.timeout.as_secs()),
        ("t1", 2, 90)
    );
    assert_eq!(
        (task.release.namespace.as_str(), task.release.name.as_str()),
        ("shop", "web")
    );
    assert_eq!(task.release.owner.infrastructure, "infra");
    assert_eq!(task.requested_by.execution, "e1");
    let Action::RollingDeploy(deploy) = task.action else {
        panic!("no deployment")
    };
    assert_eq!(deploy.versioning, Versioning::ReleaseNumber);
    assert_eq!((deploy.adopt, &deploy.context["x"]), (true, &1.into()));
    assert!(deploy.replace);
    assert_eq!(deploy.prune, Some(Prune { limit: Some(7) }));
    assert!(!deploy.wait_for_jobs);
    let [Source::Git(git), Source::Inline(files)] = deploy.manifests.as_slice() else {
        panic!("{:?}", deploy.manifests)
    };
    assert!(matches!(&git.reference, Reference::Tag(tag) if tag == "v1"));
    let credentials = Some(("bot".to_owned(), "secrets.getValue(\"git\")".to_owned()));
    assert_eq!(git.credentials, credentials);
    assert_eq!(files.len(), 1);
    assert_eq!(deploy.values.len(), 1);
}

#[test]
fn what_is_missing_is_named() {
    let nothing = Blobs::new();
    let unnamed = |change: fn(&mut v1::KubernetesRelease)| {
        let mut release = release().unwrap();
        change(&mut release);
        deploy(v1::KubernetesRollingDeploy {
            release: Some(release),
            ..v1::KubernetesRollingDeploy::default()
        })
    };
    let unknown = v1::Task {
        id: "t".into(),
        epoch: 1,
        ..v1::Task::default()
    };
    let no_release = deploy(v1::KubernetesRollingDeploy::default());
    for (wire, want) in [
        (unknown, Malformed::UnknownStep),
        (no_release, Malformed::Missing("release")),
        (
            unnamed(|release| release.namespace.clear()),
            Malformed::Missing("release namespace"),
        ),
        (
            unnamed(|release| release.name.clear()),
            Malformed::Missing("release name"),
        ),
    ] {
        // Told before the task is accepted, and again should it get further.
        assert_eq!(check(&wire), Err(want));
        assert!(task(wire, &nothing).is_err());
    }
    let mut no_context = deploy(v1::KubernetesRollingDeploy {
        release: release(),
        ..v1::KubernetesRollingDeploy::default()
    });
    no_context.context = Some(v1::BlobRef {
        sha256: "bb".into(),
        size: 1,
    });
    assert_eq!(
        task(no_context.clone(), &nothing).unwrap_err(),
        Malformed::Missing("context")
    );
    let bytes: Blobs = [("bb".to_owned(), b"{".to_vec())].into();
    assert_eq!(task(no_context, &bytes).unwrap_err(), Malformed::Context);
    let no_revision = deploy(v1::KubernetesRollingDeploy {
        release: release(),
        manifests: vec![git(None, "")],
        ..v1::KubernetesRollingDeploy::default()
    });
    assert_eq!(
        task(no_revision, &nothing).unwrap_err(),
        Malformed::Missing("Git revision")
    );
}

#[test]
fn without_a_secret_git_is_anonymous() {
    let wire = deploy(v1::KubernetesRollingDeploy {
        release: release(),
        manifests: vec![git(
            Some(v1::git_source::Revision::Branch("main".into())),
            "",
        )],
        ..v1::KubernetesRollingDeploy::default()
    });
    let task = task(wire, &Blobs::new()).unwrap();
    let Action::RollingDeploy(deploy) = task.action else {
        panic!("no deployment")
    };
    let [Source::Git(git)] = deploy.manifests.as_slice() else {
        panic!("no Git")
    };
    assert_eq!(git.credentials, None);
    assert_eq!(task.timeout, DEFAULT_TIMEOUT);
}

#[test]
fn a_rollback_goes_below_the_number_that_failed() {
    let rollback = |number| {
        let release = Some(v1::KubernetesRelease {
            number,
            ..release().unwrap()
        });
        let step = v1::KubernetesRollingRollback {
            release,
            delete_storage: true,
            ..Default::default()
        };
        let step = Some(v1::task::Step::KubernetesRollingRollback(step));
        let wire = v1::Task {
            id: "t".into(),
            epoch: 1,
            step,
            ..v1::Task::default()
        };
        match task(wire, &Blobs::new()).unwrap().action {
            Action::RollingRollback(rollback) => rollback,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(rollback(Some(7)).target, Target::Below(7));
    assert_eq!(rollback(None).target, Target::LastGood);
    assert!(rollback(None).delete_storage);
}

#[test]
fn a_failure_keeps_what_is_known() {
    let failure = Failure {
        kind: FailureKind::Timeout,
        code: "SRT-T010".into(),
        message: "it took too long".into(),
        hint: "wait".into(),
        release_number: Some(4),
    };
    let v1::task_result::Outcome::Failed(failed) = outcome(Outcome::Failed(failure)) else {
        panic!("it failed")
    };
    assert_eq!(failed.failure_type(), v1::FailureType::Timeout);
    assert_eq!(
        (failed.code.as_str(), failed.hint.as_str()),
        ("SRT-T010", "wait")
    );
    assert_eq!(failed.outputs_json, "{\"releaseNumber\":4}");
}

#[test]
fn hooks_come_with_the_task() {
    let hook = |actions: &[v1::ServiceHookAction]| v1::ServiceHook {
        id: "decrypt".to_owned(),
        after: true,
        actions: actions.iter().map(|action| i32::from(*action)).collect(),
        script: "echo <+service.name>".to_owned(),
    };
    let found = hooks(vec![hook(&[
        v1::ServiceHookAction::FetchFiles,
        v1::ServiceHookAction::TemplateManifest,
        v1::ServiceHookAction::SteadyStateCheck,
    ])]);
    let expected = ServiceHook {
        id: "decrypt".to_owned(),
        time: HookTime::After,
        actions: vec![
            HookAction::FetchFiles,
            HookAction::TemplateManifest,
            HookAction::SteadyStateCheck,
        ],
        script: "echo <+service.name>".to_owned(),
    };
    assert_eq!(found, Ok(vec![expected]));
    let before = v1::ServiceHook {
        after: false,
        ..hook(&[])
    };
    assert_eq!(hooks(vec![before]).unwrap()[0].time, HookTime::Before);
    // An action of a newer protocol would be left out otherwise.
    let mut newer = hook(&[]);
    newer.actions.push(99);
    assert_eq!(
        hooks(vec![newer]),
        Err(Malformed::Unknown("action of a hook"))
    );
}
