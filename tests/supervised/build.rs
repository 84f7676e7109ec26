//! Compiles the supervisor beside the library.
//!
//! A binary target of this package is not built for the packages that depend on its library, and a test cannot ask
//! for it; a single file on the standard library alone needs no more than one call of the compiler.

use std::env::var_os;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/supervisor.rs");
    let supervisor = PathBuf::from(var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("supervisor");
    let mut rustc = Command::new(var_os("RUSTC").expect("cargo sets RUSTC"));
    rustc.args(["--edition=2024", "--crate-name=supervisor", "src/supervisor.rs", "-o"]).arg(&supervisor);
    if let Some(linker) = var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", linker.display()));
    }
    let status = rustc.status().expect("the compiler that cargo names can be started");
    assert!(status.success(), "src/supervisor.rs does not compile");
    println!("cargo::rustc-env=SUPERVISOR={}", supervisor.display());
}
