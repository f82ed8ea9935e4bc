//! The parser on what is no module.

use super::Module;

const HEAD: &str = ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p)\n{\n";

fn error_of(body: &str) -> String {
    Module::parse(&format!("{HEAD}{body}\n}}")).unwrap_err().to_string()
}

#[test]
fn errors_name_the_place_and_what_was_expected() {
    for (body, error) in [
        (".reg .b32 %r<2>;\nadd.u32 %r0, %r1;", "7:1: expected 3 operands of `add`, got 2"),
        (".reg .b32 %r<2>;\n add.u32 %r0, %r1, %r2;", "7:20: expected a declared register, got `%r2`"),
        (".reg .b32 %r<2>;\nfrob.u32 %r0, %r1;", "7:1: expected an instruction of the table, got `frob.u32`"),
        ("bra NOWHERE;", "6:1: expected a label `NOWHERE` in the kernel"),
        ("ret", "7:1: expected an operand, got `}`"),
        (".reg .b32 %r<2>;\nadd.rn.u32 %r0, %r1, %r1;", "7:1: expected no modifier `.rn` on `add`"),
        (".reg .f32 %r<2>;\nadd.f32 %r0, %r1, 1.5;", "7:19: expected floats as 0f… or 0d…, got `1.5`"),
    ] {
        assert_eq!(error_of(body), error, "{body}");
    }
}

#[test]
fn a_vast_declaration_costs_nothing() {
    let text = format!("{HEAD}.reg .b32 %r<4000000000>;\nmov.b32 %r3999999999, 1;\nret;\n}}");
    assert_eq!(Module::parse(&text).unwrap().kernels[0].slots, 3);
}

/// Kernels to damage.
const KERNELS: &[&str] = &[
    include_str!("../emulate/tests/kernels/matmul_mma.ptx"),
    include_str!("../emulate/tests/kernels/matmul_wgmma.ptx"),
    include_str!("../emulate/tests/kernels/reduction.ptx"),
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_texts_are_errors_and_no_panics(
        which in 0..KERNELS.len(),
        cut in 0usize..6000,
        edits in proptest::collection::vec((0usize..6000, 0u8..128, 0usize..6), 0..6),
    ) {
        let mut bytes = KERNELS[which].as_bytes().to_vec();
        for (at, byte, length) in edits {
            let at = at % bytes.len();
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, [byte]);
        }
        let _ = Module::parse(&String::from_utf8_lossy(&bytes));
        bytes.truncate(cut);
        let _ = Module::parse(&String::from_utf8_lossy(&bytes));
    }
}
