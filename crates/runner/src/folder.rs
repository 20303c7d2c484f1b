//! The files of a script: written before it, taken back after it, cleared away.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use crate::frame::{File, MAX_BYTES, MAX_FILES, is_inside};

/// What a script has left and nobody can take.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It is neither a file nor a folder.
    #[error("{path} is {kind}, and only files and folders can be taken")]
    Kind {
        /// Where.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// Its name is no text, or too long, or too deep.
    #[error("{path} has a name that cannot be used")]
    Name {
        /// Where.
        path: String,
    },
    /// There are too many.
    #[error("there are more than {MAX_FILES} files")]
    TooMany,
    /// They are too large.
    #[error("the files have more than {} MiB", MAX_BYTES / 1024 / 1024)]
    TooLarge,
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Where.
        path: String,
        /// What the system said; it is part of the message, which travels as text.
        source: io::Error,
    },
}

/// Make a folder that is nobody else's.
///
/// # Errors
/// It cannot be made, or something is there.
pub fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)
}

/// Write a file below `root`. It must not be there: nothing is followed or overwritten.
///
/// # Errors
/// It cannot be written.
pub fn write(root: &Path, file: &File) -> io::Result<()> {
    let path = root.join(&file.path);
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(parent)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(&file.content)
}

/// The files below `root` in the order of their paths, as long as all of them can be taken. Nobody may write there
/// meanwhile.
///
/// # Errors
/// There is something that cannot be taken.
pub fn list(root: &Path) -> Result<Vec<String>, NotTaken> {
    // What the script has put in its place would be followed.
    for folder in root.parent().into_iter().chain([root]) {
        match fs::symlink_metadata(folder) {
            Ok(about) if about.is_dir() => {}
            _ => {
                return Err(NotTaken::Kind {
                    path: shown(folder),
                    kind: "no folder any more",
                });
            }
        }
    }
    let mut bytes = 0;
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let read = |source| NotTaken::Read {
            path: shown(&folder),
            source,
        };
        for entry in fs::read_dir(root.join(&folder)).map_err(read)? {
            let entry = entry.map_err(read)?;
            let path = folder.join(entry.file_name());
            let usual = path.to_str().filter(|path| is_inside(path));
            let Some(name) = usual else {
                return Err(NotTaken::Name { path: shown(&path) });
            };
            // Of the entry itself: no link is followed.
            let about = entry.metadata().map_err(|source| NotTaken::Read {
                path: shown(&path),
                source,
            })?;
            if about.is_dir() {
                folders.push(path);
            } else if about.is_file() {
                bytes += usize::try_from(about.len())
                    .unwrap_or(usize::MAX)
                    .min(MAX_BYTES + 1);
                files.push(name.to_owned());
            } else {
                let (path, kind) = (shown(&path), kind(&about));
                return Err(NotTaken::Kind { path, kind });
            }
            if files.len() + folders.len() > MAX_FILES {
                return Err(NotTaken::TooMany);
            }
            if bytes > MAX_BYTES {
                return Err(NotTaken::TooLarge);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Read a file that [`list`] has named.
///
/// # Errors
/// It cannot be read.
pub fn read(root: &Path, path: String) -> Result<File, NotTaken> {
    match fs::read(root.join(&path)) {
        Ok(content) => Ok(File { path, content }),
        Err(source) => Err(NotTaken::Read { path, source }),
    }
}

/// Remove everything of this user in a folder; truncate a file. What is not there need not be cleared.
///
/// However deep folders are, no path gets long: what is in a folder comes up before the folder goes.
///
/// # Errors
/// Something stays.
pub fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(about) if !about.is_dir() => {
            let emptied = OpenOptions::new().write(true).truncate(true).open(path);
            return match emptied {
                // Scripts, which have the same user, cannot write there either.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                result => result.map(drop),
            };
        }
        Ok(_) => {}
    }
    let own = rustix::process::geteuid().as_raw();
    let mut number: u64 = 0;
    loop {
        let mut deeper = false;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.uid() != own {
                // Nothing of a script: such a folder belongs to several.
                continue;
            }
            if !about.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if !inner.file_type()?.is_dir() {
                    fs::remove_file(inner.path())?;
                    continue;
                }
                deeper = true;
                fs::set_permissions(inner.path(), Permissions::from_mode(0o700))?;
                fs::rename(inner.path(), unused(path, &mut number))?;
            }
            fs::remove_dir(entry.path())?;
        }
        if !deeper {
            return Ok(());
        }
    }
}

/// A name that nothing in the folder has.
fn unused(folder: &Path, number: &mut u64) -> PathBuf {
    loop {
        *number += 1;
        let path = folder.join(format!(".cleared-{number}"));
        if fs::symlink_metadata(&path).is_err() {
            return path;
        }
    }
}

/// A path for a message.
fn shown(path: &Path) -> String {
    let clean = |c: char| if c.is_control() { '?' } else { c };
    let text = path.to_string_lossy();
    let mut shown: String = text.chars().map(clean).take(200).collect();
    if shown.is_empty() {
        shown.push('.');
    }
    shown
}

fn kind(about: &Metadata) -> &'static str {
    if about.is_symlink() {
        "a symbolic link"
    } else {
        "a device, a pipe or a socket"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> File {
        File {
            path: path.to_owned(),
            content: content.into(),
        }
    }

    #[test]
    fn files_come_back_in_the_order_of_their_paths() {
        let root = tempfile::tempdir().unwrap();
        for path in ["b.yaml", "a/c.yaml", "a/b.yaml"] {
            write(root.path(), &file(path, path)).unwrap();
        }
        fs::create_dir(root.path().join("empty")).unwrap();
        let paths = list(root.path()).unwrap();
        assert_eq!(paths, ["a/b.yaml", "a/c.yaml", "b.yaml"]);
        for path in paths {
            assert_eq!(read(root.path(), path.clone()).unwrap(), file(&path, &path));
        }
        let again = write(root.path(), &file("b.yaml", "other")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_is_no_file_is_not_taken() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("out");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let error = list(root.path()).unwrap_err().to_string();
        assert_eq!(
            error,
            "out is a symbolic link, and only files and folders can be taken"
        );
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        assert!(matches!(list(root.path()), Err(NotTaken::Kind { .. })));
        fs::remove_file(link).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("s")).unwrap();
        let error = list(root.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("s is a device, a pipe or a socket"),
            "{error}"
        );
    }

    #[test]
    fn a_link_in_the_place_of_the_folder_is_not_followed() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("manifests");
        std::os::unix::fs::symlink("/etc", &root).unwrap();
        assert!(matches!(list(&root), Err(NotTaken::Kind { .. })));
        fs::remove_file(&root).unwrap();
        assert!(matches!(list(&root), Err(NotTaken::Kind { .. })));
        let parent = outer.path().join("run");
        std::os::unix::fs::symlink("/", &parent).unwrap();
        assert!(matches!(
            list(&parent.join("etc")),
            Err(NotTaken::Kind { .. })
        ));
    }

    #[test]
    fn too_much_is_not_taken() {
        let root = tempfile::tempdir().unwrap();
        let large = fs::File::create(root.path().join("large")).unwrap();
        large.set_len(MAX_BYTES as u64).unwrap();
        assert_eq!(list(root.path()).unwrap(), ["large"]);
        // A sparse file counts by what it says.
        large.set_len(u64::from(u32::MAX) * 1024).unwrap();
        assert!(matches!(list(root.path()), Err(NotTaken::TooLarge)));
        fs::remove_file(root.path().join("large")).unwrap();
        let deep = ["d"; 40].join("/");
        fs::create_dir_all(root.path().join(deep)).unwrap();
        assert!(matches!(list(root.path()), Err(NotTaken::Name { .. })));
    }

    #[test]
    fn everything_is_cleared_however_deep_locked_or_strange() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let locked = root.path().join("locked/inner");
        fs::create_dir_all(&locked).unwrap();
        fs::write(locked.join("file"), "x").unwrap();
        fs::set_permissions(&locked, Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(locked.parent().unwrap(), Permissions::from_mode(0o000)).unwrap();
        fs::create_dir_all(root.path().join(".cleared-1/full")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        // Deeper than a path can say.
        let mut at = root.path().join("deep");
        fs::create_dir(&at).unwrap();
        for _ in 0..60 {
            let wrapped = root.path().join("wrapped");
            fs::create_dir(&wrapped).unwrap();
            let long = "d".repeat(200);
            fs::rename(&at, wrapped.join(long)).unwrap();
            at = root.path().join("deep");
            fs::rename(&wrapped, &at).unwrap();
        }
        clear(root.path()).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists(), "no link is followed");
        // A file is emptied, what is not there is well.
        let log = outside.path().join("kept");
        clear(&log).unwrap();
        assert_eq!(fs::read(&log).unwrap(), b"");
        clear(&outside.path().join("absent")).unwrap();
    }
}
