//! What every store has to keep. Each function takes `dyn Store`; a new store adds one line per
//! function through the macro at the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::Timestamp;
use sortie_store::{
    Advance, ApiToken, BlobHash, Change, EntityKey, EntityWrite, Error, ExecutionFilter,
    NewExecution, NewLogLine, NewStep, Scope, SecretCiphertext, SecretWrite, SqliteStore, Store,
    StoredOutcome, User,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn shop() -> Scope {
    Scope::project("default", "shop")
}

fn key(kind: &str, identifier: &str) -> EntityKey {
    EntityKey {
        kind: kind.to_owned(),
        scope: shop(),
        parent: String::new(),
        identifier: identifier.to_owned(),
    }
}

fn write(key: EntityKey, text: &str) -> EntityWrite {
    EntityWrite {
        name: key.identifier.clone(),
        path: String::new(),
        key,
        text: text.to_owned(),
    }
}

fn change(entities: Vec<EntityWrite>) -> Change {
    Change {
        entities,
        secrets: Vec::new(),
        by: "admin".to_owned(),
    }
}

fn execution(id: &str, pipeline: &str) -> NewExecution {
    NewExecution {
        id: id.to_owned(),
        scope: shop(),
        pipeline: pipeline.to_owned(),
        pipeline_version: 1,
        plan: "{}".to_owned(),
        inputs: "{}".to_owned(),
        state: "{\"n\":0}".to_owned(),
        status: "RUNNING".to_owned(),
        events: vec!["\"started\"".to_owned()],
        requested_by: "admin".to_owned(),
        created_at: at(0),
    }
}

fn advance(state: &str, events: &[&str], ended: bool) -> Advance {
    Advance {
        events: events.iter().map(|&event| event.to_owned()).collect(),
        state: state.to_owned(),
        status: if ended { "FAILED" } else { "RUNNING" }.to_owned(),
        message: ended.then(|| "no luck".to_owned()),
        code: ended.then(|| "SRT-T001".to_owned()),
        ended,
    }
}

async fn versions_of_an_entity_are_kept(store: &dyn Store) {
    let web = key("service", "web");
    let first = store
        .put_entities(&change(vec![write(web.clone(), "one")]), at(0))
        .await
        .unwrap();
    assert_eq!(
        (first[0].version, first[0].outcome),
        (1, StoredOutcome::Created)
    );
    let same = store
        .put_entities(&change(vec![write(web.clone(), "one")]), at(1))
        .await
        .unwrap();
    assert_eq!(
        (same[0].version, same[0].outcome),
        (1, StoredOutcome::Unchanged)
    );
    let second = store
        .put_entities(&change(vec![write(web.clone(), "two")]), at(2))
        .await
        .unwrap();
    assert_eq!(
        (second[0].version, second[0].outcome),
        (2, StoredOutcome::Updated)
    );
    assert_eq!(store.entity(&web).await.unwrap().unwrap().text, "two");
    let old = store.entity_version(&web, 1).await.unwrap().unwrap();
    assert_eq!((old.text.as_str(), old.created_at), ("one", at(0)));

    assert!(store.delete_entity(&web, at(3)).await.unwrap());
    assert!(!store.delete_entity(&web, at(4)).await.unwrap());
    assert_eq!(store.entity(&web).await.unwrap(), None);
    assert!(store.entity_version(&web, 2).await.unwrap().is_some());

    // Made again it does not reuse a version number, even with the old text.
    let again = store
        .put_entities(&change(vec![write(web.clone(), "two")]), at(5))
        .await
        .unwrap();
    assert_eq!(
        (again[0].version, again[0].outcome),
        (3, StoredOutcome::Created)
    );
}

async fn a_change_is_stored_whole_or_not_at_all(store: &dyn Store) {
    let good = write(key("service", "good"), "text");
    let broken = change(vec![
        good.clone(),
        write(key("service", "x"), "1"),
        good.clone(),
    ]);
    let refused = store.put_entities(&broken, at(0)).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(store.entity(&key("service", "good")).await.unwrap(), None);
    assert_eq!(store.entity(&key("service", "x")).await.unwrap(), None);

    let mut with_secret = change(vec![good, write(key("secret", "pw"), "s")]);
    with_secret.secrets = vec![SecretWrite {
        scope: shop(),
        identifier: "pw".to_owned(),
        value: SecretCiphertext {
            key_id: "k1".to_owned(),
            ciphertext: vec![1, 2, 3],
        },
    }];
    store.put_entities(&with_secret, at(0)).await.unwrap();
    let stored = store.secret(&shop(), "pw").await.unwrap().unwrap();
    assert_eq!(stored.ciphertext, [1, 2, 3]);
    assert_eq!(store.secret_key_ids().await.unwrap(), ["k1"]);
    assert_eq!(
        store.secret(&Scope::default(), "pw").await.unwrap(),
        None,
        "another scope has another secret"
    );
    store
        .delete_entity(&key("secret", "pw"), at(2))
        .await
        .unwrap();
    assert_eq!(store.secret(&shop(), "pw").await.unwrap(), None);
}

async fn lists_show_one_kind_of_one_scope(store: &dyn Store) {
    let mut elsewhere = key("service", "elsewhere");
    elsewhere.scope = Scope::default();
    store
        .put_entities(
            &change(vec![
                write(key("service", "b"), "b"),
                write(key("service", "a"), "a"),
                write(key("service", "c"), "c"),
                write(key("pipeline", "p"), "p"),
                write(elsewhere, "x"),
            ]),
            at(0),
        )
        .await
        .unwrap();
    store
        .delete_entity(&key("service", "c"), at(1))
        .await
        .unwrap();
    let identifiers = |list: Vec<sortie_store::EntityVersion>| -> Vec<String> {
        list.into_iter().map(|e| e.key.identifier).collect()
    };
    let all = store
        .list_entities("service", &shop(), None, 10)
        .await
        .unwrap();
    assert_eq!(identifiers(all), ["a", "b"]);
    let rest = store
        .list_entities("service", &shop(), Some("a"), 10)
        .await
        .unwrap();
    assert_eq!(identifiers(rest), ["b"]);
    let one = store
        .list_entities("service", &shop(), None, 1)
        .await
        .unwrap();
    assert_eq!(identifiers(one), ["a"]);
}

async fn files_are_found_by_path(store: &dyn Store) {
    let file = |identifier: &str, path: &str| EntityWrite {
        path: path.to_owned(),
        ..write(key("file", identifier), path)
    };
    let files = vec![
        file("a", "/app/b.yaml"),
        file("b", "/app/a.yaml"),
        file("c", "/app/sub/c.yaml"),
        file("d", "/app.yaml"),
        file("e", "/application/x.yaml"),
    ];
    store.put_entities(&change(files), at(0)).await.unwrap();
    let paths = |list: Vec<sortie_store::EntityVersion>| -> Vec<String> {
        list.into_iter().map(|e| e.text).collect()
    };
    for folder in ["/app", "/app/"] {
        assert_eq!(
            paths(store.files_at(&shop(), folder).await.unwrap()),
            ["/app/a.yaml", "/app/b.yaml", "/app/sub/c.yaml"]
        );
    }
    assert_eq!(
        paths(store.files_at(&shop(), "/app.yaml").await.unwrap()),
        ["/app.yaml"]
    );
    assert!(
        store
            .files_at(&Scope::default(), "/app")
            .await
            .unwrap()
            .is_empty()
    );

    let taken = change(vec![
        write(key("service", "s"), "s"),
        file("f", "/app.yaml"),
    ]);
    let refused = store.put_entities(&taken, at(1)).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(store.entity(&key("service", "s")).await.unwrap(), None);
    store.delete_entity(&key("file", "d"), at(2)).await.unwrap();
    store.put_entities(&taken, at(3)).await.unwrap();
}

async fn infrastructure_belongs_to_its_environment(store: &dyn Store) {
    let mut dev = key("infrastructureDefinition", "k8s");
    dev.parent = "dev".to_owned();
    let mut prod = dev.clone();
    prod.parent = "prod".to_owned();
    store
        .put_entities(
            &change(vec![write(dev.clone(), "dev"), write(prod.clone(), "prod")]),
            at(0),
        )
        .await
        .unwrap();
    assert_eq!(store.entity(&dev).await.unwrap().unwrap().text, "dev");
    assert_eq!(store.entity(&prod).await.unwrap().unwrap().text, "prod");
}

async fn an_execution_moves_by_compare_and_set(store: &dyn Store) {
    let first = store.create_execution(&execution("e1", "p")).await.unwrap();
    let second = store.create_execution(&execution("e2", "p")).await.unwrap();
    let other = store.create_execution(&execution("e3", "q")).await.unwrap();
    assert_eq!(
        (
            first.sequence,
            second.sequence,
            other.sequence,
            first.version
        ),
        (1, 2, 1, 1)
    );
    let version = store
        .advance_execution("e1", 1, &advance("{\"n\":1}", &["1", "2"], false), at(1))
        .await
        .unwrap();
    assert_eq!(version, 2);
    let lost = store
        .advance_execution("e1", 1, &advance("{\"n\":9}", &["9"], false), at(1))
        .await;
    assert!(matches!(lost, Err(Error::Conflict { .. })), "{lost:?}");
    let read = store.execution("e1").await.unwrap().unwrap();
    assert_eq!((read.state.as_str(), read.version), ("{\"n\":1}", 2));
    let events = store.execution_events("e1", 0, 10).await.unwrap();
    let texts: Vec<_> = events.iter().map(|e| (e.seq, e.event.as_str())).collect();
    assert_eq!(texts, [(1, "\"started\""), (2, "1"), (3, "2")]);
    assert_eq!(store.execution_events("e1", 2, 10).await.unwrap().len(), 1);

    store
        .advance_execution("e1", 2, &advance("{}", &["3"], true), at(2))
        .await
        .unwrap();
    assert_eq!(
        store.execution("e1").await.unwrap().unwrap().ended_at,
        Some(at(2))
    );
    let after_end = store
        .advance_execution("e1", 3, &advance("{}", &["4"], false), at(3))
        .await;
    assert!(matches!(after_end, Err(Error::Conflict { .. })));
    assert_eq!(store.unfinished_executions().await.unwrap(), ["e2", "e3"]);

    let filter = ExecutionFilter {
        scope: shop(),
        pipeline: Some("p".to_owned()),
        before: None,
        limit: 10,
    };
    let ids = |list: Vec<sortie_store::ExecutionHead>| -> Vec<String> {
        list.into_iter().map(|e| e.id).collect()
    };
    assert_eq!(
        ids(store.list_executions(&filter).await.unwrap()),
        ["e2", "e1"]
    );
    let heads = store.list_executions(&filter).await.unwrap();
    let causes: Vec<_> = heads
        .iter()
        .map(|head| (head.message.as_deref(), head.code.as_deref()))
        .collect();
    assert_eq!(causes, [(None, None), (Some("no luck"), Some("SRT-T001"))]);
    let older = ExecutionFilter {
        before: Some("e2".to_owned()),
        ..filter
    };
    assert_eq!(ids(store.list_executions(&older).await.unwrap()), ["e1"]);
}

async fn a_pinned_entity_does_not_change(store: &dyn Store) {
    let web = key("service", "web");
    store
        .put_entities(&change(vec![write(web.clone(), "one")]), at(0))
        .await
        .unwrap();
    store.create_execution(&execution("e1", "p")).await.unwrap();
    store.create_execution(&execution("e2", "p")).await.unwrap();
    assert_eq!(
        store.pin_entity("e1", &web).await.unwrap().unwrap().text,
        "one"
    );
    store
        .put_entities(&change(vec![write(web.clone(), "two")]), at(1))
        .await
        .unwrap();
    assert_eq!(
        store.pin_entity("e1", &web).await.unwrap().unwrap().text,
        "one"
    );
    assert_eq!(
        store.pin_entity("e2", &web).await.unwrap().unwrap().text,
        "two"
    );
    store.delete_entity(&web, at(2)).await.unwrap();
    assert_eq!(
        store.pin_entity("e1", &web).await.unwrap().unwrap().text,
        "one"
    );
    let missing = store
        .pin_entity("e1", &key("service", "missing"))
        .await
        .unwrap();
    assert_eq!(missing, None);
}

async fn a_step_is_recorded_once(store: &dyn Store) {
    store.create_execution(&execution("e1", "p")).await.unwrap();
    let step = NewStep {
        task: "t1".to_owned(),
        execution: "e1".to_owned(),
        node: "pipeline.stages.s.spec.execution.steps.a".to_owned(),
        attempt: 1,
        request: "{\"a\":1}".to_owned(),
        blobs: Vec::new(),
        created_at: at(0),
    };
    let first = store.record_step(&step).await.unwrap();
    let again = NewStep {
        task: "t2".to_owned(),
        request: "{\"a\":2}".to_owned(),
        ..step.clone()
    };
    assert_eq!(store.record_step(&again).await.unwrap(), first);
    assert!(store.put_step_progress("t1", "{}").await.unwrap());
    assert!(!store.put_step_progress("t2", "{}").await.unwrap());
    let read = store.step_of_task("t1").await.unwrap().unwrap();
    assert_eq!(
        (read.request.as_str(), read.progress.as_deref()),
        ("{\"a\":1}", Some("{}"))
    );
    assert_eq!(store.steps_of_execution("e1").await.unwrap().len(), 1);
    assert_eq!(store.step_of_task("t2").await.unwrap(), None);
}

async fn log_lines_are_stored_once_and_read_in_order(store: &dyn Store) {
    let line = |node: &str, epoch, seq| NewLogLine {
        execution: "e1".to_owned(),
        node: node.to_owned(),
        task: format!("task of {node}"),
        epoch,
        seq,
        unit: "Apply".to_owned(),
        level: "info".to_owned(),
        at: at(seq),
        text: format!("{node} {epoch}.{seq}"),
    };
    let batch = [line("p.a", 1, 1), line("p.a", 1, 2), line("p.ab", 1, 1)];
    assert_eq!(store.append_log(&batch).await.unwrap(), 3);
    let overlapping = [line("p.a", 1, 2), line("p.a", 1, 3), line("p.a", 2, 1)];
    assert_eq!(store.append_log(&overlapping).await.unwrap(), 2);
    store
        .append_log(&[line("p.a.steps.x", 1, 1)])
        .await
        .unwrap();
    let texts = |lines: &[sortie_store::LogLine]| -> Vec<String> {
        lines.iter().map(|l| l.line.text.clone()).collect()
    };
    let all = store.log_lines("e1", None, 0, 100).await.unwrap();
    assert_eq!(
        texts(&all),
        [
            "p.a 1.1",
            "p.a 1.2",
            "p.ab 1.1",
            "p.a 1.3",
            "p.a 2.1",
            "p.a.steps.x 1.1"
        ]
    );
    let below = store.log_lines("e1", Some("p.a"), 0, 100).await.unwrap();
    assert_eq!(
        texts(&below),
        [
            "p.a 1.1",
            "p.a 1.2",
            "p.a 1.3",
            "p.a 2.1",
            "p.a.steps.x 1.1"
        ],
        "p.ab is no child of p.a"
    );
    let rest = store
        .log_lines("e1", None, all[3].position, 1)
        .await
        .unwrap();
    assert_eq!(texts(&rest), ["p.a 2.1"]);
    assert!(store.log_lines("e2", None, 0, 10).await.unwrap().is_empty());
}

async fn there_is_one_first_user(store: &dyn Store) {
    let user = User {
        id: "u1".to_owned(),
        name: "admin".to_owned(),
        role: "admin".to_owned(),
        created_at: at(0),
    };
    let token = ApiToken {
        id: "t1".to_owned(),
        user_id: "u1".to_owned(),
        hash: vec![7; 32],
        label: "first".to_owned(),
        created_at: at(0),
        expires_at: None,
        revoked_at: None,
    };
    assert!(store.create_first_user(&user, &token).await.unwrap());
    let second = User {
        id: "u2".to_owned(),
        name: "eve".to_owned(),
        ..user.clone()
    };
    assert!(!store.create_first_user(&second, &token).await.unwrap());
    assert_eq!(store.user("admin").await.unwrap(), Some(user.clone()));
    assert_eq!(store.user("eve").await.unwrap(), None);
    let more = ApiToken {
        id: "t2".to_owned(),
        expires_at: Some(at(9)),
        ..token.clone()
    };
    store.create_api_token(&more).await.unwrap();
    assert_eq!(
        store.api_token("t2").await.unwrap(),
        Some((more, user.clone()))
    );
    assert!(store.revoke_api_token("t1", at(5)).await.unwrap());
    assert!(!store.revoke_api_token("t1", at(6)).await.unwrap());
    let (revoked, _) = store.api_token("t1").await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(at(5)));
    assert_eq!(store.list_api_tokens().await.unwrap().len(), 2);
    assert_eq!(store.api_token("t3").await.unwrap(), None);
}

async fn blobs_are_found_by_their_hash(store: &dyn Store) {
    let hash = store.put_blob(b"hello").await.unwrap();
    assert_eq!(
        hash.as_str(),
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );
    assert_eq!(store.put_blob(b"hello").await.unwrap(), hash);
    assert_eq!(store.blob(&hash).await.unwrap().unwrap(), b"hello");
    let other = BlobHash::of(b"never stored");
    assert_eq!(store.blob(&other).await.unwrap(), None);
}

async fn a_setting_is_written_once(store: &dyn Store) {
    assert_eq!(store.setting("a").await.unwrap(), None);
    assert_eq!(store.setting_or_insert("a", b"1").await.unwrap(), b"1");
    assert_eq!(store.setting_or_insert("a", b"2").await.unwrap(), b"1");
    assert_eq!(store.setting("a").await.unwrap().unwrap(), b"1");
}

macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    let store = super::SqliteStore::open(folder.path()).await.unwrap();
                    super::$name(&store).await;
                }
            )+
        }
    };
}

contract!(
    versions_of_an_entity_are_kept,
    a_change_is_stored_whole_or_not_at_all,
    lists_show_one_kind_of_one_scope,
    files_are_found_by_path,
    infrastructure_belongs_to_its_environment,
    an_execution_moves_by_compare_and_set,
    a_pinned_entity_does_not_change,
    a_step_is_recorded_once,
    log_lines_are_stored_once_and_read_in_order,
    there_is_one_first_user,
    blobs_are_found_by_their_hash,
    a_setting_is_written_once,
);
