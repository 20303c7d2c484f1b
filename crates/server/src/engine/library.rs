//! The entities of an execution: each pinned by version at first use, so that a change in between
//! does not change what runs.

use sortie_model::{Entity, EntityRef, EntitySpec, Kind, Limits};
use sortie_store::{EntityKey, EntityVersion, Scope, Store};

use super::fault::Fault;

/// The entities of one execution.
pub(super) struct Library<'a> {
    /// Where they are.
    pub store: &'a dyn Store,
    /// Id of the execution.
    pub execution: &'a str,
}

/// An entity with the scope it was found in.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The entity.
    pub entity: Entity,
    /// Where it lives; its own references start from here.
    pub scope: Scope,
}

/// A file of the file store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredFile {
    /// Absolute path.
    pub path: String,
    /// Content.
    pub content: String,
}

impl Library<'_> {
    /// The entity behind a reference (`id`, `org.id`, `account.id`) made in a scope.
    pub(super) async fn find(
        &self,
        kind: Kind,
        reference: &str,
        from: &Scope,
        parent: &str,
    ) -> Result<Found, Fault> {
        let parsed = EntityRef::parse(reference.trim()).ok_or_else(|| {
            Fault::mismatch(format!(
                "`{}` is no reference to a {kind}; write `id`, `org.id` or `account.id`",
                shorten(reference)
            ))
        })?;
        let scope = target(&parsed, from)
            .ok_or_else(|| Fault::missing(format!("{kind} `{parsed}` above the account")))?;
        let key = EntityKey {
            kind: kind.root_key().to_owned(),
            scope: scope.clone(),
            parent: parent.to_owned(),
            identifier: parsed.identifier.clone(),
        };
        let found = self.store.pin_entity(self.execution, &key).await?;
        let version = found.ok_or_else(|| {
            Fault::missing(format!(
                "{kind} `{parsed}` ({})",
                crate::web::describe_scope(&scope)
            ))
        })?;
        let entity = read(&version)?;
        if let Some(unsupported) = entity.unsupported().first() {
            return Err(Fault::not_runnable(format!(
                "{kind} `{parsed}`, line {}: {}",
                unsupported.position.line, unsupported.message
            )));
        }
        Ok(Found { entity, scope })
    }

    /// The files at a path of the file store: one file, or all below a folder, by path.
    pub(super) async fn files(
        &self,
        reference: &str,
        from: &Scope,
    ) -> Result<Vec<StoredFile>, Fault> {
        let parsed = EntityRef::parse_file_path(reference.trim()).ok_or_else(|| {
            Fault::mismatch(format!(
                "`{}` is no path of the file store; write `/folder/file`, `org:/…` or `account:/…`",
                shorten(reference)
            ))
        })?;
        let missing = || Fault::missing(format!("file `{parsed}` in the file store"));
        let scope = target(&parsed, from).ok_or_else(missing)?;
        let listed = self.store.files_at(&scope, &parsed.identifier).await?;
        let mut files = Vec::with_capacity(listed.len());
        for listed in &listed {
            // Between listing and pinning the file may have gone; then it was never used.
            let pinned = self.store.pin_entity(self.execution, &listed.key).await?;
            if let Some(pinned) = pinned
                && let EntitySpec::File(file) = read(&pinned)?.spec
            {
                files.push(StoredFile {
                    path: file.path.value,
                    content: file.content.value,
                });
            }
        }
        if files.is_empty() {
            return Err(missing());
        }
        Ok(files)
    }
}

/// Reads a stored document again. What was stored could be read then; a newer program may refuse.
pub(super) fn read(version: &EntityVersion) -> Result<Entity, Fault> {
    let name = format!("{} {}", version.key.kind, version.key.identifier);
    let parsed = sortie_model::parse(&name, version.text.as_bytes(), &Limits::default());
    let error = parsed.problems.iter().find(|problem| problem.is_error());
    match (error, parsed.entities.into_iter().next()) {
        (None, Some(entity)) => Ok(entity),
        (error, _) => Err(Fault::not_runnable(format!(
            "the stored {name} cannot be read by this version: {}; store it again",
            error.map_or_else(|| "no document".to_owned(), ToString::to_string)
        ))),
    }
}

fn target(reference: &EntityRef, from: &Scope) -> Option<Scope> {
    let from = sortie_model::Scope {
        org: from.org.clone(),
        project: from.project.clone(),
    };
    let scope = reference.scope(&from)?;
    Some(Scope {
        org: scope.org,
        project: scope.project,
    })
}

fn shorten(text: &str) -> String {
    text.chars().take(128).collect()
}
