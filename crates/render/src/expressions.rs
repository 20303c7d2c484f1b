//! Expressions (`<+…>`) in files, resolved by the caller before anything else reads them.

use thiserror::Error;

use crate::source::SourceFile;

/// A file whose expressions could not be resolved.
#[derive(Debug, Error)]
#[error("cannot resolve the expressions of {path}")]
pub struct ExpressionError<E: std::error::Error + 'static> {
    /// The file.
    pub path: String,
    /// What the caller's resolver said.
    #[source]
    pub source: E,
}

/// Replaces the text of every file that holds `<+` by what `resolve` makes of it; other files, and
/// files that are not text, stay as they are.
pub fn resolve<E: std::error::Error + 'static>(
    files: Vec<SourceFile>,
    resolve: &dyn Fn(&str) -> Result<String, E>,
) -> Result<Vec<SourceFile>, ExpressionError<E>> {
    files
        .into_iter()
        .map(|file| {
            let resolved = match file.text() {
                Some(text) if text.contains("<+") => resolve(text),
                _ => return Ok(file),
            };
            match resolved {
                Ok(text) => Ok(SourceFile::new(file.path, text)),
                Err(source) => Err(ExpressionError {
                    path: file.path,
                    source,
                }),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_expressions_are_resolved() {
        let files = vec![
            SourceFile::new("a", "x: <+env.name>"),
            SourceFile::new("b", "y: 1"),
            SourceFile::new("c", b"\xff<+z>".as_slice()),
        ];
        let done = resolve(files, &|text| {
            Ok::<_, std::fmt::Error>(text.replace("<+env.name>", "prod"))
        })
        .unwrap();
        assert_eq!(done[0].text(), Some("x: prod"));
        assert_eq!(done[1].text(), Some("y: 1"));
        assert_eq!(done[2].content, b"\xff<+z>");
        let error = resolve(vec![SourceFile::new("v.yaml", "<+x>")], &|_| {
            Err(std::fmt::Error)
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot resolve the expressions of v.yaml"
        );
    }
}
