//! `sortie`: wiring only.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use sortie_cli::args::{Cli, Output, Verb};
use sortie_cli::environment::Environment;
use sortie_cli::exit::{Exit, Failure};
use sortie_cli::print;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no failure.
            print::keep(error.print());
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            return ended(exit, Output::Text, false);
        }
    };
    // Fails only when a provider is there already, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let environment = Environment::read();
    let quiet = !matches!(cli.verb, Verb::Dev(_));
    trace(cli.global.verbose, quiet, &environment);
    let (output, no_color) = (cli.global.output, environment.no_color);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(sortie_cli::run(cli, environment));
            // A thread that still reads stdin must not hold the end up.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::new(Exit::Failed, format!("cannot start: {error}"))),
    };
    let exit = result.unwrap_or_else(|failure| {
        print::failure(&failure, output, no_color);
        failure.exit
    });
    ended(exit, output, no_color)
}

/// The exit code of a verb that ended so. One whose result was lost is not done.
fn ended(exit: Exit, output: Output, no_color: bool) -> ExitCode {
    let Some(failure) = print::lost() else {
        return exit.into();
    };
    print::failure(&failure, output, no_color);
    if exit == Exit::Done {
        failure.exit.into()
    } else {
        exit.into()
    }
}

/// Log lines to stderr: none unless asked for, or where the program is a server.
fn trace(verbose: u8, quiet: bool, environment: &Environment) {
    let filter = match (&environment.log, verbose) {
        (Some(filter), 0) => filter.as_str(),
        (_, 0) if quiet => "error,kube_client=off",
        (_, 0) => "warn,sortie_server=info,sortie_delegate=info",
        (_, 1) => {
            "warn,sortie=info,sortie_cli=info,sortie_step=info,sortie_cluster=info,sortie_render=info"
        }
        (_, _) => {
            "info,sortie=debug,sortie_cli=debug,sortie_step=debug,sortie_cluster=debug,sortie_render=debug"
        }
    };
    let colour = std::io::stderr().is_terminal() && !environment.no_color;
    tracing_subscriber::fmt()
        .with_ansi(colour)
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
}
