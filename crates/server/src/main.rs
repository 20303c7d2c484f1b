//! `sortie-server`: the control plane. Wiring only.

use std::process::ExitCode;

use anyhow::Context as _;
use sortie_server::admin_token;
use sortie_server::config::{Args, Command, Config, Token, TokenCreate};
use sortie_server::problem::chain;
use sortie_server::server::Server;
use sortie_server::signals;
use sortie_server::telemetry::{self, LogLevel};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The command line or the settings are wrong; the same in all programs.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // Another provider can only be there by a mistake of ours; the first one stays.
    let _only_here = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        // Also what `--help` and `--version` print; ends with 2 unless it is that.
        Err(error) => error.exit(),
    };
    let print_config = args.print_config;
    let command = args.command.take();
    let config = match Config::load(args) {
        Ok(config) => config,
        Err(error) => return fail(USAGE, &format!("{}: {}", error.code(), chain(&error))),
    };
    if print_config {
        print(&config.to_file());
        return ExitCode::SUCCESS;
    }
    if let Some(Command::Token(Token::Create(wanted))) = command {
        return match make_token(&config, &wanted) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &format!("{error:#}")),
        };
    }
    let log_level = match telemetry::install(config.log_format, &config.log_level) {
        Ok(log_level) => log_level,
        Err(error) => return fail(1, &chain(&error)),
    };
    match run(&config, log_level) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

/// Makes a token beside the server, if one runs, and prints it alone on stdout.
fn make_token(config: &Config, wanted: &TokenCreate) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    let made = runtime
        .block_on(admin_token::create(&config.data_dir, wanted))
        .map_err(|error| {
            let code = error.code();
            anyhow::Error::from(error).context(code)
        })?;
    print(&made.token);
    let until = match made.expires_at {
        Some(end) => format!("until {end}"),
        None => "until it is revoked".to_owned(),
    };
    note(&format!(
        "admin token {} is valid {until}; it is not shown again",
        made.id
    ));
    Ok(())
}

fn run(config: &Config, log_level: LogLevel) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(64)
        .build()
        .context("could not start the runtime")?;
    runtime.block_on(serve(config, log_level))
}

async fn serve(config: &Config, log_level: LogLevel) -> anyhow::Result<()> {
    let server = Server::open(config).await.map_err(coded)?;
    let server = server.with_log_level(log_level);
    if let Some(token) = server.first_token().await.map_err(coded)? {
        announce(&token);
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        web = %server.web_address(),
        agent = %server.agent_address(),
        data = %config.data_dir.display(),
        "control plane is serving"
    );
    let shutdown = CancellationToken::new();
    let running = server.run(shutdown.clone());
    let stop = async {
        match signals::asked_to_stop().await {
            Ok(signal) => tracing::info!(signal, "control plane stops"),
            Err(error) => tracing::error!(%error, "could not listen for signals"),
        }
        shutdown.cancel();
    };
    let mut running = std::pin::pin!(running);
    tokio::select! {
        result = &mut running => return result.map_err(coded),
        () = stop => {}
    }
    running.await.map_err(coded)?;
    tracing::info!("control plane stopped");
    Ok(())
}

/// Shows the first token: the only time that a secret is printed.
#[expect(
    clippy::print_stdout,
    reason = "it is for whoever starts the server, not for the log"
)]
fn announce(token: &str) {
    println!("admin token: {token} (shown only once)");
}

#[expect(clippy::print_stdout, reason = "asked for on the command line")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(
    clippy::print_stderr,
    reason = "for whoever typed the command; also the last word when there is no log yet"
)]
fn note(text: &str) {
    for line in text.lines() {
        eprintln!("sortie-server: {line}");
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    note(why);
    ExitCode::from(code)
}

/// The error with its stable code in front.
fn coded(error: sortie_server::server::Error) -> anyhow::Error {
    let code = error.code();
    anyhow::Error::from(error).context(code)
}
