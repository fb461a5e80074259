//! Compiles the `.proto` files without `protoc`: messages, services and their JSON form.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message as _;

const FILES: [&str; 6] = [
    "mvcc.proto",
    "auth.proto",
    "rpc.proto",
    "lock.proto",
    "election.proto",
    "health.proto",
];

/// Where the compiled descriptors lie in `OUT_DIR`; `lib.rs` includes them.
const DESCRIPTORS: &str = "descriptors.bin";

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let set = protox::compile(FILES.map(|file| root.join(file)), [root])?;
    let bytes = set.encode_to_vec();

    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(out.join(DESCRIPTORS), &bytes)?;

    tonic_prost_build::configure().bytes(".").compile_fds(set)?;

    pbjson_build::Builder::new()
        .register_descriptors(&bytes)?
        .preserve_proto_field_names()
        .ignore_unknown_fields()
        .build(&["."])?;
    Ok(())
}
