//! `sortie-runner`. Wiring only.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sortie_runner::script::Place;
use sortie_runner::service;

/// Runs scripts for the delegate beside it, away from everything that the delegate holds.
#[derive(Debug, Parser)]
#[command(name = "sortie-runner", version)]
struct Args {
    /// Socket of the delegate
    #[arg(long, value_name = "FILE")]
    socket: PathBuf,
    /// Folder for scripts; everything in it is deleted
    #[arg(long, value_name = "FOLDER")]
    work: PathBuf,
    /// What else scripts can write to: everything in such a folder is deleted, a file is emptied
    #[arg(long, value_name = "PATH")]
    clear: Vec<PathBuf>,
    /// Shell for scripts
    #[arg(long, value_name = "FILE", default_value = "/bin/bash")]
    shell: PathBuf,
    /// Kubeconfig that scripts may use
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let place = Place {
        work: args.work,
        also_clear: args.clear,
        shell: args.shell,
        kubeconfig: args.kubeconfig,
    };
    if let Err(error) = service::protect() {
        return fail(&format!("cannot protect this process: {error}"));
    }
    match service::serve(&args.socket, &place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&chain(&error)),
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[expect(clippy::print_stderr, reason = "there is no log beside it")]
fn fail(message: &str) -> ExitCode {
    eprintln!("sortie-runner: {message}");
    ExitCode::FAILURE
}
