//! Regular expressions, matched in linear time. Look-around and back references are not supported.

use regex::{Captures, Regex, RegexBuilder};

use crate::limits::{PATTERN_BYTES, VALUE_BYTES};

/// Compiles a pattern.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .nest_limit(50)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
            _ => "the pattern is not a valid regular expression".to_owned(),
        })
}

/// Whether the pattern matches the whole text.
pub(crate) fn full_match(pattern: &str, text: &str) -> Result<bool, String> {
    compile(pattern)?; // so that the group below cannot mend a broken pattern
    Ok(compile(&format!("^(?:{pattern})$"))?.is_match(text))
}

/// The text with the first `limit` matches (0: all) replaced. In the replacement `$1` is a group and `\` escapes.
pub(crate) fn replace(
    pattern: &str,
    text: &str,
    replacement: &str,
    limit: usize,
) -> Result<String, String> {
    let pattern = compile(pattern)?;
    let mut result = String::new();
    let mut position = 0;
    for (count, groups) in pattern.captures_iter(text).enumerate() {
        if limit > 0 && count == limit {
            break;
        }
        if let Some(whole) = groups.get(0) {
            result.push_str(text.get(position..whole.start()).unwrap_or(""));
            expand(replacement, &groups, &mut result)?;
            position = whole.end();
        }
        if result.len() > VALUE_BYTES {
            return Err(format!("the result grows larger than {VALUE_BYTES} bytes"));
        }
    }
    result.push_str(text.get(position..).unwrap_or(""));
    Ok(result)
}

fn expand(replacement: &str, groups: &Captures<'_>, into: &mut String) -> Result<(), String> {
    let mut chars = replacement.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => into.extend(chars.next()),
            '$' => {
                let digit = chars.next().and_then(|c| c.to_digit(10));
                let group = digit.and_then(|digit| usize::try_from(digit).ok());
                match group {
                    Some(group) if group < groups.len() => {
                        into.push_str(groups.get(group).map_or("", |m| m.as_str()));
                    }
                    _ => {
                        return Err(
                            "the replacement names a group that the pattern lacks".to_owned()
                        );
                    }
                }
            }
            c => into.push(c),
        }
    }
    Ok(())
}

/// The parts of a text between the matches of a pattern, empty ones at the end left out.
pub(crate) fn split(pattern: &str, text: &str, limit: usize) -> Result<Vec<String>, String> {
    let pattern = compile(pattern)?;
    if limit > 0 {
        return Ok(pattern.splitn(text, limit).map(str::to_owned).collect());
    }
    let mut parts: Vec<String> = pattern.split(text).map(str::to_owned).collect();
    // An empty match at the very start makes no part.
    let empty_start = pattern.find(text).is_some_and(|found| found.end() == 0);
    if empty_start && parts.len() > 1 && parts.first().is_some_and(String::is_empty) {
        parts.remove(0);
    }
    while parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    Ok(parts)
}
