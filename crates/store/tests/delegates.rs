//! What every store has to keep of delegates, join tokens and tasks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::Timestamp;
use sortie_store::{
    Delegates as _, Enrolled, Enrolment, Error, JoinToken, NewTask, Retention as _, Scope,
    SqliteStore, TaskChange, Tasks as _,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn token(id: &str, max_uses: i64) -> JoinToken {
    JoinToken {
        id: id.to_owned(),
        hash: vec![7; 32],
        label: "for tests".to_owned(),
        scope: Scope::project("acme", "shop"),
        delegate_name: None,
        max_uses,
        uses: 0,
        created_by: "admin".to_owned(),
        created_at: at(0),
        expires_at: at(60),
        revoked_at: None,
    }
}

fn enrolment(token: &str, key: u8, delegate: &str, second: i64) -> Enrolment {
    Enrolment {
        token: token.to_owned(),
        public_key: vec![key; 32],
        delegate: delegate.to_owned(),
        name: "edge".to_owned(),
        now: at(second),
    }
}

async fn store() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    (folder, store)
}

#[tokio::test]
async fn a_token_counts_keys_not_calls() {
    let (_folder, store) = store().await;
    store.create_join_token(&token("t", 1)).await.unwrap();
    let first = store.enrol(&enrolment("t", 1, "d1", 1)).await.unwrap();
    let Enrolled::Delegate(delegate) = &first else {
        panic!("{first:?}");
    };
    assert_eq!(
        (delegate.id.as_str(), &delegate.scope),
        ("d1", &Scope::project("acme", "shop"))
    );
    let again = store.enrol(&enrolment("t", 1, "d2", 2)).await.unwrap();
    assert_eq!(again, first, "the same key is the same delegate");
    assert_eq!(store.join_token("t").await.unwrap().unwrap().uses, 1);
    let other = Enrolment {
        name: "other".to_owned(),
        ..enrolment("t", 2, "d3", 3)
    };
    assert_eq!(store.enrol(&other).await.unwrap(), Enrolled::UsedUp);
    assert_eq!(
        store.delegates().await.unwrap().len(),
        1,
        "nothing by halves"
    );
}

#[tokio::test]
async fn a_name_belongs_to_one_live_delegate_of_overlapping_scopes() {
    let org = |org: &str| Scope {
        org: Some(org.to_owned()),
        project: None,
    };
    let account = Scope::default();
    for (has, wants, is_taken) in [
        (
            Scope::project("acme", "shop"),
            Scope::project("acme", "shop"),
            true,
        ),
        (
            Scope::project("acme", "shop"),
            Scope::project("acme", "bank"),
            false,
        ),
        (
            Scope::project("acme", "shop"),
            Scope::project("other", "shop"),
            false,
        ),
        (Scope::project("acme", "shop"), org("acme"), true),
        (Scope::project("acme", "shop"), org("other"), false),
        (Scope::project("acme", "shop"), account.clone(), true),
        (org("acme"), Scope::project("acme", "shop"), true),
        (org("acme"), Scope::project("other", "shop"), false),
        (org("acme"), org("other"), false),
        (account.clone(), Scope::project("acme", "shop"), true),
        (account.clone(), org("acme"), true),
        (account.clone(), account.clone(), true),
    ] {
        let case = format!("{has:?} {wants:?}");
        let (_folder, store) = store().await;
        for (id, scope) in [("first", has), ("second", wants)] {
            let scoped = JoinToken {
                scope,
                ..token(id, 9)
            };
            store.create_join_token(&scoped).await.unwrap();
        }
        store.enrol(&enrolment("first", 1, "d1", 1)).await.unwrap();
        let second = enrolment("second", 2, "d2", 2);
        let enrolled = store.enrol(&second).await.unwrap();
        assert_eq!(enrolled == Enrolled::NameTaken, is_taken, "{case}");
        if !is_taken {
            assert!(matches!(enrolled, Enrolled::Delegate(_)), "{case}");
            continue;
        }
        let uses = async || store.join_token("second").await.unwrap().unwrap().uses;
        assert_eq!(uses().await, 0, "{case}: a refusal is no use");
        let renamed = Enrolment {
            name: "core".to_owned(),
            ..enrolment("second", 3, "d3", 2)
        };
        let enrolled = store.enrol(&renamed).await.unwrap();
        assert!(matches!(enrolled, Enrolled::Delegate(_)), "{case}");
        store.revoke_delegate("d1", at(3)).await.unwrap();
        let Enrolled::Delegate(delegate) = store.enrol(&second).await.unwrap() else {
            panic!("{case}: the name is free again");
        };
        assert_eq!((delegate.id.as_str(), uses().await), ("d2", 2), "{case}");
    }
}

#[tokio::test]
async fn a_key_is_known_again_under_another_token_of_its_scope() {
    let (_folder, store) = store().await;
    let wider = JoinToken {
        scope: Scope::default(),
        ..token("wider", 1)
    };
    for token in [token("old", 1), token("new", 1), wider] {
        store.create_join_token(&token).await.unwrap();
    }
    let first = store.enrol(&enrolment("old", 1, "d1", 1)).await.unwrap();
    let stolen = enrolment("new", 2, "d2", 2);
    assert_eq!(store.enrol(&stolen).await.unwrap(), Enrolled::NameTaken);
    let again = store.enrol(&enrolment("new", 1, "d3", 3)).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(store.join_token("new").await.unwrap().unwrap().uses, 1);
    let grown = enrolment("wider", 1, "d4", 4);
    assert_eq!(
        store.enrol(&grown).await.unwrap(),
        Enrolled::NameTaken,
        "a delegate does not change what it serves"
    );
    assert_eq!(store.delegates().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_for_a_name_is_for_no_other() {
    let (_folder, store) = store().await;
    let bound = JoinToken {
        delegate_name: Some("prod".to_owned()),
        ..token("t", 1)
    };
    store.create_join_token(&bound).await.unwrap();
    assert_eq!(store.join_token("t").await.unwrap(), Some(bound));
    let edge = enrolment("t", 1, "d1", 1);
    assert_eq!(store.enrol(&edge).await.unwrap(), Enrolled::OtherName);
    let prod = Enrolment {
        name: "prod".to_owned(),
        ..edge
    };
    let enrolled = store.enrol(&prod).await.unwrap();
    assert!(matches!(enrolled, Enrolled::Delegate(_)), "{enrolled:?}");
}

#[tokio::test]
async fn dead_tokens_enrol_nobody() {
    let (_folder, store) = store().await;
    store.create_join_token(&token("late", 5)).await.unwrap();
    store.create_join_token(&token("gone", 5)).await.unwrap();
    assert!(store.revoke_join_token("gone", at(1)).await.unwrap());
    assert!(!store.revoke_join_token("gone", at(2)).await.unwrap());
    for (id, second, want) in [
        ("none", 1, Enrolled::Unknown),
        ("late", 60, Enrolled::Expired),
        ("gone", 3, Enrolled::Revoked),
    ] {
        let enrolled = store.enrol(&enrolment(id, 1, "d", second)).await.unwrap();
        assert_eq!(enrolled, want, "{id}");
    }
    assert_eq!(store.join_tokens().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_delegate_is_revoked_once() {
    let (_folder, store) = store().await;
    store.create_join_token(&token("t", 1)).await.unwrap();
    store.enrol(&enrolment("t", 1, "d1", 1)).await.unwrap();
    store.delegate_seen("d1", at(5)).await.unwrap();
    store.certificate_issued("d1", at(99)).await.unwrap();
    assert!(store.revoke_delegate("d1", at(6)).await.unwrap());
    assert!(!store.revoke_delegate("d1", at(7)).await.unwrap());
    let delegate = store.delegate("d1").await.unwrap().unwrap();
    assert_eq!(
        (delegate.seen_at, delegate.revoked_at),
        (Some(at(5)), Some(at(6)))
    );
    assert_eq!(delegate.certificate_ends_at, Some(at(99)));
    assert_eq!(store.delegate("d2").await.unwrap(), None);
}

#[tokio::test]
async fn a_revoked_delegate_goes_once_its_tokens_are_over() {
    let (_folder, store) = store().await;
    for (token, delegate, key) in [
        (token("old", 1), "gone", 1),
        (token("revoked", 1), "cut", 2),
        (
            JoinToken {
                expires_at: at(900),
                ..token("long", 1)
            },
            "kept",
            3,
        ),
        (token("other", 1), "live", 4),
    ] {
        store.create_join_token(&token).await.unwrap();
        let named = Enrolment {
            name: delegate.to_owned(),
            ..enrolment(&token.id, key, delegate, 1)
        };
        store.enrol(&named).await.unwrap();
        if delegate != "live" {
            store.revoke_delegate(delegate, at(10)).await.unwrap();
        }
    }
    store.revoke_join_token("revoked", at(11)).await.unwrap();
    let sweep = async |before, now, limit| {
        let swept = store.delete_revoked_delegates(at(before), at(now), limit);
        let swept = swept.await.unwrap();
        let left = store.delegates().await.unwrap().into_iter();
        (swept, left.map(|left| left.id).collect::<Vec<_>>())
    };
    let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        sweep(10, 500, 9).await,
        (0, ids(&["cut", "gone", "kept", "live"])),
        "not yet"
    );
    assert_eq!(sweep(11, 30, 9).await, (1, ids(&["gone", "kept", "live"])));
    assert_eq!(sweep(11, 500, 9).await, (1, ids(&["kept", "live"])));
    assert_eq!(sweep(11, 900, 0).await.0, 0);
    assert_eq!(sweep(11, 900, 1).await, (1, ids(&["live"])));
}

#[tokio::test]
async fn a_task_moves_by_compare_and_set_until_told() {
    let (_folder, store) = store().await;
    let new = NewTask {
        id: "t1".to_owned(),
        scope: Scope::project("acme", "shop"),
        selectors: vec!["eu".to_owned()],
        payload: b"work".to_vec(),
        record: "queued".to_owned(),
        deadline: at(600),
        created_at: at(0),
    };
    let task = store.insert_task(&new).await.unwrap();
    assert_eq!(
        (task.version, task.ended, task.selectors.as_slice()),
        (1, false, &["eu".to_owned()][..])
    );
    let repeated = NewTask {
        payload: b"other".to_vec(),
        ..new
    };
    assert_eq!(
        store.insert_task(&repeated).await.unwrap(),
        task,
        "the first one stays"
    );
    let change = TaskChange {
        id: "t1".to_owned(),
        version: 1,
        record: "offered".to_owned(),
        ended: false,
        delegate: Some("d1".to_owned()),
        outcome: None,
    };
    assert_eq!(store.update_task(&change).await.unwrap(), 2);
    let lost = store.update_task(&change).await.unwrap_err();
    assert!(matches!(lost, Error::Conflict { .. }));
    store.task_told("t1", at(50)).await.unwrap();
    assert_eq!(
        store.untold_tasks().await.unwrap().len(),
        1,
        "it has not ended"
    );
    let end = TaskChange {
        version: 2,
        ended: true,
        delegate: None,
        outcome: Some(b"done".to_vec()),
        ..change
    };
    store.update_task(&end).await.unwrap();
    assert_eq!(store.untold_tasks().await.unwrap().len(), 1);
    store.task_told("t1", at(50)).await.unwrap();
    assert_eq!(store.untold_tasks().await.unwrap(), []);
    let told = store.task("t1").await.unwrap().unwrap();
    assert_eq!(told.delegate.as_deref(), Some("d1"));
    assert_eq!(
        (told.payload, told.outcome),
        (vec![], Some(b"done".to_vec()))
    );
}
