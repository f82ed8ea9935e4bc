//! What the parser accepts is real PTX: ptxas assembles the kernels, where it is found.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cases::CASES;

/// The assembler that `TCC_PTXAS` names, or the one on the path.
fn ptxas() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("TCC_PTXAS") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("ptxas")).find(|p| p.is_file())
}

fn assemble(ptxas: &Path, name: &str, text: &str) {
    let target = text.lines().find_map(|l| l.strip_prefix(".target ")).unwrap();
    let stem = format!("tcc-ptxas-{}-{}", std::process::id(), name.replace(' ', "-"));
    let source = std::env::temp_dir().join(format!("{stem}.ptx"));
    let output = std::env::temp_dir().join(format!("{stem}.cubin"));
    std::fs::write(&source, text).unwrap();
    let run =
        Command::new(ptxas).arg("-arch").arg(target).arg("-o").args([&output, &source]).output().unwrap();
    std::fs::remove_file(&source).unwrap();
    let _ = std::fs::remove_file(&output);
    let errors = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && errors.is_empty(), "{name}: {errors}");
}

#[test]
fn ptxas_assembles_the_kernels() {
    let Some(ptxas) = ptxas() else {
        eprintln!("skipped: expected ptxas on the path or in TCC_PTXAS");
        return;
    };
    for case in CASES {
        assemble(&ptxas, case.name, case.text);
    }
}
