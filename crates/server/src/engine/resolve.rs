//! Answers what delegates ask for while they run a step: values that the snapshot lacks, and
//! secrets.

use async_trait::async_trait;
use serde_json::Value;
use sortie_expression::{Evaluator, Reason, SecretMarker};
use sortie_model::EntityRef;
use sortie_store::{BlobHash, Scope};
use zeroize::Zeroizing;

use super::handout::Handout;
use super::roots::Roots;
use super::{Engine, Inner};
use crate::problem::chain;
use crate::sealing::secret_context;
use crate::tasks::{Resolution, Resolver};

/// Names per request.
const MAX_NAMES: usize = 256;

/// Length of one name.
const MAX_NAME: usize = 4096;

#[async_trait]
impl Resolver for Engine {
    async fn resolve(&self, task: &str, names: &[String]) -> Vec<Resolution> {
        let denied = |reason: &str| {
            names
                .iter()
                .map(|_| Resolution::Denied(reason.to_owned()))
                .collect()
        };
        if names.len() > MAX_NAMES || names.iter().any(|name| name.len() > MAX_NAME) {
            return denied("too many names, or too long ones");
        }
        let (scope, roots) = match self.surroundings_of(task).await {
            Ok(Some(found)) => found,
            Ok(None) => return denied("the task belongs to no running execution"),
            Err(error) => {
                tracing::error!(task, error = %chain(&error), "could not resolve names");
                return denied("the server could not read the execution; try again");
            }
        };
        let marker = SecretMarker::new(&uuid::Uuid::new_v4().simple().to_string());
        let mut answers = Vec::with_capacity(names.len());
        for name in names {
            answers.push(self.0.answer(task, &scope, &roots, &marker, name).await);
        }
        answers
    }
}

impl Engine {
    /// Scope and roots of a task whose execution is running.
    async fn surroundings_of(&self, task: &str) -> sortie_store::Result<Option<(Scope, Roots)>> {
        let store = &self.0.store;
        let Some(step) = self.step(task).await? else {
            return Ok(None);
        };
        let execution = store.execution(&step.execution).await?;
        let Some(execution) = execution.filter(|execution| execution.ended_at.is_none()) else {
            return Ok(None);
        };
        let handout: Option<Handout> = serde_json::from_str(&step.request).ok();
        let Some(hash) = handout.and_then(|handout| BlobHash::parse(&handout.context)) else {
            return Ok(None);
        };
        let snapshot = store.blob(&hash).await?;
        let roots = snapshot.and_then(|bytes| Roots::from_snapshot(&bytes));
        Ok(roots.map(|roots| (execution.head.scope, roots)))
    }
}

impl Inner {
    async fn answer(
        &self,
        task: &str,
        scope: &Scope,
        roots: &Roots,
        marker: &SecretMarker,
        name: &str,
    ) -> Resolution {
        match evaluate(roots, marker, name) {
            Ok(text) => self.reveal(task, scope, marker, &text).await,
            Err(answer) => answer,
        }
    }

    /// The text with the secrets it names.
    async fn reveal(
        &self,
        task: &str,
        scope: &Scope,
        marker: &SecretMarker,
        text: &str,
    ) -> Resolution {
        let mut values = std::collections::BTreeMap::new();
        for name in marker.names(text) {
            match self.secret(scope, &name).await {
                Ok(value) => {
                    tracing::info!(task, secret = name, "secret resolved");
                    values.insert(name, value);
                }
                Err(reason) => {
                    tracing::warn!(task, secret = name, reason, "secret not resolved");
                    return Resolution::Denied(reason);
                }
            }
        }
        let filled =
            marker.substitute(text, |name| values.get(name).map(|value| value.to_string()));
        match filled {
            Ok(filled) => Resolution::Secret(Zeroizing::new(filled.into_bytes())),
            Err(error) => Resolution::Denied(error.to_string()),
        }
    }

    /// The value of a secret of the execution's project, its organisation or the account.
    async fn secret(&self, scope: &Scope, name: &str) -> Result<Zeroizing<String>, String> {
        let missing = || format!("there is no secret `{name}` that has a value");
        let from = sortie_model::Scope {
            org: scope.org.clone(),
            project: scope.project.clone(),
        };
        let reference = EntityRef::parse(name).ok_or_else(missing)?;
        let target = reference.scope(&from).ok_or_else(missing)?;
        let target = Scope {
            org: target.org,
            project: target.project,
        };
        let stored = self.store.secret(&target, &reference.identifier).await;
        let stored = stored.map_err(|error| {
            tracing::error!(secret = name, error = %chain(&error), "could not read a secret");
            format!("the server could not read the secret `{name}`; try again")
        })?;
        let stored = stored.ok_or_else(missing)?;
        let context = secret_context(&target, &reference.identifier);
        let unreadable = || format!("the secret `{name}` cannot be decrypted; store it again");
        let opened = self
            .keys
            .open(&stored.key_id, &context, &stored.ciphertext)
            .map_err(|_| unreadable())?;
        let text = std::str::from_utf8(&opened).map_err(|_| unreadable())?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// The value of a name: a text in which secrets are marked, or the answer when there are none.
fn evaluate(roots: &Roots, marker: &SecretMarker, name: &str) -> Result<String, Resolution> {
    let evaluator = Evaluator::new(roots)
        .at(crate::clock::now())
        .with_secrets(marker);
    match evaluator.typed(name) {
        Ok(Value::String(text)) if marker.marks(&text) => Ok(text),
        Ok(value) if marker.marks(&value.to_string()) => Err(Resolution::Denied(
            "a secret inside a list or a map cannot be resolved".to_owned(),
        )),
        Ok(value) => Err(Resolution::Value(value)),
        Err(error) if error.reason == Reason::Undefined => Err(Resolution::Undefined),
        Err(error) => Err(Resolution::Denied(error.to_string())),
    }
}
