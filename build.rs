//! Compiles what linked models need of the runtime, for each architecture whose core library is installed: an object
//! file, empty where that library is missing.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=runtime/freestanding");
    println!("cargo::rerun-if-changed=runtime/src/kernels");
    println!("cargo::rerun-if-changed=runtime/src/convert.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (compiler, folder) = (variable("RUSTC"), variable("OUT_DIR"));
    for arch in ["x86_64", "aarch64"] {
        let object = Path::new(&folder).join(format!("freestanding-{arch}.o"));
        let done = Command::new(&compiler)
            .args(["--edition", "2024", "--crate-name", "tcc_freestanding", "--crate-type", "lib"])
            .args(["--emit", "obj", "-C", "opt-level=3", "-C", "panic=abort", "-C", "codegen-units=1"])
            .args(["-C", "relocation-model=pic", "-C", "strip=debuginfo", "--cap-lints", "allow"])
            .arg(format!("--target={arch}-unknown-linux-gnu"))
            .arg("-o")
            .arg(&object)
            .arg("runtime/freestanding/lib.rs")
            .output();
        let why = match done {
            Ok(output) if output.status.success() => continue,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let missing = why.contains("E0463");
        assert!(missing || arch != variable("CARGO_CFG_TARGET_ARCH"), "runtime/freestanding: {why}");
        std::fs::write(&object, []).expect("cargo's folder for build scripts can be written to");
    }
}
