//! What a setting may be. Checked as a whole before anything is started, so that a typing error is told at once and not as a time-out later.

use std::path::Path;

use sortie_link::is_delegate_name;

use super::{Config, Error};
use crate::link::check_route;

/// More tasks at a time than one process serves well.
const MAX_CAPACITY: u32 = 1000;

/// The control plane takes no more.
const MAX_TAGS: usize = 256;

/// The control plane takes no longer one.
const MAX_TAG_BYTES: usize = 256;

/// A pod that takes longer is hung.
const MAX_DRAIN_SECONDS: u64 = 3600;

/// The first setting that cannot work.
pub(super) fn check(config: &Config) -> Result<(), Error> {
    let rules: [(&'static str, String, bool, &'static str); 6] = [
        (
            "name",
            config.name.clone(),
            is_delegate_name(&config.name),
            "at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends",
        ),
        (
            "capacity",
            config.capacity.to_string(),
            (1..=MAX_CAPACITY).contains(&config.capacity),
            "a number of tasks from 1 to 1000",
        ),
        (
            "namespace",
            config.namespace.clone(),
            is_delegate_name(&config.namespace),
            "the name of a namespace",
        ),
        (
            "identity.secret",
            config.identity_secret.clone(),
            is_secret_name(&config.identity_secret),
            "the name of a Secret",
        ),
        (
            "drainSeconds",
            config.drain.as_secs().to_string(),
            config.drain.as_secs() <= MAX_DRAIN_SECONDS,
            "a number of seconds up to 3600",
        ),
        (
            "tags",
            format!("({} tags)", config.tags.len()),
            config.tags.len() <= MAX_TAGS,
            "at most 256 tags",
        ),
    ];
    for (key, value, holds, expected) in rules {
        if !holds {
            return Err(invalid(key, &value, expected));
        }
    }
    if let Some(tag) = config.tags.iter().find(|tag| !is_tag(tag)) {
        let expected = "tags of 1 to 256 bytes without spaces at their ends or control characters";
        return Err(invalid("tags", tag, expected));
    }
    check_route(
        &config.server,
        config.https_proxy.as_deref(),
        config.no_proxy.as_deref(),
    )
    .map_err(|source| Error::Route {
        source: Box::new(source),
    })?;
    Ok(())
}

/// The first file that a setting names and that is not what it should be.
pub(super) fn check_files(config: &Config) -> Result<(), Error> {
    config
        .extra_ca_file
        .as_deref()
        .map_or(Ok(()), read_certificates)
}

fn invalid(key: &'static str, value: &str, expected: &'static str) -> Error {
    Error::Invalid {
        key,
        value: value.chars().take(100).collect(),
        expected,
    }
}

fn is_tag(tag: &str) -> bool {
    (1..=MAX_TAG_BYTES).contains(&tag.len())
        && tag.trim() == tag
        && !tag.chars().any(char::is_control)
}

/// A DNS subdomain, as Kubernetes wants it for Secrets.
fn is_secret_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_delegate_name)
}

/// That Git would find certificates there.
fn read_certificates(path: &Path) -> Result<(), Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(());
    }
    Err(invalid(
        "extraCaFile",
        &path.display().to_string(),
        "a file of PEM certificates",
    ))
}
