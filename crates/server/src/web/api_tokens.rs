//! API tokens over REST.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use sortie_store::{ApiToken, User};
use utoipa::ToSchema;

use super::extract::{Json as JsonBody, Path};
use super::{Principal, Web};
use crate::problem::{Code, Problem, ProblemDocument};
use crate::{clock, tokens};

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TokenRequest {
    /// What it is for, shown in lists; 1 to 128 characters.
    label: String,
    /// Days until it ends, 1 to 3650; never unless said.
    days: Option<u32>,
}

/// A token that was made. The only time it is shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewToken {
    /// The whole token; it cannot be shown again.
    token: String,
    #[serde(flatten)]
    view: TokenView,
}

/// A token without its secret part.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenView {
    /// Public part of the token.
    id: String,
    /// Whose it is.
    user: String,
    /// What it is for.
    label: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

/// Makes a token for the user of the request.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "createToken", tag = "tokens",
    request_body = TokenRequest,
    responses((status = 201, body = NewToken), (status = 400, body = ProblemDocument)))]
pub(super) async fn create(
    State(web): State<Web>,
    principal: Principal,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
    let label = request.label.trim();
    if !tokens::is_label(label) {
        return Err(Problem::new(
            Code::Malformed,
            "`label` must be 1 to 128 characters on one line",
        ));
    }
    let now = clock::now();
    let expires_at = match request.days {
        None => None,
        Some(days @ 1..=3650) => now.checked_add((i64::from(days) * 24).hours()).ok(),
        Some(_) => {
            return Err(Problem::new(
                Code::Malformed,
                "`days` must be between 1 and 3650",
            ));
        }
    };
    let minted = tokens::mint().map_err(|error| Problem::internal("make the token", &error))?;
    let record = ApiToken {
        expires_at,
        ..tokens::record(&minted, &principal.user, label, now)
    };
    web.store
        .create_api_token(&record)
        .await
        .map_err(|error| Problem::store("store the token", &error))?;
    tracing::info!(
        token = record.id,
        by = principal.user.name,
        "API token made"
    );
    let token = NewToken {
        token: minted.token.to_string(),
        view: view(record, principal.user),
    };
    Ok((StatusCode::CREATED, Json(token)))
}

/// Lists all tokens, oldest first.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "listTokens", tag = "tokens",
    responses((status = 200, body = Vec<TokenView>)))]
pub(super) async fn list(State(web): State<Web>) -> Result<Json<Vec<TokenView>>, Problem> {
    let tokens = web
        .store
        .list_api_tokens()
        .await
        .map_err(|error| Problem::store("list the tokens", &error))?;
    Ok(Json(
        tokens
            .into_iter()
            .map(|(token, user)| view(token, user))
            .collect(),
    ))
}

/// Revokes a token at once, on open connections too.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", operation_id = "revokeToken", tag = "tokens",
    params(("id" = String, Path, description = "the public part of the token")),
    responses((status = 204, description = "revoked"), (status = 404, body = ProblemDocument)))]
pub(super) async fn revoke(
    State(web): State<Web>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let revoked = web
        .store
        .revoke_api_token(&id, clock::now())
        .await
        .map_err(|error| Problem::store("revoke the token", &error))?;
    web.auth.forget_logins();
    if !revoked {
        let shown: String = id.chars().take(64).collect();
        return Err(Problem::not_found(format!("valid token `{shown}`")));
    }
    tracing::info!(token = id, by = principal.user.name, "API token revoked");
    Ok(StatusCode::NO_CONTENT)
}

fn view(token: ApiToken, user: User) -> TokenView {
    TokenView {
        id: token.id,
        user: user.name,
        label: token.label,
        created_at: token.created_at,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
    }
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("NewToken")
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}
