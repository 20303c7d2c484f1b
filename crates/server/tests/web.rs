//! The web side from outside: who may come in, what is refused and how.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use support::{Server, client, problem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The part after `sortie_ID_`; it may have underscores of its own.
fn secret_of(token: &str) -> &str {
    let secret = token.splitn(3, '_').nth(2).unwrap();
    assert!(secret.len() > 30, "a secret that could stand anywhere");
    secret
}

#[tokio::test]
async fn only_a_valid_token_opens_the_api() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let good = server.token.clone();
    let (id, secret) = good
        .strip_prefix("sortie_")
        .unwrap()
        .split_once('_')
        .unwrap();
    let cut = &good[..good.len() - 1];
    let refused = [
        String::new(),
        format!("Basic {good}"),
        good.clone(),
        format!("Bearer {cut}"),
        format!("Bearer {good}x"),
        format!("Bearer sortie_{id}_"),
        format!("Bearer sortie__{secret}"),
        format!("Bearer sortie_other_{secret}"),
        format!("Bearer {}", "a".repeat(8000)),
    ];
    // One client, so one connection: a good token before does not open the door for a bad one.
    let client = client();
    let whoami = format!("{}/api/v1/whoami", server.address);
    for header in refused {
        let ok = client.get(&whoami).bearer_auth(&good).send().await.unwrap();
        assert_eq!(ok.status(), 200);
        let _body = ok.bytes().await.unwrap();
        let request = client.get(&whoami).header("authorization", &header);
        let response = request.send().await.unwrap();
        assert!(
            response.headers().contains_key("www-authenticate"),
            "{header}"
        );
        let found = problem(response, 401, "SRT-S001").await;
        assert!(!found.to_string().contains(secret), "{header}");
    }
    let response = client.get(&whoami).send().await.unwrap();
    problem(response, 401, "SRT-S001").await;
    server.stop().await;
}

#[tokio::test]
async fn health_version_and_metrics_need_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for path in ["/healthz", "/readyz", "/version", "/metrics"] {
        let url = format!("{}{path}", server.address);
        let response = client().get(url).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    let metrics = server
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("sortie_server_http_requests_total{method=\"GET\",status=\"200\"}"),
        "{metrics}"
    );
    assert!(metrics.ends_with("# EOF\n"));
    let me = server.get("/api/v1/whoami").send().await.unwrap();
    assert_eq!(support::json(me, 200).await["user"], "admin");
    server.stop().await;
}

#[tokio::test]
async fn every_refusal_is_a_problem_document() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let long = "a".repeat(3000);
    for (path, status, code) in [
        ("/nowhere", 404, "SRT-S002"),
        ("/api/v1/nowhere", 404, "SRT-S002"),
        ("/api/v1/entities/gadgets", 404, "SRT-S002"),
        ("/api/v1/entities/service/web", 404, "SRT-S002"),
        ("/api/v1/entities/service/we%20b", 400, "SRT-S004"),
        (
            "/api/v1/entities/service/..%2F..%2Fetc%2Fpasswd",
            400,
            "SRT-S004",
        ),
        ("/api/v1/entities/service/%ff", 400, "SRT-S004"),
        ("/api/v1/entities/service/%00", 400, "SRT-S004"),
        ("/api/v1/entities/infrastructure/x", 400, "SRT-S004"),
        (
            "/api/v1/entities/service?org=a%27%20OR%201",
            400,
            "SRT-S004",
        ),
        ("/api/v1/entities/service?limit=many", 400, "SRT-S004"),
        ("/api/v1/entities/service?scope=galaxy", 400, "SRT-S004"),
        ("/api/v1/executions/none", 404, "SRT-S002"),
        ("/api/v1/executions/none/events", 404, "SRT-S002"),
        (
            "/api/v1/executions/none/logs?follow=perhaps",
            400,
            "SRT-S004",
        ),
        (&format!("/api/v1/entities/{long}"), 404, "SRT-S002"),
        (&format!("/api/v1/executions/{long}"), 404, "SRT-S002"),
    ] {
        let response = server.get(path).send().await.unwrap();
        let found = problem(response, status, code).await;
        assert!(
            found["detail"].as_str().unwrap().len() < 600,
            "{path}: {found}"
        );
        assert_eq!(found["status"], status);
    }
    let response = server.delete("/api/v1/whoami").send().await.unwrap();
    problem(response, 405, "SRT-S003").await;
    for body in [
        json!({}),
        json!([]),
        json!({"pipeline": 7}),
        json!({"pipeline": "p", "surprise": 1}),
        json!({"pipeline": "../p"}),
        json!({"pipeline": "p", "variables": []}),
    ] {
        let response = server
            .post("/api/v1/executions", &body)
            .send()
            .await
            .unwrap();
        problem(response, 400, "SRT-S004").await;
    }
    let response = server
        .post(
            "/api/v1/executions",
            &json!({"pipeline": "p", "variables": {"x": "y".repeat(2_000_000)}}),
        )
        .send()
        .await
        .unwrap();
    problem(response, 413, "SRT-S005").await;
    server.stop().await;
}

#[tokio::test]
async fn a_broken_peer_does_not_stop_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let address = server.address.strip_prefix("http://").unwrap().to_owned();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"POST /api/v1/executions HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999999999999999\r\n\r\n",
        b"\0\0\0\0",
    ] {
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // Whatever it answers, the connection ends.
        let _reset = tokio::time::timeout(support::PATIENCE, socket.read_to_end(&mut answer))
            .await
            .expect("the connection ends");
    }
    let response = server.get("/healthz").send().await.unwrap();
    assert_eq!(response.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn the_first_token_is_made_once_and_only_its_hash_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let token = server.stop().await;
    let secret = secret_of(&token).as_bytes().to_vec();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{}", path.display());
        }
    }
    let again = Server::restart(folder.path(), Some(token)).await;
    let response = again.get("/api/v1/whoami").send().await.unwrap();
    assert_eq!(response.status(), 200);
    again.stop().await;
}

#[tokio::test]
async fn a_revoked_token_closes_an_open_connection() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let request = json!({"label": "ci", "days": 30});
    let made = server
        .post("/api/v1/tokens", &request)
        .send()
        .await
        .unwrap();
    let made = support::json(made, 201).await;
    let (id, token) = (
        made["id"].as_str().unwrap(),
        made["token"].as_str().unwrap(),
    );
    assert!(made["expiresAt"].is_string());
    let list = server.get("/api/v1/tokens").send().await.unwrap();
    let list = support::json(list, 200).await;
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert!(!list.to_string().contains(secret_of(token)));

    let client = client();
    let whoami = format!("{}/api/v1/whoami", server.address);
    let ok = client.get(&whoami).bearer_auth(token).send().await.unwrap();
    assert_eq!(support::json(ok, 200).await["token"], id);
    let revoked = server
        .delete(&format!("/api/v1/tokens/{id}"))
        .send()
        .await
        .unwrap();
    assert_eq!(revoked.status(), 204);
    let response = client.get(&whoami).bearer_auth(token).send().await.unwrap();
    problem(response, 401, "SRT-S001").await;
    let again = server
        .delete(&format!("/api/v1/tokens/{id}"))
        .send()
        .await
        .unwrap();
    problem(again, 404, "SRT-S002").await;
    for bad in [
        json!({"label": ""}),
        json!({"label": "a\nb"}),
        json!({"label": "x", "days": 0}),
    ] {
        let response = server.post("/api/v1/tokens", &bad).send().await.unwrap();
        problem(response, 400, "SRT-S004").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_data_folder_has_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let mut config = sortie_server::config::Config::load(Default::default()).unwrap();
    config.data_dir = folder.path().to_owned();
    config.web_address = "127.0.0.1:0".parse().unwrap();
    let second = sortie_server::app::App::open(&config).await.unwrap_err();
    assert!(
        matches!(second, sortie_server::app::Error::InUse { .. }),
        "{second}"
    );
    let token = server.stop().await;
    Server::restart(folder.path(), Some(token))
        .await
        .stop()
        .await;
}

#[tokio::test]
async fn join_tokens_are_bounded_and_unknown_delegates_are_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for bad in [
        json!({"maxUses": 0}),
        json!({"maxUses": 1001}),
        json!({"hours": 0}),
        json!({"hours": 100_000}),
        json!({"label": "l".repeat(129)}),
        json!({"org": "a b"}),
        json!({"scope": "galaxy"}),
        json!({"uses": 1}),
        json!({"name": "Not a name"}),
        json!({"name": ""}),
    ] {
        let response = server
            .post("/api/v1/delegate-tokens", &bad)
            .send()
            .await
            .unwrap();
        problem(response, 400, "SRT-S004").await;
    }
    let response = server
        .post(
            "/api/v1/delegate-tokens",
            &json!({"label": "demo", "name": "edge"}),
        )
        .send()
        .await;
    let made = support::json(response.unwrap(), 201).await;
    assert_eq!(
        (&made["token"], &made["maxUses"], &made["name"]),
        (
            &json!("sortie-join.t1.demo.edge.1"),
            &json!(1),
            &json!("edge")
        )
    );
    for (path, names) in [
        ("/api/v1/delegates", &["edge"][..]),
        ("/api/v1/delegates?all=true", &["edge", "old"]),
    ] {
        let list = support::json(server.get(path).send().await.unwrap(), 200).await;
        let list = list.as_array().unwrap().iter();
        let listed: Vec<_> = list.map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(listed, names, "{path}");
    }
    let revoke = async |id| {
        let path = format!("/api/v1/delegate-tokens/{id}");
        server.delete(&path).send().await.unwrap()
    };
    assert_eq!(revoke("t1").await.status(), 204);
    problem(revoke("t2").await, 404, "SRT-S002").await;
    let response = server
        .post("/api/v1/delegates/x/revoke", &json!({}))
        .send()
        .await
        .unwrap();
    problem(response, 404, "SRT-S002").await;
    server.stop().await;
}

#[test]
fn the_openapi_document_is_the_checked_in_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let now = sortie_server::web::openapi_json();
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == now,
        "docs/openapi.json is not what this build serves; run `cargo run -p sortie-server --example openapi > docs/openapi.json` and review the difference"
    );
}

/// Also people who never saw REST read the hints: the command line shows them as they are.
#[tokio::test]
async fn hints_speak_of_what_to_do_and_not_of_rest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let other_scope = "service:\n  name: web\n  identifier: web\n  orgIdentifier: acme\n  \
                       serviceDefinition: {type: Kubernetes, spec: {}}\n";
    let get = |path: &str| server.get(path);
    for (request, status, advice) in [
        (get("/api/v1/entities/service/web"), 404, "--org"),
        (
            get("/api/v1/entities/infrastructure/x"),
            400,
            "sortie get infrastructure",
        ),
        (get("/api/v1/entities/gadgets"), 404, "the kinds are"),
        (
            server.put("/api/v1/entities?org=other", other_scope),
            422,
            "--project",
        ),
        (
            server.put("/api/v1/entities", "service: {}"),
            422,
            "store all documents",
        ),
        (
            server.post("/api/v1/executions", &json!({"pipeline": "nowhere"})),
            404,
            "sortie apply -f",
        ),
        (
            server.post("/api/v1/delegates/x/revoke", &json!({})),
            404,
            "sortie get delegates",
        ),
    ] {
        let response = request.send().await.unwrap();
        let found = support::json(response, status).await;
        let hint = found["hint"].as_str().unwrap_or_default();
        assert!(hint.contains(advice), "{found:#}");
        for word in ["/api", "POST", "GET", "?org", "`org`", "`problems`"] {
            assert!(!hint.contains(word), "{word}: {hint}");
        }
    }
    server.stop().await;
}

/// What the server answers to a request whose body, chunk by chunk, never ends on its own.
async fn endless(server: &Server, path: &str) -> (String, usize) {
    let address = server.address.strip_prefix("http://").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        server.token
    );
    writer.write_all(head.as_bytes()).await.unwrap();
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend(vec![b'#'; 0x10000]);
    chunk.extend(b"\r\n");
    let mut sent = 0;
    let mut answer = vec![0; 4096];
    loop {
        tokio::select! {
            biased;
            read = reader.read(&mut answer) => {
                answer.truncate(read.unwrap());
                return (String::from_utf8(answer).unwrap(), sent);
            }
            written = writer.write(&chunk) => match written {
                Ok(bytes) => {
                    sent += bytes;
                    // What is left of this chunk, and the next one behind it.
                    let length = chunk.len();
                    chunk.rotate_left(bytes % length);
                }
                Err(_) => {
                    let read = reader.read(&mut answer).await.unwrap_or_default();
                    answer.truncate(read);
                    return (String::from_utf8(answer).unwrap(), sent);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let address = server.address.strip_prefix("http://").unwrap();
    for (method, path, limit) in [
        ("PUT", "/api/v1/entities", 4 << 20),
        ("POST", "/api/v1/executions", 1 << 20),
        ("PUT", "/log-level", 1024),
    ] {
        // Only the head is ever sent: the answer cannot wait for the body.
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            server.token,
            limit + 1
        );
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(support::PATIENCE, socket.read(&mut answer)).await;
        answer.truncate(read.expect("an answer to the head alone").unwrap());
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
        assert!(answer.contains("SRT-S005"), "{path}: {answer}");
    }
    let (answer, sent) =
        tokio::time::timeout(support::PATIENCE, endless(&server, "/api/v1/entities"))
            .await
            .expect("an answer to an endless body");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("larger than 4 MiB"), "{answer}");
    // The rest was in the buffers of the sockets.
    assert!(sent < 24 << 20, "{sent} bytes were taken");
    server.stop().await;
}
