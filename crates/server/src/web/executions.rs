//! Executions over REST.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_store::{ExecutionFilter, Scope};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Json as JsonBody, Path, Query};
use super::scope::{ScopeQuery, check_identifier};
use super::{Principal, Web};
use crate::engine::{ExecutionSummary, ExecutionView, Run};
use crate::problem::{Code, Problem, ProblemDocument};

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 500;

/// A request to run a pipeline.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StartRequest {
    /// Identifier of the pipeline.
    pub pipeline: String,
    /// Organisation; `default` unless said.
    pub org: Option<String>,
    /// Project; `default` unless said.
    pub project: Option<String>,
    /// Values for variables of the pipeline, by name: texts, numbers or flags.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub variables: BTreeMap<String, Value>,
}

/// Which executions to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only of this pipeline.
    pub pipeline: Option<String>,
    /// Only older than this id: `next` of the page before.
    pub before: Option<String>,
    /// At most so many, 1 to 500; 50 unless said.
    pub limit: Option<u32>,
}

/// A page of executions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExecutionPage {
    /// Newest first.
    pub items: Vec<ExecutionSummary>,
    /// `before` for the next page, absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Why an execution is ended.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AbortRequest {
    /// Shown to people; at most 1024 characters.
    pub reason: Option<String>,
}

/// Runs a pipeline.
#[utoipa::path(post, path = "/api/v1/executions", operation_id = "startExecution", tag = "executions",
    request_body = StartRequest,
    responses((status = 201, body = ExecutionSummary), (status = 404, body = ProblemDocument),
        (status = 422, body = ProblemDocument)))]
pub(super) async fn start(
    State(web): State<Web>,
    principal: Principal,
    JsonBody(request): JsonBody<StartRequest>,
) -> Result<(StatusCode, Json<ExecutionSummary>), Problem> {
    check_identifier(&request.pipeline)?;
    let scope = ScopeQuery {
        org: request.org,
        project: request.project,
        scope: None,
    };
    let run = Run {
        scope: scope.resolve()?,
        pipeline: request.pipeline,
        variables: request.variables,
        by: principal.user.name,
    };
    let execution = web.engine.start(&run).await?;
    Ok((
        StatusCode::CREATED,
        Json(ExecutionSummary::from(&execution.head)),
    ))
}

/// Lists executions of a project, newest first.
#[utoipa::path(get, path = "/api/v1/executions", operation_id = "listExecutions", tag = "executions",
    params(ScopeQuery, ListQuery),
    responses((status = 200, body = ExecutionPage)))]
pub(super) async fn list(
    State(web): State<Web>,
    Query(scope): Query<ScopeQuery>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ExecutionPage>, Problem> {
    let scope: Scope = scope.resolve()?;
    let limit = query.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let filter = ExecutionFilter {
        scope,
        pipeline: query.pipeline,
        before: query.before,
        limit,
    };
    let found = web
        .store
        .list_executions(&filter)
        .await
        .map_err(|error| Problem::store("list the executions", &error))?;
    let full = found.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(Json(ExecutionPage {
        next: found.last().filter(|_| full).map(|last| last.id.clone()),
        items: found.iter().map(Into::into).collect(),
    }))
}

/// One execution with its stages and steps.
#[utoipa::path(get, path = "/api/v1/executions/{id}", operation_id = "getExecution", tag = "executions",
    params(("id" = String, Path)),
    responses((status = 200, body = ExecutionView), (status = 404, body = ProblemDocument)))]
pub(super) async fn get(
    State(web): State<Web>,
    Path(id): Path<String>,
) -> Result<Json<ExecutionView>, Problem> {
    view(&web, &id).await.map(Json)
}

/// Ends an execution now, without rollback.
#[utoipa::path(post, path = "/api/v1/executions/{id}/abort", operation_id = "abortExecution", tag = "executions",
    params(("id" = String, Path)),
    request_body(content = AbortRequest),
    responses((status = 202, body = ExecutionView), (status = 404, body = ProblemDocument),
        (status = 409, body = ProblemDocument)))]
pub(super) async fn abort(
    State(web): State<Web>,
    principal: Principal,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<AbortRequest>,
) -> Result<(StatusCode, Json<ExecutionView>), Problem> {
    let reason = request.reason.filter(|reason| !reason.trim().is_empty());
    if reason
        .as_ref()
        .is_some_and(|reason| reason.chars().count() > 1024)
    {
        return Err(Problem::new(
            Code::Malformed,
            "`reason` must be at most 1024 characters",
        ));
    }
    web.engine.abort(&id, &principal.user.name, reason).await?;
    Ok((StatusCode::ACCEPTED, Json(view(&web, &id).await?)))
}

/// The view of an execution, or that there is none.
pub(super) async fn view(web: &Web, id: &str) -> Result<ExecutionView, Problem> {
    let view = web.engine.view(id).await?;
    view.ok_or_else(|| {
        let shown: String = id.chars().take(64).collect();
        Problem::not_found(format!("execution `{shown}`"))
    })
}
