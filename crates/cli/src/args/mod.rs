//! The command line: every verb with its arguments.
#![expect(
    missing_docs,
    reason = "doc comments are the help that people read, and only where it helps them"
)]

mod delegate;
mod local;
mod remote;
mod server;
mod strategy;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use delegate::{Delegate, DelegateInstall, DelegateRevoke, DelegateToken, DelegateTokenCreate};
pub use local::{
    ClusterArgs, Dev, Diff, Health, HistoryArgs, ReleaseArgs, Render, Rollback, SetArgs, Uninstall,
    Validate, Versioning, WithArgs,
};
pub use remote::{
    Abort, Apply, Delete, ExecutionArgs, Get, Level, Login, Logs, Run, ScopeArgs, Watch,
};
pub use server::ServerArgs;
pub use strategy::{BringArgs, Cancel, Deploy, Promote, SettleArgs, Strategy, StrategyArgs, Swap};

/// Deploys applications to Kubernetes, by a control plane or straight from here.
#[derive(Debug, Parser)]
#[command(
    name = "sortie",
    version,
    about,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 the deployment or the check failed, 2 usage, 3 could not reach, 4 not found, 5 not allowed, 6 conflict."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Arguments of every verb.
#[derive(Clone, Debug, Args)]
pub struct Global {
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value_t,
        global = true,
        value_name = "FORM",
        hide_possible_values = true,
        help_heading = "Options of every verb",
        help = "Form of the output: text, or json for programs"
    )]
    pub output: Output,
    /// Say more about what is going on (twice: also each request to the cluster)
    #[arg(short = 'v', long, action = clap::ArgAction::Count, global = true, help_heading = "Options of every verb")]
    pub verbose: u8,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For reading.
    #[default]
    Text,
    /// For programs: one JSON document, or one a line for streams.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check entity files: every error with file:line:col
    #[command(
        after_help = "Examples:\n  sortie validate pipelines/\n  sortie validate service.yaml --strict -o json"
    )]
    Validate(Validate),
    /// Print what would be applied
    #[command(
        after_help = "Examples:\n  sortie render k8s/ --values prod.yaml\n  sortie render k8s/ --values prod.yaml --context context.yaml\n  sortie render k8s/ -n shop --release web -o json\n\nNo cluster is asked. With --release the objects carry its labels and versioned names, as a first deployment applies them; without it they are as their files say."
    )]
    Render(Render),
    /// Deploy manifests straight from here and follow them to steady state
    #[command(
        after_help = "Examples:\n  sortie deploy k8s/ -n shop --release web\n  sortie deploy k8s/ -n shop --release web --values prod.yaml --dry-run\n  sortie deploy k8s/ -n shop --release web --strategy canary --canary 25%\n  sortie deploy k8s/ -n shop --release web --strategy canary --progressive 30%\n  sortie deploy k8s/ -n shop --release web --strategy blue-green\n\nA canary runs beside the present version until promote or cancel; the other colour has no traffic until swap."
    )]
    Deploy(Deploy),
    /// Bring a canary's version to everybody, or let the new colour have the traffic
    #[command(
        after_help = "Examples:\n  sortie promote k8s/ -n shop --release web --values prod.yaml\n  sortie promote -n shop --release web\n\nA canary: deploys the set as `deploy --strategy rolling` does, then deletes the canary; refused where the set is not the one that the canary was deployed from.\nA progressive canary: gets all pods, then becomes the release; without PATH, since its record has the set.\nBlue-green: as `swap`; refused where the other colour has the older version."
    )]
    Promote(Promote),
    /// Let the two colours of a blue-green release exchange their traffic
    #[command(
        after_help = "Examples:\n  sortie swap -n shop --release web\n  sortie swap -n shop --release web --settle 2m\n  sortie swap -n shop --release web --scale-up\n\nAll Services exchange their colours, or none. The same again goes back."
    )]
    Swap(Swap),
    /// Take away what runs beside the version with the traffic: a canary, or the pods of the other colour
    #[command(
        after_help = "Examples:\n  sortie cancel -n shop --release web\n  sortie cancel -n shop --release web --previous"
    )]
    Cancel(Cancel),
    /// Bring the last good release back, or the one that --to names
    #[command(
        after_help = "Examples:\n  sortie rollback -n shop --release web\n  sortie rollback -n shop --release web --to 3"
    )]
    Rollback(Rollback),
    /// Show what a deployment would change, or what changed between two releases
    #[command(
        after_help = "Examples:\n  sortie diff k8s/ -n shop --release web --values prod.yaml\n  sortie diff k8s/ -n shop --release web --prune -o json\n  sortie diff k8s/ -n shop --release web --strategy canary\n  sortie diff -n shop --release web --from 3 --to 5\n\nExit codes: 0 no difference, 1 there are differences, 2 and above it could not be found out.\nValues of Secrets are not shown, only whether they change."
    )]
    Diff(Diff),
    /// Delete everything that a release owns, and the release
    #[command(
        after_help = "Examples:\n  sortie uninstall -n shop --release web --dry-run\n  sortie uninstall -n shop --release web --yes\n\nKept and listed: storage (claims, volumes, namespaces, definitions of kinds), unless --delete-storage says so; objects with the annotation sortie.dev/prune: \"false\" or helm.sh/resource-policy: keep; objects that another release has taken over."
    )]
    Uninstall(Uninstall),
    /// Tell whether objects are healthy, and why not
    #[command(
        after_help = "Examples:\n  kubectl get deploy,pod -o yaml | sortie health -f -\n  sortie health -f web.yaml -o json\n  sortie health -f k8s/ --live -n shop\n  sortie health -n shop --release web\n\nExit codes: 0 all are Healthy or Suspended, 1 one is not, 2 and above it could not be found out."
    )]
    Health(Health),
    /// Show a release: what runs on each side of it, who works on it, its objects, and why one is not healthy
    #[command(after_help = "Example:\n  sortie status -n shop --release web")]
    Status(ReleaseArgs),
    /// List the releases that are kept
    #[command(after_help = "Example:\n  sortie history -n shop --release web -o json")]
    History(ReleaseArgs),
    /// Remember a control plane and a token (read from stdin or asked for)
    #[command(
        after_help = "Examples:\n  sortie login https://sortie.example.com\n  sortie login http://127.0.0.1:8080 < token.txt\n\nThe token is kept in ~/.config/sortie/config.yaml, readable by you alone. SORTIE_SERVER and SORTIE_TOKEN win over the file."
    )]
    Login(Login),
    /// Store entities from files or folders
    #[command(
        after_help = "Examples:\n  sortie apply -f examples/hello\n  sortie apply -f pipeline.yaml --dry-run --strict\n  sortie apply -f secret.yaml --secret-value-stdin < password.txt"
    )]
    Apply(Apply),
    /// Show entities, executions or delegates
    #[command(
        after_help = "Examples:\n  sortie get pipelines\n  sortie get service hello\n  sortie get infrastructure demo/demo_namespace\n  sortie get executions -o json\n  sortie get execution hello#3"
    )]
    Get(Get),
    /// Delete an entity
    #[command(
        after_help = "Examples:\n  sortie delete pipeline hello\n  sortie delete infrastructure demo/demo_namespace"
    )]
    Delete(Delete),
    /// Run a pipeline
    #[command(after_help = "Example:\n  sortie run hello --set version=v2 --follow")]
    Run(Run),
    /// Follow an execution until it ends
    #[command(
        after_help = "Examples:\n  sortie watch hello#3\n  sortie watch --latest hello\n\nThe exit code tells how the execution ended: 0 well, 1 failed, expired or aborted."
    )]
    Watch(Watch),
    /// Print the log of an execution
    #[command(
        after_help = "Examples:\n  sortie logs hello#3 --step rolling\n  sortie logs --latest hello --follow"
    )]
    Logs(Logs),
    /// Stop an execution
    #[command(
        after_help = "Examples:\n  sortie abort hello#3 --reason 'wrong version'\n  sortie abort --latest hello"
    )]
    Abort(Abort),
    /// Delegates: tokens, installation, revocation
    #[command(subcommand)]
    Delegate(Delegate),
    /// Control plane and delegate in one process against the current kubeconfig: the way to try everything
    #[command(
        after_help = "Examples:\n  sortie dev\n  sortie dev --data-dir ~/.local/share/sortie-dev --listen 127.0.0.1:9000"
    )]
    Dev(Dev),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  source <(sortie completion bash)")]
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

impl Verb {
    /// Whether it runs a step on a release from here, which tells events with `-o json`.
    pub(crate) const fn changes_a_release(&self) -> bool {
        matches!(
            self,
            Self::Deploy(_)
                | Self::Promote(_)
                | Self::Swap(_)
                | Self::Cancel(_)
                | Self::Rollback(_)
                | Self::Uninstall(_)
        )
    }
}
