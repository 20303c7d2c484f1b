//! End-to-end, chart, chaos and bench programs; see the files under `tests/`.
