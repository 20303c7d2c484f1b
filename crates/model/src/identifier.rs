//! Identifiers, names, names of variables, DNS labels.

/// Identifiers that expressions need for themselves.
const RESERVED: [&str; 25] = [
    "or",
    "and",
    "eq",
    "ne",
    "lt",
    "gt",
    "le",
    "ge",
    "div",
    "mod",
    "not",
    "null",
    "true",
    "false",
    "new",
    "var",
    "return",
    "step",
    "parallel",
    "stepGroup",
    "org",
    "account",
    "class",
    "shellScriptProvisioner",
    "_harness_system",
];

/// `^[a-zA-Z_][0-9a-zA-Z_$]{0,127}$`. Harness's own validator once let `$` pass.
pub(crate) fn is_identifier(text: &str) -> bool {
    starts_like_word(text)
        && text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$')
}

/// Whether an identifier is one of the words that expressions need.
pub(crate) fn is_reserved(text: &str) -> bool {
    RESERVED.contains(&text)
}

/// `^[a-zA-Z_0-9-.][-0-9a-zA-Z_\s.]{0,127}$`
pub(crate) fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut chars = text.chars();
    chars.next().is_some_and(word)
        && text.len() <= 128
        && chars.all(|c| word(c) || c.is_ascii_whitespace())
}

/// `^[a-zA-Z_][0-9a-zA-Z_\.$-]{0,127}$`
pub(crate) fn is_variable_name(text: &str) -> bool {
    starts_like_word(text)
        && text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$' | b'-'))
}

/// `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, at most 63 characters: a name of a namespace.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| edge(b) || *b == b'-')
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
}

fn starts_like_word(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
}
