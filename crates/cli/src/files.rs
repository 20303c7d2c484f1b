//! Files and folders that a person names on the command line.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Explain};

/// Files in folders that are read; others are left alone.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// How deep folders are followed.
const DEPTH: usize = 20;

/// One file as the user named it.
#[derive(Debug)]
pub struct File {
    /// The path, for messages.
    pub name: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Which files of a folder are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folders {
    /// Those directly in it, as kubectl does.
    Flat,
    /// Those in it and in the folders below.
    Recursive,
}

impl Folders {
    /// What `-R` says.
    #[must_use]
    pub const fn from_flag(recursive: bool) -> Self {
        if recursive {
            Self::Recursive
        } else {
            Self::Flat
        }
    }
}

/// A path could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path does not exist, or its content is out of reach.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path as it was named.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than all files together may be.
    #[error("{} is larger than {} MiB", path.display(), most >> 20)]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// Bytes that are accepted.
        most: u64,
    },
    /// The files are too large together.
    #[error("the {files} files up to {} are larger than {} MiB together", path.display(), most >> 20)]
    TooMuch {
        /// The file that is too much.
        path: PathBuf,
        /// How many have been read, this one included.
        files: usize,
        /// Bytes that are accepted.
        most: u64,
    },
    /// A folder without a file of ours.
    #[error("there is no .yaml, .yml or .json file in folder {}", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
        /// Whether folders below it were looked at.
        folders: Folders,
    },
    /// Folders in folders in folders.
    #[error("{} lies deeper than {DEPTH} folders", path.display())]
    TooDeep {
        /// The folder.
        path: PathBuf,
    },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Exit::NotFound
            }
            _ => Exit::Usage,
        }
    }

    fn code(&self) -> &'static str {
        "SRT-Z002"
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Empty {
                folders: Folders::Flat,
                ..
            } => Some("add -R to read the folders below it as well".to_owned()),
            Self::TooMuch { .. } => Some("name fewer files at a time".to_owned()),
            _ => None,
        }
    }
}

/// The files that `paths` name: files as they are, `-` for stdin, folders with the YAML and JSON files in them, sorted.
/// Together they have at most `most` bytes; no more than that is read.
///
/// # Errors
/// A path does not exist or cannot be read; a folder holds no such file; the files are too large.
pub fn read(paths: &[PathBuf], folders: Folders, most: u64) -> Result<Vec<File>, Error> {
    let mut files: Vec<File> = Vec::new();
    let mut left = most;
    each(paths, folders, most.saturating_add(1), |file| {
        let size = u64::try_from(file.data.len()).unwrap_or(u64::MAX);
        let path = || PathBuf::from(&file.name);
        if size > most {
            return Err(Error::TooLarge { path: path(), most });
        }
        left = left.checked_sub(size).ok_or_else(|| Error::TooMuch {
            path: path(),
            files: files.len() + 1,
            most,
        })?;
        files.push(file);
        Ok(())
    })?;
    Ok(files)
}

/// Hands over one file after the other, of each at most the first `most` bytes, until `take` refuses one. The files are
/// those of [`read`].
///
/// # Errors
/// A path does not exist or cannot be read; a folder holds no such file; what `take` says.
pub fn each(
    paths: &[PathBuf],
    folders: Folders,
    most: u64,
    mut take: impl FnMut(File) -> Result<(), Error>,
) -> Result<(), Error> {
    for path in paths {
        if path.as_os_str() == "-" {
            let data = beginning(std::io::stdin().lock(), most);
            take(File {
                name: "-".to_owned(),
                data: data.map_err(|source| failed(path, source))?,
            })?;
            continue;
        }
        for path in list(path, folders)? {
            let open = std::fs::File::open(&path);
            let data = open.and_then(|file| beginning(file, most));
            take(File {
                name: path.display().to_string(),
                data: data.map_err(|source| failed(&path, source))?,
            })?;
        }
    }
    Ok(())
}

/// The files in the folder `path`, or `path` itself.
///
/// # Errors
/// As [`read`].
pub fn list(path: &Path, folders: Folders) -> Result<Vec<PathBuf>, Error> {
    let kind = std::fs::metadata(path).map_err(|source| failed(path, source))?;
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    walk(path, folders, 0, &mut found)?;
    if found.is_empty() {
        return Err(Error::Empty {
            path: path.to_owned(),
            folders,
        });
    }
    found.sort();
    Ok(found)
}

fn walk(
    folder: &Path,
    folders: Folders,
    depth: usize,
    found: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    if depth > DEPTH {
        return Err(Error::TooDeep {
            path: folder.to_owned(),
        });
    }
    for entry in std::fs::read_dir(folder).map_err(|source| failed(folder, source))? {
        let entry = entry.map_err(|source| failed(folder, source))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|source| failed(&path, source))?;
        // Links to files are files; links to folders are not followed, so that no circle is.
        if kind.is_dir() {
            if folders == Folders::Recursive {
                walk(&path, folders, depth + 1, found)?;
            }
        } else if is_ours(&path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

fn is_ours(path: &Path) -> bool {
    path.extension()
        .is_some_and(|found| EXTENSIONS.iter().any(|known| found == *known))
}

fn beginning(from: impl Read, most: u64) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    from.take(most).read_to_end(&mut data)?;
    Ok(data)
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Read {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("below/deeper")).unwrap();
        for name in [
            "b.yaml",
            "a.yml",
            "notes.txt",
            "c.json",
            "below/d.yaml",
            "below/deeper/e.yaml",
        ] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("..", folder.path().join("below/up")).unwrap();
        folder
    }

    fn names(folder: &Path, folders: Folders) -> Vec<String> {
        let list = list(folder, folders).unwrap();
        list.iter()
            .map(|p| p.strip_prefix(folder).unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn folders_are_read_flat_unless_asked() {
        let folder = tree();
        assert_eq!(
            names(folder.path(), Folders::Flat),
            ["a.yml", "b.yaml", "c.json"]
        );
        assert_eq!(
            names(folder.path(), Folders::Recursive),
            [
                "a.yml",
                "b.yaml",
                "below/d.yaml",
                "below/deeper/e.yaml",
                "c.json"
            ]
        );
    }

    #[test]
    fn a_named_file_is_read_whatever_its_extension() {
        let folder = tree();
        let files = read(&[folder.path().join("notes.txt")], Folders::Flat, 100).unwrap();
        assert_eq!(files[0].data, b"notes.txt");
    }

    #[test]
    fn of_a_file_without_end_only_the_beginning_is_read() {
        let mut sizes = Vec::new();
        let endless = [PathBuf::from("/dev/zero")];
        each(&endless, Folders::Flat, 1000, |file| {
            sizes.push(file.data.len());
            Ok(())
        })
        .unwrap();
        assert_eq!(sizes, [1000]);
    }

    #[test]
    fn files_are_bounded_one_by_one_and_together() {
        let folder = tree();
        let all = [folder.path().to_owned()];
        let sum = ["a.yml", "b.yaml", "c.json"].concat().len() as u64;
        assert_eq!(read(&all, Folders::Flat, sum).unwrap().len(), 3);
        let error = read(&all, Folders::Flat, sum - 1).unwrap_err();
        assert!(
            matches!(&error, Error::TooMuch { path, files: 3, .. } if path.ends_with("c.json")),
            "{error}"
        );
        let error = read(&all, Folders::Flat, 10).unwrap_err();
        assert!(
            matches!(&error, Error::TooMuch { path, files: 2, .. } if path.ends_with("b.yaml")),
            "{error}"
        );
        // Nothing behind the one that is too large is read.
        let endless = ["/dev/zero", "/no/such/file"].map(PathBuf::from);
        let error = read(&endless, Folders::Flat, 4 << 20).unwrap_err();
        assert_eq!(error.to_string(), "/dev/zero is larger than 4 MiB");
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        let folder = tree();
        let missing = list(&folder.path().join("none"), Folders::Flat).unwrap_err();
        assert_eq!(missing.exit(), Exit::NotFound);
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let empty = list(&folder.path().join("empty"), Folders::Flat).unwrap_err();
        assert_eq!(empty.exit(), Exit::Usage);
        assert!(empty.hint().unwrap().contains("-R"));
    }
}
