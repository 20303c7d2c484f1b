//! Join tokens, certificates, renewal, revocation.

use std::sync::Arc;
use std::time::Duration;

use sortie_server::agent::{Agent, Error};
use sortie_server::delegates::DelegateAdmin as _;
use sortie_server::keys::MasterKey;
use sortie_store::{Delegates as _, Scope, SqliteStore};
use tonic::Code;

use super::client::{self, authority, code, enrol, enrol_with, new_key, renew};
use super::control::{Control, PATIENCE, now, options, shop};
use super::delegate::{Setup, Told};

#[tokio::test]
async fn a_token_is_used_once_per_key() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(shop(), 1).await;
    let ca = authority(control.address(), &token).await;
    let key = new_key();
    let first = enrol_with(control.address(), &ca, &token, &key, |_| {})
        .await
        .unwrap();
    let again = enrol_with(control.address(), &ca, &token, &key, |_| {})
        .await
        .unwrap();
    assert_eq!(first.certificate.delegate_id, again.certificate.delegate_id);
    let other = enrol_as(&control, &token, "other").await;
    let refused = other.err().unwrap();
    assert_eq!(
        (refused.code(), code(&refused).as_str()),
        (Code::Unauthenticated, "SRT-S213")
    );
    let delegates = control.agent.delegates().await.unwrap();
    assert_eq!(delegates.len(), 1);
    assert_eq!(
        (delegates[0].name.as_str(), &delegates[0].scope),
        ("edge", &shop())
    );
    assert!(delegates[0].certificate_ends_at.unwrap() > now());
    control.stop().await;
}

/// Enrols a new key under a name.
async fn enrol_as(
    control: &Control,
    token: &str,
    name: &str,
) -> Result<client::Identity, tonic::Status> {
    let ca = authority(control.address(), token).await;
    let named = |request: &mut sortie_proto::v1::EnrolRequest| {
        request.delegate_name = name.to_owned();
    };
    enrol_with(control.address(), &ca, token, &new_key(), named).await
}

#[tokio::test]
async fn nobody_takes_the_name_of_a_live_delegate() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let first_token = control.token(shop(), 9).await;
    let first = enrol(control.address(), &first_token).await;
    // With the same token (its identity was lost) or with another one, also of a wider scope.
    let second_token = control.token(shop(), 9).await;
    let wide_token = control.token(Scope::default(), 9).await;
    for token in [&first_token, &second_token, &wide_token] {
        let status = enrol_as(&control, token, "edge").await.err().unwrap();
        assert_eq!(
            (status.code(), code(&status).as_str()),
            (Code::FailedPrecondition, "SRT-S225")
        );
        assert!(
            status.message().contains("sortie delegate revoke"),
            "{status}"
        );
    }
    // The delegate itself goes on: by renewal, and with a new token for its key.
    let ca = first.certificate.authorities[0].clone();
    let id = first.certificate.delegate_id.clone();
    let renewed = renew(control.address(), &ca, &first, |_| {}).await.unwrap();
    assert_eq!(renewed.certificate.delegate_id, id);
    let again = enrol_with(control.address(), &ca, &second_token, &first.key, |_| {})
        .await
        .unwrap();
    assert_eq!(again.certificate.delegate_id, id);

    assert!(control.agent.revoke_delegate(&id, "admin").await.unwrap());
    let second = enrol_as(&control, &second_token, "edge").await.unwrap();
    assert_ne!(second.certificate.delegate_id, id);
    // Nor does a tag help.
    let other = enrol_as(&control, &second_token, "other").await.unwrap();
    let mut setup = Setup::new(other, control.address());
    setup.tags = vec!["edge".to_owned(), "eu".to_owned()];
    let _connected = setup.start_up().await;
    let delegates = control.agent.delegates().await.unwrap();
    let other = delegates.iter().find(|d| d.name == "other").unwrap();
    assert_eq!(other.sessions[0].tags, ["eu", "other"]);
    control.stop().await;
}

#[tokio::test]
async fn a_token_for_a_name_enrols_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token_for("prod").await;
    let status = enrol_as(&control, &token, "edge").await.err().unwrap();
    assert_eq!(
        (status.code(), code(&status).as_str()),
        (Code::PermissionDenied, "SRT-S226")
    );
    enrol_as(&control, &token, "prod").await.unwrap();
    control.stop().await;
}

#[tokio::test]
async fn bad_tokens_and_requests_are_refused_with_their_code() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let good = control.token(shop(), 9).await;
    let expired = control
        .token_until(shop(), 9, jiff::SignedDuration::from_secs(-1))
        .await;
    let revoked = control.token(shop(), 9).await;
    let id = revoked.split('.').nth(1).unwrap();
    assert!(control.store.revoke_join_token(id, now()).await.unwrap());
    let mut parts: Vec<&str> = good.split('.').collect();
    let other = control.token(shop(), 9).await;
    parts[2] = other.split('.').nth(2).unwrap();
    let mixed = parts.join(".");
    let ca = authority(control.address(), &good).await;

    type Spoil = fn(&mut sortie_proto::v1::EnrolRequest);
    let cases: Vec<(&str, &str, Spoil, &str)> = vec![
        ("no token", "", |_| {}, "SRT-S210"),
        ("half a token", "sortie-join.a.b", |_| {}, "SRT-S210"),
        ("another's secret", &mixed, |_| {}, "SRT-S210"),
        ("expired", &expired, |_| {}, "SRT-S211"),
        ("revoked", &revoked, |_| {}, "SRT-S212"),
        (
            "other project",
            &good,
            |r| r.project = "bank".to_owned(),
            "SRT-S214",
        ),
        (
            "other organisation",
            &good,
            |r| r.organisation = "x".to_owned(),
            "SRT-S214",
        ),
        ("no request", &good, |r| r.csr.clear(), "SRT-S215"),
        ("broken request", &good, |r| r.csr[40] ^= 1, "SRT-S215"),
        (
            "bad signature",
            &good,
            |r| *r.csr.last_mut().unwrap() ^= 1,
            "SRT-S215",
        ),
        (
            "bad name",
            &good,
            |r| r.delegate_name = "../x".to_owned(),
            "SRT-S215",
        ),
    ];
    for (name, token, spoil, want) in cases {
        let result = enrol_with(control.address(), &ca, token, &new_key(), spoil).await;
        let status = result.err().unwrap_or_else(|| panic!("{name} was taken"));
        assert_eq!(code(&status), want, "{name}");
        assert!(
            !status.message().contains(token) || token.is_empty(),
            "{name} leaks"
        );
    }
    assert_eq!(
        control.agent.delegates().await.unwrap(),
        [],
        "nothing is stored by halves"
    );
    control.stop().await;
}

#[tokio::test]
async fn the_authority_outlives_a_restart_and_needs_its_master_key() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(shop(), 1).await;
    let identity = enrol(control.address(), &token).await;
    control.stop().await;

    let control = Control::start(folder.path(), options()).await;
    Setup::new(identity, control.address()).start_up().await;
    control.stop().await;

    // The key of another server does not open the authority.
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = SqliteStore::open(elsewhere.path()).await.unwrap();
    let keys = MasterKey::load(elsewhere.path(), None, &other)
        .await
        .unwrap();
    let error = Agent::open(options(), Arc::new(store), &keys)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Key(_)), "{error}");
    assert_eq!(error.code(), "SRT-S202");
}

#[tokio::test]
async fn a_certificate_is_renewed_also_after_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut short = options();
    // Long enough to connect on a busy machine.
    short.certificate_lifetime = Duration::from_secs(5);
    let control = Control::start(folder.path(), short).await;
    let token = control.token(shop(), 1).await;
    let old = enrol(control.address(), &token).await;
    let ca = old.certificate.authorities[0].clone();
    assert!(old.certificate.renew_at_ms < old.certificate.not_after_ms);

    // The running session ends with its certificate.
    let mut delegate = Setup::new(old.clone(), control.address()).start_up().await;
    delegate.wait(|told| matches!(told, Told::GoAway)).await;
    delegate.wait(|told| matches!(told, Told::Down(_))).await;
    drop(delegate);
    let ended = async {
        while let Ok(mut link) = client::link(control.address(), &old).await {
            let (_, empty) = tokio::sync::mpsc::channel(1);
            let stream = tokio_stream::wrappers::ReceiverStream::new(empty);
            if link.session(stream).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("an expired certificate opens nothing");

    let new = renew(control.address(), &ca, &old, |_| {}).await.unwrap();
    assert_eq!(new.certificate.delegate_id, old.certificate.delegate_id);
    assert_ne!(new.certificate.chain, old.certificate.chain);
    Setup::new(new, control.address()).start_up().await;
    control.stop().await;
}

#[tokio::test]
async fn a_renewal_needs_the_old_key_a_fresh_nonce_and_our_authority() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(shop(), 1).await;
    let old = enrol(control.address(), &token).await;
    let ca = old.certificate.authorities[0].clone();

    let elsewhere = tempfile::tempdir().unwrap();
    let other = Control::start(elsewhere.path(), options()).await;
    let strange_token = other.token(shop(), 1).await;
    let strange = enrol(other.address(), &strange_token).await;
    let strange_chain = strange.certificate.chain.clone();

    type Spoil = Box<dyn FnOnce(&mut sortie_proto::v1::RenewRequest)>;
    let cases: Vec<(&str, Spoil, &str)> = vec![
        ("no chain", Box::new(|r| r.chain.clear()), "SRT-S216"),
        (
            "no certificate",
            Box::new(|r| r.chain[0] = vec![1, 2, 3]),
            "SRT-S216",
        ),
        (
            "another authority's",
            Box::new(move |r| r.chain = strange_chain),
            "SRT-S216",
        ),
        ("made-up nonce", Box::new(|r| r.nonce[9] ^= 1), "SRT-S218"),
        ("no nonce", Box::new(|r| r.nonce.clear()), "SRT-S218"),
        (
            "bad signature",
            Box::new(|r| r.signature[10] ^= 1),
            "SRT-S218",
        ),
        (
            "exchanged request",
            Box::new(|r| r.csr = client::signing_request(&new_key())),
            "SRT-S218",
        ),
    ];
    for (name, spoil, want) in cases {
        let result = renew(control.address(), &ca, &old, spoil).await;
        let status = result.err().unwrap_or_else(|| panic!("{name} was taken"));
        assert_eq!(code(&status), want, "{name}");
    }
    // A nonce of another server, properly signed.
    let foreign = client::nonce(other.address(), &strange.certificate.authorities[0])
        .await
        .unwrap();
    let result = client::renew_with(control.address(), &ca, &old, foreign, |_| {}).await;
    assert_eq!(code(&result.err().unwrap()), "SRT-S218");
    // Another key's signature.
    let thief = client::Identity {
        key: new_key(),
        certificate: old.certificate.clone(),
    };
    let status = renew(control.address(), &ca, &thief, |_| {})
        .await
        .err()
        .unwrap();
    assert_eq!(code(&status), "SRT-S218");
    // Certificates of the other authority do not even pass the handshake, either way.
    let crossed = client::Identity {
        certificate: sortie_proto::v1::Certificate {
            authorities: vec![ca],
            ..strange.certificate
        },
        ..strange
    };
    let opened = match client::link(control.address(), &crossed).await {
        Ok(mut link) => {
            let (_, empty) = tokio::sync::mpsc::channel(1);
            link.session(tokio_stream::wrappers::ReceiverStream::new(empty))
                .await
                .is_ok()
        }
        Err(_) => false,
    };
    assert!(!opened);
    let wrong = client::channel(other.address(), &old.certificate.authorities[0], None).await;
    assert!(
        wrong.is_err(),
        "a delegate does not talk to another control plane"
    );
    control.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn revoking_cuts_the_stream_and_closes_the_door() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(Scope::default(), 2).await;
    let identity = enrol(control.address(), &token).await;
    let ca = identity.certificate.authorities[0].clone();
    let id = identity.certificate.delegate_id.clone();
    let bystander = enrol_as(&control, &token, "bystander").await.unwrap();
    let mut other = Setup::new(bystander, control.address());
    other.instance = "pod-2".to_owned();
    let mut other = other.start_up().await;
    let mut delegate = Setup::new(identity.clone(), control.address())
        .start_up()
        .await;

    assert!(control.agent.revoke_delegate(&id, "admin").await.unwrap());
    let is_revoked = |told: &Told| matches!(told, Told::Down(why) if why.starts_with("SRT-S219"));
    delegate.wait(is_revoked).await;
    // The next try, with the same certificate, is refused as well.
    delegate.wait(is_revoked).await;
    let status = renew(control.address(), &ca, &identity, |_| {})
        .await
        .err()
        .unwrap();
    assert_eq!(
        (status.code(), code(&status).as_str()),
        (Code::PermissionDenied, "SRT-S219")
    );
    let key = identity.key.clone();
    let status = enrol_with(control.address(), &ca, &token, &key, |_| {})
        .await
        .err()
        .unwrap();
    assert_eq!(code(&status), "SRT-S219");
    assert!(other.told.try_recv().is_err(), "others stay");
    assert!(
        !control
            .agent
            .revoke_delegate("nobody", "admin")
            .await
            .unwrap()
    );
    assert!(
        control.agent.revoke_delegate(&id, "admin").await.unwrap(),
        "again is harmless"
    );
    control.stop().await;
}
