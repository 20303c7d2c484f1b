//! The identity in one Secret of the delegate's namespace, written under a Lease of the same name.

use async_trait::async_trait;
use sortie_cluster::lease::{Claim, Guard, Terms, acquire};
use sortie_cluster::secrets::{Secret, SecretName};
use sortie_cluster::watch::Selection;
use sortie_cluster::{Cluster, Resource};

use super::{Error, Identity, IdentityStore, Lock, Stored, encoding};

/// Type of the Secret.
const SECRET_TYPE: &str = "sortie.dev/delegate-identity";

/// An identity in a Secret.
#[derive(Clone, Debug)]
pub struct SecretStore {
    cluster: Cluster,
    place: SecretName,
    holder: String,
}

impl SecretStore {
    /// The Secret `name` in `namespace`; `holder` is what others see who wait for the Lease.
    #[must_use]
    pub const fn new(cluster: Cluster, namespace: String, name: String, holder: String) -> Self {
        Self {
            cluster,
            place: SecretName { namespace, name },
            holder,
        }
    }

    fn error(&self, operation: &'static str) -> impl FnOnce(sortie_cluster::Error) -> Error {
        let secret = format!("{}/{}", self.place.namespace, self.place.name);
        move |source| Error::Secret {
            operation,
            secret,
            source,
        }
    }

    fn stored(&self, secret: &Secret) -> Result<Stored, Error> {
        let place = || format!("Secret {}/{}", self.place.namespace, self.place.name);
        let identity = encoding::decode(&secret.data, place)?;
        Ok(Stored {
            identity,
            version: secret.version.clone(),
        })
    }
}

#[async_trait]
impl IdentityStore for SecretStore {
    async fn load(&self) -> Result<Option<Stored>, Error> {
        let secret = self
            .cluster
            .secret(&self.place)
            .await
            .map_err(self.error("read"))?;
        secret.map(|secret| self.stored(&secret)).transpose()
    }

    async fn lock(&self) -> Result<Lock, Error> {
        let claim = Claim {
            namespace: self.place.namespace.clone(),
            name: self.place.name.clone(),
            holder: self.holder.clone(),
            floor: 0,
            terms: Terms::default(),
        };
        let held = acquire(&self.cluster, claim, |waiting| {
            tracing::debug!(
                holder = waiting.holder,
                "another replica writes the identity"
            );
        });
        held.await.map(Lock::Lease).map_err(self.error("lock"))
    }

    async fn create(&self, identity: &Identity, lock: &Lock) -> Result<Option<Stored>, Error> {
        let (data, guard) = (encoding::encode(identity), guard(lock));
        let created = self
            .cluster
            .create_secret(&self.place, SECRET_TYPE, &data, &guard);
        let created = created.await.map_err(self.error("write"))?;
        created.map(|secret| self.stored(&secret)).transpose()
    }

    async fn replace(
        &self,
        identity: &Identity,
        version: &str,
        lock: &Lock,
    ) -> Result<Option<Stored>, Error> {
        let (data, guard) = (encoding::encode(identity), guard(lock));
        let updated = self
            .cluster
            .update_secret(&self.place, SECRET_TYPE, &data, version, &guard);
        let updated = updated.await.map_err(self.error("write"))?;
        updated.map(|secret| self.stored(&secret)).transpose()
    }

    async fn changed(&self, version: &str) -> Result<(), Error> {
        let selection =
            Selection::of(Resource::secrets(), &self.place.namespace).named(&self.place.name);
        let mut watched = self
            .cluster
            .watch(selection)
            .await
            .map_err(self.error("watch"))?;
        watched
            .until(|view| {
                let now = view.objects.get(&self.place.name);
                let now = now.and_then(|secret| secret.pointer("/metadata/resourceVersion"));
                (now.and_then(|now| now.as_str()) != Some(version)).then_some(())
            })
            .await;
        Ok(())
    }
}

fn guard(lock: &Lock) -> Guard {
    match lock {
        Lock::Lease(held) => held.guard().clone(),
        Lock::File(_) => Guard::unfenced(),
    }
}
