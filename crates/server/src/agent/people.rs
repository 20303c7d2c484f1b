//! What people do with delegates: join tokens, the list, revocation.

use async_trait::async_trait;
use sortie_store::JoinToken as Record;

use super::{Agent, join};
use crate::clock;
use crate::delegates::{AdminError, DelegateAdmin, DelegateView, JoinToken, NewJoinToken};

#[async_trait]
impl DelegateAdmin for Agent {
    async fn create_join_token(&self, request: NewJoinToken) -> Result<JoinToken, AdminError> {
        let failed = |source| AdminError {
            operation: "make a join token",
            source,
        };
        let minted =
            join::mint(&self.core.authority.fingerprint()).map_err(|e| failed(Box::new(e)))?;
        let record = Record {
            id: minted.id.clone(),
            hash: minted.hash,
            label: request.label,
            scope: request.scope,
            delegate_name: request.delegate_name,
            max_uses: request.max_uses.into(),
            uses: 0,
            created_by: request.by,
            created_at: clock::now(),
            expires_at: request.expires_at,
            revoked_at: None,
        };
        self.core
            .store
            .create_join_token(&record)
            .await
            .map_err(|e| failed(Box::new(e)))?;
        Ok(JoinToken {
            id: minted.id,
            token: minted.token,
        })
    }

    async fn revoke_join_token(&self, id: &str) -> Result<bool, AdminError> {
        let revoked = self.core.store.revoke_join_token(id, clock::now()).await;
        revoked.map_err(|source| AdminError {
            operation: "revoke the join token",
            source: Box::new(source),
        })
    }

    async fn delegates(&self) -> Result<Vec<DelegateView>, AdminError> {
        let records = self
            .core
            .store
            .delegates()
            .await
            .map_err(|source| AdminError {
                operation: "list the delegates",
                source: Box::new(source),
            })?;
        let loads = self.core.book.loads().await;
        let view = |record: sortie_store::DelegateRecord| DelegateView {
            sessions: self.core.registry.sessions(&record.id, &loads),
            id: record.id,
            name: record.name,
            scope: record.scope,
            enrolled_at: record.created_at,
            revoked_at: record.revoked_at,
            certificate_ends_at: record.certificate_ends_at,
        };
        Ok(records.into_iter().map(view).collect())
    }

    async fn revoke_delegate(&self, id: &str, by: &str) -> Result<bool, AdminError> {
        let failed = |source: sortie_store::Error| AdminError {
            operation: "revoke the delegate",
            source: Box::new(source),
        };
        if self
            .core
            .store
            .delegate(id)
            .await
            .map_err(failed)?
            .is_none()
        {
            return Ok(false);
        }
        if self
            .core
            .store
            .revoke_delegate(id, clock::now())
            .await
            .map_err(failed)?
        {
            tracing::info!(delegate = id, by, "delegate revoked");
        }
        self.core.registry.revoke(&id.into());
        Ok(true)
    }
}
