use std::collections::HashSet;

use crate::git::{Error, Repository};
use crate::source::SourceFile;

/// A regular file in the tree of a commit.
pub(super) struct Entry {
    id: String,
    size: usize,
    path: String,
}

/// Lists the files under the paths; each path must lead to something.
pub(super) async fn list(
    repository: &Repository<'_>,
    commit: &str,
    paths: &[String],
) -> Result<Vec<Entry>, Error> {
    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    let mut bytes = 0_usize;
    for path in paths {
        let mut arguments = vec!["ls-tree", "-r", "-z", "--long", "--full-tree", commit];
        if !path.is_empty() {
            arguments.extend(["--", path]);
        }
        let listing = repository.run(&arguments, Vec::new()).await?;
        let mut found = false;
        for line in listing
            .split(|byte| *byte == 0)
            .filter(|line| !line.is_empty())
        {
            let Some(entry) = parse(line, repository)? else {
                continue;
            };
            found = true;
            if !seen.insert(entry.path.clone()) {
                continue;
            }
            bytes = bytes.saturating_add(entry.size);
            entries.push(entry);
            if bytes > repository.limits.bytes || entries.len() > repository.limits.files {
                return Err(Error::TooManyFiles {
                    repository: repository.url(),
                    bytes: repository.limits.bytes,
                    files: repository.limits.files,
                });
            }
        }
        if !found {
            return Err(Error::PathNotFound {
                repository: repository.url(),
                reference: repository.source.reference.to_string(),
                path: path.clone(),
            });
        }
    }
    Ok(entries)
}

/// Reads the content of files.
pub(super) async fn read(
    repository: &Repository<'_>,
    entries: Vec<Entry>,
) -> Result<Vec<SourceFile>, Error> {
    let input: String = entries
        .iter()
        .map(|entry| format!("{}\n", entry.id))
        .collect();
    let output = repository
        .run(&["cat-file", "--batch"], input.into_bytes())
        .await?;
    let mut rest = output.as_slice();
    let mut files = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some((content, tail)) = object(rest, &entry) else {
            return Err(Error::Damaged {
                repository: repository.url(),
                path: entry.path,
            });
        };
        rest = tail;
        if content.starts_with(b"version https://git-lfs.github.com/spec/") {
            return Err(Error::LargeFilePointer {
                repository: repository.url(),
                path: entry.path,
            });
        }
        files.push(SourceFile::new(entry.path, content));
    }
    Ok(files)
}

/// One answer: `ID blob SIZE`, line break, content, line break.
fn object<'a>(output: &'a [u8], entry: &Entry) -> Option<(&'a [u8], &'a [u8])> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(&output[..end]).ok()?;
    if header != format!("{} blob {}", entry.id, entry.size) {
        return None;
    }
    let body = &output[end + 1..];
    (body.len() > entry.size).then(|| (&body[..entry.size], &body[entry.size + 1..]))
}

/// One line of the listing: `MODE TYPE ID SIZE<tab>PATH`. Submodules are left out; symbolic links are
/// refused, since what they lead to is not part of the file.
fn parse(line: &[u8], repository: &Repository<'_>) -> Result<Option<Entry>, Error> {
    let text = String::from_utf8_lossy(line);
    let Some((meta, path)) = text.split_once('\t') else {
        return Ok(None);
    };
    let mut words = meta.split_whitespace();
    let (mode, _, id, size) = (words.next(), words.next(), words.next(), words.next());
    let path = path.to_owned();
    match mode {
        Some("120000") => Err(Error::SymbolicLink {
            repository: repository.url(),
            path,
        }),
        Some("100644" | "100755" | "100664") => {
            let (Some(id), Some(size)) = (id, size.and_then(|size| size.parse().ok())) else {
                return Err(Error::Damaged {
                    repository: repository.url(),
                    path,
                });
            };
            Ok(Some(Entry {
                id: id.to_owned(),
                size,
                path,
            }))
        }
        _ => Ok(None),
    }
}
