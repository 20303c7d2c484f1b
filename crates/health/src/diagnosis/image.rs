//! What a failed image pull means: gone for good, refused, or perhaps only late.

use super::cause::Class;

/// Signs of a registry that is not there, or does not speak as the node expects. Seldom does that pass by itself.
const UNREACHABLE: [&str; 6] = [
    "no such host",
    "connection refused",
    "no route to host",
    "network is unreachable",
    "x509:",
    "server gave http response to https client",
];

/// Signs of trouble that may pass. They win over the signs below, since a registry that is down says "not found" too.
const TRANSIENT: [&str; 16] = [
    "toomanyrequests",
    "too many requests",
    "rate limit",
    "429",
    "timeout",
    "timed out",
    "deadline exceeded",
    "connection reset",
    "unexpected eof",
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
    /// No registry answers there: its name does not resolve, the connection or its certificate is refused.
    Unreachable,
    /// May still succeed.
    Unclear,
}

impl Pull {
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::NotFound => Class::ImageNotFound,
            Self::Denied => Class::ImageDenied,
            Self::Unreachable | Self::Unclear => Class::ImagePull,
        }
    }
}

/// Reads the message of containerd, CRI-O or Docker. Image names are taken out first: an image may be called
/// `timeout` or `not-found`.
pub(crate) fn classify(message: &str, image: &str) -> Pull {
    let plain = without_names(message, image);
    let says = |signs: &[&str]| signs.iter().any(|sign| plain.contains(sign));
    if says(&UNREACHABLE) {
        Pull::Unreachable
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

/// What the message says in the end, without the layers that only say what was being done: "not found",
/// "dial tcp 10.0.0.9:443: connect: connection refused".
pub(crate) fn telling(message: &str, image: &str) -> String {
    let pieces = pieces(message);
    let last = pieces.len().saturating_sub(1);
    let first = pieces
        .iter()
        .position(|piece| !is_layer(piece, image))
        .unwrap_or(last);
    // Ports of our own end differ from try to try.
    let told = pieces.iter().skip(first).enumerate();
    let told: Vec<&str> = told
        .filter(|(index, piece)| first + index == last || !is_own_end(piece))
        .map(|(_, piece)| *piece)
        .collect();
    told.join(": ")
}

/// The layers of an error, which are put together with ": ". What is quoted stays whole.
fn pieces(message: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut quoted = false;
    let mut begin = 0;
    for (index, character) in message.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ':' if !quoted && message[index..].starts_with(": ") => {
                pieces.push(message[begin..index].trim());
                begin = index + 2;
            }
            _ => {}
        }
    }
    pieces.push(message[begin..].trim());
    pieces
}

/// Does this layer say only what was being done?
fn is_layer(piece: &str, image: &str) -> bool {
    const BEGINNINGS: [&str; 15] = [
        "rpc error",
        "code = ",
        "failed to ",
        "back-off pulling image",
        "errimagepull",
        "imagepullbackoff",
        "unable to pull image",
        "error response from daemon",
        "initializing source",
        "pinging container registry",
        "unexpected status",
        "httpreadseeker",
        "head \"",
        "get \"",
        "post \"",
    ];
    let plain = piece.to_lowercase();
    BEGINNINGS.iter().any(|layer| plain.starts_with(layer)) || names_only(piece, image)
}

/// `nginx:nope`, or the same with its registry.
fn names_only(piece: &str, image: &str) -> bool {
    !piece.contains(char::is_whitespace)
        && !image.is_empty()
        && (piece == image || piece.ends_with(&format!("/{image}")))
}

/// `read udp 10.0.0.5:47797->10.0.0.53:53`.
fn is_own_end(piece: &str) -> bool {
    piece.contains("->") && (piece.starts_with("read ") || piece.starts_with("write "))
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
                Pull::Unreachable,
            ),
            (
                r#"Head "https://r.example/v2/app/manifests/1": dial tcp 10.0.0.9:443: i/o timeout"#,
                Pull::Unclear,
            ),
            (
                "dial tcp 10.0.0.9:443: connect: connection refused",
                Pull::Unreachable,
            ),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                Pull::Unreachable,
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
    fn the_end_of_a_message_tells() {
        for (message, expected) in [
            (
                r#"Failed to pull image "r:5/app:1": failed to pull and unpack image "r:5/app:1": failed to resolve reference "r:5/app:1": failed to do request: Head "http://r:5/v2/app/manifests/1": dial tcp 127.0.0.1:5: connect: connection refused"#,
                "dial tcp 127.0.0.1:5: connect: connection refused",
            ),
            (
                r#"rpc error: code = NotFound desc = failed to pull and unpack image "r:5/app:1": failed to resolve reference "r:5/app:1": r:5/app:1: not found"#,
                "not found",
            ),
            (
                r#"Back-off pulling image "app:1": ErrImagePull: failed to resolve reference "docker.io/library/app:1": docker.io/library/r:5/app:1: not found"#,
                "not found",
            ),
            (
                r#"failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://r/token?scope=a%3Ab: 401 Unauthorized"#,
                "401 Unauthorized",
            ),
            (
                r#"failed to do request: Head "https://r/v2/": dial tcp: lookup r.invalid on 10.0.0.53:53: read udp 172.30.1.11:47797->10.0.0.53:53: i/o timeout"#,
                "dial tcp: lookup r.invalid on 10.0.0.53:53: i/o timeout",
            ),
            (
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            ),
            (
                "Error response from daemon: manifest for app:1 not found: manifest unknown",
                "manifest for app:1 not found: manifest unknown",
            ),
            (
                r#"Back-off pulling image "r:5/app:1""#,
                r#"Back-off pulling image "r:5/app:1""#,
            ),
            (
                r#"an odd " quote: at the end: "#,
                r#"an odd " quote: at the end: "#,
            ),
            ("", ""),
        ] {
            assert_eq!(
                telling(message, "r:5/app:1"),
                expected.trim_end(),
                "{message}"
            );
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
