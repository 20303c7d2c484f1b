//! Names of the things on a link.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as it travels.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                (*name.0).into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A delegate: one Helm release with one certificate, whatever the number of its replicas.
    DelegateId
);
name!(
    /// One replica of a delegate: the pod's UID.
    InstanceId
);
name!(
    /// One start of the process in a replica. Any other boot id of the same instance means that the process was restarted.
    BootId
);
name!(
    /// A task, for all of its epochs.
    TaskId
);

/// Who holds a task, or is at the other end of a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The delegate.
    pub delegate: DelegateId,
    /// Its replica.
    pub instance: InstanceId,
    /// The replica's process.
    pub boot: BootId,
}

impl Holder {
    /// The same replica, whatever its boot.
    pub fn is_same_instance(&self, other: &Self) -> bool {
        self.delegate == other.delegate && self.instance == other.instance
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.delegate, self.instance, self.boot)
    }
}

/// A task in one of its epochs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskRef {
    /// The task.
    pub id: TaskId,
    /// Counts the offers of the task, from 1.
    pub epoch: u64,
}

impl TaskRef {
    /// Names `id` at `epoch`.
    pub fn new(id: impl Into<TaskId>, epoch: u64) -> Self {
        Self {
            id: id.into(),
            epoch,
        }
    }
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.epoch)
    }
}

/// Whether `name` may name a delegate: a DNS label (RFC 1123), since it becomes part of Secret names and of the names in certificates.
#[must_use]
pub fn is_delegate_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_delegates_are_dns_labels() {
        for (name, want) in [
            ("edge", true),
            ("edge-1", true),
            ("", false),
            ("-edge", false),
            ("edge-", false),
            ("Edge", false),
            ("a.b", false),
            (&"a".repeat(63), true),
            (&"a".repeat(64), false),
        ] {
            assert_eq!(is_delegate_name(name), want, "{name}");
        }
    }
}
