//! The product as a user runs it: real programs, real cluster, real files. The tests are in `tests/`.

pub mod account;
pub mod bench;
mod examples;
pub mod measured;
mod process;
mod product;
mod proxy;
pub mod rollout;

pub use examples::Example;
pub use process::{Finished, Program, program};
pub use product::{Product, ProductOptions};
pub use proxy::Proxy;
