//! Reading connectors.

use super::{
    ClusterCredential, Connector, ConnectorSpec, DockerRegistry, GitConnection, GitConnector,
    GitCredential, GitProvider, Username,
};
use crate::entity::Kind;
use crate::field::{Field, ListField};
use crate::path;
use crate::position::Located;
use crate::problem::Code;
use crate::reader::fields::unknown_value;
use crate::reader::{Context, Fields};
use crate::reference::RefField;

/// Connector types of Harness that cannot be used yet.
const LATER: [&str; 34] = [
    "AppDynamics",
    "Artifactory",
    "Aws",
    "AwsKms",
    "AwsSecretManager",
    "Azure",
    "AzureArtifacts",
    "AzureKeyVault",
    "AzureRepo",
    "Bamboo",
    "Codecommit",
    "CustomHealth",
    "CustomSecretManager",
    "Datadog",
    "Dynatrace",
    "ElasticSearch",
    "Gcp",
    "GcpKms",
    "GcpSecretManager",
    "Harness",
    "HttpHelmRepo",
    "Jenkins",
    "Jira",
    "Local",
    "NewRelic",
    "Nexus",
    "OciHelmRepo",
    "PagerDuty",
    "Prometheus",
    "Rancher",
    "ServiceNow",
    "Splunk",
    "TerraformCloud",
    "Vault",
];

const USABLE: [&str; 6] = [
    "K8sCluster",
    "Git",
    "Github",
    "Gitlab",
    "Bitbucket",
    "DockerRegistry",
];

impl Connector {
    pub(crate) fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let kind = fields.required_fixed_text("type", cx);
        fields.accept(&["spec"]);
        let kind = kind?;
        if !USABLE.contains(&kind.as_str()) {
            return Self::unusable(fields, kind, cx);
        }
        let mut spec = fields.required_map("spec", cx)?;
        let delegate_selectors = spec.texts("delegateSelectors", cx);
        spec.accept(&[
            "executeOnDelegate",
            "ignoreTestConnection",
            "proxy",
            "proxyUrl",
        ]);
        let read = match kind.as_str() {
            "K8sCluster" => {
                cluster(&mut spec, &delegate_selectors, cx).map(ConnectorSpec::K8sCluster)
            }
            "DockerRegistry" => docker(&mut spec, cx).map(ConnectorSpec::DockerRegistry),
            "Git" => generic_git(&mut spec, cx).map(ConnectorSpec::Git),
            "Github" => provider_git(GitProvider::Github, &mut spec, cx).map(ConnectorSpec::Git),
            "Gitlab" => provider_git(GitProvider::Gitlab, &mut spec, cx).map(ConnectorSpec::Git),
            _ => provider_git(GitProvider::Bitbucket, &mut spec, cx).map(ConnectorSpec::Git),
        };
        spec.finish(cx);
        Some(Self {
            spec: read?,
            delegate_selectors,
        })
    }

    fn unusable(
        fields: &mut Fields<'_>,
        kind: Located<String>,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let path = fields.path_of("type");
        if !LATER.contains(&kind.as_str()) {
            unknown_value(
                &path,
                &kind,
                &[USABLE.as_slice(), LATER.as_slice()].concat(),
                cx,
            );
            return None;
        }
        let message = format!(
            "connectors of type `{}` are kept, and cannot be used yet",
            kind.value
        );
        cx.not_runnable(Code::NotRunnable, &path, kind.position, message);
        Some(Self {
            spec: ConnectorSpec::Unsupported {
                connector_type: kind.value,
            },
            delegate_selectors: Located {
                value: Field::Value(Vec::new()),
                position: kind.position,
            },
        })
    }
}

fn cluster(
    spec: &mut Fields<'_>,
    selectors: &ListField,
    cx: &mut Context<'_>,
) -> Option<ClusterCredential> {
    let mut credential = spec.required_map("credential", cx)?;
    let inherits = credential.required_choice(
        "type",
        &[("InheritFromDelegate", true), ("ManualConfig", false)],
        cx,
    );
    let position = credential.position_of_value("type");
    credential.accept(&["spec"]);
    let path = credential.path_of("type");
    credential.finish(cx);
    if !inherits? {
        let message = "`ManualConfig` is kept, and cannot be used yet; use `InheritFromDelegate` with a delegate in the cluster";
        cx.not_runnable(Code::NotRunnable, &path, position, message.to_owned());
        return Some(ClusterCredential::Unsupported {
            credential_type: "ManualConfig".to_owned(),
        });
    }
    if selectors.value.value().is_some_and(Vec::is_empty) {
        let message =
            "`InheritFromDelegate` needs `delegateSelectors`: which delegate is in the cluster?";
        cx.error(
            Code::MissingField,
            &spec.path_of("delegateSelectors"),
            spec.position_of("delegateSelectors"),
            message,
        );
    }
    Some(ClusterCredential::InheritFromDelegate)
}

fn docker(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<DockerRegistry> {
    let url = spec.required_text("dockerRegistryUrl", cx);
    check_url(url.as_ref(), "dockerRegistryUrl", spec, cx);
    let providers = ["DockerHub", "Harbor", "Quay", "Other"].map(|name| (name, ()));
    spec.required_choice("providerType", &providers, cx);
    let provider = spec.text("providerType", cx);
    let credential = match spec.map("auth", cx) {
        None => None,
        Some(mut auth) => {
            let types = [("Anonymous", false), ("UsernamePassword", true)];
            let with_user = auth.required_choice("type", &types, cx);
            auth.accept(&["spec"]);
            let credential = match with_user {
                Some(true) => auth.required_map("spec", cx).and_then(|mut spec| {
                    let credential = user_secret(&mut spec, "passwordRef", cx);
                    spec.finish(cx);
                    credential
                }),
                _ => None,
            };
            auth.finish(cx);
            credential
        }
    };
    Some(DockerRegistry {
        url: url?,
        provider: provider?,
        credential,
    })
}

/// `Git`: `type` is the kind of authentication and `spec` holds it.
fn generic_git(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<GitConnector> {
    let url = spec.required_text("url", cx);
    let connections = [
        ("Account", GitConnection::Account),
        ("Repo", GitConnection::Repo),
    ];
    let connection = spec.required_choice("connectionType", &connections, cx);
    let http = spec.required_choice("type", &[("Http", true), ("Ssh", false)], cx);
    spec.accept(&["spec", "branchName", "validationRepo"]);
    let credential = match http {
        None => None,
        Some(false) => Some(unsupported_credential("Ssh", spec, "type", cx)),
        Some(true) => {
            check_url(url.as_ref(), "url", spec, cx);
            match spec.map("spec", cx) {
                None => Some(GitCredential::Anonymous),
                Some(mut inner) => {
                    let named = ["username", "usernameRef", "passwordRef"];
                    let credential = if named.iter().any(|name| inner.node(name).is_some()) {
                        user_secret(&mut inner, "passwordRef", cx).map(|(username, secret)| {
                            GitCredential::UserSecret { username, secret }
                        })
                    } else {
                        Some(GitCredential::Anonymous)
                    };
                    inner.finish(cx);
                    credential
                }
            }
        }
    };
    Some(GitConnector {
        provider: GitProvider::Git,
        url: url?,
        connection: connection?,
        credential: credential?,
    })
}

/// `Github`, `Gitlab`, `Bitbucket`: `type` is the kind of connection, `authentication` is apart.
fn provider_git(
    provider: GitProvider,
    spec: &mut Fields<'_>,
    cx: &mut Context<'_>,
) -> Option<GitConnector> {
    let url = spec.required_text("url", cx);
    let connections = [
        ("Account", GitConnection::Account),
        ("Project", GitConnection::Account),
        ("Repo", GitConnection::Repo),
    ];
    let connection = spec.required_choice("type", &connections, cx);
    // Only for tests of the connection and for webhooks.
    spec.accept(&["validationRepo", "apiAccess", "authentication"]);
    let credential = match spec.required_map("authentication", cx) {
        None => None,
        Some(mut authentication) => {
            let http =
                authentication.required_choice("type", &[("Http", true), ("Ssh", false)], cx);
            authentication.accept(&["spec"]);
            let credential = match http {
                None => None,
                Some(false) => Some(unsupported_credential("Ssh", &authentication, "type", cx)),
                Some(true) => {
                    check_url(url.as_ref(), "url", spec, cx);
                    http_credential(&mut authentication, cx)
                }
            };
            authentication.finish(cx);
            credential
        }
    };
    Some(GitConnector {
        provider,
        url: url?,
        connection: connection?,
        credential: credential?,
    })
}

/// The `spec` of an `Http` authentication, with a type and a spec of its own.
fn http_credential(authentication: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<GitCredential> {
    let mut outer = authentication.required_map("spec", cx)?;
    let types = [
        ("Anonymous", None),
        ("UsernamePassword", Some("passwordRef")),
        ("UsernameToken", Some("tokenRef")),
        ("OAuth", Some("")),
        ("GithubApp", Some("")),
        ("Kerberos", Some("")),
    ];
    let kind = outer.required_choice("type", &types, cx);
    outer.accept(&["spec"]);
    let credential = match kind {
        None => None,
        Some(None) => Some(GitCredential::Anonymous),
        Some(Some("")) => {
            let name = outer.fixed_text("type", cx)?;
            Some(unsupported_credential(&name, &outer, "type", cx))
        }
        Some(Some(secret)) => outer.required_map("spec", cx).and_then(|mut inner| {
            let credential = user_secret(&mut inner, secret, cx);
            inner.finish(cx);
            credential.map(|(username, secret)| GitCredential::UserSecret { username, secret })
        }),
    };
    outer.finish(cx);
    credential
}

fn unsupported_credential(
    name: &str,
    fields: &Fields<'_>,
    field: &str,
    cx: &mut Context<'_>,
) -> GitCredential {
    let message = format!(
        "`{name}` is kept, and cannot be used yet; use Http with a user and a token, or anonymous"
    );
    cx.not_runnable(
        Code::NotRunnable,
        &fields.path_of(field),
        fields.position_of_value(field),
        message,
    );
    GitCredential::Unsupported {
        credential_type: name.to_owned(),
    }
}

/// A user, plain or as secret, and a secret.
fn user_secret(
    spec: &mut Fields<'_>,
    secret: &'static str,
    cx: &mut Context<'_>,
) -> Option<(Username, RefField)> {
    let both = spec.node("username").is_some() && spec.node("usernameRef").is_some();
    if both {
        let message = "`username` and `usernameRef` exclude each other; remove one";
        cx.error(
            Code::Conflict,
            &spec.path_of("usernameRef"),
            spec.position_of("usernameRef"),
            message,
        );
    }
    let username = match spec.reference("usernameRef", Kind::Secret, cx) {
        Some(reference) => Some(Username::Secret(reference)),
        None if spec.node("usernameRef").is_some() => None,
        None => spec.required_text("username", cx).map(Username::Plain),
    };
    let secret = spec.required_reference(secret, Kind::Secret, cx);
    Some((username?, secret?))
}

/// A fixed URL must be http or https, and must not carry a password.
fn check_url(
    url: Option<&Located<Field<String>>>,
    field: &str,
    fields: &Fields<'_>,
    cx: &mut Context<'_>,
) {
    let Some(url) = url else { return };
    let Some(text) = url.value.value() else {
        return;
    };
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let message = match authority {
        None => "the URL must start with `https://` or `http://`",
        Some("") => "the URL names no host",
        Some(authority) if authority.contains('@') => {
            "the URL must not hold a user or password; put them into the credentials, as a reference to a secret"
        }
        Some(_) if text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            "the URL must not hold spaces or control characters"
        }
        Some(_) => return,
    };
    let path = path::join(&fields.path, field);
    cx.error(Code::InvalidValue, &path, url.position, message);
}
