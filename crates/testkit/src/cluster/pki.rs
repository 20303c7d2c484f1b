//! Certificates of one cluster: made anew for each, valid as long as its folder exists.

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, string::Ia5String,
};

/// A certificate authority whose certificate and key lie in `DIR/NAME.crt` and `DIR/NAME.key`.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, PEM.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: PrivatePem,
}

/// A private key that no debug output shows.
#[derive(Clone)]
pub(crate) struct PrivatePem(String);

/// Who a certificate is for: Kubernetes reads groups from the organisation, the user from the common name.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Subject<'a> {
    pub(crate) group: Option<&'a str>,
    pub(crate) user: &'a str,
    pub(crate) names: &'a [&'a str],
    pub(crate) addresses: &'a [IpAddr],
}

impl Authority {
    /// A new authority.
    pub(crate) fn new(common_name: &str) -> Result<Self> {
        let key = KeyPair::generate().context("make a CA key")?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let pem = params
            .self_signed(&key)
            .context("sign a CA certificate")?
            .pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes `NAME.crt` and `NAME.key`.
    pub(crate) fn write(&self, dir: &Path, name: &str) -> Result<()> {
        std::fs::write(dir.join(format!("{name}.crt")), &self.pem)
            .with_context(|| format!("write the certificate {name}"))?;
        write_private(
            &dir.join(format!("{name}.key")),
            &self.issuer.key().serialize_pem(),
        )
    }

    /// A certificate good for both ends of a connection.
    pub(crate) fn issue(&self, subject: &Subject<'_>) -> Result<Identity> {
        let key = KeyPair::generate().context("make a key")?;
        let mut params = CertificateParams::default();
        if let Some(group) = subject.group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params
            .distinguished_name
            .push(DnType::CommonName, subject.user);
        for name in subject.names {
            let name =
                Ia5String::try_from(*name).with_context(|| format!("use the name {name}"))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params
            .subject_alt_names
            .extend(subject.addresses.iter().copied().map(SanType::IpAddress));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("sign the certificate of {}", subject.user))?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: PrivatePem(key.serialize_pem()),
        })
    }

    /// A kubeconfig file with the subject's new certificate inside.
    pub(crate) fn write_kubeconfig(
        &self,
        path: &Path,
        server: &str,
        subject: &Subject<'_>,
    ) -> Result<()> {
        let identity = self.issue(subject)?;
        let text = format!(
            r#"apiVersion: v1
kind: Config
clusters: [{{name: sortie, cluster: {{server: "{server}", certificate-authority-data: {ca}}}}}]
users: [{{name: sortie, user: {{client-certificate-data: {certificate}, client-key-data: {key}}}}}]
contexts: [{{name: sortie, context: {{cluster: sortie, user: sortie}}}}]
current-context: sortie
"#,
            ca = STANDARD.encode(&self.pem),
            certificate = STANDARD.encode(&identity.certificate),
            key = STANDARD.encode(&identity.key.0),
        );
        write_private(path, &text)
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key`, and tells where they are.
    pub(crate) fn write(&self, dir: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (
            dir.join(format!("{name}.crt")),
            dir.join(format!("{name}.key")),
        );
        std::fs::write(&certificate, &self.certificate)
            .with_context(|| format!("write {}", certificate.display()))?;
        write_private(&key, &self.key.0)?;
        Ok((certificate, key))
    }
}

impl PrivatePem {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PrivatePem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivatePem(..)")
    }
}

/// The key pair that service account tokens are signed with, as `sa.key` and `sa.pub`.
pub(crate) fn write_service_account_keys(dir: &Path) -> Result<()> {
    let key = KeyPair::generate().context("make the service account key")?;
    std::fs::write(dir.join("sa.pub"), key.public_key_pem()).context("write sa.pub")?;
    write_private(&dir.join("sa.key"), &key.serialize_pem())
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}
