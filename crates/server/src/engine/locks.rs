//! One lock per execution, kept only while somebody holds or waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Mutex as AsyncMutex;

/// Locks by name.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<String, Weak<AsyncMutex<()>>>>);

impl Locks {
    /// The lock of a name.
    pub(super) fn of(&self, name: &str) -> Arc<AsyncMutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::new(()));
        locks.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_has_one_lock_and_unused_ones_go() {
        let locks = Locks::default();
        let first = locks.of("a");
        assert!(Arc::ptr_eq(&first, &locks.of("a")));
        assert!(!Arc::ptr_eq(&first, &locks.of("b")));
        drop(first);
        let _other = locks.of("c");
        assert_eq!(locks.0.lock().unwrap().len(), 1);
    }
}
