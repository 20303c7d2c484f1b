//! Entities over REST: stored as written, all or none, hostile input refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::{Server, hello, json, problem};

const SERVICE: &str = "# ours\nservice:\n  name: web\n  identifier: web\n  tags: {}   # none\n  serviceDefinition:\n    type: Kubernetes\n    spec: {}\n";

#[tokio::test]
async fn documents_come_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let applied = server.apply(&hello()).await;
    assert!(
        applied["warnings"].as_array().unwrap().is_empty(),
        "{applied:#}"
    );
    for entity in applied["entities"].as_array().unwrap() {
        assert_eq!(entity["outcome"], "created", "{entity}");
        assert_eq!(entity["project"], "default");
    }
    let again = server.apply(&hello()).await;
    for entity in again["entities"].as_array().unwrap() {
        assert_eq!(entity["outcome"], "unchanged", "{entity}");
        assert_eq!(entity["version"], 1);
    }
    server.apply(SERVICE).await;
    let path = "/api/v1/entities/service/web";
    let got = json(server.get(path).send().await.unwrap(), 200).await;
    assert_eq!(got["yaml"].as_str().unwrap().trim(), SERVICE.trim());

    let list = server
        .get("/api/v1/entities/services?limit=1")
        .send()
        .await
        .unwrap();
    let page = json(list, 200).await;
    assert_eq!(page["items"][0]["identifier"], "hello");
    let next = page["next"].as_str().unwrap();
    let list = server
        .get(&format!("/api/v1/entities/services?after={next}"))
        .send()
        .await;
    let page = json(list.unwrap(), 200).await;
    assert_eq!(page["items"][0]["identifier"], "web");
    assert_eq!(page["next"], Value::Null);

    let infra = "/api/v1/entities/infrastructure/demo_namespace?environment=demo";
    json(server.get(infra).send().await.unwrap(), 200).await;

    let deleted = server.delete(path).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    problem(server.delete(path).send().await.unwrap(), 404, "SRT-S002").await;
    problem(server.get(path).send().await.unwrap(), 404, "SRT-S002").await;
    let old = format!("{path}?version=1");
    json(server.get(&old).send().await.unwrap(), 200).await;
    server.stop().await;
}

#[tokio::test]
async fn the_example_is_stored_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(example).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(texts.len() > 4);
    let body = texts.join("\n---\n");
    let response = server
        .put("/api/v1/entities?strict=true", body)
        .send()
        .await
        .unwrap();
    let applied = json(response, 200).await;
    assert_eq!(applied["warnings"], serde_json::json!([]), "{applied:#}");
    server.stop().await;
}

#[tokio::test]
async fn one_bad_document_keeps_all_from_being_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let bad = "environment:\n  name: dev\n  identifier: dev\n  type: Staging\n";
    let body = format!("{SERVICE}---\n{bad}");
    let response = server
        .put("/api/v1/entities?file=all.yaml", body)
        .send()
        .await
        .unwrap();
    let found = problem(response, 422, "SRT-S008").await;
    let finding = &found["problems"][0];
    assert_eq!(finding["file"], "all.yaml");
    assert_eq!(finding["line"], 13, "{found:#}");
    assert_eq!(finding["path"], "environment.type");
    problem(
        server
            .get("/api/v1/entities/service/web")
            .send()
            .await
            .unwrap(),
        404,
        "SRT-S002",
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn strict_turns_warnings_into_errors_and_a_dry_run_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let odd = SERVICE.replace("tags:", "tagz:");
    let response = server
        .put("/api/v1/entities?strict=true", odd.clone())
        .send()
        .await
        .unwrap();
    let found = problem(response, 422, "SRT-S008").await;
    assert_eq!(found["problems"][0]["code"], "SRT-E010", "{found:#}");

    let response = server
        .put("/api/v1/entities?dryRun=true", odd.clone())
        .send()
        .await
        .unwrap();
    let dry = json(response, 200).await;
    assert_eq!(dry["entities"][0]["outcome"], "created");
    assert_eq!(dry["warnings"][0]["line"], 5, "{dry:#}");
    problem(
        server
            .get("/api/v1/entities/service/web")
            .send()
            .await
            .unwrap(),
        404,
        "SRT-S002",
    )
    .await;

    let applied = server.apply(&odd).await;
    assert_eq!(applied["warnings"][0]["code"], "SRT-E010");
    let response = server
        .put("/api/v1/entities?dryRun=true", SERVICE)
        .send()
        .await
        .unwrap();
    let dry = json(response, 200).await;
    assert_eq!(dry["entities"][0]["outcome"], "updated");
    assert_eq!(dry["entities"][0]["version"], 2);
    server.stop().await;
}

#[tokio::test]
async fn missing_references_are_named_and_stored_ones_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let documents = hello();
    let (pipeline, others): (Vec<_>, Vec<_>) = documents
        .split("\n---\n")
        .map(str::to_owned)
        .partition(|document| {
            document.contains("\npipeline:") || document.starts_with("pipeline:")
        });
    let alone = server
        .put("/api/v1/entities?dryRun=true", pipeline.join("\n---\n"))
        .send()
        .await;
    let dry = json(alone.unwrap(), 200).await;
    let codes: Vec<_> = dry["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| &w["code"])
        .collect();
    assert!(
        !codes.is_empty() && codes.iter().all(|code| *code == "SRT-E021"),
        "{dry:#}"
    );
    let strict = server
        .put("/api/v1/entities?strict=true", pipeline.join("\n---\n"))
        .send()
        .await;
    problem(strict.unwrap(), 422, "SRT-S008").await;
    server.apply(&others.join("\n---\n")).await;
    let strict = server
        .put("/api/v1/entities?strict=true", pipeline.join("\n---\n"))
        .send()
        .await;
    json(strict.unwrap(), 200).await;
    server.stop().await;
}

#[tokio::test]
async fn a_document_belongs_to_one_scope() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let own = SERVICE.replace(
        "  tags",
        "  orgIdentifier: acme\n  projectIdentifier: shop\n  tags",
    );
    let applied = server.apply(&own).await;
    assert_eq!(applied["entities"][0]["org"], "acme");
    let elsewhere = server
        .put("/api/v1/entities?org=other&project=shop", own.clone())
        .send()
        .await;
    problem(elsewhere.unwrap(), 422, "SRT-S009").await;
    let account = server
        .put("/api/v1/entities?scope=account", SERVICE)
        .send()
        .await
        .unwrap();
    let applied = json(account, 200).await;
    assert_eq!(applied["entities"][0].get("org"), None);
    for (query, status) in [
        ("?org=acme&project=shop", 200),
        ("?scope=account", 200),
        ("?org=acme", 404),
        ("", 404),
    ] {
        let path = format!("/api/v1/entities/service/web{query}");
        let response = server.get(&path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_value_of_a_secret_is_never_stored_or_shown_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let value = "correct-horse-battery-staple";
    let secret = |value: &str| {
        format!(
            "secret:\n  name: pw\n  identifier: pw\n  type: SecretText\n  spec:\n    secretManagerIdentifier: harnessSecretManager\n    valueType: Inline\n    value: {value}   # mine\n"
        )
    };
    let applied = server.apply(&secret(value)).await;
    assert_eq!(applied["entities"][0]["outcome"], "created");
    let again = server.apply(&secret(value)).await;
    assert_eq!(again["entities"][0]["outcome"], "unchanged");
    let changed = server.apply(&secret("another-value-entirely")).await;
    assert_eq!(changed["entities"][0]["outcome"], "updated");
    server.apply(&secret(value)).await;
    let got = server
        .get("/api/v1/entities/secret/pw")
        .send()
        .await
        .unwrap();
    let got = json(got, 200).await;
    let yaml = got["yaml"].as_str().unwrap();
    assert!(
        yaml.contains("# mine") && yaml.contains("value: null"),
        "{yaml}"
    );
    // Without a value the stored one stays.
    server.apply(yaml).await;
    server.stop().await;
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes
                .windows(value.len())
                .any(|window| window == value.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    assert!(files > 0);
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let deep = format!("service: {}{}", "[".repeat(5000), "]".repeat(5000));
    let bomb = {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, of) in ('b'..='j').zip('a'..='i') {
            let list = vec![format!("*{of}"); 10].join(", ");
            text.push_str(&format!("{name}: &{name} [{list}]\n"));
        }
        text
    };
    let many = format!("service: {{tags: {{{}}}}}", "a: b, ".repeat(150_000));
    let bodies: [(&str, Vec<u8>); 12] = [
        ("empty", Vec::new()),
        ("comment", b"# nothing\n".to_vec()),
        ("scalar", b"42".to_vec()),
        ("not utf-8", b"service:\n  name: \xff\xfe\n".to_vec()),
        ("nul", b"service:\n  name: a\0b\n".to_vec()),
        ("unclosed", b"service: {name: \"web".to_vec()),
        ("tabs", b"service:\n\tname: web\n".to_vec()),
        ("two roots", b"service: {}\npipeline: {}\n".to_vec()),
        ("kubernetes", b"apiVersion: v1\nkind: Pod\n".to_vec()),
        ("deep", deep.into_bytes()),
        ("alias bomb", bomb.into_bytes()),
        ("many", many.into_bytes()),
    ];
    for (name, body) in bodies {
        let started = tokio::time::Instant::now();
        let response = server.put("/api/v1/entities", body).send().await.unwrap();
        let found = problem(response, 422, "SRT-S008").await;
        assert!(found.to_string().len() < 200_000, "{name}");
        assert!(
            started.elapsed().as_secs() < 10,
            "{name} took {:?}",
            started.elapsed()
        );
    }
    let response = server
        .put("/api/v1/entities", vec![b'#'; 50 << 20])
        .send()
        .await;
    // The server may answer and hang up before everything is sent.
    if let Ok(response) = response {
        problem(response, 413, "SRT-S005").await;
    }
    let list = server.get("/api/v1/entities/service").send().await.unwrap();
    let page = json(list, 200).await;
    assert!(page["items"].as_array().unwrap().is_empty());
    server.stop().await;
}
