//! Compiles `proto/` with a compiler written in Rust: no system protoc is needed.

use std::path::PathBuf;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts by environment"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Read while running, not while compiling: one target folder may serve several checkouts.
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files = ["enrol", "session", "task", "log", "blob"]
        .map(|name| root.join("sortie/v1").join(format!("{name}.proto")));
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let descriptors = protox::compile(&files, [&root])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".sortie.v1.BlobChunk.data")
        .compile_fds(descriptors)?;
    Ok(())
}
