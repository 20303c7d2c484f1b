/// How much a text may ask for before it is refused.
///
/// The limits hold for the whole text and count what aliases expand to, so that a small file
/// cannot become a large value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text, and of all its keys and scalars with aliases expanded.
    pub bytes: usize,
    /// Documents, and objects after lists are expanded.
    pub documents: usize,
    /// Levels of nested maps and lists; values above 256 count as 256.
    pub depth: usize,
    /// Scalars, maps and lists with aliases expanded.
    pub nodes: usize,
}

impl Limits {
    /// The deepest nesting that any setting allows: readers recurse once per level.
    pub(crate) const DEEPEST: usize = 256;

    /// [`Limits::depth`], bounded.
    pub(crate) fn levels(&self) -> usize {
        self.depth.min(Self::DEEPEST)
    }
}

impl Default for Limits {
    /// 16 MiB, 10,000 documents, 100 levels, 1,000,000 values.
    fn default() -> Self {
        Self {
            bytes: 16 * 1024 * 1024,
            documents: 10_000,
            depth: 100,
            nodes: 1_000_000,
        }
    }
}
