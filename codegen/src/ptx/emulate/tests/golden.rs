//! Vectors that `benches/gpu.sh` recorded on a GPU, in `golden/`: the emulator gives what hardware gave.

use std::path::Path;

use super::super::{Arg, GlobalMemory, Options, launch};
use crate::ptx::Module;

/// The words behind a mark in the comments of a vector.
fn words(text: &str, mark: &str) -> Vec<u32> {
    let line = text.lines().find_map(|l| l.strip_prefix(mark)).unwrap_or_default();
    line.split_whitespace().map(|w| u32::from_str_radix(w, 16).unwrap()).collect()
}

/// How far two words are apart as f32, in units in the last place; all that is no number is alike.
fn distance(a: u32, b: u32) -> u64 {
    if f32::from_bits(a).is_nan() && f32::from_bits(b).is_nan() {
        return 0;
    }
    let ordered = |w: u32| {
        let magnitude = i64::from(w & 0x7fff_ffff);
        if w >> 31 == 1 { -magnitude } else { magnitude }
    };
    ordered(a).abs_diff(ordered(b))
}

/// Runs a vector and says where it differs.
fn check(text: &str) -> Result<(), String> {
    let (given, wanted) = (words(text, "// in "), words(text, "// out "));
    let within: u64 =
        text.lines().find_map(|l| l.strip_prefix("// within ")).unwrap().trim().parse().unwrap();
    let module = Module::parse(text).map_err(|e| e.to_string())?;
    let mut memory = GlobalMemory::new();
    let bytes: Vec<u8> = given.iter().flat_map(|w| w.to_le_bytes()).collect();
    let from = memory.upload("from", &bytes);
    let to = memory.reserve("to", 4 * wanted.len());
    let args = [Arg::U64(from), Arg::U64(to)];
    launch(&module, "one", [1, 1, 1], [32, 1, 1], 0, &args, &mut memory, Options::default())
        .map_err(|fault| fault.to_string())?;
    let got = memory.read(to, 4 * wanted.len()).ok_or("expected all words to be written")?;
    let got = got.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b));
    for (i, (got, wanted)) in got.zip(wanted).enumerate() {
        let alike = if within == 0 {
            got == wanted || distance(got, wanted) == 0
        } else {
            distance(got, wanted) <= within
        };
        if !alike {
            return Err(format!("word {i}: expected {wanted:08x}, got {got:08x}"));
        }
    }
    Ok(())
}

#[test]
#[allow(clippy::print_stderr, reason = "what is skipped is said")]
fn recorded_vectors_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ptx/emulate/tests/golden");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: expected vectors in {}; benches/gpu.sh records them on a GPU", folder.display());
        return;
    };
    let mut problems = Vec::new();
    for entry in entries.map(Result::unwrap) {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        if let Err(message) = check(&text) {
            problems.push(format!("{}: {message}", entry.file_name().display()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_wrong_vector_is_found() {
    let vector = |out: &str| {
        format!(
            "// within 0\n// in {}\n// out {out}\n.version 7.8\n.target sm_80\n.address_size 64\n\
             .visible .entry one(.param .u64 from, .param .u64 to)\n{{\n.reg .b32 %r<2>;\n.reg .b64 %a<3>;\n\
             ld.param.u64 %a0, [from];\nld.param.u64 %a1, [to];\nmov.u32 %r0, %tid.x;\n\
             mad.wide.u32 %a0, %r0, 4, %a0;\nmad.wide.u32 %a1, %r0, 4, %a1;\nld.global.u32 %r1, [%a0];\n\
             add.u32 %r1, %r1, 1;\nst.global.u32 [%a1], %r1;\nret;\n}}\n",
            "00000001 ".repeat(32)
        )
    };
    check(&vector(&"00000002 ".repeat(32))).unwrap();
    assert!(check(&vector(&"00000003 ".repeat(32))).unwrap_err().contains("expected 00000003, got 00000002"));
}
