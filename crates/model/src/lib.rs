//! The YAML entities: connector, secret, service, environment, infrastructure, pipeline and file,
//! in the shapes that Harness uses, read with the position of everything.

pub mod connector;
pub mod entity;
pub mod environment;
pub mod field;
pub mod file;
mod identifier;
pub mod infrastructure;
pub mod pipeline;
pub mod position;
pub mod problem;
pub mod reference;
pub mod secret;
pub mod service;
pub mod variable;

pub use entity::{Entity, EntityKey, EntitySpec, Kind, Scope, Unsupported};
pub use field::{Field, FlagField, ListField, TextField};
pub use position::{Located, Position};
pub use problem::{Code, Problem, Severity};
pub use reference::{EntityRef, Level, RefField, Reference};
