//! Delegates over REST.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sortie_link::is_delegate_name;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Json as JsonBody, Path, Query};
use super::scope::{Level, ScopeQuery};
use super::{Principal, Web};
use crate::clock;
use crate::delegates::{AdminError, NewJoinToken};
use crate::problem::{Code, Problem, ProblemDocument};

const HOUR: u64 = 3600;

/// A join token to make.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct JoinTokenRequest {
    /// The only name that a delegate may join under, a DNS label; any unless said.
    name: Option<String>,
    /// What it is for; at most 128 characters.
    label: String,
    /// Organisation; `default` unless said.
    org: Option<String>,
    /// Project; `default` unless said.
    project: Option<String>,
    /// Level, when the delegate serves more than a project.
    scope: Option<Level>,
    /// How many delegates may join with it, 1 to 1000; 1 unless said.
    max_uses: Option<u32>,
    /// Hours until it ends, 1 to 8760; 24 unless said.
    hours: Option<u32>,
}

/// A join token that was made. The only time it is shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewJoinTokenView {
    /// Public part of the token.
    id: String,
    /// The whole token; it cannot be shown again.
    token: String,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// How many delegates may join with it.
    max_uses: u32,
    /// The only name that a delegate may join under.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// A delegate.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DelegateView {
    /// Id, as in its certificate.
    id: String,
    /// Name.
    name: String,
    /// Organisation, absent at account level.
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
    /// Project, absent above a project.
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    /// Whether an instance is connected.
    connected: bool,
    /// When it enrolled.
    #[schema(value_type = String, format = DateTime)]
    enrolled_at: Timestamp,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// End of its newest certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    certificate_ends_at: Option<Timestamp>,
    /// Instances that are connected now.
    sessions: Vec<SessionView>,
}

/// A connected instance of a delegate.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionView {
    /// Which instance.
    instance: String,
    /// Version of the program.
    version: String,
    /// Selectors it answers to.
    tags: Vec<String>,
    /// Tasks it may run at once.
    capacity: u32,
    /// Tasks it runs now.
    running: u32,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    connected_at: Timestamp,
}

/// Makes a token that a new delegate joins with.
#[utoipa::path(post, path = "/api/v1/delegate-tokens", operation_id = "createJoinToken", tag = "delegates",
    request_body = JoinTokenRequest,
    responses((status = 201, body = NewJoinTokenView), (status = 400, body = ProblemDocument)))]
pub(super) async fn create_token(
    State(web): State<Web>,
    principal: Principal,
    JsonBody(request): JsonBody<JoinTokenRequest>,
) -> Result<(StatusCode, Json<NewJoinTokenView>), Problem> {
    let label = request.label.trim();
    if label.chars().count() > 128 || label.chars().any(char::is_control) {
        return Err(malformed(
            "`label` must be at most 128 characters on one line",
        ));
    }
    let name = request.name;
    if name.as_deref().is_some_and(|name| !is_delegate_name(name)) {
        return Err(malformed(
            "`name` must be a DNS label: at most 63 lower-case letters, digits and `-`",
        ));
    }
    let max_uses = request.max_uses.unwrap_or(1);
    if !(1..=1000).contains(&max_uses) {
        return Err(malformed("`maxUses` must be between 1 and 1000"));
    }
    let hours = request.hours.unwrap_or(24);
    if !(1..=8760).contains(&hours) {
        return Err(malformed("`hours` must be between 1 and 8760"));
    }
    let life = Duration::from_secs(u64::from(hours) * HOUR);
    let expires_at = clock::now()
        .checked_add(life)
        .map_err(|error| Problem::internal("compute the end of the token", &error))?;
    let scope = ScopeQuery {
        org: request.org,
        project: request.project,
        scope: request.scope,
    };
    let made = web
        .delegates
        .create_join_token(NewJoinToken {
            scope: scope.resolve()?,
            delegate_name: name.clone(),
            label: label.to_owned(),
            max_uses,
            expires_at,
            by: principal.user.name.clone(),
        })
        .await
        .map_err(|error| failed(&error))?;
    tracing::info!(token = made.id, by = principal.user.name, "join token made");
    let view = NewJoinTokenView {
        id: made.id,
        token: made.token.to_string(),
        expires_at,
        max_uses,
        name,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Ends a join token before its time. Delegates that joined with it stay.
#[utoipa::path(delete, path = "/api/v1/delegate-tokens/{id}", operation_id = "revokeJoinToken", tag = "delegates",
    params(("id" = String, Path, description = "the public part of the token")),
    responses((status = 204, description = "revoked"), (status = 404, body = ProblemDocument)))]
pub(super) async fn revoke_token(
    State(web): State<Web>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let revoked = web.delegates.revoke_join_token(&id).await;
    if !revoked.map_err(|error| failed(&error))? {
        let shown: String = id.chars().take(64).collect();
        return Err(Problem::not_found(format!("join token `{shown}`")));
    }
    tracing::info!(token = id, by = principal.user.name, "join token revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// Which delegates to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Also those that were revoked; they are kept for 30 days.
    all: bool,
}

/// Lists the delegates with their sessions.
#[utoipa::path(get, path = "/api/v1/delegates", operation_id = "listDelegates", tag = "delegates",
    params(ListQuery), responses((status = 200, body = Vec<DelegateView>)))]
pub(super) async fn list(
    State(web): State<Web>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<DelegateView>>, Problem> {
    let delegates = web.delegates.delegates().await;
    let delegates = delegates.map_err(|error| failed(&error))?.into_iter();
    let listed = delegates.filter(|delegate| query.all || delegate.revoked_at.is_none());
    Ok(Json(listed.map(Into::into).collect()))
}

/// Revokes a delegate at once.
#[utoipa::path(post, path = "/api/v1/delegates/{id}/revoke", operation_id = "revokeDelegate", tag = "delegates",
    params(("id" = String, Path)),
    responses((status = 204, description = "revoked"), (status = 404, body = ProblemDocument)))]
pub(super) async fn revoke(
    State(web): State<Web>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let by = &principal.user.name;
    let revoked = web.delegates.revoke_delegate(&id, by).await;
    if !revoked.map_err(|error| failed(&error))? {
        let shown: String = id.chars().take(64).collect();
        return Err(Problem::not_found(format!("delegate `{shown}`"))
            .hint("`sortie get delegates` lists the ids"));
    }
    tracing::info!(delegate = id, by, "delegate revoked");
    Ok(StatusCode::NO_CONTENT)
}

impl From<crate::delegates::DelegateView> for DelegateView {
    fn from(delegate: crate::delegates::DelegateView) -> Self {
        let sessions: Vec<_> = delegate
            .sessions
            .into_iter()
            .map(|session| SessionView {
                instance: session.instance,
                version: session.version,
                tags: session.tags,
                capacity: session.capacity,
                running: session.running,
                connected_at: session.connected_at,
            })
            .collect();
        Self {
            id: delegate.id,
            name: delegate.name,
            org: delegate.scope.org,
            project: delegate.scope.project,
            connected: !sessions.is_empty(),
            enrolled_at: delegate.enrolled_at,
            revoked_at: delegate.revoked_at,
            certificate_ends_at: delegate.certificate_ends_at,
            sessions,
        }
    }
}

impl std::fmt::Debug for NewJoinTokenView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("NewJoinTokenView")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn malformed(detail: &str) -> Problem {
    Problem::new(Code::Malformed, detail)
}

fn failed(error: &AdminError) -> Problem {
    Problem::internal(error.operation, error)
}
