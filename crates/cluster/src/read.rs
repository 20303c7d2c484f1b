//! Reading objects once, and finding out about the server and our rights.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sortie_manifest::ObjectId;

use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::request::Call;
use crate::resource::{Resource, escape};
use crate::watch::Selection;

/// Objects per page of a list.
const PAGE: usize = 500;

impl Cluster {
    /// The version of the API server, such as `v1.37.0`.
    pub async fn server_version(&self) -> Result<String, Error> {
        let call = Call::read("read", "the API server's version", "/version".to_owned());
        let version = self.fetch(&call).await?;
        Ok(version
            .get("gitVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned())
    }

    /// Whether the API server answers now; tried once.
    pub async fn reachable(&self) -> Result<(), Error> {
        let mut call = Call::read("reach", self.server().to_owned(), "/version".to_owned());
        call.patient = false;
        self.send(&call).await.map(drop)
    }

    /// One object; `None` when it, or its whole namespace, does not exist.
    pub async fn get(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, Error> {
        let target = match namespace.filter(|_| resource.namespaced) {
            Some(namespace) => format!("{}/{namespace}/{name}", resource.kind),
            None => format!("{}/{name}", resource.kind),
        };
        let call = Call::read("read", target, resource.path(namespace, Some(name)));
        match self.fetch(&call).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The tracked object; `None` when it does not exist or its kind is not served any more.
    pub async fn find(&self, id: &ObjectId) -> Result<Option<(Resource, Value)>, Error> {
        let resource = match self.resolve_preferred(&id.group, &id.kind).await {
            Ok(resource) => resource,
            Err(error) if matches!(error.cause(), crate::Cause::UnknownKind { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let object = self
            .get(&resource, id.namespace.as_deref(), &id.name)
            .await?;
        Ok(object.map(|object| (resource, object)))
    }

    /// The objects of a selection, read once.
    pub async fn list(&self, selection: &Selection) -> Result<Vec<Value>, Error> {
        let (path, target) = (selection.path(), &selection.resource.plural);
        let mut objects = self.list_all("list", target, &path, None).await?;
        for object in &mut objects {
            // Items of a list do not say what they are.
            object["apiVersion"] = selection.resource.api_version().into();
            object["kind"] = selection.resource.kind.clone().into();
        }
        Ok(objects)
    }

    /// All items behind a list path, page by page.
    pub(crate) async fn list_all(
        &self,
        verb: &'static str,
        target: &str,
        path: &str,
        accept: Option<&'static str>,
    ) -> Result<Vec<Value>, Error> {
        let mut call = Call::read(verb, target, path.to_owned());
        call.accept = accept.unwrap_or(call.accept);
        let mut items = Vec::new();
        for page in self.pages(&call).await? {
            let mut list: Value = read(&call, &page)?;
            if let Some(Value::Array(more)) = list.get_mut("items").map(Value::take) {
                items.extend(more);
            }
        }
        Ok(items)
    }

    /// The pages of a list, as the server wrote them.
    pub(crate) async fn pages(&self, call: &Call<'_>) -> Result<Vec<Bytes>, Error> {
        let mark = if call.path.contains('?') { '&' } else { '?' };
        let mut pages = Vec::new();
        let mut token = String::new();
        loop {
            let mut page = call.clone();
            page.path.push_str(&format!("{mark}limit={PAGE}"));
            if !token.is_empty() {
                page.path.push_str(&format!("&continue={}", escape(&token)));
            }
            let answer = match self.ask(&page).await? {
                Ok(answer) => answer,
                // The pages' snapshot is gone; begin again.
                Err(status) if status.code == 410 && !token.is_empty() => {
                    pages.clear();
                    token.clear();
                    continue;
                }
                Err(status) => return Err(call.failure(status.into_cause())),
            };
            token = read::<Bounds>(call, &answer.body)?.metadata.next;
            pages.push(answer.body);
            if token.is_empty() {
                return Ok(pages);
            }
        }
    }

    /// Whether our account may do `verb` with objects of `resource` in `namespace`.
    pub async fn can_i(
        &self,
        verb: &str,
        resource: &Resource,
        namespace: Option<&str>,
    ) -> Result<bool, Error> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": verb,
                "group": resource.group,
                "resource": resource.plural,
                "namespace": namespace.filter(|_| resource.namespaced).unwrap_or_default(),
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let mut call = Call::read("check our rights on", resource.plural.clone(), path);
        call.method = Method::POST;
        let review = self.fetch(&call.body(&review)?).await?;
        Ok(review.pointer("/status/allowed").and_then(Value::as_bool) == Some(true))
    }
}

/// What a page of a list says about the next.
#[derive(Deserialize)]
struct Bounds {
    #[serde(default)]
    metadata: Next,
}

#[derive(Default, Deserialize)]
struct Next {
    #[serde(rename = "continue", default)]
    next: String,
}

fn read<'a, T: Deserialize<'a>>(call: &Call<'_>, text: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|source| {
        call.failure(Cause::Unreadable {
            source: source.into(),
        })
    })
}
