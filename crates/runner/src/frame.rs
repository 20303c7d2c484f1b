//! Frames between delegate and runner. Pure.
//!
//! A frame is its length (four bytes, the highest first), a byte that says what it is, and its content. The length
//! counts what comes after it.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What the two sides speak.
pub const VERSION: u8 = 1;
/// Files that a script may get and leave, at most.
pub const MAX_FILES: usize = 5_000;
/// Bytes of these files together.
pub const MAX_BYTES: usize = 25 * 1024 * 1024;
/// Bytes of a line that are kept. Far more than anybody is shown, so that a secret at the cut is cut away whole.
pub const MAX_LINE: usize = 64 * 1024;
/// Lines of one script.
pub const MAX_LINES: usize = 10_000;
/// Bytes of all lines of one script as it has written them.
pub const MAX_OUTPUT: usize = 4 * 1024 * 1024;
/// Bytes that become of one when it is no text and is replaced.
const REPLACED: usize = char::REPLACEMENT_CHARACTER.len_utf8();
/// Bytes of all lines of one script as they are sent, with the one that says how many are not.
pub const MAX_SHOWN: usize = REPLACED * MAX_OUTPUT + MAX_LINE;
/// Bytes of the path of a file.
pub const MAX_PATH: usize = 1_024;
/// Folders in a path.
pub const MAX_DEPTH: usize = 32;
/// Bytes of the longest frame, without its length.
pub const MAX_FRAME: usize = MAX_BYTES + 64 * 1024;
/// Bytes of the length before a frame.
pub const LENGTH: usize = 4;

/// From the delegate to the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A script comes; its files follow.
    Script(Script),
    /// A file of the script that comes.
    File(File),
    /// The script has everything that it needs: run it.
    Begin,
    /// End the script and everything it has started.
    Cancel,
    /// The delegate ends, and so shall the runner.
    Stop,
}

/// From the runner to the delegate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Everything is cleared; a script may come.
    Ready {
        /// What the runner speaks.
        version: u8,
    },
    /// From here on the script may have done something.
    Begun,
    /// A line that the script has written, without its end.
    Line(String),
    /// A file that the script has left.
    File(File),
    /// The script is over.
    Ended(End),
}

/// A script to run.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// For bash.
    pub text: String,
    /// Its environment, beside what every script gets.
    pub variables: Vec<(String, String)>,
    /// How long it may take, seconds.
    pub seconds: u64,
}

/// A file below the folder that a script works in.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Relative, with `/`.
    pub path: String,
    /// Content.
    pub content: Vec<u8>,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum End {
    /// By itself. After the code 0 its files were sent.
    Exit {
        /// Exit code.
        code: i32,
    },
    /// By a signal.
    Signal {
        /// Its number.
        signal: i32,
    },
    /// By the delegate's order.
    Canceled,
    /// It took too long.
    TimeLimit,
    /// It never ran.
    NotStarted {
        /// Why, one line.
        reason: String,
    },
    /// It ended well, and what it left cannot be taken.
    NotTaken {
        /// Why, one line.
        reason: String,
    },
}

/// The other side says something that cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is longer than any frame may be.
    #[error("a frame of {length} bytes, more than there may be")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It is nothing that this side knows.
    #[error("a frame of an unknown kind ({kind})")]
    Unknown {
        /// Its first byte.
        kind: u8,
    },
    /// Its content is not what its kind says.
    #[error("a malformed frame")]
    Malformed,
}

/// The length of the frame that comes.
///
/// # Errors
/// There is no such frame.
pub fn length(bytes: [u8; LENGTH]) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX);
    match length {
        0 => Err(FrameError::Malformed),
        1..=MAX_FRAME => Ok(length),
        _ => Err(FrameError::TooLong { length }),
    }
}

/// Whether a path stays inside the folder that it starts from and is of a usual size.
#[must_use]
pub fn is_inside(path: &str) -> bool {
    let usual = |part: &str| !matches!(part, "" | "." | "..");
    path.len() <= MAX_PATH
        && !path.contains('\0')
        && path.split('/').all(usual)
        && path.split('/').count() <= MAX_DEPTH
}

impl Order {
    /// The whole frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Script(script) => encode(1, &[&json(script)]),
            Self::File(file) => file.encode(2),
            Self::Begin => encode(3, &[]),
            Self::Cancel => encode(4, &[]),
            Self::Stop => encode(5, &[]),
        }
    }

    /// A frame without its length.
    ///
    /// # Errors
    /// It is no order.
    pub fn decode(frame: &[u8]) -> Result<Self, FrameError> {
        let (kind, content) = split(frame)?;
        Ok(match kind {
            1 => Self::Script(parse(content)?),
            2 => Self::File(File::decode(content)?),
            3 => empty(content, Self::Begin)?,
            4 => empty(content, Self::Cancel)?,
            5 => empty(content, Self::Stop)?,
            _ => return Err(FrameError::Unknown { kind }),
        })
    }
}

impl Report {
    /// The whole frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready { version } => encode(1, &[&[*version]]),
            Self::Begun => encode(2, &[]),
            Self::Line(line) => encode(3, &[line.as_bytes()]),
            Self::File(file) => file.encode(4),
            Self::Ended(end) => encode(5, &[&json(end)]),
        }
    }

    /// A frame without its length.
    ///
    /// # Errors
    /// It is no report.
    pub fn decode(frame: &[u8]) -> Result<Self, FrameError> {
        let (kind, content) = split(frame)?;
        Ok(match kind {
            1 => match content {
                [version] => Self::Ready { version: *version },
                _ => return Err(FrameError::Malformed),
            },
            2 => empty(content, Self::Begun)?,
            3 => Self::Line(line(content)?),
            4 => Self::File(File::decode(content)?),
            5 => Self::Ended(parse(content)?),
            _ => return Err(FrameError::Unknown { kind }),
        })
    }
}

impl File {
    fn encode(&self, kind: u8) -> Vec<u8> {
        let length = u16::try_from(self.path.len()).unwrap_or(u16::MAX);
        encode(
            kind,
            &[&length.to_be_bytes(), self.path.as_bytes(), &self.content],
        )
    }

    /// A path that leaves its folder is none.
    fn decode(content: &[u8]) -> Result<Self, FrameError> {
        let (length, rest) = content
            .split_first_chunk::<2>()
            .ok_or(FrameError::Malformed)?;
        let (path, content) = rest
            .split_at_checked(usize::from(u16::from_be_bytes(*length)))
            .ok_or(FrameError::Malformed)?;
        let path = text(path)?;
        if !is_inside(&path) {
            return Err(FrameError::Malformed);
        }
        Ok(Self {
            path,
            content: content.to_vec(),
        })
    }
}

fn encode(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut frame = Vec::with_capacity(LENGTH + length);
    // A longer one is refused by the other side.
    frame.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    frame.push(kind);
    for part in parts {
        frame.extend_from_slice(part);
    }
    frame
}

fn split(frame: &[u8]) -> Result<(u8, &[u8]), FrameError> {
    let (kind, content) = frame.split_first().ok_or(FrameError::Malformed)?;
    Ok((*kind, content))
}

fn empty<T>(content: &[u8], value: T) -> Result<T, FrameError> {
    match content {
        [] => Ok(value),
        _ => Err(FrameError::Malformed),
    }
}

fn line(content: &[u8]) -> Result<String, FrameError> {
    match content.len() {
        length if length > REPLACED * MAX_LINE => Err(FrameError::TooLong { length }),
        _ => text(content),
    }
}

fn text(content: &[u8]) -> Result<String, FrameError> {
    String::from_utf8(content.to_vec()).map_err(|_| FrameError::Malformed)
}

/// Texts and numbers, which can always be written as JSON.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn parse<T: DeserializeOwned>(content: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(content).map_err(|_| FrameError::Malformed)
}

impl fmt::Debug for Script {
    /// Shows neither text nor values: secrets are in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("bytes", &self.text.len())
            .field("seconds", &self.seconds)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for File {
    /// Shows no content: manifests hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", &self.path)
            .field("bytes", &self.content.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(frame: &[u8]) -> &[u8] {
        let (head, body) = frame.split_first_chunk::<LENGTH>().unwrap();
        assert_eq!(length(*head).unwrap(), body.len());
        body
    }

    #[test]
    fn frames_come_back_as_they_went() {
        let script = Script {
            text: "echo hunter2".to_owned(),
            variables: vec![("A".to_owned(), "b=c".to_owned())],
            seconds: 7,
        };
        let file = || File {
            path: "a/b.yaml".to_owned(),
            content: vec![0, 255, 10],
        };
        assert!(!format!("{script:?}{:?}", file()).contains("hunter2"));
        for order in [
            Order::Script(script),
            Order::File(file()),
            Order::Begin,
            Order::Cancel,
            Order::Stop,
        ] {
            assert_eq!(Order::decode(body(&order.encode())), Ok(order));
        }
        let reason = "no bash".to_owned();
        for report in [
            Report::Ready { version: VERSION },
            Report::Begun,
            Report::Line("ä".to_owned()),
            Report::File(file()),
            Report::Ended(End::Exit { code: 3 }),
            Report::Ended(End::Signal { signal: 9 }),
            Report::Ended(End::Canceled),
            Report::Ended(End::TimeLimit),
            Report::Ended(End::NotStarted {
                reason: reason.clone(),
            }),
            Report::Ended(End::NotTaken { reason }),
        ] {
            assert_eq!(Report::decode(body(&report.encode())), Ok(report));
        }
    }

    #[test]
    fn lines_have_bounds() {
        let line = |bytes| Report::Line("x".repeat(bytes));
        let longest = line(REPLACED * MAX_LINE);
        assert_eq!(Report::decode(body(&longest.encode())), Ok(longest));
        let length = REPLACED * MAX_LINE + 1;
        assert_eq!(
            Report::decode(body(&line(length).encode())),
            Err(FrameError::TooLong { length })
        );
    }

    #[test]
    fn lengths_and_paths_have_bounds() {
        assert_eq!(length([0; 4]), Err(FrameError::Malformed));
        assert_eq!(
            length([255; 4]),
            Err(FrameError::TooLong {
                length: 0xffff_ffff
            })
        );
        for (path, inside) in [
            ("a", true),
            ("a/b.yaml", true),
            ("a/..b/...", true),
            ("", false),
            ("/etc/passwd", false),
            ("../a", false),
            ("a/../../b", false),
            ("a//b", false),
            ("a/", false),
            ("./a", false),
            ("a\0b", false),
        ] {
            assert_eq!(is_inside(path), inside, "{path:?}");
        }
        assert!(!is_inside(&"a".repeat(MAX_PATH + 1)));
        assert!(!is_inside(&["a"; MAX_DEPTH + 1].join("/")));
        let outside = File {
            path: "../a".to_owned(),
            content: Vec::new(),
        };
        let frame = Report::File(outside.clone()).encode();
        assert_eq!(Report::decode(body(&frame)), Err(FrameError::Malformed));
        let frame = Order::File(outside).encode();
        assert_eq!(Order::decode(body(&frame)), Err(FrameError::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>) {
            for file in [
                Order::decode(&bytes).ok().and_then(|order| match order {
                    Order::File(file) => Some(file),
                    _ => None,
                }),
                Report::decode(&bytes).ok().and_then(|report| match report {
                    Report::File(file) => Some(file),
                    _ => None,
                }),
            ].into_iter().flatten() {
                assert!(is_inside(&file.path));
            }
        }
    }
}
