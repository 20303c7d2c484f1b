//! Takes documents in: checks the whole body, takes secrets' values out, and stores all or none.

use std::collections::HashSet;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sortie_model::{
    Code as FindingCode, Entity, EntitySpec, Kind, Parsed, Problem as Found, Reference, Severity,
};
use sortie_store::{
    Change, EntityKey, EntityWrite, Scope, SecretCiphertext, SecretWrite, Store, Stored,
    StoredOutcome,
};

use crate::problem::{Code, Finding, Problem};
use crate::sealing::{AtRest, secret_context};

/// References of one body that are looked up; more are stored unchecked.
const MAX_REFERENCES: usize = 5_000;

/// Takes documents in.
pub(crate) struct Intake<'a> {
    /// Where they go.
    pub store: &'a dyn Store,
    /// Encrypts the values of secrets.
    pub keys: &'a dyn AtRest,
}

/// How documents are to be taken.
#[derive(Debug)]
pub(crate) struct Request {
    /// Scope of documents that name none.
    pub scope: Scope,
    /// Unknown fields and missing references are errors.
    pub strict: bool,
    /// Check everything and store nothing.
    pub dry_run: bool,
    /// The file as the caller named it, for messages.
    pub file: String,
    /// Who stores them.
    pub by: String,
    /// When.
    pub now: Timestamp,
}

/// Documents that were taken.
#[derive(Debug)]
pub(crate) struct Taken {
    /// In the order of the body.
    pub entities: Vec<Stored>,
    /// What is no error.
    pub warnings: Vec<Found>,
}

impl Intake<'_> {
    /// Checks what was read from `source` and stores it.
    pub(crate) async fn take(
        &self,
        source: &str,
        parsed: Parsed,
        request: &Request,
    ) -> Result<Taken, Problem> {
        let Parsed {
            entities,
            mut problems,
            ..
        } = parsed;
        refuse_errors(&problems, request.strict)?;
        let mut change = Change {
            by: request.by.clone(),
            ..Change::default()
        };
        for entity in &entities {
            self.add(source, entity, request, &mut change).await?;
        }
        if change.entities.is_empty() {
            return Err(Problem::new(Code::Refused, "the body holds no document"));
        }
        problems.extend(
            self.missing_references(&entities, &change, &request.file)
                .await?,
        );
        refuse_errors(&problems, request.strict)?;
        let stored = if request.dry_run {
            self.foresee(&change).await?
        } else {
            self.store
                .put_entities(&change, request.now)
                .await
                .map_err(|error| Problem::store("store the documents", &error))?
        };
        Ok(Taken {
            entities: with_new_values(stored, &change),
            warnings: problems,
        })
    }

    async fn add(
        &self,
        source: &str,
        entity: &Entity,
        request: &Request,
        change: &mut Change,
    ) -> Result<(), Problem> {
        let scope = effective_scope(entity, &request.scope)?;
        let text = source.get(entity.range.clone()).unwrap_or_default();
        let mut write = EntityWrite {
            key: EntityKey {
                kind: entity.kind.root_key().to_owned(),
                scope,
                parent: entity.key().environment.unwrap_or_default(),
                identifier: entity.identifier.clone(),
            },
            name: entity.name.clone(),
            path: match &entity.spec {
                EntitySpec::File(file) => file.path.value.clone(),
                _ => String::new(),
            },
            text: text.to_owned(),
        };
        if entity.kind == Kind::Secret {
            let (without, value) = sortie_model::take_secret_value(text).map_err(|error| {
                Problem::new(
                    Code::Refused,
                    format!("secret `{}`: {error}", entity.identifier),
                )
            })?;
            write.text = without;
            if let Some(value) = value
                && !self.has_value(&write.key, &value).await?
            {
                change.secrets.push(self.seal(&write.key, &value)?);
            }
        }
        change.entities.push(write);
        Ok(())
    }

    /// Whether the stored value of a secret is this one already.
    async fn has_value(&self, key: &EntityKey, value: &SecretString) -> Result<bool, Problem> {
        let stored = self
            .store
            .secret(&key.scope, &key.identifier)
            .await
            .map_err(|error| Problem::store("read the secret", &error))?;
        let Some(stored) = stored else {
            return Ok(false);
        };
        let context = secret_context(&key.scope, &key.identifier);
        let opened = self.keys.open(&stored.key_id, &context, &stored.ciphertext);
        // A value that cannot be opened is replaced.
        Ok(opened.is_ok_and(|opened| {
            aws_lc_rs::constant_time::verify_slices_are_equal(
                &opened,
                value.expose_secret().as_bytes(),
            )
            .is_ok()
        }))
    }

    fn seal(&self, key: &EntityKey, value: &SecretString) -> Result<SecretWrite, Problem> {
        let context = secret_context(&key.scope, &key.identifier);
        let ciphertext = self
            .keys
            .seal(&context, value.expose_secret().as_bytes())
            .map_err(|error| Problem::internal("encrypt the secret", &error))?;
        Ok(SecretWrite {
            scope: key.scope.clone(),
            identifier: key.identifier.clone(),
            value: SecretCiphertext {
                key_id: self.keys.key_id().to_owned(),
                ciphertext,
            },
        })
    }

    /// References to what is neither in the body nor stored.
    async fn missing_references(
        &self,
        entities: &[Entity],
        change: &Change,
        file: &str,
    ) -> Result<Vec<Found>, Problem> {
        let mut known: HashSet<(String, Scope, String)> = HashSet::new();
        for write in &change.entities {
            let key = &write.key;
            known.insert((key.kind.clone(), key.scope.clone(), name_of(key)));
            if !write.path.is_empty() {
                known.insert((key.kind.clone(), key.scope.clone(), write.path.clone()));
            }
        }
        let mut missing = Vec::new();
        let mut references: Vec<(&Reference, &Scope)> = Vec::new();
        for (entity, write) in entities.iter().zip(&change.entities) {
            for reference in entity.references() {
                references.push((reference, &write.key.scope));
            }
        }
        references.truncate(MAX_REFERENCES);
        for (reference, from) in references {
            let Some(scope) = target_scope(reference, from) else {
                missing.push(missing_reference(reference, file));
                continue;
            };
            let (kind, name) = target_name(reference);
            let target = (kind, scope, name);
            let in_body = known.contains(&target)
                || reference.kind == Kind::File && folder_is_known(&known, &target);
            if !in_body && !self.is_stored(reference, &target.1).await? {
                missing.push(missing_reference(reference, file));
                continue;
            }
            known.insert(target);
        }
        Ok(missing)
    }

    async fn is_stored(&self, reference: &Reference, scope: &Scope) -> Result<bool, Problem> {
        let target = &reference.target.identifier;
        let failed = |error| Problem::store("look up a reference", &error);
        if reference.kind == Kind::File {
            let found = self.store.files_at(scope, target).await;
            return Ok(!found.map_err(failed)?.is_empty());
        }
        if reference.kind == Kind::Infrastructure && reference.environment.is_none() {
            // The environment is an expression: known only when the pipeline runs.
            return Ok(true);
        }
        let key = EntityKey {
            kind: reference.kind.root_key().to_owned(),
            scope: scope.clone(),
            parent: reference.environment.clone().unwrap_or_default(),
            identifier: target.clone(),
        };
        Ok(self.store.entity(&key).await.map_err(failed)?.is_some())
    }

    /// What storing would do.
    async fn foresee(&self, change: &Change) -> Result<Vec<Stored>, Problem> {
        let mut foreseen = Vec::with_capacity(change.entities.len());
        for write in &change.entities {
            let current = self
                .store
                .entity(&write.key)
                .await
                .map_err(|error| Problem::store("read an entity", &error))?;
            let (version, outcome) = match current {
                None => (1, StoredOutcome::Created),
                Some(current) if current.text == write.text => {
                    (current.version, StoredOutcome::Unchanged)
                }
                Some(current) => (current.version + 1, StoredOutcome::Updated),
            };
            foreseen.push(Stored {
                key: write.key.clone(),
                version,
                outcome,
            });
        }
        Ok(foreseen)
    }
}

/// Refuses a body with errors, naming all of them.
fn refuse_errors(problems: &[Found], strict: bool) -> Result<(), Problem> {
    let findings: Vec<Finding> = problems
        .iter()
        .cloned()
        .map(|problem| if strict { problem.strict() } else { problem })
        .map(|problem| Finding::from(&problem))
        .collect();
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == "error")
        .count();
    if errors == 0 {
        return Ok(());
    }
    let noun = if errors == 1 { "error" } else { "errors" };
    Err(Problem::new(
        Code::Refused,
        format!("{errors} {noun}; nothing was stored"),
    )
    .hint("correct what is listed, then store all documents again")
    .findings(findings))
}

/// The scope of a document: its own, or the request's when it names none.
fn effective_scope(entity: &Entity, request: &Scope) -> Result<Scope, Problem> {
    let own = &entity.scope;
    if own.is_empty() {
        return Ok(request.clone());
    }
    let differs = |own: &Option<String>, asked: &Option<String>| match (own, asked) {
        // `default` is what a request means that says nothing.
        (Some(own), Some(asked)) => own != asked && asked != "default",
        _ => false,
    };
    if differs(&own.org, &request.org) || differs(&own.project, &request.project) {
        return Err(Problem::new(
            Code::ScopeMismatch,
            format!(
                "{} `{}` says it belongs to {own}, the request is about another scope; nothing was stored",
                entity.kind, entity.identifier
            ),
        )
        .hint("change orgIdentifier and projectIdentifier in the document, or the organisation and the project of the request (`--org`, `--project`)"));
    }
    Ok(Scope {
        org: own.org.clone(),
        project: own.project.clone(),
    })
}

/// The scope a reference points to; `None` when it points nowhere.
fn target_scope(reference: &Reference, from: &Scope) -> Option<Scope> {
    let from = sortie_model::Scope {
        org: from.org.clone(),
        project: from.project.clone(),
    };
    let scope = reference.target.scope(&from)?;
    Some(Scope {
        org: scope.org,
        project: scope.project,
    })
}

fn target_name(reference: &Reference) -> (String, String) {
    let identifier = &reference.target.identifier;
    let name = match &reference.environment {
        Some(environment) => format!("{environment}/{identifier}"),
        None => identifier.trim_end_matches('/').to_owned(),
    };
    (reference.kind.root_key().to_owned(), name)
}

fn name_of(key: &EntityKey) -> String {
    if key.parent.is_empty() {
        key.identifier.clone()
    } else {
        format!("{}/{}", key.parent, key.identifier)
    }
}

/// Whether a file below the folder that is referred to is known.
fn folder_is_known(
    known: &HashSet<(String, Scope, String)>,
    (kind, scope, folder): &(String, Scope, String),
) -> bool {
    let prefix = format!("{folder}/");
    known
        .iter()
        .any(|(k, s, path)| k == kind && s == scope && path.starts_with(&prefix))
}

fn missing_reference(reference: &Reference, file: &str) -> Found {
    Found {
        severity: Severity::Warning,
        file: file.to_owned(),
        line: reference.position.line,
        column: reference.position.column,
        path: reference.path.clone(),
        code: FindingCode::MissingReference,
        message: format!(
            "there is no {} `{}`; store it before the pipeline runs",
            reference.kind, reference.target
        ),
    }
}

/// A secret with a new value counts as updated although its text is the same.
fn with_new_values(mut stored: Vec<Stored>, change: &Change) -> Vec<Stored> {
    for stored in &mut stored {
        let replaced = stored.key.kind == Kind::Secret.root_key()
            && change.secrets.iter().any(|secret| {
                secret.scope == stored.key.scope && secret.identifier == stored.key.identifier
            });
        if replaced && stored.outcome == StoredOutcome::Unchanged {
            stored.outcome = StoredOutcome::Updated;
        }
    }
    stored
}
