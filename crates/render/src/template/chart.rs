use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use crate::template::TemplateError;
use crate::values::Values;
use crate::workspace::{WorkspaceError, write_private};

/// Bytes that a generated chart may have in all.
const LARGEST: usize = 64 * 1024 * 1024;

/// Name of the generated chart; it begins the names of its templates in the engine's messages.
pub(super) const NAME: &str = "sortie";

/// A chart that renders each template to one document with the text as a JSON string.
pub(super) struct Chart<'a> {
    pub(super) templates: &'a [String],
    pub(super) values: &'a Values,
    pub(super) release: &'a str,
    pub(super) namespace: &'a str,
}

impl Chart<'_> {
    /// Writes it into an empty folder.
    pub(super) fn write(&self, folder: &Path) -> Result<(), TemplateError> {
        let prepare = |source| TemplateError::Workspace { source };
        let values = literal_map(&self.values.map);
        let size = self
            .templates
            .iter()
            .map(|text| text.len() + values.len())
            .sum::<usize>();
        if size > LARGEST {
            return Err(TemplateError::TooLarge { limit: LARGEST });
        }
        for path in [folder.join("templates"), folder.join("home")] {
            std::fs::create_dir(&path)
                .map_err(|source| prepare(WorkspaceError::Write { path, source }))?;
        }
        let head = format!("apiVersion: v2\nname: {NAME}\nversion: 0.0.0\n");
        write_private(&folder.join("Chart.yaml"), head.as_bytes()).map_err(prepare)?;
        for (at, text) in self.templates.iter().enumerate() {
            let templates = folder.join("templates");
            write_private(&templates.join(format!("_{at}.yaml")), text.as_bytes())
                .map_err(prepare)?;
            let driver = self.driver(at, &values);
            write_private(&templates.join(format!("{at}.yaml")), driver.as_bytes())
                .map_err(prepare)?;
        }
        Ok(())
    }

    /// The template that renders template number `at` and wraps its text.
    ///
    /// Values stand in it as literals of the template language: through a values file the engine
    /// would read every number as a floating-point number.
    fn driver(&self, at: usize, values: &str) -> String {
        let (release, namespace) = (quoted(self.release), quoted(self.namespace));
        format!(
            "{{{{- $values := {values} -}}}}\n\
             {{{{- $release := dict \"Name\" {release} \"Namespace\" {namespace} \"Service\" \"Helm\" -}}}}\n\
             {{{{- $context := dict \"Values\" $values \"Release\" $release \"Capabilities\" .Capabilities \"Template\" .Template -}}}}\n\
             kind: Rendered\nindex: {at}\ntext: {{{{ include \"{NAME}/templates/_{at}.yaml\" $context | toJson }}}}\n"
        )
    }
}

/// A value as an operand of the template language.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.to_string(),
            // A number above the largest integer; the exponent makes it a floating-point literal.
            (None, Some(float)) => format!("{float:e}"),
            (None, None) => number.to_string(),
        },
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: String = items
                .iter()
                .map(|item| format!(" {}", literal(item)))
                .collect();
            format!("(list{items})")
        }
        Value::Object(map) => format!("({})", literal_map(map)),
    }
}

fn literal_map(map: &Map<String, Value>) -> String {
    let mut text = "dict".to_owned();
    for (key, value) in map {
        text.push(' ');
        text.push_str(&quoted(key));
        text.push(' ');
        text.push_str(&literal(value));
    }
    text
}

/// A string in the quotes and escapes of Go.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                // Writing to a string cannot fail.
                write!(out, "\\U{:08x}", u32::from(c)).ok();
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_become_operands() {
        let table = [
            (json!(null), "nil"),
            (json!(-3), "-3"),
            (json!(1.5), "1.5e0"),
            (
                json!(18_446_744_073_709_551_615_u64),
                "1.8446744073709552e19",
            ),
            (
                json!("a\"\\\n\u{1}{{}}é"),
                "\"a\\\"\\\\\\n\\U00000001{{}}é\"",
            ),
            (json!([]), "(list)"),
            (
                json!({"a": [1, {"b": null}]}),
                "(dict \"a\" (list 1 (dict \"b\" nil)))",
            ),
        ];
        for (value, expected) in table {
            assert_eq!(literal(&value), expected);
        }
    }
}
