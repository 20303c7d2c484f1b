//! Join tokens, as an administrator gets them: `sortie-join.ID.SECRET.CA`.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

/// Longer texts are not looked at.
const MAX_LENGTH: usize = 256;

/// A join token.
#[derive(Clone, Debug)]
pub struct JoinToken {
    /// Its public part.
    pub id: String,
    /// SHA-256 of the certificate of the control plane's authority.
    pub authority: [u8; 32],
    whole: SecretString,
}

/// Not a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the join token is not of the form sortie-join.ID.SECRET.CA; copy it whole, as `sortie delegate token create` printed it"
)]
pub struct MalformedToken;

impl JoinToken {
    /// Reads a token; white space around it is ignored.
    ///
    /// # Errors
    /// It does not have the form.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let text = text.trim();
        if text.len() > MAX_LENGTH {
            return Err(MalformedToken);
        }
        let parts: Vec<&str> = text.split('.').collect();
        let ["sortie-join", id, secret, authority] = parts.as_slice() else {
            return Err(MalformedToken);
        };
        let is_plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if !is_plain(id) || !is_plain(secret) {
            return Err(MalformedToken);
        }
        let authority = URL_SAFE_NO_PAD
            .decode(authority)
            .map_err(|_| MalformedToken)?;
        Ok(Self {
            id: (*id).to_owned(),
            authority: authority.try_into().map_err(|_| MalformedToken)?,
            whole: SecretString::from(text),
        })
    }

    /// The text as the control plane wants it.
    pub(crate) fn expose(&self) -> &str {
        self.whole.expose_secret()
    }
}

/// Where the join token comes from. It is needed for the first start only.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// There is none.
    None,
    /// A file that may not be there any more; read whenever a token is needed.
    File(PathBuf),
    /// Given by the program that embeds the delegate.
    Given(JoinToken),
}

/// The token could not be had, though there may be one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The file is there and cannot be read.
    #[error("cannot read the join token's file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error(transparent)]
    Malformed(MalformedToken),
}

impl TokenSource {
    /// The token, if there is one now.
    pub(crate) async fn read(&self) -> Result<Option<JoinToken>, TokenError> {
        let path = match self {
            Self::None => return Ok(None),
            Self::Given(token) => return Ok(Some(token.clone())),
            Self::File(path) => path,
        };
        match tokio::fs::read_to_string(path).await {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => {
                let text = zeroize::Zeroizing::new(text);
                JoinToken::parse(&text)
                    .map(Some)
                    .map_err(TokenError::Malformed)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TokenError::Read {
                path: path.clone(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(hash: &[u8]) -> String {
        format!(
            "sortie-join.abc-1.c2VjcmV0.{}",
            URL_SAFE_NO_PAD.encode(hash)
        )
    }

    #[test]
    fn a_token_is_read() {
        let parsed = JoinToken::parse(&format!(" {}\n", token(&[7; 32]))).unwrap();
        assert_eq!((parsed.id.as_str(), parsed.authority), ("abc-1", [7; 32]));
        assert_eq!(parsed.expose(), token(&[7; 32]));
        assert!(
            !format!("{parsed:?}").contains("c2VjcmV0"),
            "the secret is not shown"
        );
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in [
            String::new(),
            "sortie-join".to_owned(),
            "sortie-join.a.b.c".to_owned(),
            token(&[7; 31]),
            token(&[7; 33]),
            format!("{}.x", token(&[7; 32])),
            token(&[7; 32]).replace("sortie-join", "sortie"),
            token(&[7; 32]).replace("abc-1", ""),
            token(&[7; 32]).replace("abc-1", "a\u{e9}"),
            "x".repeat(100_000),
        ] {
            assert!(JoinToken::parse(&text).is_err(), "{text:.60}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_no_token_and_a_wrong_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = TokenSource::File(path.clone());
        assert!(source.read().await.unwrap().is_none());
        std::fs::write(&path, "\n").unwrap();
        assert!(source.read().await.unwrap().is_none());
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(source.read().await, Err(TokenError::Malformed(_))));
        std::fs::write(&path, token(&[1; 32])).unwrap();
        assert_eq!(source.read().await.unwrap().unwrap().authority, [1; 32]);
    }
}
