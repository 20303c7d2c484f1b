//! The rolling strategy: the workloads' own controllers replace pods step by step.

pub(crate) mod deploy;
pub(crate) mod rollback;
