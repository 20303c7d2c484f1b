//! What a failed image pull means: gone for good, refused, or perhaps only late.

use super::cause::Class;

/// Signs of trouble that may pass. They win over the signs below, since a registry that is down says "not found" too.
const TRANSIENT: [&str; 19] = [
    "toomanyrequests",
    "too many requests",
    "rate limit",
    "429",
    "timeout",
    "timed out",
    "deadline exceeded",
    "connection refused",
    "connection reset",
    "unexpected eof",
    "no route to host",
    "network is unreachable",
    "temporary failure",
    "server misbehaving",
    "context canceled",
    "500 internal",
    "502 bad",
    "503 service",
    "504 gateway",
];

const DENIED: [&str; 10] = [
    "pull access denied",
    "insufficient_scope",
    "authorization failed",
    "unauthorized",
    "authentication required",
    "access denied",
    "requested access to the resource is denied",
    "no basic auth credentials",
    "403 forbidden",
    "denied:",
];

const NOT_FOUND: [&str; 6] = [
    "not found",
    "manifest unknown",
    "name unknown",
    "name_unknown",
    "manifest_unknown",
    "repository does not exist",
];

/// What kept an image from being pulled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pull {
    NotFound,
    Denied,
    /// The registry's host name does not resolve.
    RegistryUnknown,
    /// May still succeed.
    Unclear,
}

impl Pull {
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::NotFound => Class::ImageNotFound,
            Self::Denied => Class::ImageDenied,
            Self::RegistryUnknown | Self::Unclear => Class::ImagePull,
        }
    }
}

/// Reads the message of containerd, CRI-O or Docker. Image names are taken out first: an image may be called
/// `timeout` or `not-found`.
pub(crate) fn classify(message: &str, image: &str) -> Pull {
    let plain = without_names(message, image);
    let says = |signs: &[&str]| signs.iter().any(|sign| plain.contains(sign));
    if says(&["no such host"]) {
        Pull::RegistryUnknown
    } else if says(&TRANSIENT) {
        Pull::Unclear
    } else if says(&DENIED) {
        Pull::Denied
    } else if says(&NOT_FOUND) {
        Pull::NotFound
    } else {
        Pull::Unclear
    }
}

/// The message in lower case without quoted text, URLs, paths and the image's own name.
fn without_names(message: &str, image: &str) -> String {
    let mut plain = String::with_capacity(message.len());
    for (index, part) in message.split('"').enumerate() {
        // Every second part is quoted.
        if index % 2 == 1 {
            continue;
        }
        for word in part.split_whitespace() {
            let bare = word.trim_end_matches([':', ',', ';']);
            if !bare.is_empty() && (bare == image || bare.contains('/')) {
                continue;
            }
            plain.push_str(&word.to_lowercase());
            plain.push(' ');
        }
        plain.push(' ');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_runtimes_and_registries() {
        for (message, expected) in [
            (
                r#"rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/library/nginx:nope": failed to resolve reference "docker.io/library/nginx:nope": docker.io/library/nginx:nope: not found"#,
                Pull::NotFound,
            ),
            (
                r#"rpc error: code = Unknown desc = failed to pull and unpack image "docker.io/me/secret:1": failed to resolve reference "docker.io/me/secret:1": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"#,
                Pull::Denied,
            ),
            (
                r#"failed to resolve reference "r.example/app:1": unexpected status from HEAD request to https://r.example/v2/app/manifests/1: 403 Forbidden"#,
                Pull::Denied,
            ),
            (
                r#"failed to do request: Head "https://registry.invalid/v2/app/manifests/1": dial tcp: lookup registry.invalid on 10.96.0.10:53: no such host"#,
                Pull::RegistryUnknown,
            ),
            (
                r#"Head "https://r.example/v2/app/manifests/1": dial tcp 10.0.0.9:443: i/o timeout"#,
                Pull::Unclear,
            ),
            (
                "dial tcp 10.0.0.9:443: connect: connection refused",
                Pull::Unclear,
            ),
            (
                "toomanyrequests: You have reached your pull rate limit.",
                Pull::Unclear,
            ),
            (
                "unexpected status: 503 Service Unavailable: upstream not found",
                Pull::Unclear,
            ),
            (
                "Error response from daemon: manifest for nginx:nope not found: manifest unknown",
                Pull::NotFound,
            ),
            (r#"Back-off pulling image "nginx:nope""#, Pull::Unclear),
            ("", Pull::Unclear),
        ] {
            assert_eq!(classify(message, "nginx:nope"), expected, "{message}");
        }
    }

    #[test]
    fn the_name_of_an_image_says_nothing() {
        let message = r#"failed to resolve reference "timeout:1": timeout:1: not found"#;
        assert_eq!(classify(message, "timeout:1"), Pull::NotFound);
        assert_eq!(
            classify("pulling not-found:1 docker.io/not found/x", "not-found:1"),
            Pull::Unclear
        );
    }
}
