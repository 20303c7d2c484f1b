//! One Secret by its name, as the delegate's identity uses it: read, create, update. To watch it,
//! select it by name: `Selection::of(Resource::secrets(), namespace).named(name)`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::fault::Point;
use crate::lease::Guard;
use crate::request::Call;
use crate::resource::Resource;

/// The data of a Secret, and the version it was read at.
#[derive(Clone)]
pub struct Secret {
    /// Values by key.
    pub data: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// `metadata.resourceVersion`.
    pub version: String,
}

/// A Secret's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Secret {
    /// Reads a Secret from its JSON, such as a watch's view has it. Values that are not base64 are left out.
    pub fn from_object(object: &Value) -> Self {
        let values = object.get("data").and_then(Value::as_object);
        let data = values.into_iter().flatten().filter_map(|(key, value)| {
            let bytes = STANDARD.decode(value.as_str()?).ok()?;
            Some((key.clone(), Zeroizing::new(bytes)))
        });
        let version = object
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str);
        Self {
            data: data.collect(),
            version: version.unwrap_or_default().to_owned(),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("keys", &self.data.keys())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// The Secret, or `None` when there is none.
    pub async fn secret(&self, place: &SecretName) -> Result<Option<Secret>, Error> {
        let found = self
            .get(&Resource::secrets(), Some(&place.namespace), &place.name)
            .await?;
        Ok(found.as_ref().map(Secret::from_object))
    }

    /// Creates the Secret; `None` when there is one already.
    pub async fn create_secret(
        &self,
        place: &SecretName,
        secret_type: &str,
        data: &BTreeMap<String, Zeroizing<Vec<u8>>>,
        guard: &Guard,
    ) -> Result<Option<Secret>, Error> {
        let path = Resource::secrets().path(Some(&place.namespace), None);
        let object = object(place, secret_type, data, None);
        let write = (Point::IdentityCreate, guard);
        let call =
            Call::write("create", target(place), (Method::POST, path), write).body(&object)?;
        match self.fetch(&call).await {
            Ok(object) => Ok(Some(Secret::from_object(&object))),
            Err(error) if matches!(error.cause(), Cause::AlreadyExists) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the data of the Secret, unless it changed since `version`: then `None`.
    pub async fn update_secret(
        &self,
        place: &SecretName,
        secret_type: &str,
        data: &BTreeMap<String, Zeroizing<Vec<u8>>>,
        version: &str,
        guard: &Guard,
    ) -> Result<Option<Secret>, Error> {
        let path = Resource::secrets().path(Some(&place.namespace), Some(&place.name));
        let object = object(place, secret_type, data, Some(version));
        let write = (Point::IdentityUpdate, guard);
        let call =
            Call::write("update", target(place), (Method::PUT, path), write).body(&object)?;
        match self.fetch(&call).await {
            Ok(object) => Ok(Some(Secret::from_object(&object))),
            Err(error) if matches!(error.cause(), Cause::Conflict { .. } | Cause::NotFound) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn target(place: &SecretName) -> String {
    format!("Secret/{}/{}", place.namespace, place.name)
}

fn object(
    place: &SecretName,
    secret_type: &str,
    data: &BTreeMap<String, Zeroizing<Vec<u8>>>,
    version: Option<&str>,
) -> Value {
    let data: serde_json::Map<String, Value> = data
        .iter()
        .map(|(key, value)| (key.clone(), STANDARD.encode(value).into()))
        .collect();
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "labels": {"app.kubernetes.io/managed-by": "sortie"},
        },
        "type": secret_type,
        "data": data,
    });
    if let Some(version) = version {
        object["metadata"]["resourceVersion"] = version.into();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_it_was_written() {
        let place = SecretName {
            namespace: "a".into(),
            name: "b".into(),
        };
        let data = BTreeMap::from([("key".to_owned(), Zeroizing::new(vec![0, 159, 1]))]);
        let secret = Secret::from_object(&object(&place, "Opaque", &data, Some("7")));
        assert_eq!((secret.data, secret.version.as_str()), (data, "7"));
    }

    #[test]
    fn values_are_not_shown() {
        let data = BTreeMap::from([("key".to_owned(), Zeroizing::new(b"hunter22".to_vec()))]);
        let secret = Secret {
            data,
            version: "1".into(),
        };
        let shown = format!("{secret:?}");
        assert!(shown.contains("key") && !shown.contains("104"), "{shown}");
    }
}
