//! Several files as one body: the control plane stores all documents of a body or none.

use crate::exit::Finding;
use crate::files::File;

/// Several files one after the other, and where each begins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// YAML documents.
    pub(crate) text: String,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
struct Part {
    file: String,
    /// Its first line within the bundle, from 1.
    first_line: usize,
}

/// A file is not text.
#[derive(Debug, thiserror::Error)]
#[error("{file} is not UTF-8 text")]
pub(crate) struct NotText {
    file: String,
}

impl crate::exit::Explain for NotText {
    fn exit(&self) -> crate::exit::Exit {
        crate::exit::Exit::Usage
    }

    fn code(&self) -> &'static str {
        "SRT-Z002"
    }
}

impl Bundle {
    /// Puts the files together.
    pub(crate) fn of(files: Vec<File>) -> Result<Self, NotText> {
        let mut bundle = Self::default();
        let mut line = 1;
        for File { name, data } in files {
            let text = String::from_utf8(data).map_err(|_| NotText { file: name.clone() })?;
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            if !bundle.text.is_empty() {
                if !bundle.text.ends_with('\n') {
                    bundle.text.push('\n');
                    line += 1;
                }
                bundle.text.push_str("---\n");
                line += 1;
            }
            bundle.parts.push(Part {
                file: name,
                first_line: line,
            });
            bundle.text.push_str(text);
            line += text.matches('\n').count();
        }
        Ok(bundle)
    }

    /// The name of the file when there is only one.
    pub(crate) fn single(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [part] => Some(&part.file),
            _ => None,
        }
    }

    /// A finding about the bundle at its place in the file.
    pub(crate) fn locate(&self, mut finding: Finding) -> Finding {
        let Some(line) = finding.line else {
            // Of no line: only a single file can be meant.
            if let Some(file) = self.single() {
                file.clone_into(&mut finding.file);
            }
            return finding;
        };
        let parts = self.parts.iter().rev();
        let part = parts.clone().find(|part| part.first_line <= line);
        if let Some(part) = part.or_else(|| self.parts.first()) {
            finding.file.clone_from(&part.file);
            finding.line = Some(line.saturating_sub(part.first_line) + 1);
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> File {
        File {
            name: name.to_owned(),
            data: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn each_line_is_found_again_in_its_file() {
        let files = [
            ("a.yaml", "a1\na2\n"),
            ("b.yaml", "\u{feff}---\nb2"),
            ("c.yaml", "# c\n---\nc3\n"),
            ("d.yaml", ""),
            ("e.yaml", "e1\r\ne2\r\n"),
        ];
        let bundle =
            Bundle::of(files.iter().map(|(name, text)| file(name, text)).collect()).unwrap();
        let lines: Vec<&str> = bundle.text.split('\n').collect();
        let place = |wanted: &str| {
            let line = lines
                .iter()
                .position(|line| line.trim_end() == wanted)
                .unwrap()
                + 1;
            let found = bundle.locate(Finding {
                severity: String::new(),
                file: "-".to_owned(),
                line: Some(line),
                column: Some(1),
                path: String::new(),
                code: String::new(),
                message: String::new(),
            });
            (found.file, found.line.unwrap())
        };
        for (wanted, name, line) in [
            ("a1", "a.yaml", 1),
            ("a2", "a.yaml", 2),
            ("b2", "b.yaml", 2),
            ("c3", "c.yaml", 3),
            ("e1", "e.yaml", 1),
            ("e2", "e.yaml", 2),
        ] {
            assert_eq!(place(wanted), (name.to_owned(), line));
        }
    }

    #[test]
    fn the_bundle_means_what_the_files_mean() {
        let environment = |id: &str| {
            format!("environment:\n  name: {id}\n  identifier: {id}\n  type: Production\n")
        };
        let files = vec![
            file("a.yaml", &environment("a")),
            file("b.yaml", &format!("---\n{}...\n", environment("b"))),
            file("c.yaml", &environment("c").replace('\n', "\r\n")),
            file("d.yaml", environment("d").trim_end()),
        ];
        let bundle = Bundle::of(files).unwrap();
        let parsed = sortie_model::parse(
            "-",
            bundle.text.as_bytes(),
            &sortie_model::Limits::default(),
        );
        assert_eq!(parsed.problems, []);
        let names: Vec<_> = parsed
            .entities
            .iter()
            .map(|e| e.identifier.as_str())
            .collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn what_is_no_text_is_refused_by_name() {
        let data = vec![0xff];
        let error = Bundle::of(vec![File {
            name: "x.yaml".to_owned(),
            data,
        }])
        .unwrap_err();
        assert_eq!(error.to_string(), "x.yaml is not UTF-8 text");
    }
}
