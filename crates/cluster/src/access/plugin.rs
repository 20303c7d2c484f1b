//! Credential plugins: programs that a kubeconfig names and that print an `ExecCredential`
//! (`client.authentication.k8s.io`).

use std::io::IsTerminal as _;
use std::process::Stdio;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::error::CredentialError;

/// For a plugin that asks nobody.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// For a plugin that may ask a person, who has to find their phone.
const PATIENCE: Duration = Duration::from_secs(300);

/// Most that is read of its output.
const OUTPUT_LIMIT: u64 = 1024 * 1024;

/// Most of its stderr that an error shows.
const SAID_LIMIT: usize = 500;

/// A credential plugin.
#[derive(Clone, Default)]
pub struct Plugin {
    /// Program: a path, or a name that is looked for in `PATH`.
    pub command: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables beside those of our own environment.
    pub variables: Vec<(String, String)>,
    /// `apiVersion` that it is told and must answer in.
    pub api_version: String,
    /// What to tell a person who has not installed it.
    pub install_hint: Option<String>,
    /// Whether it may ask a person.
    pub interaction: Interaction,
    /// `spec.cluster` of what it is told, when it wants to know.
    pub cluster: Option<Value>,
}

/// Whether a plugin may ask a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interaction {
    /// It never asks.
    Never,
    /// It asks when there is a terminal.
    #[default]
    IfAvailable,
    /// It cannot do without.
    Always,
}

/// What a plugin gave.
pub(super) struct Given {
    pub(super) token: Option<SecretString>,
    /// PEM certificate and key.
    pub(super) certificate: Option<(String, SecretString)>,
    pub(super) expires: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
struct ExecCredential {
    kind: String,
    #[serde(rename = "apiVersion")]
    api_version: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<jiff::Timestamp>,
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    client_key_data: Option<SecretString>,
}

impl Plugin {
    /// Runs it once. It ends with us, when it takes too long, and when nobody waits for it any more.
    pub(super) async fn run(&self) -> Result<Given, CredentialError> {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let interactive = match self.interaction {
            Interaction::Never => false,
            Interaction::IfAvailable => terminal,
            Interaction::Always if terminal => true,
            Interaction::Always => {
                return Err(CredentialError::PluginNeedsTerminal {
                    command: self.command.clone(),
                });
            }
        };
        let limit = if interactive { PATIENCE } else { TIME_LIMIT };
        self.run_within(limit, interactive).await
    }

    async fn run_within(
        &self,
        limit: Duration,
        interactive: bool,
    ) -> Result<Given, CredentialError> {
        let ended = tokio::time::timeout(limit, self.output(interactive)).await;
        let ended = ended.map_err(|_| CredentialError::PluginTimedOut {
            command: self.command.clone(),
            after: limit,
        })?;
        self.read(&ended?)
    }

    async fn output(&self, interactive: bool) -> Result<Vec<u8>, CredentialError> {
        let start = |source| CredentialError::PluginStart {
            command: self.command.clone(),
            hint: self.install_hint.clone(),
            source,
        };
        let mut command = Command::new(&self.command);
        command
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", self.told(interactive).to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if interactive {
            command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
        } else {
            command.stdin(Stdio::null()).stderr(Stdio::piped());
        }
        let mut child = command.spawn().map_err(start)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let read = futures::future::try_join(limited(stdout), limited(stderr));
        let (stdout, stderr) = read.await.map_err(start)?;
        if stdout.len() as u64 > OUTPUT_LIMIT {
            return Ok(stdout);
        }
        let status = child.wait().await.map_err(start)?;
        if status.success() {
            return Ok(stdout);
        }
        Err(CredentialError::PluginFailed {
            command: self.command.clone(),
            status,
            said: last_words(&String::from_utf8_lossy(&stderr)),
        })
    }

    /// What it is told in `KUBERNETES_EXEC_INFO`.
    fn told(&self, interactive: bool) -> Value {
        let mut spec = json!({"interactive": interactive});
        if let Some(cluster) = &self.cluster {
            spec["cluster"] = cluster.clone();
        }
        json!({"apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec})
    }

    fn read(&self, output: &[u8]) -> Result<Given, CredentialError> {
        let unusable = |problem: &str| CredentialError::PluginAnswer {
            command: self.command.clone(),
            problem: problem.to_owned(),
        };
        if output.len() as u64 > OUTPUT_LIMIT {
            return Err(unusable("it is larger than 1 MiB"));
        }
        let answer: ExecCredential = serde_json::from_slice(output).map_err(|error| {
            // The position, and never the text, which may be a token.
            let (line, column) = (error.line(), error.column());
            unusable(&format!(
                "line {line}, column {column} is not as the format wants it"
            ))
        })?;
        if answer.kind != "ExecCredential" {
            return Err(unusable("its kind is another one"));
        }
        if answer.api_version != self.api_version {
            let wanted = &self.api_version;
            return Err(unusable(&format!("its apiVersion is not {wanted}")));
        }
        let status = answer.status.ok_or_else(|| unusable("it has no status"))?;
        let certificate = match (status.client_certificate_data, status.client_key_data) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(unusable(
                    "clientCertificateData and clientKeyData go together",
                ));
            }
        };
        if certificate.is_none() && status.token.is_none() {
            return Err(unusable("it has neither token nor clientCertificateData"));
        }
        Ok(Given {
            token: status.token,
            certificate,
            expires: status.expiration_timestamp,
        })
    }
}

impl std::fmt::Debug for Plugin {
    /// Variables and arguments may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

async fn limited(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(OUTPUT_LIMIT + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The end of a text, in one line.
fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let text = lines.join(" ").trim().to_owned();
    let skip = text.chars().count().saturating_sub(SAID_LIMIT);
    text.chars()
        .skip(skip)
        .filter(|letter| !letter.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn plugin(command: &str, arguments: &[&str]) -> Plugin {
        Plugin {
            command: command.into(),
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
            api_version: "client.authentication.k8s.io/v1".into(),
            interaction: Interaction::Never,
            ..Plugin::default()
        }
    }

    fn script(text: &str) -> Plugin {
        plugin("sh", &["-c", text])
    }

    #[tokio::test]
    async fn it_is_told_what_the_kubeconfig_says_and_believed() {
        let mut plugin = script(
            r#"[ -z "$(cat)" ] || exit 3
            echo "$KUBERNETES_EXEC_INFO" | grep -q '"interactive":false' || exit 4
            echo '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
                   "status": {"token": "'$MINE'", "expirationTimestamp": "2030-01-02T03:04:05Z"}}'"#,
        );
        plugin.variables = vec![("MINE".into(), "hunter22".into())];
        let given = plugin.run().await.unwrap();
        assert_eq!(given.token.unwrap().expose_secret(), "hunter22");
        assert_eq!(given.expires, "2030-01-02T03:04:05Z".parse().ok());
        assert!(!format!("{plugin:?}").contains("hunter22"));
    }

    #[tokio::test]
    async fn each_failure_is_told_from_the_others_and_shows_no_secret() {
        let answer = |status: &str| {
            format!(
                r#"echo '{{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {status}}}'"#
            )
        };
        for (plugin, said) in [
            (plugin("/nowhere/at-all", &[]), "cannot start"),
            (
                script("echo hunter22; echo please log in >&2; exit 7"),
                "(exit status: 7): please log in",
            ),
            (script("echo hunter22"), "line 1, column 1"),
            (script("true"), "line 1, column 0"),
            (script(&answer("null")), "it has no status"),
            (script(&answer("{}")), "neither token nor"),
            (
                script(&answer(r#"{"clientKeyData": "hunter22"}"#)),
                "go together",
            ),
            (
                script(&answer(r#"{"token": {"hunter22": 1}}"#)),
                "not as the format",
            ),
            (
                script(&answer("{}").replace("k8s.io/v1", "k8s.io/v1beta1")),
                "apiVersion is not",
            ),
            (
                script("head -c 2000000 /dev/zero | tr '\\0' ' '"),
                "larger than 1 MiB",
            ),
        ] {
            let error = plugin.run().await.err().unwrap();
            let text = error.to_string();
            assert!(text.contains(said), "{text}");
            assert_eq!(error.code(), "SRT-C026");
            assert!(!format!("{error:?}{text}").contains("hunter22"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_is_ended() {
        let plugin = script("exec tail -f /dev/null");
        let ended = plugin.run_within(Duration::from_millis(50), false).await;
        let error = ended.err().unwrap();
        assert!(
            matches!(error, CredentialError::PluginTimedOut { .. }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_plugin_that_must_ask_needs_a_terminal() {
        let mut plugin = script("true");
        plugin.interaction = Interaction::Always;
        if !std::io::stdin().is_terminal() {
            let error = plugin.run().await.err().unwrap();
            assert!(error.to_string().contains("no terminal"), "{error}");
        }
    }
}
