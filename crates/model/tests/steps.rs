//! The options of each type of steps: what is read, and what is wrong with what.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use sortie_model::pipeline::spec::traffic::{Protocol, Provider};
use sortie_model::pipeline::spec::{
    ApplySource, CanarySize, InstanceSelection, ManifestPaths, PatchKind, Resources,
    RolloutCommand, TrafficRouting,
};
use sortie_model::pipeline::{StageNode, StageSpec, Step, StepNode, StepSpec, StepType};
use sortie_model::service::{ManifestSpec, Store};
use sortie_model::{Code, EntitySpec, Limits, Parsed, Severity, parse};

/// A pipeline with one step.
fn read(step_type: &str, spec: &str) -> Parsed {
    let text = format!(
        "pipeline:\n  name: p\n  identifier: p\n  stages:\n    - stage:\n        name: s\n        identifier: s\n        \
         type: Deployment\n        failureStrategies: []\n        spec:\n          deploymentType: Kubernetes\n          \
         service: {{serviceRef: web}}\n          environment:\n            environmentRef: dev\n            \
         infrastructureDefinitions:\n              - identifier: k8s\n          execution:\n            steps:\n              \
         - step:\n                  name: a\n                  identifier: a\n                  type: {step_type}\n                  \
         spec: {spec}\n"
    );
    parse("f.yaml", text.as_bytes(), &Limits::default())
}

/// `code severity path` below the spec, without that the type cannot be run yet.
fn findings(step_type: &str, spec: &str) -> Vec<String> {
    let parsed = read(step_type, spec);
    let findings = parsed.problems.iter();
    findings
        .filter(|problem| problem.code != Code::StepNotRunnable)
        .map(|problem| {
            let severity = match problem.severity {
                Severity::Error => "E",
                Severity::Warning => "W",
            };
            let (_, path) = problem.path.rsplit_once("step.").unwrap();
            format!("{} {severity} {path}", problem.code)
        })
        .collect()
}

fn step(step_type: &str, spec: &str) -> Step {
    let parsed = read(step_type, spec);
    let EntitySpec::Pipeline(pipeline) = &parsed.entities[0].spec else {
        panic!("no pipeline");
    };
    let StageNode::Stage(stage) = &pipeline.stages[0] else {
        panic!("no stage");
    };
    let StageSpec::Deployment(stage) = &stage.spec else {
        panic!("no deployment");
    };
    match &stage.steps[..] {
        [StepNode::Step(step)] => step.as_ref().clone(),
        other => panic!("{other:?} of {:?}", parsed.problems),
    }
}

/// Every kind of condition.
const ROUTES: &str = "{type: config, trafficRouting: {provider: gatewayApi, spec: {name: web, gateways: [infra/main], hosts: [a.example], routes: [{route: {type: grpc, name: r, rules: [{rule: {type: uri, spec: {name: u, value: /a, matchType: prefix}}}, {rule: {type: method, spec: {value: GET}}}, {rule: {type: headers, spec: {values: [{key: x, value: '1', matchType: regex}]}}}, {rule: {type: port, spec: {value: 80}}}, {rule: {type: scheme, spec: {value: https}}}, {rule: {type: authority, spec: {value: a.example}}}], destinations: [{destination: {host: stable, weight: 90}}, {destination: {host: canary, weight: 10, port: 8080}}]}}]}}}";

const INLINE: &str = "{type: Inline, spec: {content: 'spec: {}'}}";

#[test]
fn right_options_have_no_findings() {
    let patch = format!("{{workload: Deployment/web, mergeStrategyType: Json, source: {INLINE}}}");
    let own = format!("{{manifestSource: {{type: K8sManifest, spec: {{store: {INLINE}}}}}}}");
    let overrides = format!(
        "{{filePaths: [jobs/a.yaml], overrides: [{{manifest: {{identifier: v, type: Values, spec: {{store: {INLINE}}}}}}}]}}"
    );
    let routed = ROUTES.replace(
        "{type: config, ",
        "{instanceSelection: {type: Count, spec: {count: 1}}, ",
    );
    for (step_type, spec) in [
        (
            "K8sCanaryDeploy",
            "{instanceSelection: {type: Count, spec: {count: 1}}, skipDryRun: false, delegateSelectors: [a]}",
        ),
        (
            "K8sCanaryDeploy",
            "{canaryType: Standard, instanceSelection: {type: Percentage, spec: {percentage: '<+stage.variables.p>'}}}",
        ),
        ("K8sCanaryDelete", "{}"),
        (
            "K8sCanaryDeploy",
            "{canaryType: Progressive, targetPercentage: 30}",
        ),
        ("K8sProgressiveCanaryRollback", "{}"),
        (
            "K8sBlueGreenDeploy",
            "{skipDryRun: 'false', pruningEnabled: <+env.x>, skipDeploymentIfSameManifest: true}",
        ),
        (
            "K8sBGSwapServices",
            "{delegateSelectors: <+stage.variables.s>}",
        ),
        ("K8sBGSwapServices", "{settleDelay: 2s}"),
        (
            "K8sScale",
            "{workload: Deployment/web, instanceSelection: {type: Percentage, spec: {percentage: 150}}}",
        ),
        ("K8sBlueGreenStageScaleDown", "{}"),
        ("K8sBlueGreenStageScaleUp", "{}"),
        (
            "K8sBlueGreenStageScaleUp",
            "{replicaCountMode: Auto, skipSteadyStateCheck: true}",
        ),
        (
            "K8sBlueGreenStageScaleUp",
            "{replicaCountMode: Custom, instanceSelection: {type: Count, spec: {count: 2}}}",
        ),
        (
            "K8sApply",
            "{filePaths: [jobs/migrate.yaml], skipRendering: false, skipDryRun: true, skipSteadyStateCheck: true}",
        ),
        ("K8sApply", own.as_str()),
        ("K8sApply", overrides.as_str()),
        (
            "K8sScale",
            "{workload: shop/Deployment/web, instanceSelection: {type: Count, spec: {count: 0}}}",
        ),
        (
            "K8sDelete",
            "{deleteResources: {type: ResourceName, spec: {resourceNames: [shop/Deployment/web, ConfigMap/c]}}}",
        ),
        (
            "K8sDelete",
            "{deleteResources: {type: ResourceName, spec: {resourceNames: <+stage.variables.names>}}}",
        ),
        (
            "K8sDelete",
            "{deleteResources: {type: ManifestPath, spec: {manifestPaths: [jobs]}}}",
        ),
        (
            "K8sDelete",
            "{deleteResources: {type: ManifestPath, spec: {allManifestPaths: true}}}",
        ),
        (
            "K8sDelete",
            "{deleteResources: {type: ReleaseName, spec: {deleteNamespace: false}}}",
        ),
        ("K8sDelete", "{deleteResources: {type: ReleaseName}}"),
        ("K8sDryRun", "{encryptYamlOutput: ''}"),
        ("K8sDiff", "{}"),
        (
            "K8sRollout",
            "{command: restart, resources: {type: ReleaseName}}",
        ),
        (
            "K8sRollout",
            "{command: undo, resources: {type: ResourceName, spec: {resourceNames: [Deployment/web]}}, commandFlags: [{commandType: Rollout, flag: --to-revision=2}]}",
        ),
        ("K8sPatch", patch.as_str()),
        ("K8sTrafficRouting", ROUTES),
        ("K8sCanaryDeploy", routed.as_str()),
        (
            "K8sBlueGreenDeploy",
            "{trafficRouting: {routes: [{route: {name: r, destinations: [{destination: {host: stage, weight: 5}}]}}]}}",
        ),
        (
            "K8sTrafficRouting",
            "{type: inherit, trafficRouting: {routes: [{route: {name: r, destinations: [{destination: {host: canary, weight: <+stage.variables.w>}}]}}]}}",
        ),
        (
            "K8sTrafficRouting",
            "{type: config, trafficRouting: {provider: smi, spec: {name: s, rootService: web, routes: [{route: {type: http, name: r, destinations: [{destination: {host: a}}]}}]}}}",
        ),
    ] {
        assert_eq!(
            findings(step_type, spec),
            Vec::<String>::new(),
            "{step_type} {spec}"
        );
    }
}

#[test]
fn wrong_options_are_named_with_their_place() {
    let two = format!(
        "{{filePaths: [a.yaml], manifestSource: {{type: K8sManifest, spec: {{store: {INLINE}}}}}}}"
    );
    let values = format!("{{manifestSource: {{type: Values, spec: {{store: {INLINE}}}}}}}");
    let base = format!(
        "{{filePaths: [a.yaml], overrides: [{{manifest: {{identifier: v, type: K8sManifest, spec: {{store: {INLINE}}}}}}}]}}"
    );
    for (step_type, spec, expected) in [
        (
            "K8sCanaryDeploy",
            "{}",
            &["SRT-E012 E spec.instanceSelection"][..],
        ),
        (
            "K8sCanaryDeploy",
            "{instanceSelection: {type: Counts, spec: {count: 1}}}",
            &["SRT-E013 E spec.instanceSelection.type"],
        ),
        (
            "K8sCanaryDeploy",
            "{instanceSelection: {type: Count, spec: {percentage: 1}}}",
            &[
                "SRT-E012 E spec.instanceSelection.spec.count",
                "SRT-E010 W spec.instanceSelection.spec.percentage",
            ],
        ),
        (
            "K8sCanaryDeploy",
            "{instanceSelection: {type: Count, spec: {count: 0}}}",
            &["SRT-E017 E spec.instanceSelection.spec.count"],
        ),
        (
            "K8sCanaryDeploy",
            "{instanceSelection: {type: Percentage, spec: {percentage: 101}}}",
            &["SRT-E017 E spec.instanceSelection.spec.percentage"],
        ),
        (
            "K8sCanaryDeploy",
            "{instanceSelection: {type: Percentage, spec: {percentage: 12.5}}}",
            &["SRT-E011 E spec.instanceSelection.spec.percentage"],
        ),
        (
            "K8sCanaryDeploy",
            "{canaryType: Progressive}",
            &["SRT-E012 E spec.targetPercentage"],
        ),
        (
            "K8sCanaryDeploy",
            "{canaryType: Progressive, targetPercentage: 0}",
            &["SRT-E017 E spec.targetPercentage"],
        ),
        (
            "K8sCanaryDeploy",
            "{canaryType: Progressive, targetPercentage: 1, instanceSelection: {type: Count, spec: {count: 1}}}",
            &["SRT-E018 E spec.instanceSelection"],
        ),
        (
            "K8sCanaryDeploy",
            "{canaryType: <+env.x>, targetPercentage: 1}",
            &["SRT-E025 W spec.canaryType"],
        ),
        (
            "K8sBlueGreenStageScaleUp",
            "{replicaCountMode: Custom}",
            &["SRT-E012 E spec.instanceSelection"],
        ),
        (
            "K8sBlueGreenStageScaleUp",
            "{instanceSelection: {type: Count, spec: {count: 2}}}",
            &["SRT-E018 E spec.instanceSelection"],
        ),
        (
            "K8sBlueGreenDeploy",
            "{skipDeploymentIfSameManifest: maybe}",
            &["SRT-E011 E spec.skipDeploymentIfSameManifest"],
        ),
        (
            "K8sBGSwapServices",
            "{settleDelay: soon}",
            &["SRT-E016 E spec.settleDelay"],
        ),
        (
            "K8sBGSwapServices",
            "{settleDelay: <+env.name>}",
            &["SRT-E025 W spec.settleDelay"],
        ),
        (
            "K8sScale",
            "{workload: Deployment/web, instanceSelection: {type: Percentage, spec: {percentage: 1001}}}",
            &["SRT-E017 E spec.instanceSelection.spec.percentage"],
        ),
        ("K8sApply", "{}", &["SRT-E012 E spec.filePaths"]),
        (
            "K8sApply",
            "{filePaths: []}",
            &["SRT-E012 E spec.filePaths"],
        ),
        (
            "K8sApply",
            "{filePaths: [../a.yaml]}",
            &["SRT-E017 E spec.filePaths"],
        ),
        (
            "K8sApply",
            "{filePaths: [a.yaml], skipRendering: true}",
            &["SRT-E025 W spec.skipRendering"],
        ),
        ("K8sApply", two.as_str(), &["SRT-E018 E spec.filePaths"]),
        (
            "K8sApply",
            values.as_str(),
            &["SRT-E013 E spec.manifestSource.type"],
        ),
        ("K8sApply", base.as_str(), &["SRT-E025 W spec.overrides[0]"]),
        (
            "K8sApply",
            "{filePaths: [a.yaml], commandFlags: [{commandType: Apply, flag: --dry-run=server}]}",
            &["SRT-E025 W spec.commandFlags[0].flag"],
        ),
        (
            "K8sApply",
            "{filePaths: [a.yaml], commandFlags: [{commandType: Apply, flag: --server-side}]}",
            &["SRT-E026 W spec.commandFlags[0].flag"],
        ),
        (
            "K8sScale",
            "{}",
            &[
                "SRT-E012 E spec.workload",
                "SRT-E012 E spec.instanceSelection",
            ],
        ),
        (
            "K8sScale",
            "{workload: web, instanceSelection: {type: Count, spec: {count: -1}}}",
            &[
                "SRT-E017 E spec.workload",
                "SRT-E011 E spec.instanceSelection.spec.count",
            ],
        ),
        (
            "K8sScale",
            "{workload: a/b/c/d, instanceSelection: {type: Count, spec: {count: 1}}}",
            &["SRT-E017 E spec.workload"],
        ),
        (
            "K8sScale",
            "{workload: Deployment/*, instanceSelection: {type: Count, spec: {count: 1}}}",
            &["SRT-E017 E spec.workload"],
        ),
        ("K8sDelete", "{}", &["SRT-E012 E spec.deleteResources"]),
        (
            "K8sDelete",
            "{deleteResources: {type: All}}",
            &[
                "SRT-E013 E spec.deleteResources.type",
                "SRT-E012 E spec.deleteResources.spec",
            ],
        ),
        (
            "K8sDelete",
            "{deleteResources: {type: ResourceName, spec: {resourceNames: ['*']}}}",
            &["SRT-E017 E spec.deleteResources.spec.resourceNames[0]"],
        ),
        (
            "K8sDelete",
            "{deleteResources: {type: ResourceName, spec: {}}}",
            &["SRT-E012 E spec.deleteResources.spec.resourceNames"],
        ),
        (
            "K8sDelete",
            "{deleteResources: {type: ManifestPath, spec: {manifestPaths: [a], allManifestPaths: true}}}",
            &["SRT-E018 E spec.deleteResources.spec.manifestPaths"],
        ),
        (
            "K8sDelete",
            "{deleteResources: {type: ReleaseName}, commandFlags: [{commandType: Delete, flag: --cascade=orphan}]}",
            &["SRT-E025 W spec.commandFlags[0].flag"],
        ),
        (
            "K8sDryRun",
            "{encryptYamlOutput: true}",
            &["SRT-E025 W spec.encryptYamlOutput"],
        ),
        (
            "K8sRollout",
            "{command: rewind, resources: {type: ReleaseName}}",
            &["SRT-E013 E spec.command"],
        ),
        (
            "K8sRollout",
            "{resources: {type: ReleaseName}}",
            &["SRT-E012 E spec.command"],
        ),
        (
            "K8sRollout",
            "{command: undo, resources: {type: ReleaseName}, commandFlags: [{commandType: Rollout, flag: --to-revision=last}]}",
            &["SRT-E025 W spec.commandFlags[0].flag"],
        ),
        (
            "K8sPatch",
            "{}",
            &[
                "SRT-E012 E spec.workload",
                "SRT-E012 E spec.mergeStrategyType",
                "SRT-E012 E spec.source",
            ],
        ),
        (
            "K8sPatch",
            "{workload: a/b, mergeStrategyType: Apply, source: {type: Inline, spec: {}}}",
            &[
                "SRT-E013 E spec.mergeStrategyType",
                "SRT-E012 E spec.source.spec.content",
            ],
        ),
        (
            "K8sTrafficRouting",
            "{}",
            &["SRT-E012 E spec.type", "SRT-E012 E spec.trafficRouting"],
        ),
        (
            "K8sTrafficRouting",
            "{type: inherit, trafficRouting: {routes: []}}",
            &["SRT-E012 E spec.trafficRouting.routes"],
        ),
        (
            "K8sTrafficRouting",
            "{type: config, trafficRouting: {provider: nginx, spec: {}}}",
            &["SRT-E013 E spec.trafficRouting.provider"],
        ),
        (
            "K8sTrafficRouting",
            "{type: config, trafficRouting: {provider: istio, spec: {name: n, routes: [{route: {type: grpc, name: r, destinations: [{destination: {host: a, port: 0}}]}}]}}}",
            &[
                "SRT-E013 E spec.trafficRouting.spec.routes[0].route.type",
                "SRT-E017 E spec.trafficRouting.spec.routes[0].route.destinations[0].destination.port",
            ],
        ),
        (
            "K8sTrafficRouting",
            "{type: config, trafficRouting: {provider: gatewayApi, spec: {name: n, routes: [{route: {type: grpc, name: r, destinations: [{destination: {host: a}}]}}, {route: {type: http, name: s, destinations: [{destination: {host: a, weight: half}}]}}]}}}",
            &[
                "SRT-E018 E spec.trafficRouting.spec.routes[1].route.type",
                "SRT-E011 E spec.trafficRouting.spec.routes[1].route.destinations[0].destination.weight",
            ],
        ),
        (
            "K8sTrafficRouting",
            "{type: config, trafficRouting: {provider: smi, spec: {name: n, hosts: [a], routes: [{route: {type: http, name: r, rules: [{rule: {type: uri, spec: {value: /, matchType: glob}}}, {rule: {type: headers, spec: {values: []}}}], destinations: []}}]}}}",
            &[
                "SRT-E013 E spec.trafficRouting.spec.routes[0].route.rules[0].rule.spec.matchType",
                "SRT-E012 E spec.trafficRouting.spec.routes[0].route.rules[1].rule.spec.values",
                "SRT-E012 E spec.trafficRouting.spec.routes[0].route.destinations",
                "SRT-E010 W spec.trafficRouting.spec.hosts",
            ],
        ),
    ] {
        let mut expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
        let mut found = findings(step_type, spec);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{step_type} {spec}");
    }
}

/// What is kept as JSON in a compiled plan reads as it did in the file.
fn again(step_type: StepType, spec: &str) -> StepSpec {
    let step = step(step_type.name(), spec);
    let again = StepSpec::of_json(step_type, &step.parameters).unwrap();
    let shape = |spec: &StepSpec| {
        let shown = format!("{spec:?}");
        let mut parts = shown.split("position: Position {");
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |shape, part| shape + part.split_once('}').unwrap().1)
    };
    assert_eq!(shape(&again), shape(&step.spec));
    again
}

#[test]
fn options_are_read_from_a_file_and_from_what_is_kept() {
    let spec = "{canaryType: Progressive, targetPercentage: '<+env.share>'}";
    let StepSpec::CanaryDeploy(canary) = again(StepType::CanaryDeploy, spec) else {
        panic!("another spec");
    };
    assert!(
        matches!(&canary.size, CanarySize::Progressive(share) if share.text() == "<+env.share>")
    );
    let spec = "{instanceSelection: {type: Percentage, spec: {percentage: 20}}, skipDryRun: true}";
    let StepSpec::CanaryDeploy(canary) = again(StepType::CanaryDeploy, spec) else {
        panic!("another spec");
    };
    assert!(matches!(
        &canary.size,
        CanarySize::Standard(InstanceSelection::Percentage(share)) if share.text() == "20"
    ));
    assert_eq!(
        canary.deploy.skip_dry_run.unwrap().value.value(),
        Some(&true)
    );

    let spec = "{manifestSource: {type: K8sManifest, spec: {store: {type: Github, spec: {connectorRef: c, gitFetchType: Branch, branch: main, paths: [k8s]}}, valuesPaths: [v.yaml]}}}";
    let StepSpec::Apply(apply) = again(StepType::Apply, spec) else {
        panic!("another spec");
    };
    let ApplySource::Own(own) = &apply.source else {
        panic!("no source of its own");
    };
    assert!(matches!(
        own.as_ref(),
        ManifestSpec::K8sManifest { store: Store::Git(store), .. } if store.paths.value.value().unwrap().len() == 1
    ));

    let StepSpec::TrafficRouting(routing) = again(StepType::TrafficRouting, ROUTES) else {
        panic!("another spec");
    };
    let TrafficRouting::Config(config) = routing else {
        panic!("no routes in full");
    };
    let protocol = Protocol::Grpc;
    assert!(
        matches!(&config.provider, Provider::GatewayApi { protocol: found, .. } if *found == protocol)
    );
    let route = &config.routes[0];
    assert_eq!((route.rules.len(), route.destinations.len()), (6, 2));

    let spec = "{deleteResources: {type: ManifestPath, spec: {manifestPaths: [a, b]}}}";
    let StepSpec::Delete(delete) = again(StepType::Delete, spec) else {
        panic!("another spec");
    };
    assert!(matches!(
        &delete.resources,
        Resources::Manifests(ManifestPaths::Some(paths)) if paths.value.value().unwrap().len() == 2
    ));

    let flags = "commandFlags: [{commandType: Rollout, flag: --to-revision 7}]";
    let spec = format!("{{command: undo, resources: {{type: ReleaseName}}, {flags}}}");
    let StepSpec::Rollout(rollout) = again(StepType::Rollout, &spec) else {
        panic!("another spec");
    };
    let to_revision = Some(7);
    assert_eq!(rollout.command, RolloutCommand::Undo { to_revision });

    let spec = format!("{{workload: a/Deployment/b, mergeStrategyType: Merge, source: {INLINE}}}");
    let StepSpec::Patch(patch) = again(StepType::Patch, &spec) else {
        panic!("another spec");
    };
    assert_eq!(patch.kind, PatchKind::Merge);
    assert!(matches!(patch.source, Store::Inline { .. }));
}

#[test]
fn what_is_kept_and_damaged_is_not_guessed() {
    for spec in [
        json!(null),
        json!([]),
        json!({"workload": "Deployment/web"}),
        json!({"workload": "Deployment/*", "instanceSelection": {"type": "Count", "spec": {"count": 1}}}),
    ] {
        assert!(
            StepSpec::of_json(StepType::Scale, &spec).is_none(),
            "{spec}"
        );
    }
    let spec = json!({"workload": "Deployment/web", "instanceSelection": {"type": "Count", "spec": {"count": "1"}}});
    assert!(StepSpec::of_json(StepType::Scale, &spec).is_some());
}

#[test]
fn selectors_belong_to_the_step() {
    let step = step("K8sDiff", "{delegateSelectors: [eu, '<+env.name>']}");
    let selectors = step.delegate_selectors.value.value().unwrap();
    let texts: Vec<_> = selectors.iter().map(|selector| selector.text()).collect();
    assert_eq!(texts, ["eu", "<+env.name>"]);
}
