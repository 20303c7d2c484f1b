//! What one evaluation may cost. Texts and values are written by people, some of them hostile.

/// Expressions inside expressions, and values that hold expressions in turn: 15 levels each, as in Harness.
pub const NESTING: usize = 15;

/// Parentheses, lists, calls and the like inside one expression.
pub const DEPTH: usize = 32;

/// A text before and after evaluation, in bytes.
pub const TEXT_BYTES: usize = 6 * 1024 * 1024;

/// One value inside an expression, in bytes of text.
pub const VALUE_BYTES: usize = 256 * 1024;

/// Elements of a range such as `1..3`.
pub const RANGE: i64 = 10_000;

/// Operations in one evaluation: names, operators, calls, and one for every 64 bytes that they produce.
pub const STEPS: usize = 500_000;

/// Levels of lists and maps in a tree.
pub const TREE_DEPTH: usize = 64;

/// Memory of one compiled regular expression, in bytes. Matching is linear in the text.
pub const PATTERN_BYTES: usize = 256 * 1024;
