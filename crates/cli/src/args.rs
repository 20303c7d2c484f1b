//! The command line: every verb with its arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Deploys applications to Kubernetes, by a control plane or straight from here.
#[derive(Debug, Parser)]
#[command(name = "sortie", version, about, propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Arguments of every verb.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Form of the output
    #[arg(short = 'o', long = "output", value_enum, default_value_t, global = true)]
    pub output: Output,
    /// Say more about what is going on (twice: everything)
    #[arg(short = 'v', long, action = clap::ArgAction::Count, global = true)]
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
    #[command(after_help = "Examples:\n  sortie validate pipelines/\n  sortie validate service.yaml --strict -o json")]
    Validate(Validate),
    /// Deploy manifests straight from here and follow them to steady state
    #[command(after_help = "Examples:\n  sortie deploy k8s/ -n shop --release web\n  sortie deploy k8s/ -n shop --release web --values prod.yaml --dry-run")]
    Deploy(Deploy),
    /// Bring the last good release back, or the one that --to names
    #[command(after_help = "Examples:\n  sortie rollback -n shop --release web\n  sortie rollback -n shop --release web --to 3")]
    Rollback(Rollback),
    /// Show a release: its newest number, its objects and their health
    Status(ReleaseArgs),
    /// List the releases that are kept
    History(ReleaseArgs),
    /// Remember a control plane and a token (read from stdin or asked for)
    #[command(after_help = "Examples:\n  sortie login http://127.0.0.1:8080 < token.txt")]
    Login(Login),
    /// Store entities from files or folders
    #[command(after_help = "Examples:\n  sortie apply -f examples/hello\n  echo -n \"$TOKEN\" | sortie apply -f secret.yaml --secret-value-stdin")]
    Apply(Apply),
    /// Show entities, executions or delegates
    #[command(after_help = "Examples:\n  sortie get pipeline\n  sortie get service hello\n  sortie get delegate -o json")]
    Get(Get),
    /// Delete an entity
    Delete(Delete),
    /// Run a pipeline
    #[command(after_help = "Examples:\n  sortie run hello --set version=v2 --follow")]
    Run(Run),
    /// Follow an execution until it ends
    Watch(Watch),
    /// Print the log of an execution
    Logs(Logs),
    /// Stop an execution
    Abort(Abort),
    /// Delegates: tokens, installation, revocation
    #[command(subcommand)]
    Delegate(Delegate),
    /// Server and delegate in one process against the current kubeconfig: the way to try everything
    Dev(Dev),
    /// Print a completion script for a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct Validate {
    /// Files or folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Unknown fields and missing references are errors
    #[arg(long)]
    pub strict: bool,
}

/// Which cluster to work on.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Kubeconfig file; default: $KUBECONFIG, ~/.kube/config, or the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub kube_context: Option<String>,
    /// Namespace; default: that of the context
    #[arg(short, long)]
    pub namespace: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Release name
    #[arg(long, value_name = "NAME")]
    pub release: String,
}

#[derive(Debug, Args)]
pub struct Deploy {
    /// Manifest files or folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub release: ReleaseArgs,
    /// Values file for Go templates; later ones win
    #[arg(long, value_name = "FILE")]
    pub values: Vec<PathBuf>,
    /// How to bring the new version in
    #[arg(long, value_enum, default_value_t)]
    pub strategy: Strategy,
    /// Check everything against the API server and stop before the first write
    #[arg(long)]
    pub dry_run: bool,
    /// Take over objects that belong to another release
    #[arg(long)]
    pub adopt: bool,
    /// How long the whole deployment may take
    #[arg(long, default_value = "10m", value_name = "DURATION")]
    pub timeout: String,
}

/// How a new version comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// Replace pods step by step, as the workloads' own settings say.
    #[default]
    Rolling,
}

#[derive(Debug, Args)]
pub struct Rollback {
    #[command(flatten)]
    pub release: ReleaseArgs,
    /// Release number to bring back; default: the last good one
    #[arg(long, value_name = "NUMBER")]
    pub to: Option<u64>,
    /// Also remove volumes, claims and namespaces that the failed release added
    #[arg(long)]
    pub delete_storage: bool,
    /// How long the whole rollback may take
    #[arg(long, default_value = "10m", value_name = "DURATION")]
    pub timeout: String,
}

#[derive(Debug, Args)]
pub struct Login {
    /// Address of the control plane, http(s)://HOST:PORT
    pub server: String,
    /// Organisation that later verbs work in
    #[arg(long, default_value = "default")]
    pub org: String,
    /// Project that later verbs work in
    #[arg(long, default_value = "default")]
    pub project: String,
}

/// Organisation and project; default: those of `sortie login`.
#[derive(Clone, Debug, Default, Args)]
pub struct ScopeArgs {
    /// Organisation
    #[arg(long)]
    pub org: Option<String>,
    /// Project
    #[arg(long)]
    pub project: Option<String>,
}

#[derive(Debug, Args)]
pub struct Apply {
    /// Files or folders; `-` for stdin
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Unknown fields are errors
    #[arg(long)]
    pub strict: bool,
    /// Check only, store nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Read the value of the one secret in the files from stdin
    #[arg(long)]
    pub secret_value_stdin: bool,
}

#[derive(Debug, Args)]
pub struct Get {
    /// pipeline, service, environment, infrastructure, connector, secret, file, execution or delegate
    pub kind: String,
    /// One of them, whole
    pub id: Option<String>,
    #[command(flatten)]
    pub scope: ScopeArgs,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// pipeline, service, environment, infrastructure, connector, secret or file
    pub kind: String,
    /// Its identifier
    pub id: String,
    #[command(flatten)]
    pub scope: ScopeArgs,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Identifier of the pipeline
    pub pipeline: String,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Set a pipeline variable: NAME=VALUE
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Follow to the end; the exit code tells how it ended
    #[arg(short, long)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct Watch {
    /// Execution
    pub execution: String,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Execution
    pub execution: String,
    /// Only this step (identifier or path)
    #[arg(long)]
    pub step: Option<String>,
    /// Go on until the execution ends
    #[arg(short, long)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct Abort {
    /// Execution
    pub execution: String,
}

#[derive(Debug, Subcommand)]
pub enum Delegate {
    /// Join tokens
    #[command(subcommand)]
    Token(DelegateToken),
    /// Make the join token's Secret in the cluster, then print the helm command, or run it
    #[command(after_help = "Examples:\n  sortie delegate install demo -n sortie --agent https://sortie.example.com:8443\n  sortie delegate install demo -n sortie --agent https://sortie.example.com:8443 --target-namespace shop --run")]
    Install(DelegateInstall),
    /// Cut a delegate off for good
    Revoke {
        /// Name or id of the delegate
        delegate: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum DelegateToken {
    /// Make a join token and print it once
    Create(DelegateTokenCreate),
}

#[derive(Debug, Args)]
pub struct DelegateTokenCreate {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// How many delegates may join with it
    #[arg(long, default_value_t = 1)]
    pub uses: u32,
    /// How long it is valid
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    pub expires_in: String,
}

#[derive(Debug, Args)]
pub struct DelegateInstall {
    /// Name of the delegate and of its Helm release
    pub name: String,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Agent address of the control plane as the cluster reaches it, https://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub agent: String,
    /// Namespace that it may deploy to; repeat for more
    #[arg(long = "target-namespace", value_name = "NAME")]
    pub target_namespaces: Vec<String>,
    /// Chart folder or reference
    #[arg(long, default_value = "helm/sortie-delegate", value_name = "CHART")]
    pub chart: String,
    /// Image repository and tag, REPOSITORY:TAG
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Run helm instead of printing the command
    #[arg(long)]
    pub run: bool,
}

#[derive(Debug, Args)]
pub struct Dev {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Where the control plane keeps its data; default: a folder that is removed at the end
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the API
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: std::net::SocketAddr,
}
