//! Waiting for an object by a watch, never by polling.

use std::{fmt::Debug, pin::pin, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use kube::{Api, Resource, runtime::watcher::watch_object};
use serde::de::DeserializeOwned;

/// Watches the object `name` until `condition` holds of it (`None`: it does not exist) and returns it as it was then.
/// An error names the object and shows its last state.
pub async fn wait_for<K>(
    api: Api<K>,
    name: &str,
    limit: Duration,
    condition: impl Fn(Option<&K>) -> bool,
) -> Result<Option<K>>
where
    K: Clone + Debug + Send + DeserializeOwned + Resource + 'static,
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
        (Err(_), _) => bail!(
            "{what} is not as awaited after {} s: {last:?}",
            limit.as_secs()
        ),
    }
}
