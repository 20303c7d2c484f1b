//! What a kubeconfig says, as far as kubectl would follow it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{
    AuthInfo, AuthProviderConfig, ExecConfig, ExecInteractiveMode, KubeConfigOptions, Kubeconfig,
    KubeconfigError,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::credentials::Source;
use super::error::{ConnectError, CredentialError};
use super::identity::Identity;
use super::plugin::{Interaction, Plugin};
use super::{Endpoint, Grant, Oidc, Trust};

/// `path` and `context` as in [`super::Access::Kubeconfig`].
pub(super) async fn read(
    path: Option<&Path>,
    context: Option<&str>,
) -> Result<Endpoint, ConnectError> {
    let unreadable = |source: KubeconfigError| ConnectError::ReadKubeconfig {
        path: path.map(Path::to_owned),
        source: Box::new(source),
    };
    let file = match path {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let file = file.map_err(unreadable)?;
    let proxy = proxy(&file, context);
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = kube::Config::from_custom_kubeconfig(file, &options).await;
    let mut config = config.map_err(unreadable)?;
    // Mixed with the environment's, and without its exceptions.
    config.proxy_url = None;
    let auth = std::mem::take(&mut config.auth_info);
    config.auth_info = AuthInfo {
        impersonate: auth.impersonate.clone(),
        impersonate_uid: auth.impersonate_uid.clone(),
        impersonate_groups: auth.impersonate_groups.clone(),
        impersonate_user_extra: auth.impersonate_user_extra.clone(),
        ..AuthInfo::default()
    };
    Ok(Endpoint {
        config,
        use_environment: proxy.is_none(),
        proxy,
        identity: identity(&auth)?,
        source: source(auth)?,
    })
}

/// `proxy-url` of the context's cluster.
fn proxy(file: &Kubeconfig, context: Option<&str>) -> Option<SecretString> {
    let wanted = context.or(file.current_context.as_deref())?;
    let named = file.contexts.iter().find(|named| named.name == wanted)?;
    let wanted = &named.context.as_ref()?.cluster;
    let named = file.clusters.iter().find(|named| named.name == *wanted)?;
    let proxy = named.cluster.as_ref()?.proxy_url.clone()?;
    (!proxy.is_empty()).then(|| proxy.into())
}

fn identity(auth: &AuthInfo) -> Result<Identity, CredentialError> {
    let certificate = data_or_file(
        "client-certificate-data",
        auth.client_certificate_data.as_deref(),
        auth.client_certificate.as_deref(),
    )?;
    let key = auth
        .client_key_data
        .as_ref()
        .map(SecretString::expose_secret);
    let key = data_or_file("client-key-data", key, auth.client_key.as_deref())?;
    let malformed = |problem: &str| CredentialError::Malformed {
        what: "the user of the kubeconfig".to_owned(),
        problem: problem.to_owned(),
    };
    match (certificate, key) {
        (None, None) => Ok(Identity::none()),
        (Some(certificate), Some(key)) => {
            let key = String::from_utf8(key).map_err(|_| malformed("client-key is not PEM"))?;
            Identity::from_pem(&certificate, &key.into(), None)
        }
        (Some(_), None) => Err(malformed("it has a client certificate and no key")),
        (None, Some(_)) => Err(malformed("it has a client key and no certificate")),
    }
}

/// The one way to authenticate beside the client certificate. A token file wins over a token, as
/// with kubectl.
fn source(auth: AuthInfo) -> Result<Source, CredentialError> {
    if let Some(path) = auth.token_file {
        return Ok(Source::TokenFile(path.into()));
    }
    if let Some(token) = auth.token {
        return Source::bearer(&token);
    }
    if let (Some(user), Some(password)) = (&auth.username, &auth.password) {
        return Source::basic(user, password);
    }
    if let Some(exec) = auth.exec {
        return Ok(Source::Plugin(Box::new(plugin(exec)?)));
    }
    match auth.auth_provider {
        Some(provider) if provider.name == "oidc" => Ok(Source::Issuer(Box::new(oidc(provider)?))),
        Some(AuthProviderConfig { name, .. }) => Err(CredentialError::UnknownProvider { name }),
        None => Ok(Source::Fixed(None)),
    }
}

fn plugin(exec: ExecConfig) -> Result<Plugin, CredentialError> {
    let malformed = |problem: &str| CredentialError::Malformed {
        what: "exec of the kubeconfig".to_owned(),
        problem: problem.to_owned(),
    };
    let variables = exec.env.unwrap_or_default().into_iter();
    let cluster = match exec.cluster.filter(|_| exec.provide_cluster_info) {
        Some(cluster) => {
            Some(serde_json::to_value(cluster).map_err(|_| malformed("the cluster is no JSON"))?)
        }
        None => None,
    };
    Ok(Plugin {
        command: exec.command.ok_or_else(|| malformed("it has no command"))?,
        arguments: exec.args.unwrap_or_default(),
        variables: variables
            .filter_map(|mut entry| Some((entry.remove("name")?, entry.remove("value")?)))
            .collect(),
        api_version: exec
            .api_version
            .ok_or_else(|| malformed("it has no apiVersion"))?,
        install_hint: exec.install_hint.map(|hint| hint.trim().to_owned()),
        interaction: match exec.interactive_mode {
            Some(ExecInteractiveMode::Never) => Interaction::Never,
            Some(ExecInteractiveMode::Always) => Interaction::Always,
            Some(ExecInteractiveMode::IfAvailable) | None => Interaction::IfAvailable,
        },
        cluster,
    })
}

/// `auth-provider: oidc`, as `kubectl config set-credentials --auth-provider=oidc` writes it.
fn oidc(provider: AuthProviderConfig) -> Result<Oidc, CredentialError> {
    let mut settings = provider.config;
    let missing = |key: &str| CredentialError::Malformed {
        what: "auth-provider oidc of the kubeconfig".to_owned(),
        problem: format!("it has no {key}"),
    };
    let authority = data_or_file(
        "idp-certificate-authority-data",
        settings
            .get("idp-certificate-authority-data")
            .map(String::as_str),
        settings
            .get("idp-certificate-authority")
            .map(String::as_str),
    )?;
    let mut take = |key: &str| settings.remove(key).filter(|text| !text.is_empty());
    let scopes = take("extra-scopes").unwrap_or_default();
    Ok(Oidc {
        issuer: take("idp-issuer-url").ok_or_else(|| missing("idp-issuer-url"))?,
        trust: authority.map_or(Trust::System, Trust::Authorities),
        client_id: take("client-id").ok_or_else(|| missing("client-id"))?,
        client_secret: take("client-secret").map(SecretString::from),
        scopes: scopes
            .split(',')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect(),
        id_token: take("id-token").map(SecretString::from),
        grant: take("refresh-token").map(|token| Grant::Refresh(token.into())),
    })
}

fn data_or_file(
    key: &str,
    data: Option<&str>,
    file: Option<&str>,
) -> Result<Option<Vec<u8>>, CredentialError> {
    if let Some(data) = data {
        let bytes = STANDARD.decode(data.trim());
        let bytes = bytes.map_err(|_| CredentialError::Malformed {
            what: format!("{key} of the kubeconfig"),
            problem: "it is not base64".to_owned(),
        })?;
        return Ok(Some(bytes));
    }
    let Some(path) = file.filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let bytes = std::fs::read(path).map_err(|source| CredentialError::ReadFile {
        path: path.into(),
        source,
    })?;
    Ok(Some(bytes))
}
