//! Prints the OpenAPI document of this build: `cargo run -p sortie-server --example openapi >
//! docs/openapi.json`.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

fn main() {
    print!("{}", sortie_server::web::openapi_json());
}
