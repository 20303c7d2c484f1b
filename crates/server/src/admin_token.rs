//! `sortie-server token create --admin`: the way back in when every token is lost. Whoever can write the data folder
//! could change anything in it anyway, so nothing else is asked for.

use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan as _};
use sortie_store::{ApiToken, SqliteStore, Store, User};
use zeroize::Zeroizing;

use crate::config::TokenCreate;
use crate::{clock, tokens};

/// Name of the user that the first start makes.
const ADMIN: &str = "admin";

/// A token that was made. The only time it is known.
pub struct Made {
    /// The whole token.
    pub token: Zeroizing<String>,
    /// Its public part, to revoke it by.
    pub id: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// The token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server has ever started on the folder.
    #[error(
        "there is no control plane in the data folder {}; name the folder that the server uses with --data-dir, --config or their environment variables",
        path.display()
    )]
    NoData {
        /// The folder.
        path: PathBuf,
    },
    /// The store failed.
    #[error("could not {operation}")]
    Store {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: sortie_store::Error,
    },
    /// No random numbers.
    #[error("could not make the token")]
    Random(#[source] tokens::RandomError),
}

impl Error {
    /// Stable code of the error, explained in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoData { .. } => "SRT-S127",
            Self::Store { source, .. } => source.code(),
            Self::Random(_) => "SRT-S120",
        }
    }
}

/// Makes one more token of the administrator, also while a server of the same version runs on the folder: it knows
/// the token at once.
///
/// # Errors
/// There is no database in the folder, or it cannot be written.
pub async fn create(folder: &Path, wanted: &TokenCreate) -> Result<Made, Error> {
    // Opening would make one.
    if !folder.join(SqliteStore::FILE).is_file() {
        return Err(Error::NoData {
            path: folder.to_owned(),
        });
    }
    let store = SqliteStore::open(folder)
        .await
        .map_err(|source| Error::Store {
            operation: "open the store",
            source,
        })?;
    let made = stored(&store, wanted, clock::now()).await;
    store.close().await;
    made
}

async fn stored(store: &dyn Store, wanted: &TokenCreate, now: Timestamp) -> Result<Made, Error> {
    let failed = |operation| move |source| Error::Store { operation, source };
    let minted = tokens::mint().map_err(Error::Random)?;
    let expires_at = wanted
        .days
        .and_then(|days| now.checked_add((i64::from(days) * 24).hours()).ok());
    let token = |user: &User| ApiToken {
        expires_at,
        ..tokens::record(&minted, user, &wanted.label, now)
    };
    let known = store
        .user(ADMIN)
        .await
        .map_err(failed("read the administrator"))?;
    let operation = "store the token";
    match known {
        Some(user) => store
            .create_api_token(&token(&user))
            .await
            .map_err(failed(operation))?,
        None => {
            let user = admin(now);
            // Not made if a starting server was quicker; then there is a user to add a token to.
            if !store
                .create_first_user(&user, &token(&user))
                .await
                .map_err(failed(operation))?
            {
                return Err(Error::Store {
                    operation,
                    source: sortie_store::Error::NotFound {
                        what: format!("user {ADMIN}"),
                    },
                });
            }
        }
    }
    Ok(Made {
        token: minted.token,
        id: minted.id,
        expires_at,
    })
}

/// The user that the first start makes.
pub(crate) fn admin(now: Timestamp) -> User {
    User {
        id: uuid::Uuid::now_v7().to_string(),
        name: ADMIN.to_owned(),
        role: ADMIN.to_owned(),
        created_at: now,
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Made")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
