//! Telling from an object itself that applying it again would change nothing.
//!
//! Every apply writes the annotation [`MARK`]: a digest of what was applied and of the set of fields
//! that it then owned. An object whose mark still is the digest of what *would be* applied and of
//! the set that it has *now* need not be applied, nor even dry-run:
//!
//! - Who last applied under our manager wrote the mark together with the values, in one request.
//! - When anybody else changes or removes a field that we own, the API server takes it out of our
//!   set: the digest differs. That holds for lists and maps that are owned as a whole, for changes
//!   through `scale` and other subresources, and for changes that are taken back later.
//! - A mark that somebody else copies or restores is not in our set any more, or the set is another.
//!
//! What it does not notice is what no write to the object caused: a mutating webhook or a default
//! that would now give another value to a field that is not in the manifest, and an admission policy
//! that would now refuse the object. Both count again with the next change of the manifest.
//! It trusts that nobody applies under our manager's name with a copied mark.

use serde_json::Value;
use sortie_manifest::hash;

/// Annotation with the digest.
pub const MARK: &str = "sortie.dev/applied";

/// Digits of a mark.
const LENGTH: usize = 32;

/// A set of fields, by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned(String);

impl Owned {
    /// From `fieldsV1` as the API server writes it, always in the same order.
    pub(super) fn read(fields: &str) -> Self {
        Self(hash::digest(fields.as_bytes()))
    }
}

/// The mark of an object.
pub(super) fn mark(object: &Value, owned: &Owned) -> String {
    let mut mark = hash::digest(format!("1\n{}\n{}", hash::canonical(object), owned.0).as_bytes());
    mark.truncate(LENGTH);
    mark
}

/// Something in a mark's place while the set is not known.
pub(super) fn no_mark() -> String {
    "0".repeat(LENGTH)
}

/// Removes the mark.
pub(super) fn without_mark(object: &mut Value) {
    if let Some(annotations) = object.pointer_mut("/metadata/annotations")
        && let Some(annotations) = annotations.as_object_mut()
    {
        annotations.shift_remove(MARK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mark_stands_for_content_and_fields() {
        let (one, other) = (Owned::read("{\"f:a\":{}}"), Owned::read("{\"f:b\":{}}"));
        let object = |size: u32| json!({"spec": {"size": size, "name": "a"}});
        let marked = mark(&object(1), &one);
        assert_eq!(marked.len(), no_mark().len());
        // The order of keys does not count.
        let turned = json!({"spec": {"name": "a", "size": 1}});
        assert_eq!(mark(&turned, &one), marked);
        assert_ne!(mark(&object(2), &one), marked);
        assert_ne!(mark(&object(1), &other), marked);
    }
}
