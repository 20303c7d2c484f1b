use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::object::ObjectError;

/// Why a text is not a stream of Kubernetes objects. Every variant names the place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The text, or what its aliases expand to, is larger than [`crate::Limits::bytes`].
    #[error("{place}: the file, with its aliases expanded, is larger than {limit} bytes")]
    TooLarge {
        /// Where the limit was passed.
        place: Place,
        /// The limit in bytes.
        limit: usize,
    },
    /// The text is not UTF-8.
    #[error("{place}: the file is not UTF-8 text")]
    NotUtf8 {
        /// The first byte that is not UTF-8.
        place: Place,
    },
    /// The text is neither YAML nor JSON.
    #[error("{place}: {message}")]
    Syntax {
        /// Where reading stopped.
        place: Place,
        /// What the parser found.
        message: String,
    },
    /// A map has the same key twice.
    #[error("{place}: the key {key:?} is given twice in the same map")]
    DuplicateKey {
        /// The second occurrence.
        place: Place,
        /// The key, shortened when it is long.
        key: String,
    },
    /// Maps and lists are nested deeper than [`crate::Limits::depth`].
    #[error("{place}: maps and lists are nested deeper than {limit} levels")]
    TooDeep {
        /// Where the limit was passed.
        place: Place,
        /// The limit in levels.
        limit: usize,
    },
    /// There are more values than [`crate::Limits::nodes`], aliases expanded.
    #[error("{place}: more than {limit} values, with aliases expanded")]
    TooManyNodes {
        /// Where the limit was passed.
        place: Place,
        /// The limit in values.
        limit: usize,
    },
    /// There are more documents or list items than [`crate::Limits::documents`].
    #[error("{place}: more than {limit} documents")]
    TooManyDocuments {
        /// Where the limit was passed.
        place: Place,
        /// The limit in documents.
        limit: usize,
    },
    /// A document or list item is not a Kubernetes object.
    #[error("{place}: {item} cannot be deployed")]
    Object {
        /// The field that is wrong, or what is there of it.
        place: Place,
        /// What is meant: `the document`, or an item of a list such as `items[3]`.
        item: String,
        /// What is wrong with it.
        #[source]
        source: ObjectError,
    },
    /// A list such as `ServiceList` holds something else than its name says.
    #[error("{place}: {item} is a {found}, but a {list} holds only objects of one kind")]
    ForeignListItem {
        /// Where the item says its kind.
        place: Place,
        /// Which item, such as `items[3]`.
        item: String,
        /// Kind of the list.
        list: String,
        /// Kind that was found.
        found: String,
    },
}

/// All that is wrong with a text: at least one error, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseErrors {
    pub(crate) first: Box<ParseError>,
    pub(crate) others: Vec<ParseError>,
    pub(crate) more: usize,
}

impl ParseErrors {
    /// Errors that are kept; more are counted.
    pub const KEPT: usize = 100;

    /// The one that stands first.
    pub fn first(&self) -> &ParseError {
        &self.first
    }

    /// How many there are beyond those that are kept.
    pub fn more(&self) -> usize {
        self.more
    }
}

impl IntoIterator for ParseErrors {
    type Item = ParseError;
    type IntoIter = std::iter::Chain<std::iter::Once<ParseError>, std::vec::IntoIter<ParseError>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(*self.first).chain(self.others)
    }
}

/// A position in a file, for people: displayed as `web.yaml:12:3`, or `web.yaml:40:3 (document 2)` after
/// the first document of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Name of the file as the user knows it.
    pub file: Arc<str>,
    /// Number of the document in the file, from 1.
    pub document: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1; 0 when only the line is known.
    pub column: usize,
}

impl ParseError {
    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "SRT-M001",
            Self::NotUtf8 { .. } => "SRT-M002",
            Self::Syntax { .. } => "SRT-M003",
            Self::DuplicateKey { .. } => "SRT-M004",
            Self::TooDeep { .. } => "SRT-M005",
            Self::TooManyNodes { .. } => "SRT-M006",
            Self::TooManyDocuments { .. } => "SRT-M007",
            Self::Object { source, .. } => source.code(),
            Self::ForeignListItem { .. } => "SRT-M011",
        }
    }

    /// Whether the text is refused as a whole: what follows is not read.
    pub(crate) fn is_of_the_whole(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. }
                | Self::NotUtf8 { .. }
                | Self::TooManyNodes { .. }
                | Self::TooManyDocuments { .. }
        )
    }

    /// Where the error is.
    pub fn place(&self) -> &Place {
        match self {
            Self::TooLarge { place, .. }
            | Self::NotUtf8 { place }
            | Self::Syntax { place, .. }
            | Self::DuplicateKey { place, .. }
            | Self::TooDeep { place, .. }
            | Self::TooManyNodes { place, .. }
            | Self::TooManyDocuments { place, .. }
            | Self::Object { place, .. }
            | Self::ForeignListItem { place, .. } => place,
        }
    }

    /// What the author of the file can do about it, in one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::TooManyNodes { .. } | Self::TooManyDocuments { .. } => {
                "split the file, or move large content out of the manifest"
            }
            Self::NotUtf8 { .. } => "save the file as UTF-8",
            Self::Syntax { .. } => {
                "check the indentation and quotes at this line; look at the rendered text when the file is a template"
            }
            Self::DuplicateKey { .. } => "remove one of the two, or merge them",
            Self::TooDeep { .. } => "flatten the document",
            Self::Object { .. } => {
                "every document needs apiVersion, kind and metadata.name; files that are not manifests belong outside the manifest paths"
            }
            Self::ForeignListItem { .. } => "use kind: List for a mixed list",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            0 => write!(f, "{}:{}", self.file, self.line)?,
            column => write!(f, "{}:{}:{column}", self.file, self.line)?,
        }
        match self.document {
            0 | 1 => Ok(()),
            number => write!(f, " (document {number})"),
        }
    }
}
