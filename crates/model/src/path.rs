//! Paths of fields: `pipeline.stages[0].stage`.

/// Path of a key below a path. Keys that are not plain words are quoted.
pub(crate) fn join(base: &str, key: &str) -> String {
    let key = clip(key);
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if key.is_empty() || !key.chars().all(word) {
        return format!("{base}[{key:?}]");
    }
    if base.is_empty() {
        key
    } else {
        format!("{base}.{key}")
    }
}

/// Path of an item of a list.
pub(crate) fn item(base: &str, index: usize) -> String {
    format!("{base}[{index}]")
}

/// A text short enough for a message.
pub(crate) fn clip(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut clipped: String = text.chars().take(LONGEST).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}
