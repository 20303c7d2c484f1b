//! Delegates that do not follow the protocol.

use sortie_proto::v1;
use sortie_server::tasks::Dispatcher as _;
use tokio_stream::StreamExt as _;
use tonic::Code;
use v1::delegate_message::Message;

use super::client::{self, code, enrol};
use super::control::{Control, options, shop, task};
use super::delegate::Setup;

fn hello(delegate: &str) -> v1::Hello {
    v1::Hello {
        version_min: 1,
        version_max: 1,
        delegate_id: delegate.to_owned(),
        instance_id: "pod-9".to_owned(),
        boot_id: "b".to_owned(),
        oldest_kept: 1,
        ..v1::Hello::default()
    }
}

fn control_message(seq: u64, body: Option<v1::delegate_control::Body>) -> Message {
    Message::Control(v1::DelegateControl { seq, body })
}

/// Every bad stream ends with a clear status; the server and other sessions go on.
#[tokio::test]
async fn bad_streams_end_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(shop(), 1).await;
    let identity = enrol(control.address(), &token).await;
    let id = identity.certificate.delegate_id.clone();
    let mut good = Setup::new(identity.clone(), control.address())
        .start_up()
        .await;

    let ok = || Message::Hello(hello(&id));
    let result = |task: v1::TaskRef| {
        let outcome = Some(v1::task_result::Outcome::Aborted(v1::Aborted::default()));
        let result = v1::TaskResult {
            task: Some(task),
            outcome,
        };
        control_message(1, Some(v1::delegate_control::Body::Result(result)))
    };
    let long = "x".repeat(400);
    let many = vec!["t".to_owned(); 5000];
    let cases: Vec<(&str, Vec<Message>, Code)> = vec![
        (
            "no hello",
            vec![Message::Ack(v1::Ack { up_to: 0 })],
            Code::InvalidArgument,
        ),
        ("two hellos", vec![ok(), ok()], Code::InvalidArgument),
        (
            "another delegate",
            vec![Message::Hello(hello("somebody"))],
            Code::Unauthenticated,
        ),
        (
            "no instance",
            vec![Message::Hello(v1::Hello {
                instance_id: String::new(),
                ..hello(&id)
            })],
            Code::InvalidArgument,
        ),
        (
            "long boot",
            vec![Message::Hello(v1::Hello {
                boot_id: long,
                ..hello(&id)
            })],
            Code::InvalidArgument,
        ),
        (
            "many tags",
            vec![Message::Hello(v1::Hello {
                tags: many,
                ..hello(&id)
            })],
            Code::InvalidArgument,
        ),
        (
            "future version",
            vec![Message::Hello(v1::Hello {
                version_min: 9,
                version_max: 9,
                ..hello(&id)
            })],
            Code::FailedPrecondition,
        ),
        (
            "number 0",
            vec![Message::Hello(v1::Hello {
                oldest_kept: 0,
                ..hello(&id)
            })],
            Code::InvalidArgument,
        ),
        (
            "empty control",
            vec![ok(), control_message(1, None)],
            Code::InvalidArgument,
        ),
        (
            "no task",
            vec![ok(), result(v1::TaskRef::default())],
            Code::InvalidArgument,
        ),
        (
            "far ahead",
            vec![
                ok(),
                control_message(
                    u64::MAX,
                    Some(v1::delegate_control::Body::Draining(v1::Draining {})),
                ),
            ],
            Code::InvalidArgument,
        ),
        (
            "acknowledges the unsaid",
            vec![ok(), Message::Ack(v1::Ack { up_to: 77 })],
            Code::InvalidArgument,
        ),
        (
            "more than a message",
            vec![Message::Hello(v1::Hello {
                sealing_key: vec![0; 2 << 20],
                ..hello(&id)
            })],
            Code::OutOfRange,
        ),
    ];
    for (name, messages, want) in cases {
        let mut link = client::link(control.address(), &identity).await.unwrap();
        // The stream stays open after the bad message: the server must end it.
        let messages = tokio_stream::iter(messages)
            .map(|message| v1::DelegateMessage {
                message: Some(message),
            })
            .chain(tokio_stream::pending());
        let status = match link.session(messages).await {
            Err(status) => status,
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(_)) => {}
                        Ok(None) => panic!("{name}: no status"),
                        Err(status) => break status,
                    }
                }
            }
        };
        assert_eq!(status.code(), want, "{name}: {status}");
    }
    // State and result of a task that nobody gave it are dropped; the result is acknowledged.
    let mut link = client::link(control.address(), &identity).await.unwrap();
    let stranger = v1::TaskRef {
        task_id: "made-up".to_owned(),
        epoch: 1,
    };
    let progress = v1::Progress {
        task: Some(stranger.clone()),
        revision: 1,
        units: Vec::new(),
    };
    let messages = [ok(), Message::Progress(progress), result(stranger)];
    let messages = tokio_stream::iter(messages)
        .map(|message| v1::DelegateMessage {
            message: Some(message),
        })
        .chain(tokio_stream::pending());
    let mut stream = link.session(messages).await.unwrap().into_inner();
    loop {
        let message = stream.message().await.unwrap().unwrap().message.unwrap();
        if message == v1::server_message::Message::Ack(v1::Ack { up_to: 1 }) {
            break;
        }
    }
    assert_eq!(control.recorder.all(), [], "the engine hears nothing of it");
    control.agent.enqueue(task("t1")).await.unwrap();
    assert_eq!(
        good.started().await.id.as_str(),
        "t1",
        "the good session is still there"
    );
    control.stop().await;
}

#[tokio::test]
async fn without_a_certificate_only_enrolment_answers() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(shop(), 1).await;
    let ca = client::authority(control.address(), &token).await;
    let channel = client::channel(control.address(), &ca, None).await.unwrap();
    let mut link = v1::link_client::LinkClient::new(channel);
    let status = link.session(tokio_stream::pending()).await.err().unwrap();
    assert_eq!(
        (status.code(), code(&status).as_str()),
        (Code::Unauthenticated, "SRT-S216")
    );
    let status = link.logs(tokio_stream::pending()).await.err().unwrap();
    assert_eq!(code(&status), "SRT-S216");
    let status = link
        .fetch_blob(v1::FetchBlobRequest::default())
        .await
        .err()
        .unwrap();
    assert_eq!(code(&status), "SRT-S216");
    control.stop().await;
}

#[tokio::test]
async fn a_task_too_large_for_a_message_is_not_queued() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let mut request = task("big");
    request.task.requested_by = Some(v1::RequestedBy {
        user: "x".repeat(600 * 1024),
        ..v1::RequestedBy::default()
    });
    assert!(control.agent.enqueue(request).await.is_err());
    control.stop().await;
}

/// Strangers may take all their places; delegates that have joined do not notice.
#[tokio::test]
async fn strangers_cannot_lock_delegates_out() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(shop(), 1).await;
    let identity = enrol(control.address(), &token).await;
    let ca = identity.certificate.authorities[0].clone();
    let mut strangers = Vec::new();
    loop {
        assert!(
            strangers.len() < 400,
            "the number of strangers is not limited"
        );
        let Ok(channel) = client::channel(control.address(), &ca, None).await else {
            break;
        };
        let mut stranger = v1::enrolment_client::EnrolmentClient::new(channel);
        if stranger.challenge(v1::ChallengeRequest {}).await.is_err() {
            break;
        }
        strangers.push(stranger);
    }
    assert!(strangers.len() >= 200, "{}", strangers.len());
    Setup::new(identity, control.address()).start_up().await;
    drop(strangers);
    let free_again = async {
        loop {
            let Ok(channel) = client::channel(control.address(), &ca, None).await else {
                continue;
            };
            let mut stranger = v1::enrolment_client::EnrolmentClient::new(channel);
            if stranger.challenge(v1::ChallengeRequest {}).await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(super::control::PATIENCE, free_again)
        .await
        .unwrap();
    control.stop().await;
}
