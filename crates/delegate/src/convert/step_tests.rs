//! What becomes of each type of steps but the rolling ones.

use sortie_step::task::{
    Action, Amount, PatchKind, Prune, Resources, RollingDeploy, RolloutCommand, Versioning,
};
use sortie_strategy::routing::Routing;

use super::tests::{inline, release};
use super::*;

fn action(step: v1::task::Step) -> Result<Action, Malformed> {
    let wire = v1::Task {
        id: "t1".into(),
        undo_changes: true,
        step: Some(step),
        ..v1::Task::default()
    };
    assert_eq!(check(&wire), Ok(()));
    let task = task(wire, &Blobs::new())?;
    assert!(task.undo_changes);
    assert_eq!(task.release.name, "web");
    Ok(task.action)
}

fn set() -> Option<v1::ManifestSet> {
    use v1::inline_file::Content;
    Some(v1::ManifestSet {
        manifests: vec![inline("a.yaml", Content::Data(b"kind: A".to_vec()))],
        values: vec![inline("v.yaml", Content::Data(b"a: 1".to_vec()))],
    })
}

fn named(names: &[&str]) -> Option<v1::Resources> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let names = v1::resources::Resources::Names(v1::ObjectNames { names });
    let resources = Some(names);
    Some(v1::Resources { resources })
}

#[test]
fn steps_on_manifests_have_them_all() {
    use v1::task::Step;
    let apply = v1::KubernetesApply {
        release: release(),
        set: set(),
        skip_steady_state_check: true,
    };
    let Action::Apply(apply) = action(Step::KubernetesApply(apply)).unwrap() else {
        panic!("another step");
    };
    assert_eq!((apply.set.manifests.len(), apply.set.values.len()), (1, 1));
    assert!(apply.skip_steady_state_check && apply.set.context.is_object());
    let dry_run = v1::KubernetesDryRun {
        release: release(),
        set: set(),
    };
    let Action::DryRun(set_of) = action(Step::KubernetesDryRun(dry_run)).unwrap() else {
        panic!("another step");
    };
    assert_eq!((set_of.manifests.len(), set_of.values.len()), (1, 1));
    let diff = v1::KubernetesDiff {
        release: release(),
        set: set(),
        versioning: v1::Versioning::Off.into(),
    };
    let Action::Diff(diff) = action(Step::KubernetesDiff(diff)).unwrap() else {
        panic!("another step");
    };
    let diff = diff.deploy;
    assert_eq!((diff.manifests.len(), diff.values.len()), (1, 1));
    assert_eq!(diff.versioning, Versioning::Off);
    let nothing = v1::KubernetesApply {
        release: release(),
        ..Default::default()
    };
    let missing = action(Step::KubernetesApply(nothing)).unwrap_err();
    assert_eq!(missing, Malformed::Missing("manifests"));
}

#[test]
fn steps_on_objects_name_them() {
    use v1::task::Step;
    let scale = |to: Option<v1::amount::Amount>| {
        action(Step::KubernetesScale(v1::KubernetesScale {
            release: release(),
            workload: "Deployment/web".into(),
            to: Some(v1::Amount { amount: to }),
            skip_steady_state_check: false,
        }))
    };
    for (to, expected) in [
        (v1::amount::Amount::Count(0), Amount::Count(0)),
        (v1::amount::Amount::Percent(50), Amount::Percent(50)),
    ] {
        let Action::Scale(scale) = scale(Some(to)).unwrap() else {
            panic!("another step");
        };
        assert_eq!(
            (scale.workload.as_str(), scale.to),
            ("Deployment/web", expected)
        );
    }
    let missing = Malformed::Missing("number of pods");
    assert_eq!(scale(None).unwrap_err(), missing);

    let delete = v1::KubernetesDelete {
        release: release(),
        resources: named(&["ConfigMap/a", "b/Service/c"]),
        delete_namespaces: true,
    };
    let Action::Delete(delete) = action(Step::KubernetesDelete(delete)).unwrap() else {
        panic!("another step");
    };
    assert!(delete.delete_namespaces);
    assert!(matches!(&delete.resources, Resources::Names(names) if names.len() == 2));
    let nothing = v1::KubernetesDelete {
        release: release(),
        ..Default::default()
    };
    let missing = Malformed::Missing("resources");
    assert_eq!(
        action(Step::KubernetesDelete(nothing)).unwrap_err(),
        missing
    );
}

#[test]
fn words_that_say_nothing_are_refused() {
    use v1::task::Step;
    let patch = |kind: v1::PatchKind| {
        action(Step::KubernetesPatch(v1::KubernetesPatch {
            release: release(),
            workload: "Deployment/web".into(),
            kind: kind.into(),
            content: set().unwrap().manifests,
            change_cause: true,
            skip_steady_state_check: true,
        }))
    };
    for (kind, expected) in [
        (v1::PatchKind::Strategic, PatchKind::Strategic),
        (v1::PatchKind::Merge, PatchKind::Merge),
        (v1::PatchKind::Json, PatchKind::Json),
    ] {
        let Action::Patch(patch) = patch(kind).unwrap() else {
            panic!("another step");
        };
        assert_eq!((patch.kind, patch.content.len()), (expected, 1));
        assert!(patch.change_cause && patch.skip_steady_state_check);
    }
    let unknown = Malformed::Unknown("kind of patch");
    assert_eq!(patch(v1::PatchKind::Unspecified).unwrap_err(), unknown);

    let rollout = |command: v1::RolloutCommand, to_revision| {
        action(Step::KubernetesRollout(v1::KubernetesRollout {
            release: release(),
            command: command.into(),
            to_revision,
            resources: Some(v1::Resources {
                resources: Some(v1::resources::Resources::Release(v1::ReleaseObjects {})),
            }),
        }))
    };
    use v1::RolloutCommand as Wire;
    let to_revision = Some(3);
    for (command, expected) in [
        (Wire::Restart, RolloutCommand::Restart),
        (Wire::Resume, RolloutCommand::Resume),
        (Wire::Status, RolloutCommand::Status),
        (Wire::Undo, RolloutCommand::Undo { to_revision }),
        (Wire::Pause, RolloutCommand::Pause),
        (Wire::History, RolloutCommand::History),
    ] {
        let Action::Rollout(rollout) = rollout(command, to_revision).unwrap() else {
            panic!("another step");
        };
        assert_eq!(rollout.command, expected);
        assert!(matches!(rollout.resources, Resources::Release));
    }
    let unknown = Malformed::Unknown("command");
    assert_eq!(rollout(Wire::Unspecified, None).unwrap_err(), unknown);
}

#[test]
fn strategies_deploy_as_a_rolling_deployment_does() {
    use v1::task::Step;
    let deployment = || {
        Some(v1::Deployment {
            set: set(),
            versioning: v1::Versioning::Off.into(),
            adopt: true,
            replace: true,
            prune: true,
            prune_limit: Some(3),
            skip_job_wait: true,
            routing: Some(v1::KubernetesTrafficRouting {
                release: None,
                routing: Some(v1::kubernetes_traffic_routing::Routing::Inherit(
                    v1::TrafficWeights::default(),
                )),
            }),
        })
    };
    let check = |deploy: &RollingDeploy| {
        assert_eq!((deploy.manifests.len(), deploy.values.len()), (1, 1));
        assert!(deploy.adopt && deploy.replace && !deploy.wait_for_jobs && !deploy.dry_run);
        assert_eq!(deploy.prune, Some(Prune { limit: Some(3) }));
        assert_eq!(deploy.versioning, Versioning::Off);
        assert!(deploy.context.is_object());
        assert!(matches!(&deploy.routing, Some(Routing::Inherit(_))));
    };
    let canary = v1::KubernetesCanaryDeploy {
        release: release(),
        deployment: deployment(),
        instances: Some(v1::Amount {
            amount: Some(v1::amount::Amount::Percent(25)),
        }),
    };
    let Action::CanaryDeploy(canary) = action(Step::KubernetesCanaryDeploy(canary)).unwrap() else {
        panic!("another step");
    };
    check(&canary.deploy);
    assert_eq!(canary.instances, Amount::Percent(25));
    for (percent, is_right) in [(0, false), (1, true), (100, true), (101, false)] {
        let step = v1::KubernetesProgressiveDeploy {
            release: release(),
            deployment: deployment(),
            percent,
        };
        match action(Step::KubernetesProgressiveDeploy(step)) {
            Ok(Action::ProgressiveDeploy(step)) if is_right => {
                check(&step.deploy);
                assert_eq!(step.percent, percent);
            }
            other => assert!(!is_right && other.is_err(), "{percent}"),
        }
    }
    let blue_green = v1::KubernetesBlueGreenDeploy {
        release: release(),
        deployment: deployment(),
        skip_unchanged: true,
    };
    let blue_green = Step::KubernetesBlueGreenDeploy(blue_green);
    let Action::BlueGreenDeploy(blue_green) = action(blue_green).unwrap() else {
        panic!("another step");
    };
    check(&blue_green.deploy);
    assert!(blue_green.skip_unchanged);
    let nothing = v1::KubernetesBlueGreenDeploy {
        release: release(),
        ..Default::default()
    };
    let missing = action(Step::KubernetesBlueGreenDeploy(nothing)).unwrap_err();
    assert_eq!(missing, Malformed::Missing("manifests"));
}

#[test]
fn what_follows_a_deployment_beside_the_old_one() {
    use v1::task::Step;
    let canary = v1::KubernetesCanaryDelete { release: release() };
    let canary = action(Step::KubernetesCanaryDelete(canary)).unwrap();
    assert!(matches!(canary, Action::CanaryDelete));
    let swap = |settle_ms, back| {
        let swap = v1::KubernetesSwapServices {
            release: release(),
            settle_ms,
            back,
        };
        match action(Step::KubernetesSwapServices(swap)).unwrap() {
            Action::SwapServices(swap) => (swap.settle.as_millis(), swap.back),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(swap(None, false), (30_000, false));
    assert_eq!(swap(Some(0), true), (0, true));
    let down = v1::KubernetesStageScaleDown { release: release() };
    let down = action(Step::KubernetesStageScaleDown(down)).unwrap();
    assert!(matches!(down, Action::StageScaleDown(options) if options.number.is_none()));
    let up = |instances| {
        let up = v1::KubernetesStageScaleUp {
            release: release(),
            instances,
            skip_steady_state_check: true,
        };
        action(Step::KubernetesStageScaleUp(up))
    };
    let count = Some(v1::amount::Amount::Count(2));
    for (amount, expected) in [
        (None, None),
        (Some(v1::Amount { amount: count }), Some(Amount::Count(2))),
    ] {
        let Action::StageScaleUp(up) = up(amount).unwrap() else {
            panic!("another step");
        };
        assert_eq!((up.instances, up.skip_steady_state_check), (expected, true));
    }
    // A number that says nothing is not "as many as before".
    let empty = up(Some(v1::Amount { amount: None })).unwrap_err();
    assert_eq!(empty, Malformed::Missing("number of pods"));
}

#[test]
fn routes_are_read_whole_and_damaged_ones_refused() {
    use sortie_strategy::routing::{
        Config, Destination, Header, How, Match, Protocol, Provider, Route, Routing, Rule,
    };
    use v1::task::Step;
    let text = |matching| v1::TextMatch {
        r#match: Some(matching),
    };
    let rule = |rule| v1::TrafficRule { rule: Some(rule) };
    let wire = |rules: Vec<v1::TrafficRule>, port: Option<u32>| {
        let destination = v1::TrafficDestination {
            host: "canary".into(),
            port,
            weight: Some(10),
        };
        let route = v1::TrafficRoute {
            name: "r".into(),
            rules,
            destinations: vec![destination],
        };
        let gateway = v1::GatewayApiProvider {
            grpc: true,
            hosts: vec!["a.example".into()],
            gateways: vec!["main".into()],
        };
        let config = v1::TrafficRoutes {
            name: "web".into(),
            routes: vec![route],
            provider: Some(v1::traffic_routes::Provider::GatewayApi(gateway)),
        };
        let routing = v1::kubernetes_traffic_routing::Routing::Config(config);
        action(Step::KubernetesTrafficRouting(
            v1::KubernetesTrafficRouting {
                release: release(),
                routing: Some(routing),
            },
        ))
    };
    let header = v1::HeaderMatch {
        key: "x".into(),
        value: Some(text(v1::text_match::Match::Regex("1|2".into()))),
    };
    let rules = vec![
        rule(v1::traffic_rule::Rule::Uri(text(
            v1::text_match::Match::Prefix("/a".into()),
        ))),
        rule(v1::traffic_rule::Rule::Headers(v1::HeaderMatches {
            headers: vec![header],
        })),
        rule(v1::traffic_rule::Rule::Port(80)),
        rule(v1::traffic_rule::Rule::Method(text(
            v1::text_match::Match::Exact("GET".into()),
        ))),
    ];
    let Action::TrafficRouting(found) = wire(rules, Some(8080)).unwrap() else {
        panic!("another step");
    };
    let matching = |how, value: &str| Match {
        how,
        value: value.to_owned(),
    };
    let header = Header {
        key: "x".to_owned(),
        value: matching(How::Regex, "1|2"),
    };
    let expected = Routing::Config(Config {
        provider: Provider::GatewayApi {
            protocol: Protocol::Grpc,
            hosts: vec!["a.example".to_owned()],
            gateways: vec!["main".to_owned()],
        },
        name: "web".to_owned(),
        routes: vec![Route {
            name: "r".to_owned(),
            rules: vec![
                Rule::Uri(matching(How::Prefix, "/a")),
                Rule::Headers(vec![header]),
                Rule::Port(80),
                Rule::Method(matching(How::Exact, "GET")),
            ],
            destinations: vec![Destination {
                host: "canary".to_owned(),
                port: Some(8080),
                weight: Some(10),
            }],
        }],
    });
    assert_eq!(found, expected);
    for (rules, port) in [
        (vec![v1::TrafficRule { rule: None }], None),
        (vec![rule(v1::traffic_rule::Rule::Port(0))], None),
        (
            vec![rule(v1::traffic_rule::Rule::Uri(v1::TextMatch {
                r#match: None,
            }))],
            None,
        ),
        (Vec::new(), Some(65536)),
    ] {
        let refused = wire(rules, port).unwrap_err();
        assert!(matches!(refused, Malformed::Unknown(_)), "{refused}");
    }
}
