//! The end of a Lease whose release is no more.

use http::Method;
use serde_json::{Value, json};

use super::driver::read_lease;
use super::guard::Guard;
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::fault::Point;
use crate::request::Call;
use crate::resource::Resource;

/// Deletes a Lease that nobody holds, if nobody takes it meanwhile: the object that is deleted is the very one that was
/// seen without a holder. `false`: somebody holds it, and it stays.
///
/// # Errors
/// It cannot be read or deleted.
pub async fn remove(cluster: &Cluster, namespace: &str, name: &str) -> Result<bool, Error> {
    let resource = Resource::leases();
    let Some(lease) = cluster.get(&resource, Some(namespace), name).await? else {
        return Ok(true);
    };
    if read_lease(&lease).holder.is_some() {
        return Ok(false);
    }
    let text = |pointer: &str| lease.pointer(pointer).and_then(Value::as_str);
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {
            "uid": text("/metadata/uid"),
            "resourceVersion": text("/metadata/resourceVersion"),
        },
    });
    let target = format!("Lease/{namespace}/{name}");
    let place = (Method::DELETE, resource.path(Some(namespace), Some(name)));
    // Nobody holds it, so that there is no right of ours to check: the precondition takes its place.
    let nobody = Guard::unfenced();
    let call =
        Call::write("delete", target, place, (Point::LeaseDelete, &nobody)).body(&options)?;
    match cluster.send(&call).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) if matches!(error.cause(), Cause::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
