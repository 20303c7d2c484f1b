//! Waiting for an object by a watch, never by polling.

use std::{fmt::Debug, pin::pin, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use kube::{Api, Resource, runtime::watcher::watch_object};
use serde::{Serialize, de::DeserializeOwned};

/// Watches the object `name` until `condition` holds of it (`None`: it does not exist) and returns it as it was then.
/// An error names the object and shows its last state.
pub async fn wait_for<K>(
    api: Api<K>,
    name: &str,
    limit: Duration,
    condition: impl Fn(Option<&K>) -> bool,
) -> Result<Option<K>>
where
    K: Clone + Debug + Send + Serialize + DeserializeOwned + Resource + 'static,
{
    let what = format!(
        "{} {name}",
        std::any::type_name::<K>()
            .rsplit("::")
            .next()
            .unwrap_or("object")
    );
    let mut last: Option<K> = None;
    let mut failure = None;
    let wait = async {
        loop {
            let mut states = pin!(watch_object(api.clone(), name));
            loop {
                match states.try_next().await {
                    Ok(Some(state)) => {
                        if condition(state.as_ref()) {
                            return state;
                        }
                        last = state;
                    }
                    Ok(None) => break,
                    // A watch that broke (the API server just started, say) is begun anew.
                    Err(error) => {
                        failure = Some(error);
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        break;
                    }
                }
            }
        }
    };
    let outcome = tokio::time::timeout(limit, wait).await;
    match (outcome, failure) {
        (Ok(state), _) => Ok(state),
        (Err(_), Some(failure)) if last.is_none() => {
            Err(failure).with_context(|| format!("wait {} s for {what}", limit.as_secs()))
        }
        (Err(_), _) => {
            let state = describe(last.as_ref());
            bail!(
                "{what} is not as awaited after {} s: {state}",
                limit.as_secs()
            )
        }
    }
}

/// The object as JSON, without who manages which field.
fn describe<K: Serialize>(object: Option<&K>) -> String {
    let Some(object) = object else {
        return "it does not exist".to_owned();
    };
    match serde_json::to_value(object) {
        Ok(mut value) => {
            if let Some(metadata) = value
                .get_mut("metadata")
                .and_then(|one| one.as_object_mut())
            {
                metadata.remove("managedFields");
            }
            value.to_string()
        }
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::describe;

    #[test]
    fn a_timed_out_object_is_shown_without_its_managers() {
        let pod = json!({"metadata": {"name": "a", "managedFields": [1]}, "status": {"phase": "Pending"}});
        assert_eq!(
            describe(Some(&pod)),
            r#"{"metadata":{"name":"a"},"status":{"phase":"Pending"}}"#
        );
        assert_eq!(describe::<u8>(None), "it does not exist");
    }
}
