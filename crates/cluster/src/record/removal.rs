//! The end of a release: its records go.

use super::history::History;
use super::{RecordError, Records};
use crate::fault::Point;
use crate::lease::Guard;

impl Records {
    /// Removes every record of the release, those that cannot be read too, its changes and every part. Returns how many heads there were.
    ///
    /// The newest head goes last of all heads: killed on the way, what is left still tells what was going on. Parts without
    /// a head are found again by their label.
    ///
    /// # Errors
    /// One cannot be removed, or somebody has written to it since `history` was read.
    pub async fn remove_all(&self, history: &History, guard: &Guard) -> Result<usize, RecordError> {
        self.remove_changes(guard).await?;
        for record in history.unreadable() {
            let write = (Point::HeadDelete, guard);
            self.remove(&record.secret, Some(&record.version), write)
                .await?;
        }
        for stored in history.records() {
            let name = self.release().head_name(stored.head.number);
            let write = (Point::HeadDelete, guard);
            self.remove(&name, Some(&stored.version), write).await?;
        }
        for part in self.parts().await? {
            self.remove(&part.secret_name(), None, (Point::PartDelete, guard))
                .await?;
        }
        Ok(history.unreadable().len() + history.records().len())
    }
}
