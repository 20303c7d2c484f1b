//! Generated gRPC code for `proto/`, and what can be read off a message without knowing what it is for.
//!
//! The `.proto` files are the reference: they say who may send what, and when. Conversion to the types of the pure
//! crates happens at the edge, in one module per service, never here.

mod task;

/// Version 1 of the protocol between delegates and the control plane.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::use_self,
    clippy::str_to_string,
    unreachable_pub,
    missing_debug_implementations,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("sortie.v1");
}
