use std::path::PathBuf;

use secrecy::SecretString;

use crate::git::Error;

/// What to fetch, and as whom.
#[derive(Clone, Debug)]
pub struct GitSource {
    /// `https://…` or `http://…`, without user and password.
    pub url: String,
    /// Which commit.
    pub reference: Reference,
    /// Files and folders, relative to the root of the repository; empty, `/` and `.` mean all of it.
    pub paths: Vec<String>,
    /// User and password or token, for repositories that are not public.
    pub credentials: Option<Credentials>,
    /// Certificates to trust instead of those of the system, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The way through proxies.
    pub network: Network,
}

/// Which commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The newest commit of a branch.
    Branch(String),
    /// The commit of a tag.
    Tag(String),
    /// A commit by its full id.
    Commit(String),
}

/// User and password; a token stands in place of the password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name; many servers take any when the password is a token.
    pub username: String,
    /// Password or token.
    pub password: SecretString,
}

/// Proxies, as the variables of the same names say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// `http_proxy`.
    pub http_proxy: Option<String>,
    /// `https_proxy`.
    pub https_proxy: Option<String>,
    /// `no_proxy`.
    pub no_proxy: Option<String>,
}

impl Reference {
    /// The name on the server.
    pub(super) fn as_fetched(&self) -> String {
        match self {
            Self::Branch(name) => format!("refs/heads/{name}"),
            Self::Tag(name) => format!("refs/tags/{name}"),
            Self::Commit(id) => id.clone(),
        }
    }

    fn is_valid(&self) -> bool {
        match self {
            Self::Branch(name) | Self::Tag(name) => is_ref_name(name),
            Self::Commit(id) => {
                matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
            }
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Tag(name) => write!(f, "tag {name}"),
            Self::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

impl GitSource {
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(reason) = url_fault(&self.url) {
            // The URL itself is not repeated: it may hold a password.
            return Err(Error::Url { reason });
        }
        if !self.reference.is_valid() {
            return Err(Error::Reference {
                reference: self.reference.to_string(),
            });
        }
        let username = self
            .credentials
            .as_ref()
            .map_or("", |credentials| &credentials.username);
        if username.contains(|c: char| c == ':' || c.is_control()) {
            return Err(Error::Url {
                reason: "the user name may hold neither ':' nor control characters",
            });
        }
        Ok(())
    }
}

/// Paths inside the repository without `./`, `/` at either end; one empty path stands for all of it.
pub(super) fn checked_paths(paths: &[String]) -> Result<Vec<String>, Error> {
    let mut checked = Vec::new();
    for path in paths {
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        if parts.contains(&"..") || path.chars().any(char::is_control) || path.len() > 4096 {
            return Err(Error::Path { path: path.clone() });
        }
        let path = parts.join("/");
        if !checked.contains(&path) {
            checked.push(path);
        }
    }
    if checked.is_empty() {
        checked.push(String::new());
    }
    Ok(checked)
}

fn url_fault(url: &str) -> Option<&'static str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Some("it must begin with https:// or http://");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("user and password belong into the connector, not into the URL");
    }
    if authority.is_empty() {
        return Some("it names no host");
    }
    if url.len() > 2048
        || !url
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '\'' | '<' | '>'))
    {
        return Some("it holds characters that a URL may not hold, or is too long");
    }
    None
}

/// The rules of git for names of references.
fn is_ref_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    !name.is_empty()
        && name.len() <= 250
        && name != "@"
        && !name.starts_with(['-', '/'])
        && !name.ends_with(['.', '/'])
        && !name.contains("..")
        && !name.contains("//")
        && !name.contains("@{")
        && !name.chars().any(forbidden)
        && name
            .split('/')
            .all(|part| !part.starts_with('.') && !part.ends_with(".lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(url: &str, reference: Reference) -> GitSource {
        GitSource {
            url: url.to_owned(),
            reference,
            paths: Vec::new(),
            credentials: None,
            ca_file: None,
            network: Network::default(),
        }
    }

    #[test]
    fn only_plain_http_urls_are_accepted() {
        let main = || Reference::Branch("main".to_owned());
        for url in [
            "https://git.example.com/a/b.git",
            "http://10.0.0.1:8080/x",
            "https://[::1]/x?y=z",
        ] {
            assert!(source(url, main()).check().is_ok(), "{url}");
        }
        for url in [
            "file:///etc",
            "ext::sh -c id",
            "git@host:x",
            "ssh://host/x",
            "/etc",
            "--upload-pack=x",
            "https://",
            "https://u:p@host/x",
            "https://host/a b",
            "https://host/\n",
            "https://host/\"x",
            "HTTPS://host/x",
        ] {
            let error = source(url, main()).check().unwrap_err();
            assert_eq!(error.code(), "SRT-R010", "{url}");
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
    }

    #[test]
    fn references_follow_the_rules_of_git() {
        let good = ["main", "feature/x-1", "v1.2.3", "a@b", "umläut"];
        let bad = [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "a b",
            "a~1",
            "a:b",
            "a^",
            "/a",
            "a/",
            "a//b",
            "a.lock",
            ".a",
            "b/.a",
            "a@{1}",
            "@",
            "a\n",
            "a\\b",
            "a.",
        ];
        for name in good {
            assert!(Reference::Branch(name.to_owned()).is_valid(), "{name}");
        }
        for name in bad {
            assert!(!Reference::Tag(name.to_owned()).is_valid(), "{name}");
        }
        assert!(Reference::Commit("a".repeat(40)).is_valid());
        for id in ["abc123", "main", &"g".repeat(40)] {
            let error = source("https://h/x", Reference::Commit(id.to_owned()))
                .check()
                .unwrap_err();
            assert_eq!(error.code(), "SRT-R011");
        }
    }

    #[test]
    fn paths_stay_inside() {
        let clean = |paths: &[&str]| {
            checked_paths(
                &paths
                    .iter()
                    .map(|path| (*path).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            clean(&["/a/b/", "./c.yaml", "a//b", "."]).unwrap(),
            ["a/b", "c.yaml", ""]
        );
        assert_eq!(clean(&[]).unwrap(), [""]);
        for path in ["../x", "a/../b", "a\0b", "a\nb", ".."] {
            assert_eq!(clean(&[path]).unwrap_err().code(), "SRT-R015", "{path:?}");
        }
    }
}
