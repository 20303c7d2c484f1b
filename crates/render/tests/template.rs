//! Templates rendered by the real engine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use sortie_render::template::{
    RenderLimits, Rendered, Request, TemplateError, Warning, needs_engine, render,
};
use sortie_render::tools::{Search, Tool, find_helm};
use sortie_render::values::merge;
use sortie_render::{SourceFile, Workspace};

async fn helm() -> Tool {
    find_helm(None, &Search::from_environment())
        .await
        .expect("helm 4 on the path or in the cache")
}

async fn rendered(
    files: &[(&str, &str)],
    values: Option<&str>,
    limits: &RenderLimits,
) -> Result<Rendered, TemplateError> {
    let values = values.map(|text| merge(&[SourceFile::new("values.yaml", text)]).unwrap());
    let request = Request {
        files: files
            .iter()
            .map(|(path, text)| SourceFile::new(*path, *text))
            .collect(),
        values: values.as_ref(),
        release: "web",
        namespace: "shop",
    };
    let parent = tempfile::tempdir().unwrap();
    let workspace = Workspace::create_in(parent.path()).unwrap();
    let helm = if needs_engine(&request) {
        Some(helm().await)
    } else {
        None
    };
    let result = render(request, helm.as_ref(), &workspace, limits).await;
    let left = std::fs::read_dir(workspace.path()).unwrap().count();
    assert_eq!(left, 0, "the chart is left behind");
    result
}

async fn text(template: &str, values: &str) -> String {
    let done = rendered(
        &[("t.yaml", template)],
        Some(values),
        &RenderLimits::default(),
    )
    .await
    .unwrap();
    done.files[0].text().unwrap().to_owned()
}

#[tokio::test]
async fn templates_read_values_with_their_types() {
    let values = "n: 3\nbig: 1000000\nhuge: 9007199254740993\nf: 1.5\nneg: -2\nt: true\nnothing: null\n\
                  s: 'it''s \"x\" }} {{ \\'\nhtml: <a>&\nlines: |\n  one\n  two\nlist: [1, two, {three: 3}]\nempty: {}\n\
                  m: {b: 1, a: [x]}\nmode: 0644\n'on': yes\n";
    let table = [
        (
            "{{ .Values.n }}|{{ .Values.big }}|{{ .Values.huge }}|{{ .Values.f }}|{{ .Values.neg }}",
            "3|1000000|9007199254740993|1.5|-2",
        ),
        (
            "{{ if eq .Values.n 3 }}yes{{ end }}|{{ lt .Values.n 4 }}|{{ add .Values.n 1 }}|{{ printf \"%d\" .Values.big }}",
            "yes|true|4|1000000",
        ),
        (
            "{{ .Values.t }}|{{ .Values.nothing }}|{{ .Values.s }}|{{ .Values.html }}",
            "true|<no value>|it's \"x\" }} {{ \\|<a>&",
        ),
        ("{{ .Values.lines | nindent 2 }}", "\n  one\n  two\n  "),
        (
            "{{ range .Values.list }}[{{ . }}]{{ end }}|{{ len .Values.empty }}",
            "[1][two][map[three:3]]|0",
        ),
        (
            "{{ toYaml .Values.m }}|{{ toJson .Values.m }}",
            "a:\n- x\nb: 1|{\"a\":[\"x\"],\"b\":1}",
        ),
        (
            "{{ .Values.mode }}|{{ index .Values \"on\" }}|{{ .Values.list | first }}",
            "420|true|1",
        ),
        ("{{ .Release.Name }}/{{ .Release.Namespace }}", "web/shop"),
        (
            "{{ fromYaml \"a: 1\" | toJson }}|{{ \"x\" | upper | quote }}|{{ tpl \"{{ .Values.n }}\" . }}",
            "{\"a\":1}|\"X\"|3",
        ),
        (
            "{{- /* gone */ -}}\na: {{ .Values.missing | default \"d\" }}\n---\n# {{ .Values.n }}\n",
            "a: d\n---\n# 3\n",
        ),
        ("not: [yaml {{ .Values.n }}", "not: [yaml 3"),
    ];
    for (template, expected) in table {
        assert_eq!(text(template, values).await, expected, "{template}");
    }
}

#[tokio::test]
async fn templates_see_nothing_of_the_machine() {
    for template in ["{{ env \"HOME\" }}", "{{ expandenv \"$HOME\" }}"] {
        let error = rendered(
            &[("t.yaml", template)],
            Some("a: 1"),
            &RenderLimits::default(),
        )
        .await
        .unwrap_err();
        assert!(error.to_string().contains("not defined"), "{error}");
    }
    assert_eq!(
        text(
            "[{{ getHostByName \"localhost\" }}][{{ (lookup \"v1\" \"Secret\" \"\" \"\") }}]",
            "a: 1"
        )
        .await,
        "[][map[]]"
    );
}

#[tokio::test]
async fn files_keep_order_and_name_and_share_definitions() {
    let files = [
        ("b/z.yaml", "z: {{ template \"name\" . }}\n"),
        ("plain.yaml", "no: actions\n"),
        (
            "a.yaml",
            "{{ define \"name\" }}n-{{ .Values.x }}{{ end }}kind: Namespace\n",
        ),
    ];
    let done = rendered(&files, Some("x: 1"), &RenderLimits::default())
        .await
        .unwrap();
    let texts: Vec<_> = done
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.text().unwrap()))
        .collect();
    assert_eq!(
        texts,
        [
            ("b/z.yaml", "z: n-1\n"),
            ("plain.yaml", "no: actions\n"),
            ("a.yaml", "kind: Namespace\n")
        ]
    );
}

#[tokio::test]
async fn nothing_is_run_without_values_or_actions() {
    let files = [("a.yaml", "x: {{ $labels.instance }}"), ("b.yaml", "y: 1")];
    let done = rendered(&files, None, &RenderLimits::default())
        .await
        .unwrap();
    assert_eq!(done.files[0].text(), Some("x: {{ $labels.instance }}"));
    assert_eq!(
        done.warnings,
        [Warning::NotRendered {
            path: "a.yaml".to_owned()
        }]
    );
    let done = rendered(&files[1..], Some("a: 1"), &RenderLimits::default())
        .await
        .unwrap();
    assert_eq!(
        (done.files[0].text(), done.warnings.len()),
        (Some("y: 1"), 0)
    );
}

#[tokio::test]
async fn missing_values_are_reported() {
    let done = rendered(
        &[("t.yaml", "a: 1\nb: {{ .Values.x }}\n")],
        Some("y: 1"),
        &RenderLimits::default(),
    )
    .await
    .unwrap();
    assert_eq!(done.files[0].text(), Some("a: 1\nb: <no value>\n"));
    let texts: Vec<_> = done.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "t.yaml:2: no values file has x",
            "t.yaml: line 2 of the rendered text has <no value>: a value is missing",
        ]
    );
}

#[tokio::test]
async fn errors_name_the_users_file_and_line() {
    let table = [
        (
            "a: 1\nb: {{ foo }}",
            "bad.yaml:2: function \"foo\" not defined",
        ),
        ("a: {{ if }}", "bad.yaml:1: missing value for if"),
        ("a: {{ .Values.x", "bad.yaml:1: unclosed action"),
        (
            "a: 1\n\nb: {{ .Values.q.z }}",
            "bad.yaml:3:14: at <.Values.q.z>: nil pointer evaluating interface {}.z",
        ),
        (
            "a: 1\nb: {{ required \"tag is needed\" .Values.tag }}",
            "bad.yaml:2: tag is needed",
        ),
        ("a: {{ fail (printf \"no %s\" \"x\") }}", "bad.yaml: no x"),
        ("a: {{ template \"nowhere\" . }}", "bad.yaml:1"),
    ];
    for (template, expected) in table {
        let files = [("good.yaml", "x: {{ .Values.y }}"), ("bad.yaml", template)];
        let error = rendered(&files, Some("y: 1"), &RenderLimits::default())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "SRT-R040", "{error}");
        assert!(
            error.to_string().starts_with(expected),
            "{template}: {error}"
        );
        assert!(!error.to_string().contains("sortie/templates"), "{error}");
    }
}

#[tokio::test]
async fn hostile_templates_meet_limits() {
    let limits = RenderLimits {
        time: Duration::from_secs(20),
        output: 1 << 20,
        memory: 384 << 20,
        container: Some(512 << 20),
    };
    let bomb = "{{ $x := \"xxxxxxxxxxxxxxxx\" }}{{ range until 26 }}{{ $x = cat $x $x }}{{ end }}{{ len $x }}";
    let error = rendered(&[("t.yaml", bomb)], Some("a: 1"), &limits)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-R006", "{error}");
    let list = "{{ range until 100000000 }}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{ end }}";
    let error = rendered(&[("t.yaml", list)], Some("a: 1"), &limits)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-R006", "{error}");
    assert_eq!(
        error.to_string(),
        "rendering needs more than 384 MiB of memory, its share of the container's 512 MiB"
    );
    assert!(
        error.help().contains("resources.limits.memory"),
        "{}",
        error.help()
    );
    let long = "{{ range until 300000 }}xxxxxxxxxx{{ end }}";
    let error = rendered(&[("t.yaml", long)], Some("a: 1"), &limits)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-R005", "{error}");
    let slow = "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}";
    let limits = RenderLimits {
        time: Duration::from_secs(1),
        ..limits
    };
    let error = rendered(&[("t.yaml", slow)], Some("a: 1"), &limits)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-R004", "{error}");
    let endless = "{{ define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}";
    let limits = RenderLimits::default();
    let error = rendered(&[("t.yaml", endless)], Some("a: 1"), &limits)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-R040", "{error}");
}

/// Whatever a values file holds arrives in the template as it is.
#[tokio::test]
async fn values_of_every_kind_arrive_unchanged() {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use serde_json::Value;

    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1.0e9..1.0e9_f64).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        "[{}\"'`\\\\\n\t $%<>&|-]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let all: Vec<Value> = (0..400)
        .map(|_| value.new_tree(&mut runner).unwrap().current())
        .collect();
    let file = serde_json::json!({ "all": all }).to_string();
    let rendered = text("{{ toJson .Values.all }}", &file).await;
    let arrived: Value = serde_json::from_str(&rendered).unwrap();
    for (sent, arrived) in all.iter().zip(arrived.as_array().unwrap()) {
        // Whole floating-point numbers are read as integers, here as everywhere.
        let read = sortie_manifest::yaml::documents(
            "v",
            sent.to_string().as_bytes(),
            &sortie_manifest::Limits::default(),
        );
        let read = read
            .unwrap()
            .into_iter()
            .next()
            .map_or(Value::Null, |document| document.value);
        assert_eq!(*arrived, read, "{sent}");
    }
}
