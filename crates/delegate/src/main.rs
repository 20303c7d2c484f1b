//! `sortie-delegate`. Wiring only.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use sortie_delegate::app::{self, Parts};
use sortie_delegate::config::{Args, Config};
use sortie_delegate::{control, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The command line or the settings are wrong, as in all programs of Sortie.
const USAGE: u8 = 2;

/// A delegate mostly waits.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    // Another provider can only be there by a mistake of ours; the first one stays.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way too. Nobody may be there to read it.
            drop(error.print());
            let is_usage = error.use_stderr();
            return if is_usage {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let print_config = args.print_config;
    let new_log_level = args.set_log_level.clone();
    let config = match args.resolve() {
        Ok(config) => config,
        Err(error) => {
            return fail(
                USAGE,
                &format!("{}: {}", error.code(), telemetry::chain(&error)),
            );
        }
    };
    if print_config {
        print(&config.to_string());
        return ExitCode::SUCCESS;
    }
    if let Some(filter) = new_log_level {
        return set_log_level(&config, &filter);
    }
    if let Err(error) = config.check_files() {
        let text = format!("{}: {}", error.code(), telemetry::chain(&error));
        return fail(USAGE, &text);
    }
    let log_level = match telemetry::install(config.log_format, &config.log_level) {
        Ok(log_level) => log_level,
        Err(error) => {
            return fail(
                USAGE,
                &format!("{}: {}", error.code(), telemetry::chain(&error)),
            );
        }
    };
    telemetry::log_panics();
    match run(config, log_level) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

/// Of the delegate that runs with the same settings.
fn set_log_level(config: &Config, filter: &str) -> ExitCode {
    let socket = match config.control_socket() {
        Ok(socket) => socket,
        Err(error) => return fail(USAGE, &format!("{}: {error}", error.code())),
    };
    match control::set_log_level(socket, filter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(
            1,
            &format!("{}: {}", error.code(), telemetry::chain(&error)),
        ),
    }
}

fn run(config: Config, log_level: telemetry::LogLevel) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    let result = runtime.block_on(serve(config, log_level));
    // What still blocks belongs to tasks that another holder goes on with.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config, log_level: telemetry::LogLevel) -> anyhow::Result<()> {
    let coded =
        |error: app::Error| anyhow::anyhow!("{}: {}", error.code(), telemetry::chain(&error));
    let mut parts = Parts::from_config(&config).await.map_err(coded)?;
    parts.log_level = Some(log_level);
    let mut terminate = signal(SignalKind::terminate()).context("could not listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for SIGINT")?;
    let stop = CancellationToken::new();
    let mut running = std::pin::pin!(app::run(config, parts, stop.clone()));
    for is_first in [true, false] {
        let name = tokio::select! {
            result = &mut running => return result.map_err(coded),
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        if is_first {
            tracing::info!(signal = name, "asked to stop");
            stop.cancel();
        } else {
            tracing::warn!(signal = name, "asked to stop again: not waiting for tasks");
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer to --print-config")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "there may be no log yet")]
fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("sortie-delegate: {message}");
    ExitCode::from(code)
}
