//! The control plane: REST for people and programs, the agent side for delegates, and the engine
//! that drives pipelines between them.

pub mod tasks;
