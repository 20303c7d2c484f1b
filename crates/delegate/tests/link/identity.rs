//! How a delegate gets, keeps, renews and loses its identity.

use std::time::Duration;

use sortie_delegate::identity::IdentityStore as _;
use sortie_server::agent::Options;
use sortie_server::delegates::DelegateAdmin as _;

use super::control::{Control, PATIENCE, now, options};
use super::delegate::{Delegate, Setup};
use super::runner::task;

/// Certificates that live for seconds.
fn brief(seconds: u64) -> Options {
    Options {
        certificate_lifetime: Duration::from_secs(seconds),
        ..options()
    }
}

/// Lets time pass: nothing else ends a certificate.
async fn pass(time: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + time).await;
}

/// Waits until the delegate's certificate has ended.
async fn expired(delegate: &Delegate) {
    let not_after = delegate
        .identity()
        .await
        .identity
        .enrolment
        .unwrap()
        .not_after;
    let left = Duration::try_from(not_after.duration_since(now())).unwrap_or_default();
    // Certificates end on whole seconds.
    pass(left + Duration::from_millis(1_100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_needs_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let setup = Setup::new(control.address(), folder.path()).token(&control.token(1).await);
    let mut first = setup.start();
    first.up().await;
    let id = first.id().await;
    first.stop().await;
    std::fs::remove_file(folder.path().join("token")).unwrap();
    let mut second = setup.start();
    second.up().await;
    assert_eq!(second.id().await, id);
    second.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_are_one_delegate() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(1).await;
    let mut replicas: Vec<Delegate> = (0..4)
        .map(|number| {
            let setup = Setup::new(control.address(), folder.path()).token(&token);
            setup.instance(&format!("pod-{number}")).start()
        })
        .collect();
    for replica in &mut replicas {
        replica.up().await;
    }
    let view = control.agent.delegates().await.unwrap();
    assert_eq!((view.len(), view[0].sessions.len()), (1, 4));
    for replica in replicas {
        replica.stop().await;
    }
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_while_the_delegate_works() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), brief(6)).await;
    let setup = Setup::new(control.address(), folder.path()).token(&control.token(1).await);
    let mut delegate = setup.start();
    delegate.up().await;
    let first = delegate.identity().await;
    control.enqueue(task("t1", "wait")).await;
    // A file of one process announces nothing.
    let renewed = async {
        while delegate.identity().await.version == first.version {
            pass(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.unwrap();
    assert_eq!(
        delegate.metrics.sessions.get(),
        1,
        "at two thirds, not when the stream ends"
    );
    // The server ends streams whose certificate ends; the next one has the new certificate.
    let mut standing = delegate.standing.clone();
    let again = async {
        while delegate.metrics.sessions.get() < 2 {
            standing.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    delegate.gate.add_permits(1);
    control.recorder.outputs("t1").await;
    let last = delegate.identity().await.identity.enrolment.unwrap();
    assert_eq!(last.delegate, first.identity.enrolment.unwrap().delegate);
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delegate_that_was_away_past_its_certificates_end_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), brief(2)).await;
    let setup = Setup::new(control.address(), folder.path()).token(&control.token(1).await);
    let mut delegate = setup.start();
    delegate.up().await;
    let id = delegate.id().await;
    delegate.kill().await;
    std::fs::remove_file(folder.path().join("token")).unwrap();
    let mut delegate = {
        let away = setup.start();
        let store = away.store.clone();
        away.kill().await;
        let not_after = store
            .load()
            .await
            .unwrap()
            .unwrap()
            .identity
            .enrolment
            .unwrap()
            .not_after;
        let left = Duration::try_from(not_after.duration_since(now())).unwrap_or_default();
        pass(left + Duration::from_millis(1_100)).await;
        setup.start()
    };
    delegate.up().await;
    assert_eq!(delegate.id().await, id);
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delegate_whose_clock_is_behind_renews_when_its_certificate_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), brief(2)).await;
    let setup = Setup::new(control.address(), folder.path()).token(&control.token(1).await);
    let mut delegate = setup.start();
    delegate.up().await;
    let store = delegate.store.clone();
    let waiting = expired(&delegate);
    waiting.await;
    delegate.kill().await;
    control.stop().await;
    // The certificate has ended; what is noted about it says that there is time left, as a slow clock would.
    let stored = store.load().await.unwrap().unwrap();
    let mut identity = stored.identity;
    let later = now()
        .checked_add(jiff::SignedDuration::from_hours(1))
        .unwrap();
    let enrolment = identity.enrolment.as_mut().unwrap();
    let ended = enrolment.chain.clone();
    (enrolment.not_after, enrolment.renew_at) = (later, later);
    let lock = store.lock().await.unwrap();
    store
        .replace(&identity, &stored.version, &lock)
        .await
        .unwrap()
        .unwrap();
    lock.release().await;

    let control = Control::start(folder.path(), options()).await;
    expire_for_certain(&ended).await;
    let mut delegate = Setup::new(control.address(), folder.path()).start();
    delegate.up().await;
    assert_ne!(
        delegate.identity().await.identity.enrolment.unwrap().chain,
        ended
    );
    delegate.stop().await;
    control.stop().await;
}

/// The delegate may have renewed while the test waited: wait for the end of what is on the chain.
async fn expire_for_certain(chain: &[rustls::pki_types::CertificateDer<'_>]) {
    let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    let left = certificate.validity().not_after.timestamp() - now().as_second();
    pass(Duration::from_secs(u64::try_from(left + 2).unwrap_or(0))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_delegate_is_cut_off_and_stays_out() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let setup = Setup::new(control.address(), folder.path()).token(&control.token(1).await);
    let mut delegate = setup.start();
    delegate.up().await;
    assert!(
        control
            .agent
            .revoke_delegate(&delegate.id().await, "admin")
            .await
            .unwrap()
    );
    delegate.down().await;
    let text = delegate.trouble("SRT-D031").await;
    assert!(text.contains("revoked"), "{text}");
    assert_eq!(delegate.metrics.sessions.get(), 1);
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_control_plane_is_never_shown_to_this_one() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let control = Control::start(ours.path(), options()).await;
    let other = Control::start(theirs.path(), options()).await;
    let setup = Setup::new(control.address(), ours.path()).token(&other.token(1).await);
    let mut delegate = setup.start();
    let text = delegate.trouble("SRT-D024").await;
    assert!(text.contains("join token"), "{text}");
    assert!(control.agent.delegates().await.unwrap().is_empty());
    delegate.stop().await;
    control.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_control_plane_takes_the_delegate_over_with_a_new_token() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let control = Control::start(old.path(), options()).await;
    let setup = Setup::new(control.address(), old.path()).token(&control.token(1).await);
    let mut delegate = setup.start();
    delegate.up().await;
    let id = delegate.id().await;
    delegate.stop().await;
    control.stop().await;

    let control = Control::start(new.path(), options()).await;
    let mut lost = Setup::new(control.address(), old.path()).start();
    let text = lost.trouble("SRT-D024").await;
    assert!(text.contains("enrolled"), "{text}");
    lost.stop().await;
    let setup = Setup::new(control.address(), old.path()).token(&control.token(1).await);
    let mut delegate = setup.start();
    delegate.up().await;
    assert_ne!(delegate.id().await, id);
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_does_not_count_is_explained() {
    let control_folder = tempfile::tempdir().unwrap();
    let control = Control::start(control_folder.path(), options()).await;
    let used_up = control.token(1).await;
    let folder = tempfile::tempdir().unwrap();
    let mut first = Setup::new(control.address(), folder.path())
        .token(&used_up)
        .start();
    first.up().await;
    first.stop().await;
    let expired = control
        .token_until(1, jiff::SignedDuration::from_secs(-1))
        .await;
    let good = control.token(1).await;
    let mut parts: Vec<&str> = good.split('.').collect();
    parts[2] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let forged = parts.join(".");
    for (token, code, part) in [
        (used_up.as_str(), "SRT-D031", "SRT-S225"),
        (expired.as_str(), "SRT-D031", "expired"),
        (forged.as_str(), "SRT-D031", "token"),
        ("nonsense", "SRT-D030", "sortie delegate token create"),
        ("", "SRT-D029", "join token"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut delegate = Setup::new(control.address(), folder.path())
            .token(token)
            .start();
        let text = delegate.trouble(code).await;
        assert!(text.contains(part), "{token:.20}: {text}");
        let secret = token.split('.').nth(2).unwrap_or("no secret");
        assert!(!text.contains(secret), "no secret in {text}");
        delegate.stop().await;
    }
    assert_eq!(control.agent.delegates().await.unwrap().len(), 1);
    control.stop().await;
}
