//! What the API server quotes of an object in its refusals: short scalars help, whole parts of an object hide the
//! reason, and may hold what is not for a log.

/// What stands for a value that is not shown.
const HIDDEN: &str = "(not shown)";
/// Characters of the longest value that is shown.
const LONGEST: usize = 64;
/// What the API server's validation puts before a value.
const MARKS: [&str; 4] = [
    "Invalid value: ",
    "Duplicate value: ",
    "Unsupported value: ",
    ", got &value.valueUnstructured{Value:",
];

/// A refusal with short scalars alone of what it quotes.
pub(crate) fn without_values(text: &str) -> String {
    let mut out = String::new();
    let mut rest = without_dump(text);
    let next = |rest: &str| {
        let found = MARKS
            .iter()
            .filter_map(|mark| Some((rest.find(mark)?, *mark)));
        found.min_by_key(|(at, _)| *at)
    };
    while let Some((at, mark)) = next(rest) {
        let begins = at + mark.len();
        let wrapped = mark.ends_with("Value:");
        match wrapped {
            true => out.push_str(&format!("{}, got ", &rest[..at])),
            false => out.push_str(&rest[..begins]),
        }
        rest = &rest[begins..];
        let (value, left) = rest.split_at(end(rest));
        out.push_str(if is_shown(value) { value } else { HIDDEN });
        rest = match wrapped {
            true => left.strip_prefix('}').unwrap_or(left),
            false => left,
        };
    }
    out.push_str(rest);
    out
}

/// Whether a value may be seen: a short scalar. What is no value at all is the reason.
fn is_shown(value: &str) -> bool {
    let quoted = value.starts_with('"');
    let composed = !quoted && value.contains(['{', '[', '(', '"']);
    let is_reason = !quoted && value.contains(' ');
    !composed && (is_reason || value.chars().count() <= LONGEST)
}

/// The text before the lines in which a refused change of a pod is laid out field by field.
fn without_dump(text: &str) -> &str {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        let is_struct = bare.ends_with('{') && bare.contains('.') && !bare.contains(' ');
        if at > 0 && (is_struct || bare.starts_with("@@ ")) {
            return text[..at].trim_end();
        }
        at += line.len();
    }
    text
}

/// Where the value ends that the text begins with. What is not closed ends before the last reason.
fn end(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, letter) in text.char_indices() {
        if quoted {
            match letter {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    quoted = false;
                    if depth == 0 {
                        return at + 1;
                    }
                }
                _ => {}
            }
            continue;
        }
        match letter {
            '"' => quoted = true,
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' if depth == 0 => return at,
            '}' | ']' | ')' => depth -= 1,
            ':' | ',' if depth == 0 && text[at + 1..].starts_with(' ') => return at,
            _ => {}
        }
    }
    match depth {
        0 if !quoted => text.len(),
        _ => text.rfind(": ").unwrap_or(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_objects_are_cut_out_and_short_scalars_stay() {
        let long = "x".repeat(100);
        let table = [
            (
                r#"Invalid value: {"spec":{"containers":[{"env":[{"name":"A","value":"hunter2: }\" x"}]}]}}: field is immutable"#,
                "Invalid value: (not shown): field is immutable",
            ),
            (
                r#"Invalid value: core.PodTemplateSpec{ObjectMeta:v1.ObjectMeta{Name:"", Labels:map[string]string{"a":"hunter2"}}, Spec:core.PodSpec{Grace:(*int64)(0xc0)}}: field is immutable"#,
                "Invalid value: (not shown): field is immutable",
            ),
            (
                r#"Job.batch "a" is invalid: [spec.a: Invalid value: {"a":"hunter2"}: no, spec.b: Invalid value: 70000: must be between 1 and 65535, inclusive]"#,
                r#"Job.batch "a" is invalid: [spec.a: Invalid value: (not shown): no, spec.b: Invalid value: 70000: must be between 1 and 65535, inclusive]"#,
            ),
            (
                "Invalid value: field is immutable",
                "Invalid value: field is immutable",
            ),
            (
                r#"Invalid value: "a_b": a name"#,
                r#"Invalid value: "a_b": a name"#,
            ),
            (
                r#"Duplicate value: {"name":"hunter2"}"#,
                "Duplicate value: (not shown)",
            ),
            (
                ".data.a: expected string, got &value.valueUnstructured{Value:1}",
                ".data.a: expected string, got 1",
            ),
            (
                r#".data.a: expected string, got &value.valueUnstructured{Value:map[string]interface {}{"b":"hunter2"}}"#,
                ".data.a: expected string, got (not shown)",
            ),
            (
                r#"Invalid value: {"a":"hunter2: cut off"#,
                "Invalid value: (not shown): cut off",
            ),
            (
                "spec: Forbidden: pod updates may not change fields other than `a`\n  core.PodSpec{\n- \tValue: \"hunter2\",\n  }\n",
                "spec: Forbidden: pod updates may not change fields other than `a`",
            ),
            (
                "spec: Forbidden: pod updates may not change fields other than `a`\n@@ -105,7 +105,7 @@\n    \"Env\": [\n-  \"Value\": \"hunter2\"\n",
                "spec: Forbidden: pod updates may not change fields other than `a`",
            ),
            ("nothing is quoted: at all", "nothing is quoted: at all"),
        ];
        for (text, expected) in table {
            assert_eq!(without_values(text), expected, "{text}");
        }
        assert_eq!(
            without_values(&format!("Invalid value: \"{long}\": too long")),
            "Invalid value: (not shown): too long"
        );
    }
}
