//! The product as a user runs it: real programs, real cluster, real files. The tests are in `tests/`.

pub mod bench;
mod examples;
mod process;
mod product;
mod proxy;
pub mod rollout;

pub use examples::Example;
pub use process::{Finished, Program};
pub use product::{Product, ProductOptions};
pub use proxy::Proxy;
