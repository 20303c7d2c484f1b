//! The sample application of the tests and the demo: answers its version, has switches for readiness and liveness, and
//! goes on serving for a while after SIGTERM, as an application that rolls without failed requests must.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /` | `VERSION POD` |
//! | `GET /ready`, `GET /live` | 200, or 503 when switched off |
//! | `PUT /ready?on=false`, `PUT /live?on=false` | turns the switch |
//! | `Version` of `sortie.sample.v1.Sample`, over gRPC | the same as `GET /` |
//! | `GET /resolve?name=HOST` | the addresses of a name, one a line, or 502 |

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    routing::{get, post},
};
use clap::Parser;
use serde::Deserialize;
use sortie_testkit::{TrafficReport, grpc, traffic};
use tokio::{
    net::{TcpListener, lookup_host},
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};

/// Answers HTTP requests with its version.
#[derive(Debug, Parser)]
struct Settings {
    /// What `GET /` answers
    #[arg(long, env = "VERSION", default_value = "dev")]
    version: String,
    /// Name of the pod, the second word of the answer
    #[arg(long, env = "HOSTNAME", default_value = "-")]
    pod: String,
    /// TCP port to listen on
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// 1: end with an error at the start, as a release with a missing file would
    #[arg(long, env = "CRASH", default_value_t = 0)]
    crash: u8,
    /// Seconds before it is ready
    #[arg(long, env = "START_DELAY", default_value_t = 0.0)]
    start_delay: f64,
    /// Do not serve: send requests to ADDRESS:PORT until SIGTERM, then print the counts as JSON
    #[arg(long, value_name = "ADDRESS:PORT")]
    ask: Option<SocketAddr>,
    /// Seconds of serving after SIGTERM, not ready any more
    #[arg(long, env = "DRAIN", default_value_t = 3.0)]
    drain: f64,
}

/// The two switches.
#[derive(Debug)]
struct Switches {
    ready: AtomicBool,
    live: AtomicBool,
}

#[derive(Debug, Deserialize)]
struct Turn {
    on: bool,
}

#[derive(Debug, Deserialize)]
struct Name {
    name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    let version = settings.version.clone();
    let outcome = match settings.ask {
        Some(target) => ask(target).await,
        None => serve(settings).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&version, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<()> {
    let Settings {
        version,
        pod,
        port,
        crash,
        start_delay,
        drain,
        ask: _,
    } = settings;
    let start_delay = seconds(start_delay).context("START_DELAY")?;
    let drain = seconds(drain).context("DRAIN")?;
    if crash != 0 {
        anyhow::bail!("cannot open /data/settings.toml: No such file or directory");
    }
    let switches = Arc::new(Switches {
        ready: AtomicBool::new(false),
        live: AtomicBool::new(true),
    });
    let answer = format!("{version} {pod}\n");
    let called = answer.clone();
    let routes = Router::new()
        .route(
            grpc::PATH,
            post(move || std::future::ready(grpc::answer(&called))),
        )
        .route("/", get(move || std::future::ready(answer)))
        .route("/ready", get(is_ready).put(turn_ready))
        .route("/live", get(is_live).put(turn_live))
        .route("/resolve", get(resolve))
        .with_state(Arc::clone(&switches));
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))?;
    let address = listener.local_addr().context("ask for the address")?;
    log(&version, &format!("listening on {address}"));
    let mut terminated = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let life = async {
        if !start_delay.is_zero() {
            log(
                &version,
                &format!("ready in {} s", start_delay.as_secs_f32()),
            );
            sleep(start_delay).await;
        }
        switches.ready.store(true, Ordering::Relaxed);
        log(&version, "ready");
        std::future::pending::<()>().await;
    };
    let (stopping, log_version) = (Arc::clone(&switches), version.clone());
    let shutdown = async move {
        terminated.recv().await;
        stopping.ready.store(false, Ordering::Relaxed);
        log(
            &log_version,
            &format!("SIGTERM: serving for another {} s", drain.as_secs_f32()),
        );
        sleep(drain).await;
        log(&log_version, "bye");
    };
    tokio::select! {
        // Requests that have begun are answered.
        outcome = axum::serve(listener, routes).with_graceful_shutdown(shutdown) => {
            outcome.context("serve")
        }
        () = life => Ok(()),
    }
}

/// The client's side: [`traffic::ask`] on a thread of its own.
async fn ask(target: SocketAddr) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, counts) = watch::channel(TrafficReport::default());
    let stopped = Arc::clone(&stop);
    let asking =
        tokio::task::spawn_blocking(move || traffic::ask(|| Ok(target), &stopped, &sender));
    terminated.recv().await;
    stop.store(true, Ordering::Relaxed);
    asking.await.context("ask")?;
    print(&serde_json::to_string(&*counts.borrow()).context("encode the counts")?);
    Ok(())
}

async fn is_ready(State(switches): State<Arc<Switches>>) -> (StatusCode, &'static str) {
    verdict(switches.ready.load(Ordering::Relaxed))
}

async fn is_live(State(switches): State<Arc<Switches>>) -> (StatusCode, &'static str) {
    verdict(switches.live.load(Ordering::Relaxed))
}

async fn turn_ready(State(switches): State<Arc<Switches>>, Query(turn): Query<Turn>) -> StatusCode {
    switches.ready.store(turn.on, Ordering::Relaxed);
    StatusCode::NO_CONTENT
}

async fn turn_live(State(switches): State<Arc<Switches>>, Query(turn): Query<Turn>) -> StatusCode {
    switches.live.store(turn.on, Ordering::Relaxed);
    StatusCode::NO_CONTENT
}

async fn resolve(Query(Name { name }): Query<Name>) -> (StatusCode, String) {
    match lookup_host((name, 0)).await {
        Ok(addresses) => (
            StatusCode::OK,
            addresses
                .map(|address| format!("{}\n", address.ip()))
                .collect(),
        ),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n")),
    }
}

fn verdict(on: bool) -> (StatusCode, &'static str) {
    if on {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "off\n")
    }
}

fn seconds(value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value).with_context(|| format!("{value} is no number of seconds"))
}

#[expect(clippy::print_stdout, reason = "the counts that it was asked for")]
fn print(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "its log")]
fn log(version: &str, message: &str) {
    eprintln!("sortie-sample {version}: {message}");
}
