//! `sortie`: the command line. What a person types becomes one call of [`run`]; results go to stdout, everything about
//! them to stderr, and the exit code tells how it went.

pub mod args;
pub mod client;
mod clock;
mod completion;
mod dev;
pub mod duration;
pub mod environment;
pub mod exit;
pub mod files;
mod local;
mod names;
pub mod print;
pub mod progress;
mod remote;
pub mod settings;
mod stops;
pub mod style;
mod validate;

use args::{Cli, Delegate, DelegateToken, Output, Verb};
use environment::Environment;
use exit::Result;

/// What every verb may look at beside its own arguments.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The process's environment.
    pub environment: Environment,
    /// Form of the output.
    pub output: Output,
}

impl Surroundings {
    fn no_color(&self) -> bool {
        self.environment.no_color
    }
}

/// Does what the command line says.
///
/// # Errors
/// The verb could not be carried out; the failure has not been shown yet.
pub async fn run(cli: Cli, environment: Environment) -> Result {
    let around = Surroundings {
        environment,
        output: cli.global.output,
    };
    let has_events = cli.verb.changes_a_release() && around.output == Output::Json;
    let result = Box::pin(carry_out(cli.verb, &around)).await;
    if has_events && let Err(failure) = &result {
        print::json(&local::view::ended(failure));
    }
    result
}

async fn carry_out(verb: Verb, around: &Surroundings) -> Result {
    match verb {
        Verb::Validate(args) => validate::run(&args, around.output, around.no_color()),
        Verb::Render(args) => local::render::run(&args, around).await,
        Verb::Diff(args) => local::diff::run(&args, around).await,
        Verb::Uninstall(args) => local::uninstall::run(&args, around).await,
        Verb::Health(args) => local::health::run(&args, around).await,
        Verb::Deploy(args) => local::deploy::run(&args, around).await,
        Verb::Promote(args) => local::promote::run(&args, around).await,
        Verb::Swap(args) => local::swap::run(&args, around).await,
        Verb::Cancel(args) => local::cancel::run(&args, around).await,
        Verb::Rollback(args) => local::rollback::run(&args, around).await,
        Verb::Status(args) => local::status::run(&args, around).await,
        Verb::History(args) => local::history::run(&args, around).await,
        Verb::Login(args) => remote::login::run(&args, around).await,
        Verb::Apply(args) => remote::apply::run(&args, around).await,
        Verb::Get(args) => remote::get::run(&args, around).await,
        Verb::Delete(args) => remote::get::delete(&args, around).await,
        Verb::Run(args) => remote::executions::run(&args, around).await,
        Verb::Watch(args) => remote::watch::run(&args, around).await,
        Verb::Logs(args) => remote::logs::run(&args, around).await,
        Verb::Abort(args) => remote::executions::abort(&args, around).await,
        Verb::Dev(args) => dev::run(&args, around).await,
        Verb::Completion { shell } => Ok(completion::run(shell)),
        Verb::Delegate(Delegate::Token(DelegateToken::Create(args))) => {
            remote::delegates::create_token(&args, around).await
        }
        Verb::Delegate(Delegate::Install(args)) => remote::install::run(&args, around).await,
        Verb::Delegate(Delegate::Revoke(args)) => remote::delegates::revoke(&args, around).await,
    }
}
