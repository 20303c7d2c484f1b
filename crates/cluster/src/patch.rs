//! Changing single fields of objects that are there.

use http::Method;
use serde_json::Value;
use sortie_manifest::ObjectId;

use crate::apply::CONTROL_MANAGER;
use crate::apply::scrub::scrub_patch;
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::fault::Point;
use crate::lease::Guard;
use crate::request::Call;
use crate::resource::{Resource, escape};

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A list of operations, RFC 6902.
    Json,
    /// Fields to set, `null` to remove; lists are replaced whole: RFC 7386.
    Merge,
    /// As [`Form::Merge`], where lists of built-in kinds are merged by their keys.
    Strategic,
}

impl Form {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// What a patch changes.
#[derive(Clone, Copy, Debug)]
pub struct Patched<'a> {
    /// Its API.
    pub resource: &'a Resource,
    /// The object.
    pub id: &'a ObjectId,
    /// A part of the object with an address of its own, such as `scale`.
    pub subresource: Option<&'a str>,
}

impl Patched<'_> {
    fn path(&self) -> String {
        let id = self.id;
        let mut path = self
            .resource
            .path(id.namespace.as_deref(), Some(id.name.as_str()));
        if let Some(part) = self.subresource {
            path.push('/');
            path.push_str(&escape(part));
        }
        path
    }
}

impl Cluster {
    /// The object, or the part of it that is meant; `None` when it, or the part, does not exist.
    ///
    /// # Errors
    /// The API server does not show it.
    pub async fn read_patched(&self, patched: Patched<'_>) -> Result<Option<Value>, Error> {
        let call = Call::read("read", patched.id.to_string(), patched.path());
        match self.fetch(&call).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a patch would make of the object. Nothing is written.
    ///
    /// # Errors
    /// The API server refuses it; a version in it that is not the present one is a conflict.
    pub async fn try_patch(
        &self,
        patched: Patched<'_>,
        (form, body): (Form, &Value),
    ) -> Result<Value, Error> {
        let manager = escape(CONTROL_MANAGER);
        let path = format!(
            "{}?fieldManager={manager}&fieldValidation=Strict&dryRun=All",
            patched.path()
        );
        let mut call = Call::read("patch", patched.id.to_string(), path);
        call.method = Method::PATCH;
        self.send_patch(call, patched.id, (form, body)).await
    }

    /// Changes single fields under [`CONTROL_MANAGER`]. Returns the object as it then is.
    ///
    /// # Errors
    /// The API server refuses it; a version in it that is not the present one, and a failed `test` of a
    /// [`Form::Json`], are conflicts.
    pub async fn patch_as(
        &self,
        patched: Patched<'_>,
        (form, body): (Form, &Value),
        guard: &Guard,
    ) -> Result<Value, Error> {
        let manager = escape(CONTROL_MANAGER);
        let place = (
            Method::PATCH,
            format!("{}?fieldManager={manager}", patched.path()),
        );
        let call = Call::write(
            "patch",
            patched.id.to_string(),
            place,
            (Point::Patch, guard),
        );
        self.send_patch(call, patched.id, (form, body)).await
    }

    /// Changes single fields by a JSON patch under [`CONTROL_MANAGER`].
    ///
    /// # Errors
    /// As [`patch_as`](Self::patch_as).
    pub async fn patch(
        &self,
        resource: &Resource,
        id: &ObjectId,
        operations: &Value,
        guard: &Guard,
    ) -> Result<Value, Error> {
        let patched = Patched {
            resource,
            id,
            subresource: None,
        };
        self.patch_as(patched, (Form::Json, operations), guard)
            .await
    }

    async fn send_patch(
        &self,
        mut call: Call<'_>,
        id: &ObjectId,
        (form, body): (Form, &Value),
    ) -> Result<Value, Error> {
        let is_secret = id.group.is_empty() && id.kind == "Secret";
        call.content_type = form.content_type();
        let call = call.body(body)?;
        match self.ask(&call).await? {
            Ok(answer) => answer.json(&call),
            // The server does not say that it was a `test` which failed, only that it was no field.
            Err(status)
                if form == Form::Json
                    && status.code == 422
                    && status.causes.is_empty()
                    && tests(body) =>
            {
                let message = "a value or version that the patch tests is another".to_owned();
                Err(call.failure(Cause::Conflict { message }))
            }
            Err(status) => {
                let error = call.failure(status.into_cause());
                Err(if is_secret {
                    scrub_patch(error, body)
                } else {
                    error
                })
            }
        }
    }
}

/// Whether a JSON patch tests anything.
fn tests(operations: &Value) -> bool {
    let is_test = |operation: &Value| operation.get("op").and_then(Value::as_str) == Some("test");
    operations
        .as_array()
        .is_some_and(|all| all.iter().any(is_test))
}
