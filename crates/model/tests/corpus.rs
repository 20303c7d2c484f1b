//! Realistic files: what they yield, and that their text is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sortie_model::pipeline::{
    FailureAction, FailureType, StageNode, StageSpec, StepNode, StepSpec,
};
use sortie_model::service::{GitReference, ManifestSpec, Store};
use sortie_model::{EntitySpec, Field, Kind, Limits, Parsed, missing_references, parse};

const SHOP: &str = include_str!("corpus/shop.yaml");
const WILD: &str = include_str!("corpus/wild.yaml");

fn read(text: &str) -> Parsed {
    parse("corpus.yaml", text.as_bytes(), &Limits::default())
}

fn findings(parsed: &Parsed) -> Vec<String> {
    let show = |problem: &sortie_model::Problem| {
        format!(
            "{}:{} {} {}",
            problem.line, problem.column, problem.code, problem.path
        )
    };
    parsed.problems.iter().map(show).collect()
}

#[test]
fn a_project_in_one_file() {
    let parsed = read(SHOP);
    let step =
        "pipeline.stages[0].stage.spec.execution.steps[0].stepGroup.steps[0].parallel[1].step.type";
    assert_eq!(findings(&parsed), [format!("183:35 SRT-E024 {step}")]);
    let kinds: Vec<_> = parsed.entities.iter().map(|entity| entity.kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Connector,
            Kind::Connector,
            Kind::Secret,
            Kind::Environment,
            Kind::Infrastructure,
            Kind::Service,
            Kind::Pipeline,
        ]
    );
    assert_eq!((parsed.documents, parsed.declared.len()), (7, 7));
    let missing = missing_references(&[parsed]);
    let missing: Vec<_> = missing
        .iter()
        .map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.message))
        .collect();
    assert_eq!(
        missing,
        [
            "34:21 secret `account.github_token` is not among the files; add it, or make sure that the server has it",
            "131:31 connector `org.images` is not among the files; add it, or make sure that the server has it",
        ]
    );
}

#[test]
fn the_text_is_kept_and_each_part_is_a_document() {
    for text in [SHOP, WILD] {
        let parsed = read(text);
        for entity in &parsed.entities {
            let part = &text[entity.range.clone()];
            let again = read(part);
            assert_eq!(again.entities.len(), 1, "{part}");
            assert_eq!(again.entities[0].key(), entity.key());
            assert_eq!(again.entities[0].value, entity.value);
        }
    }
    let parsed = read(SHOP);
    assert!(SHOP[parsed.entities[0].range.clone()].starts_with("# A whole project"));
    assert!(SHOP[parsed.entities[1].range.clone()].starts_with(" # the sources\nconnector:"));
    assert!(SHOP[parsed.entities[6].range.clone()].ends_with("notificationRules: []\n"));
}

#[test]
fn the_typed_form_holds_what_is_written() {
    let parsed = read(SHOP);
    let EntitySpec::Service(service) = &parsed.entities[5].spec else {
        panic!()
    };
    let definition = service.definition.as_ref().unwrap();
    let ManifestSpec::K8sManifest {
        store: Store::Git(store),
        values_paths,
        ..
    } = &definition.manifests[0].spec
    else {
        panic!()
    };
    assert!(matches!(&store.reference, GitReference::Branch(branch) if branch.text() == "main"));
    assert_eq!(
        values_paths.value.value().unwrap()[0].text(),
        "deploy/web/values.yaml"
    );
    let ManifestSpec::Values {
        store: Store::Git(store),
        ..
    } = &definition.manifests[1].spec
    else {
        panic!()
    };
    assert!(
        matches!(&store.reference, GitReference::Commit(commit) if commit.expression() == Some("<+pipeline.variables.valuesCommit>"))
    );

    let EntitySpec::Pipeline(pipeline) = &parsed.entities[6].spec else {
        panic!()
    };
    let StageNode::Stage(stage) = &pipeline.stages[0] else {
        panic!()
    };
    assert_eq!(stage.failure_strategies[0].errors, [FailureType::AllErrors]);
    assert_eq!(
        stage.failure_strategies[0].action,
        FailureAction::StageRollback
    );
    let StageSpec::Deployment(deployment) = &stage.spec else {
        panic!()
    };
    let StepNode::Group(group) = &deployment.steps[0] else {
        panic!()
    };
    let StepNode::Parallel(steps) = &group.steps[0] else {
        panic!()
    };
    let StepNode::Step(step) = &steps[0] else {
        panic!()
    };
    let StepSpec::RollingDeploy(options) = &step.spec else {
        panic!()
    };
    assert_eq!(
        options.skip_dry_run.as_ref().unwrap().value,
        Field::Value(false)
    );
    assert_eq!(
        step.timeout.as_ref().unwrap().value,
        Field::Value(std::time::Duration::from_secs(600))
    );
    assert_eq!(
        step.parameters,
        serde_json::json!({"skipDryRun": false, "pruningEnabled": false})
    );
    let StepNode::Step(script) = &steps[1] else {
        panic!()
    };
    assert!(matches!(script.spec, StepSpec::Unsupported));
    assert_eq!(
        script.parameters["source"]["spec"]["script"],
        "echo \"<+pipeline.variables.version>\""
    );
    assert_eq!(parsed.entities[6].unsupported().len(), 1);
}

#[test]
fn fields_that_no_schema_knows_and_things_for_later() {
    let parsed = read(WILD);
    let base = "service.serviceDefinition.spec";
    let stages = "pipeline.stages[0]";
    assert_eq!(
        findings(&parsed),
        [
            "7:3 SRT-E010 service.yaml".to_owned(),
            format!("11:7 SRT-E010 {base}.manifest"),
            format!("24:15 SRT-E010 {base}.manifests[0].manifest.spec.skipResourceVersionning"),
            format!("31:18 SRT-E027 {base}.artifacts.primary.spec.tag"),
            format!("35:21 SRT-E025 {base}.artifacts.sidecars[0].sidecar.type"),
            format!("37:7 SRT-E026 {base}.configFiles"),
            "43:1 SRT-E009 trigger".to_owned(),
            format!("51:7 SRT-E025 {stages}.parallel"),
            format!("55:19 SRT-E025 {stages}.parallel[0].stage.type"),
            format!("60:13 SRT-E025 {stages}.parallel[1].stage.template"),
        ]
    );
    assert!(!parsed.has_errors(false));
    assert!(parsed.has_errors(true));
    assert_eq!(parsed.entities.len(), 2);
    assert_eq!(parsed.entities[0].unsupported().len(), 2);
}

#[test]
fn findings_are_the_same_in_json() {
    let parsed = read("environment: {name: a, identifier: a, type: x}");
    let json = serde_json::to_value(&parsed.problems[0]).unwrap();
    assert_eq!(json["code"], "SRT-E013");
    assert_eq!(json["severity"], "error");
    assert_eq!(
        (&json["line"], &json["column"], &json["file"]),
        (&1.into(), &45.into(), &"corpus.yaml".into())
    );
}

#[test]
fn every_code_has_a_page() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    for code in sortie_model::Code::ALL {
        let page = std::fs::read_to_string(folder.join(format!("{code}.md"))).unwrap_or_default();
        assert!(page.starts_with(&format!("# {code}")), "{code} has no page");
    }
}

#[test]
fn references_reach_outward_and_know_their_place() {
    let environment = |org: &str, identifier: &str| {
        format!("environment: {{name: a, identifier: {identifier}, type: Production{org}}}\n---\n")
    };
    let infrastructure = "infrastructureDefinition: {name: i, identifier: i, environmentRef: REF, deploymentType: Kubernetes, type: \
                          KubernetesGcp, orgIdentifier: o, projectIdentifier: p}\n";
    let missing = |declared: &str, reference: &str| {
        let parsed = read(&format!(
            "{declared}{}",
            infrastructure.replace("REF", reference)
        ));
        assert!(!parsed.has_errors(false), "{:?}", parsed.problems);
        missing_references(&[parsed]).len()
    };
    let project = ", orgIdentifier: o, projectIdentifier: p";
    let org = ", orgIdentifier: o";
    let cases = [
        (project, "e", 0),
        (project, "org.e", 1),
        (project, "account.e", 1),
        (org, "org.e", 0),
        (org, "e", 1),
        (", orgIdentifier: x", "org.e", 1),
        ("", "e", 0),
        ("", "org.e", 0),
        ("", "account.e", 0),
        ("", "f", 1),
        ("", "<+pipeline.variables.env>", 0),
    ];
    for (scope, reference, expected) in cases {
        assert_eq!(
            missing(&environment(scope, "e"), reference),
            expected,
            "{scope} {reference}"
        );
    }
}

#[test]
fn infrastructures_belong_to_environments_and_folders_hold_files() {
    let text = "service: {name: s, identifier: s, serviceDefinition: {type: Kubernetes, spec: {manifests: [{manifest: {identifier: m, \
                type: K8sManifest, spec: {store: {type: Harness, spec: {files: [/a, /a/, /a/b.yaml, /a/c, /b]}}}}}]}}}\n---\nfile: \
                {identifier: f, path: /a/b.yaml, content: x}\n";
    let missing = missing_references(&[read(text)]);
    let missing: Vec<_> = missing
        .iter()
        .map(|problem| problem.message.split('`').nth(1).unwrap())
        .collect();
    assert_eq!(missing, ["/a/c", "/b"]);

    let parsed = read(SHOP);
    let references: Vec<_> = parsed.entities[6]
        .references()
        .iter()
        .map(|reference| {
            (
                reference.kind,
                reference.target.to_string(),
                reference.environment.clone(),
            )
        })
        .collect();
    assert_eq!(
        references,
        [
            (Kind::Service, "web".to_owned(), None),
            (Kind::Environment, "prod_eu".to_owned(), None),
            (
                Kind::Infrastructure,
                "eu_cluster".to_owned(),
                Some("prod_eu".to_owned())
            ),
        ]
    );
    let moved = SHOP.replace(
        "environmentRef: prod_eu\n            deployToAll",
        "environmentRef: prod_us\n            deployToAll",
    );
    let missing = missing_references(&[read(&moved)]);
    assert!(
        missing
            .iter()
            .any(|problem| problem.message.contains("infrastructure `eu_cluster`")),
        "{missing:#?}"
    );
}

#[test]
fn secrets_named_by_expressions_are_references() {
    let text = "environment: {name: e, identifier: e, type: Production, variables: [{name: v, type: String, value: \
                '<+secrets.getValue(\"account.token\")>'}]}";
    let parsed = read(text);
    let reference = &parsed.entities[0].references()[0];
    assert_eq!(
        (reference.kind, reference.target.to_string()),
        (Kind::Secret, "account.token".to_owned())
    );
    assert_eq!(reference.path, "environment.variables[0].value");
    assert!(text[reference.position.offset..].starts_with("secrets.getValue"));
}

#[test]
fn numbers_stay_as_they_are_written() {
    let text = "environment: {name: e, identifier: e, type: Production, x: [1.10, 0644, 12, -3, 1.5, 1e3, 18446744073709551615, ~, true, yes, \
                '7', 99999999999999999999]}";
    let expected = serde_json::json!([
        "1.10",
        "0644",
        12,
        -3,
        1.5,
        "1e3",
        18446744073709551615u64,
        null,
        true,
        "yes",
        "7",
        "99999999999999999999"
    ]);
    assert_eq!(read(text).entities[0].value["x"], expected);
}
