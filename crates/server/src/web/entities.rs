//! Entities over REST: stored as written, all documents of a body or none.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use sortie_model::{Kind, Limits};
use sortie_store::EntityKey;

use super::entity_views::{Applied, EntityPage, EntityView, ListQuery, OneQuery, PutQuery};
use super::extract::{Body, Path, Query};
use super::scope::{ScopeQuery, check_identifier};
use super::{Principal, Web};
use crate::entities::{Intake, Request};
use crate::problem::{Code, Finding, Problem, ProblemDocument};

/// Largest body of documents: what the reader of YAML takes, so that no more is kept in memory.
const MAX_BODY: usize = Limits::BYTES;

const DEFAULT_PAGE: u32 = 100;
const MAX_PAGE: u32 = 500;

/// Stores all YAML documents of the body, or none of them.
#[utoipa::path(put, path = "/api/v1/entities", operation_id = "putEntities", tag = "entities",
    params(ScopeQuery, PutQuery),
    request_body(content = String, content_type = "application/yaml",
        description = "One or more YAML documents, UTF-8, at most 4 MiB"),
    responses((status = 200, body = Applied), (status = 409, body = ProblemDocument),
        (status = 413, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
pub(super) async fn put(
    State(web): State<Web>,
    principal: Principal,
    Query(scope): Query<ScopeQuery>,
    Query(query): Query<PutQuery>,
    Body(body): Body<MAX_BODY>,
) -> Result<Json<Applied>, Problem> {
    let scope = scope.resolve()?;
    let file = file_name(query.file.as_deref())?;
    // Reading megabytes of YAML takes a while: not on the threads that serve everybody.
    let name = file.clone();
    let (body, parsed) = tokio::task::spawn_blocking(move || {
        let parsed = sortie_model::parse(&name, &body, &Limits::default());
        (body, parsed)
    })
    .await
    .map_err(|error| Problem::internal("read the documents", &error))?;
    // Without errors it is UTF-8; with errors nothing of it is used.
    let source = std::str::from_utf8(&body).unwrap_or_default();
    let intake = Intake {
        store: web.store.as_ref(),
        keys: web.keys.as_ref(),
    };
    let request = Request {
        scope,
        strict: query.strict,
        dry_run: query.dry_run,
        file,
        by: principal.user.name,
        now: crate::clock::now(),
    };
    let taken = intake.take(source, parsed, &request).await?;
    Ok(Json(Applied {
        entities: taken.entities.into_iter().map(Into::into).collect(),
        warnings: taken.warnings.iter().map(Finding::from).collect(),
    }))
}

/// Lists the entities of one kind in one scope.
#[utoipa::path(get, path = "/api/v1/entities/{kind}", operation_id = "listEntities", tag = "entities",
    params(("kind" = String, Path, description = "e.g. `service`"), ScopeQuery, ListQuery),
    responses((status = 200, body = EntityPage), (status = 404, body = ProblemDocument)))]
pub(super) async fn list(
    State(web): State<Web>,
    Path(kind): Path<String>,
    Query(scope): Query<ScopeQuery>,
    Query(query): Query<ListQuery>,
) -> Result<Json<EntityPage>, Problem> {
    let kind = known_kind(&kind)?;
    let scope = scope.resolve()?;
    let limit = query.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let found = web
        .store
        .list_entities(kind.root_key(), &scope, query.after.as_deref(), limit)
        .await
        .map_err(|error| Problem::store("list the entities", &error))?;
    let full = found.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = found
        .last()
        .filter(|_| full)
        .map(|last| last.key.identifier.clone());
    Ok(Json(EntityPage {
        items: found.into_iter().map(Into::into).collect(),
        next,
    }))
}

/// One entity, as written.
#[utoipa::path(get, path = "/api/v1/entities/{kind}/{identifier}", operation_id = "getEntity", tag = "entities",
    params(("kind" = String, Path), ("identifier" = String, Path), ScopeQuery, OneQuery),
    responses((status = 200, body = EntityView), (status = 404, body = ProblemDocument)))]
pub(super) async fn get(
    State(web): State<Web>,
    Path((kind, identifier)): Path<(String, String)>,
    Query(scope): Query<ScopeQuery>,
    Query(query): Query<OneQuery>,
) -> Result<Json<EntityView>, Problem> {
    let key = key(&kind, &identifier, &scope, query.environment.as_deref())?;
    let found = match query.version {
        Some(version) => web.store.entity_version(&key, version).await,
        None => web.store.entity(&key).await,
    };
    let found = found.map_err(|error| Problem::store("read the entity", &error))?;
    found
        .map(|entity| Json(entity.into()))
        .ok_or_else(|| missing(&key))
}

/// Deletes an entity. Executions under way keep the version they use; a secret's value goes at
/// once.
#[utoipa::path(delete, path = "/api/v1/entities/{kind}/{identifier}", operation_id = "deleteEntity", tag = "entities",
    params(("kind" = String, Path), ("identifier" = String, Path), ScopeQuery, OneQuery),
    responses((status = 204, description = "deleted"), (status = 404, body = ProblemDocument)))]
pub(super) async fn delete(
    State(web): State<Web>,
    principal: Principal,
    Path((kind, identifier)): Path<(String, String)>,
    Query(scope): Query<ScopeQuery>,
    Query(query): Query<OneQuery>,
) -> Result<StatusCode, Problem> {
    let key = key(&kind, &identifier, &scope, query.environment.as_deref())?;
    let deleted = web
        .store
        .delete_entity(&key, crate::clock::now())
        .await
        .map_err(|error| Problem::store("delete the entity", &error))?;
    if !deleted {
        return Err(missing(&key));
    }
    tracing::info!(
        kind = key.kind,
        identifier = key.identifier,
        by = principal.user.name,
        "entity deleted"
    );
    Ok(StatusCode::NO_CONTENT)
}

fn known_kind(text: &str) -> Result<Kind, Problem> {
    Kind::from_name(text).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        Problem::not_found(format!("kind of entity `{shown}`"))
            .hint(format!("the kinds are {}", names.join(", ")))
    })
}

fn key(
    kind: &str,
    identifier: &str,
    scope: &ScopeQuery,
    environment: Option<&str>,
) -> Result<EntityKey, Problem> {
    let kind = known_kind(kind)?;
    check_identifier(identifier)?;
    let parent = match (kind, environment) {
        (Kind::Infrastructure, Some(environment)) => {
            check_identifier(environment)?;
            environment.to_owned()
        }
        (Kind::Infrastructure, None) => {
            return Err(Problem::new(
                Code::Malformed,
                "an infrastructure is found by its environment and its identifier",
            )
            .hint(
                "name the environment as well, as in `sortie get infrastructure ENVIRONMENT/ID`",
            ));
        }
        _ => String::new(),
    };
    Ok(EntityKey {
        kind: kind.root_key().to_owned(),
        scope: scope.resolve()?,
        parent,
        identifier: identifier.to_owned(),
    })
}

fn missing(key: &EntityKey) -> Problem {
    let kind = Kind::from_name(&key.kind).map_or(key.kind.as_str(), |kind| kind.name());
    Problem::not_found(format!(
        "{kind} `{}` in {}",
        key.identifier,
        super::scope::describe(&key.scope)
    ))
    .hint("`sortie get` lists what there is; look at the organisation, the project and the level of the request (`--org`, `--project`, `--level`)")
}

fn file_name(name: Option<&str>) -> Result<String, Problem> {
    let name = name.unwrap_or("-");
    if name.len() > 1024 || name.chars().any(char::is_control) {
        return Err(Problem::new(
            Code::Malformed,
            "`file` must be at most 1024 bytes without control characters",
        ));
    }
    Ok(name.to_owned())
}
