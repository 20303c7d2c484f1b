//! The YAML entities: connector, secret, service, environment, infrastructure, pipeline and file,
//! in the shapes that Harness uses, read with the position of everything.

pub mod connector;
mod duration;
pub mod entity;
pub mod environment;
mod expressions;
pub mod field;
pub mod file;
mod identifier;
pub mod infrastructure;
pub mod parse;
mod path;
pub mod pipeline;
pub mod position;
pub mod problem;
mod reader;
pub mod reference;
pub mod secret;
pub mod service;
pub mod suggest;
pub mod variable;
mod yaml;

pub use entity::{Entity, EntityKey, EntitySpec, Kind, Scope, Unsupported};
pub use field::{Field, FlagField, ListField, TextField};
pub use parse::{Limits, Parsed, parse};
pub use position::{Located, Position};
pub use problem::{Code, Problem, Severity};
pub use reference::{EntityRef, Level, RefField, Reference, missing_references};
pub use secret::{NotSeparable, take_secret_value};
