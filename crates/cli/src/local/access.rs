//! From arguments to the way to a cluster.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use sortie_cluster::Access;
use sortie_cluster::access::{Credential, Grant, Impersonation, Oidc, Server, Trust};

use crate::args::{ClusterArgs, ServerArgs};
use crate::exit::{Exit, Explain, Failure, Result};

/// A file that an argument names cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", .path.display())]
struct Unreadable {
    path: PathBuf,
    source: std::io::Error,
}

impl Explain for Unreadable {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn code(&self) -> &'static str {
        "SRT-C025"
    }

    fn hint(&self) -> Option<String> {
        Some("Check the file's path and that you may read it.".to_owned())
    }
}

/// The cluster that the arguments name.
pub(super) fn access(args: &ClusterArgs) -> Result<Access> {
    let Some(address) = &args.server.address else {
        return Ok(Access::Kubeconfig {
            path: args.kubeconfig.clone(),
            context: args.kube_context.clone(),
        });
    };
    let server = &args.server;
    let authority = server.certificate_authority.as_deref();
    Ok(Access::Server(Box::new(Server {
        address: address.clone(),
        trust: match server.insecure_skip_tls_verify {
            true => Trust::Anybody,
            false => trust(authority)?,
        },
        certificate_name: server.tls_server_name.clone(),
        // A proxy with a password is no argument: HTTPS_PROXY has it.
        proxy: None,
        namespace: None,
        credential: credential(server)?,
    })))
}

/// As whom to act.
pub(super) fn impersonation(args: &ServerArgs) -> Option<Impersonation> {
    args.impersonate.clone().map(|user| Impersonation {
        user,
        groups: args.impersonate_groups.clone(),
    })
}

fn credential(args: &ServerArgs) -> Result<Credential> {
    let password = args.username.clone().zip(args.password_file.as_deref());
    if let Some(issuer) = &args.oidc_issuer_url {
        let grant = match (args.oidc_refresh_token_file.as_deref(), password) {
            (Some(path), _) => Grant::Refresh(secret(path)?),
            (None, Some((user, path))) => Grant::Password {
                user,
                password: secret(path)?,
            },
            (None, None) => {
                return Err(Failure::usage(
                    "--oidc-issuer-url needs --oidc-refresh-token-file, or --username with --password-file",
                ));
            }
        };
        let client_secret = args.oidc_client_secret_file.as_deref();
        return Ok(Credential::Oidc(Box::new(Oidc {
            issuer: issuer.clone(),
            trust: trust(args.oidc_certificate_authority.as_deref())?,
            client_id: args.oidc_client_id.clone().unwrap_or_default(),
            client_secret: client_secret.map(secret).transpose()?,
            scopes: args.oidc_scopes.clone(),
            id_token: None,
            grant: Some(grant),
        })));
    }
    if let Some(path) = &args.token_file {
        return Ok(Credential::TokenFile(path.clone()));
    }
    if let Some((certificate, key)) = args
        .client_certificate
        .as_deref()
        .zip(args.client_key.as_deref())
    {
        return Ok(Credential::Certificate {
            certificate: read(certificate)?,
            key: secret(key)?,
            passphrase: args
                .client_key_passphrase_file
                .as_deref()
                .map(secret)
                .transpose()?,
        });
    }
    match password {
        Some((user, path)) => Ok(Credential::Password {
            user,
            password: secret(path)?,
        }),
        None => Ok(Credential::Anonymous),
    }
}

fn trust(path: Option<&Path>) -> Result<Trust> {
    path.map_or(Ok(Trust::System), |path| {
        Ok(Trust::Authorities(read(path)?))
    })
}

/// A file's text without the line break at its end.
fn secret(path: &Path) -> Result<SecretString> {
    let bytes = zeroize::Zeroizing::new(read(path)?);
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| Failure::usage(format!("{} is no text", path.display())))?;
    Ok(text.trim_end_matches(['\n', '\r']).into())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| {
        let path = path.to_owned();
        Unreadable { path, source }.into()
    })
}
