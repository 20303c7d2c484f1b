//! Each finding with its exact place, path, code and severity.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sortie_model::{Limits, Severity, parse};

/// What a text yields: `line:column code severity path`, in the order of the file.
fn findings(text: &str) -> Vec<String> {
    let parsed = parse("f.yaml", text.as_bytes(), &Limits::default());
    let show = |problem: &sortie_model::Problem| {
        let severity = match problem.severity {
            Severity::Error => "E",
            Severity::Warning => "W",
        };
        let (line, column) = (problem.line, problem.column);
        format!(
            "{line}:{column} {} {severity} {}",
            problem.code.code(),
            problem.path
        )
    };
    parsed.problems.iter().map(show).collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(findings(text), expected, "{text}");
}

fn message(text: &str) -> String {
    let parsed = parse("f.yaml", text.as_bytes(), &Limits::default());
    parsed.problems.first().expect("a finding").message.clone()
}

const ENVIRONMENT: &str = "environment:\n  name: a\n  identifier: a\n  type: Production\n";

fn infrastructure(spec: &str) -> String {
    format!(
        "infrastructureDefinition:\n  name: a\n  identifier: a\n  environmentRef: e\n  deploymentType: Kubernetes\n  \
         type: KubernetesDirect\n  spec:\n{spec}"
    )
}

/// A pipeline with one stage; `steps` starts at line 18, column 12.
fn pipeline(steps: &str) -> String {
    format!(
        "pipeline:\n  name: p\n  identifier: p\n  stages:\n    - stage:\n        name: s\n        identifier: s\n        \
         type: Deployment\n        failureStrategies: []\n        spec:\n          deploymentType: Kubernetes\n          \
         service: {{serviceRef: web}}\n          environment:\n            environmentRef: dev\n            \
         infrastructureDefinitions:\n              - identifier: k8s\n          execution:\n            steps: {steps}\n"
    )
}

const STEP: &str = "pipeline.stages[0].stage.spec.execution.steps[0].step";

#[test]
fn documents_that_are_no_entities() {
    check("", &[]);
    check("# nothing\n---\n---\n", &[]);
    check("hello", &["1:1 SRT-E007 E "]);
    check("- a\n", &["1:1 SRT-E007 E "]);
    check("{}", &["1:1 SRT-E007 E "]);
    check("a: 1\nb: 2\n", &["1:1 SRT-E007 E "]);
    check("apiVersion: v1\nkind: Pod\n", &["1:1 SRT-E007 E "]);
    assert!(message("apiVersion: v1\nkind: Pod\n").contains("Kubernetes object"));
    check("pipelines: {}\n", &["1:1 SRT-E008 E pipelines"]);
    assert!(message("pipelines: {}\n").contains("`pipeline`"));
    check("trigger: {a: 1}\n", &["1:1 SRT-E009 W trigger"]);
    check("---\n\ninputSet: {}\n", &["3:1 SRT-E009 W inputSet"]);
    check("environment:\n", &["1:12 SRT-E011 E environment"]);
    check("environment: []\n", &["1:14 SRT-E011 E environment"]);
}

#[test]
fn yaml_that_cannot_be_read() {
    check(
        "environment: {a: [1\n",
        &["1:18 SRT-E003 E environment.a[0]"],
    );
    check("a: *missing\n", &["1:4 SRT-E003 E a"]);
    check("%YAML 1.2\n---\na: 1\n", &["1:1 SRT-E003 E "]);
    check("? [a]\n: b\n", &["1:3 SRT-E003 E "]);
    check("a: &x [*x]\n", &["1:8 SRT-E003 E a[0]"]);
    check(
        "environment:\n  name: a\n  name: b\n  identifier: a\n  type: Production\n",
        &["3:3 SRT-E006 E environment.name"],
    );
    // What comes before a fault is still read.
    let broken = format!("{ENVIRONMENT}---\nservice: {{\n");
    let parsed = parse("f", broken.as_bytes(), &Limits::default());
    assert_eq!(parsed.entities.len(), 1);
    assert!(parsed.has_errors(false));
}

#[test]
fn envelope_of_entities() {
    check(ENVIRONMENT, &[]);
    check(
        "environment: {type: Production}\n",
        &[
            "1:14 SRT-E012 E environment.name",
            "1:14 SRT-E012 E environment.identifier",
        ],
    );
    check(
        "environment:\n  name: ' a'\n  identifier: 1a\n  type: Prod\n",
        &[
            "2:9 SRT-E015 E environment.name",
            "3:15 SRT-E014 E environment.identifier",
            "4:9 SRT-E013 E environment.type",
        ],
    );
    check(
        "environment:\n  name: a.b-c d\n  identifier: step\n  type: Production\n",
        &["3:15 SRT-E014 E environment.identifier"],
    );
    check(
        &format!("{ENVIRONMENT}  projectIdentifier: p\n"),
        &["5:22 SRT-E018 E environment.projectIdentifier"],
    );
    check(
        &format!("{ENVIRONMENT}  orgIdentifier: 'a b'\n"),
        &["5:18 SRT-E014 E environment.orgIdentifier"],
    );
    check(
        &format!("{ENVIRONMENT}  tags: [a]\n"),
        &["5:9 SRT-E011 E environment.tags"],
    );
    check(
        &format!("{ENVIRONMENT}  tags:\n    a: {{}}\n    b:\n"),
        &["6:8 SRT-E011 E environment.tags.a"],
    );
    check(
        &format!("{ENVIRONMENT}---\n{ENVIRONMENT}"),
        &["8:15 SRT-E019 E environment.identifier"],
    );
    check(
        &format!("{ENVIRONMENT}  overrides: {{manifests: [1]}}\n"),
        &["5:3 SRT-E025 W environment.overrides"],
    );
    check(&format!("{ENVIRONMENT}  overrides: {{}}\n"), &[]);
}

#[test]
fn unknown_fields_name_the_nearest_known_one() {
    let text = format!("{ENVIRONMENT}  __uuid: x\n  metadata: ''\n  desciption: x\n  \"a.b\": 1\n");
    check(
        &text,
        &[
            "7:3 SRT-E010 W environment.desciption",
            "8:3 SRT-E010 W environment[\"a.b\"]",
        ],
    );
    assert_eq!(
        message(&text),
        "`desciption` is not known here and is ignored; was `description` meant?"
    );
    let parsed = parse("f", text.as_bytes(), &Limits::default());
    assert!(!parsed.has_errors(false));
    assert!(parsed.has_errors(true));
    assert_eq!(parsed.entities.len(), 1);
}

#[test]
fn infrastructures() {
    let spec =
        "    connectorRef: account.k8s\n    namespace: shop-<+env.name>\n    releaseName: r\n";
    check(&infrastructure(spec), &[]);
    check(
        &infrastructure("    connectorRef: a.b\n    namespace: Shop\n    releaseName: ''\n"),
        &[
            "8:19 SRT-E020 E infrastructureDefinition.spec.connectorRef",
            "9:16 SRT-E017 E infrastructureDefinition.spec.namespace",
            "10:5 SRT-E012 E infrastructureDefinition.spec.releaseName",
        ],
    );
    let later = infrastructure(spec).replace("KubernetesDirect", "KubernetesGcp");
    check(&later, &["6:9 SRT-E025 W infrastructureDefinition.type"]);
    let wrong = infrastructure(spec).replace("KubernetesDirect", "KubernetesDirec");
    check(&wrong, &["6:9 SRT-E013 E infrastructureDefinition.type"]);
    check(
        &infrastructure(&format!("{spec}    provisioner: p\n")),
        &["11:5 SRT-E025 W infrastructureDefinition.spec.provisioner"],
    );
}

#[test]
fn expressions_are_checked_where_they_stand() {
    let at = |namespace: &str| {
        findings(&infrastructure(&format!(
            "    connectorRef: k\n    namespace: {namespace}\n    releaseName: r\n"
        )))
    };
    assert_eq!(at("a-<+env.name>"), Vec::<String>::new());
    assert_eq!(
        at("a-<+env.name"),
        ["9:18 SRT-E022 E infrastructureDefinition.spec.namespace"]
    );
    assert_eq!(
        at("'it''s <+env.name> <+env.name'"),
        ["9:35 SRT-E022 E infrastructureDefinition.spec.namespace"]
    );
    assert_eq!(
        at("|\n      <+env.name>\n      ü <+env.name\n"),
        ["11:9 SRT-E022 E infrastructureDefinition.spec.namespace"]
    );
    assert_eq!(
        at("<+input>"),
        ["9:16 SRT-E027 W infrastructureDefinition.spec.namespace"]
    );
    assert_eq!(
        at("<+input>.allowedValues(a,b)"),
        ["9:16 SRT-E027 W infrastructureDefinition.spec.namespace"]
    );
}

#[test]
fn steps() {
    let good = "\n              - step: {name: a, identifier: a, type: K8sRollingDeploy, timeout: 10m, spec: {skipDryRun: false}}";
    check(&pipeline(good), &[]);
    check(
        &pipeline("[]"),
        &["18:13 SRT-E012 E pipeline.stages[0].stage.spec.execution.steps"],
    );
    check(
        &pipeline("[{step: {name: a, identifier: a, type: K8sRollingDeploi, spec: {}}}]"),
        &[&format!("18:59 SRT-E023 E {STEP}.type")],
    );
    let text = pipeline("[{step: {name: a, identifier: a, type: K8sRollingDeploi, spec: {}}}]");
    assert!(message(&text).contains("`K8sRollingDeploy`"));
    check(
        &pipeline("[{step: {name: a, identifier: a, type: ShellScript, spec: {x: {y: 1}}}}]"),
        &[&format!("18:59 SRT-E024 W {STEP}.type")],
    );
    check(
        &pipeline(
            "[{step: {name: a, identifier: a, type: K8sRollingDeploy, timeout: 10x, spec: {skipDryRun: 1}}}]",
        ),
        &[
            &format!("18:86 SRT-E016 E {STEP}.timeout"),
            &format!("18:110 SRT-E011 E {STEP}.spec.skipDryRun"),
        ],
    );
    check(
        &pipeline(
            "[{step: {name: a, identifier: a, type: K8sRollingDeploy, spec: {}, when: {stageStatus: All}}}]",
        ),
        &[&format!("18:87 SRT-E025 W {STEP}.when")],
    );
    check(
        &pipeline("[{step: {name: a, identifier: a, type: K8sRollingRollback}}]"),
        &[&format!("18:28 SRT-E012 E {STEP}.spec")],
    );
    check(
        &pipeline("[{}]"),
        &["18:21 SRT-E012 E pipeline.stages[0].stage.spec.execution.steps[0].step"],
    );
    check(
        &pipeline("<+input>"),
        &["18:20 SRT-E027 W pipeline.stages[0].stage.spec.execution.steps"],
    );
}

#[test]
fn identifiers_are_unique_over_groups_and_parallel_blocks() {
    let step = "step: {name: a, identifier: a, type: K8sRollingDeploy, spec: {}}";
    let text = pipeline(&format!(
        "\n              - {step}\n              - parallel:\n                  - stepGroup:\n                      name: g\n                      \
         identifier: g\n                      steps:\n                        - {step}\n"
    ));
    let path = "pipeline.stages[0].stage.spec.execution.steps[1].parallel[0].stepGroup.steps[0].step.identifier";
    check(&text, &[&format!("25:55 SRT-E019 E {path}")]);
}

#[test]
fn stages() {
    let good = "[{step: {name: a, identifier: a, type: K8sRollingDeploy, spec: {}}}]";
    let text = pipeline(good);
    check(
        &text.replace("        failureStrategies: []\n", ""),
        &["6:9 SRT-E012 E pipeline.stages[0].stage.failureStrategies"],
    );
    check(
        &text.replace("type: Deployment", "type: Approval"),
        &["8:15 SRT-E025 W pipeline.stages[0].stage.type"],
    );
    check(
        &text.replace("type: Deployment", "type: Deploy"),
        &["8:15 SRT-E013 E pipeline.stages[0].stage.type"],
    );
    check(
        &text.replace("service: {", "services: {"),
        &["12:11 SRT-E025 W pipeline.stages[0].stage.spec.services"],
    );
    check(
        &text.replace("          service: {serviceRef: web}\n", ""),
        &["11:11 SRT-E012 E pipeline.stages[0].stage.spec.service"],
    );
    check(
        &text.replace("Kubernetes\n", "NativeHelm\n"),
        &["11:27 SRT-E025 W pipeline.stages[0].stage.spec.deploymentType"],
    );
    check(
        &text.replace(
            "              - identifier: k8s\n",
            "              - identifier: k8s\n              - identifier: k9s\n",
        ),
        &[
            "17:29 SRT-E025 W pipeline.stages[0].stage.spec.environment.infrastructureDefinitions[1]",
        ],
    );
    check(
        "pipeline: {name: p, identifier: p, stages: []}\n",
        &["1:36 SRT-E012 E pipeline.stages"],
    );
    check(
        "pipeline: {name: p, identifier: p, stages: [{parallel: [{stage: {}}]}]}\n",
        &[
            "1:46 SRT-E025 W pipeline.stages[0].parallel",
            "1:65 SRT-E012 E pipeline.stages[0].parallel[0].stage.identifier",
            "1:65 SRT-E012 E pipeline.stages[0].parallel[0].stage.name",
            "1:65 SRT-E012 E pipeline.stages[0].parallel[0].stage.type",
        ],
    );
}

#[test]
fn failure_strategies() {
    let with = |strategies: &str| {
        let good = "[{step: {name: a, identifier: a, type: K8sRollingDeploy, spec: {}}}]";
        findings(&pipeline(good).replace(
            "failureStrategies: []",
            &format!("failureStrategies: {strategies}"),
        ))
    };
    let path = "pipeline.stages[0].stage.failureStrategies[0].onFailure";
    assert!(
        with("[{onFailure: {errors: [AllErrors, Timeout], action: {type: StageRollback}}}]")
            .is_empty()
    );
    assert_eq!(
        with("[{onFailure: {errors: [AllError], action: {type: Retry, spec: {retryCount: 1}}}}]"),
        [
            format!("9:51 SRT-E013 E {path}.errors[0]"),
            format!("9:77 SRT-E025 W {path}.action.type"),
        ]
    );
    assert_eq!(
        with("[{onFailure: {errors: [], action: {type: Rollback}}}]"),
        [
            format!("9:42 SRT-E012 E {path}.errors"),
            format!("9:69 SRT-E013 E {path}.action.type"),
        ]
    );
}

#[test]
fn variables() {
    let with = |variables: &str| findings(&format!("{ENVIRONMENT}  variables: {variables}\n"));
    assert!(
        with("[{name: a.b-c$, type: String, value: 1.10, required: true, description: ''}]")
            .is_empty()
    );
    assert!(
        with("[{name: a, type: Number, value: ''}, {name: b, type: Number, value: '<+x>'}]")
            .is_empty()
    );
    assert!(
        with(
            "[{name: a, type: Secret, value: account.x}, {name: v, type: String, value: <+input>}]"
        )
        .is_empty()
    );
    assert_eq!(
        with("[{name: a, type: Number, value: x}]"),
        ["5:46 SRT-E011 E environment.variables[0].value"]
    );
    assert_eq!(
        with("[{name: 1, type: Text}]"),
        [
            "5:22 SRT-E015 E environment.variables[0].name",
            "5:31 SRT-E013 E environment.variables[0].type",
        ]
    );
    assert_eq!(
        with("[{name: a, type: Secret, value: '<+secrets.getValue(\"x\")>'}]"),
        ["5:46 SRT-E017 E environment.variables[0].value",]
    );
    assert_eq!(
        with("[{name: a, type: String, value: x}, {name: a, type: String, value: y}]"),
        ["5:57 SRT-E019 E environment.variables[1].name",]
    );
    assert_eq!(
        with("[{name: a, type: String, value: {b: c}}]"),
        ["5:46 SRT-E011 E environment.variables[0].value"]
    );
}

#[test]
fn connectors() {
    let with = |kind: &str, spec: &str| {
        findings(&format!(
            "connector:\n  name: a\n  identifier: a\n  type: {kind}\n  spec: {spec}\n"
        ))
    };
    assert!(
        with(
            "K8sCluster",
            "{credential: {type: InheritFromDelegate}, delegateSelectors: [d]}"
        )
        .is_empty()
    );
    assert_eq!(
        with("K8sCluster", "{credential: {type: InheritFromDelegate}}"),
        ["5:9 SRT-E012 E connector.spec.delegateSelectors"]
    );
    assert_eq!(
        with("K8sCluster", "{credential: {type: ManualConfig, spec: {}}}"),
        ["5:29 SRT-E025 W connector.spec.credential.type"]
    );
    assert!(
        with(
            "Git",
            "{url: 'https://g/r', type: Http, connectionType: Repo}"
        )
        .is_empty()
    );
    assert!(with("Git", "{url: 'https://g/r', type: Http, connectionType: Repo, spec: {username: u, passwordRef: p}}").is_empty());
    assert_eq!(
        with(
            "Git",
            "{url: 'https://u:p@g/r', type: Http, connectionType: Repo, spec: {username: u}}"
        ),
        [
            "5:15 SRT-E017 E connector.spec.url",
            "5:74 SRT-E012 E connector.spec.spec.passwordRef",
        ]
    );
    assert_eq!(
        with(
            "Git",
            "{url: 'file:///etc', type: Http, connectionType: Repo}"
        ),
        ["5:15 SRT-E017 E connector.spec.url"]
    );
    let github = "{url: 'https://g/r', type: Repo, authentication: {type: Http, spec: {type: UsernameToken, spec: {username: u, tokenRef: t}}}}";
    assert!(with("Github", github).is_empty());
    assert_eq!(
        with("Github", &github.replace("UsernameToken", "OAuth")),
        ["5:84 SRT-E025 W connector.spec.authentication.spec.type",]
    );
    assert_eq!(
        with("Gitlab", &github.replace("tokenRef: t", "tokenRef: 'a b'")),
        ["5:129 SRT-E020 E connector.spec.authentication.spec.spec.tokenRef",]
    );
    assert!(
        with(
            "DockerRegistry",
            "{dockerRegistryUrl: 'https://r', providerType: Other}"
        )
        .is_empty()
    );
    assert_eq!(
        with(
            "DockerRegistry",
            "{dockerRegistryUrl: 'https://r', providerType: Hub, auth: {type: UsernamePassword}}"
        ),
        [
            "5:56 SRT-E013 E connector.spec.providerType",
            "5:67 SRT-E012 E connector.spec.auth.spec",
        ]
    );
    assert_eq!(
        with("Vault", "{anything: 1}"),
        ["4:9 SRT-E025 W connector.type"]
    );
    assert_eq!(with("Kubernetes", "{}"), ["4:9 SRT-E013 E connector.type"]);
}

#[test]
fn services() {
    let with = |spec: &str| {
        findings(&format!(
            "service:\n  name: a\n  identifier: a\n  serviceDefinition:\n    type: Kubernetes\n    spec: {spec}\n"
        ))
    };
    let base = "service.serviceDefinition.spec";
    assert!(findings("service: {name: a, identifier: a}\n").is_empty());
    assert!(with("{manifests: [{manifest: {identifier: m, type: K8sManifest, spec: {store: {type: Harness, spec: {files: ['account:/a']}}}}}]}").is_empty());
    assert_eq!(
        with(
            "{manifests: [{manifest: {identifier: m, type: K8sManifest, spec: {store: {type: Harness, spec: {files: ['a', '/../b']}}}}}]}"
        ),
        [
            format!("6:115 SRT-E020 E {base}.manifests[0].manifest.spec.store.spec.files[0]"),
            format!("6:120 SRT-E020 E {base}.manifests[0].manifest.spec.store.spec.files[1]"),
        ]
    );
    assert_eq!(
        with(
            "{manifests: [{manifest: {identifier: m, type: K8sManifest, spec: {store: {type: Git, spec: {connectorRef: c, gitFetchType: Branch, paths: [../x]}}}}}]}"
        ),
        [
            format!("6:102 SRT-E012 E {base}.manifests[0].manifest.spec.store.spec.branch"),
            format!("6:150 SRT-E017 E {base}.manifests[0].manifest.spec.store.spec.paths"),
        ]
    );
    assert_eq!(
        with("{manifests: [{manifest: {identifier: m, type: HelmChart, spec: {any: thing}}}]}"),
        [format!("6:57 SRT-E025 W {base}.manifests[0].manifest.type"),]
    );
    let plain = "manifest: {identifier: m, type: K8sManifest, spec: {store: {type: Inline, spec: {content: x}}}}";
    assert_eq!(
        with(&format!("{{manifests: [{{{plain}}}, {{{plain}}}]}}")),
        [
            format!("6:147 SRT-E019 E {base}.manifests[1].manifest.identifier"),
            format!("6:156 SRT-E018 E {base}.manifests[1].manifest.type"),
        ]
    );
    assert_eq!(
        with(
            "{artifacts: {primary: {primaryArtifactRef: b, sources: [{identifier: a, type: DockerRegistry, spec: {connectorRef: c, imagePath: i}}]}}}"
        ),
        [format!(
            "6:111 SRT-E012 E {base}.artifacts.primary.sources[0].spec.tag"
        ),]
    );
    assert_eq!(
        with(
            "{artifacts: {primary: {primaryArtifactRef: b, sources: [{identifier: a, type: DockerRegistry, spec: {connectorRef: c, imagePath: i, tag: t}}]}}}"
        ),
        [format!(
            "6:54 SRT-E020 E {base}.artifacts.primary.primaryArtifactRef"
        ),]
    );
    assert!(with("{artifacts: {primary: {type: DockerRegistry, spec: {connectorRef: c, imagePath: i, tag: t, digest: ''}}, sidecars: []}}").is_empty());
}

#[test]
fn files() {
    check("file: {identifier: f, path: /a/b.yaml, content: ''}\n", &[]);
    check(
        "file: {identifier: f, path: a/b.yaml, content: x}\n",
        &["1:29 SRT-E017 E file.path"],
    );
    check(
        "file: {identifier: f, path: /a/../b, content: x}\n",
        &["1:29 SRT-E017 E file.path"],
    );
    check(
        "file: {identifier: f, path: /a/, content: [x]}\n",
        &["1:29 SRT-E017 E file.path", "1:43 SRT-E011 E file.content"],
    );
    check(
        "file: {identifier: f, path: /a}\n",
        &["1:7 SRT-E012 E file.content"],
    );
}

#[test]
fn service_hooks() {
    let with = |hooks: &str| {
        findings(&format!(
            "service:\n  name: a\n  identifier: a\n  serviceDefinition:\n    type: Kubernetes\n    spec:\n      hooks: {hooks}\n"
        ))
    };
    let base = "service.serviceDefinition.spec.hooks";
    let hook = "identifier: h, storeType: Inline, actions: [FetchFiles], store: {content: 'echo <+service.name>'}";
    assert!(with("[]").is_empty());
    assert!(with(&format!("[{{preHook: {{{hook}}}}}]")).is_empty());
    for (hooks, expected) in [
        (format!("[{{preHook: {{{hook}}}, postHook: {{{hook}}}}}]"), format!("7:126 SRT-E018 E {base}[0].postHook")),
        (format!("[{{preHook: {{{hook}}}}}, {{postHook: {{{hook}}}}}]"), format!("7:151 SRT-E019 E {base}[1].postHook.identifier")),
        ("[{}]".to_owned(), format!("7:15 SRT-E012 E {base}[0].preHook")),
        ("[{postHook: {identifier: h, storeType: Remote, actions: [FetchFiles], store: {content: x}}}]".to_owned(),
            format!("7:53 SRT-E013 E {base}[0].postHook.storeType")),
        ("[{postHook: {identifier: h, storeType: Inline, actions: [], store: {content: x}}}]".to_owned(),
            format!("7:61 SRT-E012 E {base}[0].postHook.actions")),
        ("[{postHook: {identifier: h, storeType: Inline, actions: [Fetch], store: {content: x}}}]".to_owned(),
            format!("7:71 SRT-E013 E {base}[0].postHook.actions[0]")),
        ("[{postHook: {identifier: h, storeType: Inline, actions: [FetchFiles, FetchFiles], store: {content: x}}}]".to_owned(),
            format!("7:83 SRT-E017 E {base}[0].postHook.actions[1]")),
        ("[{postHook: {identifier: h, storeType: Inline, actions: [FetchFiles], store: {}}}]".to_owned(),
            format!("7:91 SRT-E012 E {base}[0].postHook.store.content")),
        (format!("[{{preHook: {{identifier: h, storeType: Inline, actions: [FetchFiles], store: {{content: {}}}}}}}]", "x".repeat(128 * 1024 + 1)),
            format!("7:100 SRT-E017 E {base}[0].preHook.store.content")),
    ] {
        assert_eq!(with(&hooks), [expected], "{}", &hooks[..hooks.len().min(200)]);
    }
}
