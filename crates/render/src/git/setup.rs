use std::ffi::OsString;
use std::path::Path;

use base64::Engine as _;
use secrecy::ExposeSecret as _;

use crate::git::GitSource;

/// The only configuration that git reads, beside that of the fresh repository.
pub(super) fn settings(source: &GitSource) -> String {
    let mut text = String::from(
        "[core]\n\thooksPath = /dev/null\n\tattributesFile = /dev/null\n\tfsmonitor = false\n\taskPass =\n\
         [protocol]\n\tallow = never\n[protocol \"https\"]\n\tallow = always\n[protocol \"http\"]\n\tallow = always\n\
         [credential]\n\thelper =\n\
         [fetch]\n\trecurseSubmodules = false\n\
         [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[pack]\n\tthreads = 1\n\
         [http]\n\tfollowRedirects = initial\n\tlowSpeedLimit = 100\n\tlowSpeedTime = 30\n\tsslVerify = true\n",
    );
    if let Some(credentials) = &source.credentials {
        // Sent to this host only: git matches the section by URL, and its HTTP library drops the
        // header when it is redirected to another host.
        let pair = format!(
            "{}:{}",
            credentials.username,
            credentials.password.expose_secret()
        );
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        text += &format!(
            "[http \"{}\"]\n\textraHeader = \"Authorization: Basic {pair}\"\n",
            origin(&source.url)
        );
    }
    text
}

/// Everything that git sees of the environment.
pub(super) fn environment(
    source: &GitSource,
    settings: &Path,
    home: &Path,
) -> Vec<(&'static str, OsString)> {
    let mut environment: Vec<(&'static str, OsString)> = vec![
        ("HOME", home.into()),
        ("XDG_CONFIG_HOME", home.into()),
        ("TMPDIR", home.into()),
        ("LC_ALL", "C".into()),
        ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ("GIT_CONFIG_GLOBAL", settings.into()),
        ("GIT_TERMINAL_PROMPT", "0".into()),
        ("GIT_LITERAL_PATHSPECS", "1".into()),
        ("GIT_NO_REPLACE_OBJECTS", "1".into()),
        ("GIT_OPTIONAL_LOCKS", "0".into()),
        ("GIT_ALLOW_PROTOCOL", "https:http".into()),
    ];
    if let Some(file) = &source.ca_file {
        environment.push(("GIT_SSL_CAINFO", file.into()));
    }
    let network = &source.network;
    for (name, value) in [
        ("http_proxy", &network.http_proxy),
        ("https_proxy", &network.https_proxy),
        ("no_proxy", &network.no_proxy),
    ] {
        if let Some(value) = value {
            environment.push((name, value.into()));
        }
    }
    environment
}

/// Scheme and authority of a checked URL.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_a_url_has_no_path() {
        for (url, expected) in [
            ("https://h/a/b.git", "https://h"),
            ("http://h:80?x", "http://h:80"),
            ("https://h", "https://h"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
