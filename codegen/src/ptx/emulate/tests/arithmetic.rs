//! Single instructions on values at the edges of their types.

use super::super::{Arg, GlobalMemory, Options, launch};
use crate::ptx::Module;

/// The low 32 or 64 bits that an instruction makes of operands: `{d}` is the result, `{a}`, `{b}`, `{c}` are 64-bit
/// registers, `{w}`, `{x}`, `{y}` the same values in 32 bits, `{h}` the first in 16.
fn evaluate(instruction: &str, operands: [u64; 3]) -> u64 {
    let wide = instruction.contains("{q}");
    let text = instruction
        .replace("{d}", "%r9")
        .replace("{q}", "%rd9")
        .replace("{a}", "%rd1")
        .replace("{b}", "%rd2")
        .replace("{c}", "%rd3")
        .replace("{w}", "%r1")
        .replace("{x}", "%r2")
        .replace("{y}", "%r3")
        .replace("{h}", "%h1");
    let store = if wide { "st.global.u64 [%rd4], %rd9;" } else { "st.global.u32 [%rd4], %r9;" };
    let module = format!(
        ".version 7.8\n.target sm_90\n.address_size 64\n\
         .visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 out)\n{{\n\
         .reg .b64 %rd<10>; .reg .b32 %r<10>; .reg .b16 %h<4>; .reg .pred %p<2>;\n\
         ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u64 %rd3, [c]; ld.param.u64 %rd4, [out];\n\
         cvt.u32.u64 %r1, %rd1; cvt.u32.u64 %r2, %rd2; cvt.u32.u64 %r3, %rd3; cvt.u16.u64 %h1, %rd1;\n\
         {text}\n{store}\nret;\n}}\n"
    );
    let module = Module::parse(&module).unwrap_or_else(|e| panic!("{instruction}: {e}"));
    let mut memory = GlobalMemory::new();
    let out = memory.reserve("out", 8);
    let [a, b, c] = operands.map(Arg::U64);
    let args = [a, b, c, Arg::U64(out)];
    launch(&module, "k", [1, 1, 1], [1, 1, 1], 0, &args, &mut memory, Options::default())
        .unwrap_or_else(|e| panic!("{e}"));
    let bytes = memory.read(out, if wide { 8 } else { 4 }).unwrap();
    bytes.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))
}

fn f(value: f32) -> u64 {
    u64::from(value.to_bits())
}

#[test]
fn integers_are_exact() {
    let minus = |n: u32| u64::from(n.wrapping_neg());
    for (instruction, operands, wanted) in [
        ("add.s32 {d}, {w}, {x};", [0xffff_ffff, 2, 0], 1),
        ("add.sat.s32 {d}, {w}, {x};", [0x7fff_ffff, 1, 0], 0x7fff_ffff),
        ("sub.u64 {q}, {a}, {b};", [1, 2, 0], u64::MAX),
        ("mul.hi.s32 {d}, {w}, {x};", [minus(2), 3, 0], minus(1)),
        ("mul.hi.u64 {q}, {a}, {b};", [u64::MAX, u64::MAX, 0], u64::MAX - 1),
        ("mul.wide.s32 {q}, {w}, {x};", [minus(2), 3, 0], 6u64.wrapping_neg()),
        ("mad.wide.u32 {q}, {w}, {x}, {c};", [0xffff_ffff, 0xffff_ffff, 5], 0xffff_fffe_0000_0006),
        ("div.s32 {d}, {w}, {x};", [minus(7), 2, 0], minus(3)),
        ("rem.s32 {d}, {w}, {x};", [minus(7), 2, 0], minus(1)),
        ("div.u32 {d}, {w}, {x};", [7, 0, 0], 0xffff_ffff),
        ("min.s32 {d}, {w}, {x};", [minus(1), 1, 0], minus(1)),
        ("min.u32 {d}, {w}, {x};", [minus(1), 1, 0], 1),
        ("shl.b32 {d}, {w}, {x};", [1, 32, 0], 0),
        ("shr.s32 {d}, {w}, {x};", [0x8000_0000, 40, 0], 0xffff_ffff),
        ("shr.u32 {d}, {w}, {x};", [0x8000_0000, 31, 0], 1),
        ("shf.l.wrap.b32 {d}, {w}, {x}, {y};", [0x8000_0000, 1, 33], 3),
        ("shf.r.clamp.b32 {d}, {w}, {x}, {y};", [0, 7, 40], 7),
        ("bfe.s32 {d}, {w}, {x}, {y};", [0xf0, 4, 4], 0xffff_ffff),
        ("bfe.u32 {d}, {w}, {x}, {y};", [0xf0, 4, 4], 0xf),
        ("bfi.b32 {d}, {w}, {x}, 8, 4;", [0xff, 0, 0], 0xf00),
        ("prmt.b32 {d}, {w}, {x}, {y};", [0x8322_1100, 0x7766_5544, 0xb740], 0xff77_4400),
        ("lop3.b32 {d}, {w}, {x}, {y}, 0xe8;", [0b1100, 0b1010, 0b0110], 0b1110),
        ("dp4a.s32.u32 {d}, {w}, {x}, {y};", [0xff01_0203, 0x0201_0101, 10], 14),
        ("popc.b64 {d}, {a};", [u64::MAX, 0, 0], 64),
        ("clz.b32 {d}, {w};", [1, 0, 0], 31),
        ("brev.b32 {d}, {w};", [1, 0, 0], 0x8000_0000),
        ("setp.lt.s32 %p0, {w}, {x}; selp.u32 {d}, 1, 2, %p0;", [minus(1), 0, 0], 1),
        ("setp.lt.u32 %p0|%p1, {w}, {x}; selp.u32 {d}, 1, 2, !%p1;", [minus(1), 0, 0], 2),
        ("mov.b64 {q}, {{w}, {x}};", [1, 2, 0], 0x2_0000_0001),
    ] {
        assert_eq!(evaluate(instruction, operands), wanted, "{instruction} of {operands:x?}");
    }
}

#[test]
fn floats_round_as_they_say() {
    let tiny = f(f32::from_bits(1));
    for (instruction, operands, wanted) in [
        ("add.rn.f32 {d}, {w}, {x};", [f(1.0), f(2f32.powi(-24)), 0], f(1.0)),
        ("add.rp.f32 {d}, {w}, {x};", [f(1.0), f(2f32.powi(-60)), 0], f(1.0) + 1),
        ("add.rm.f32 {d}, {w}, {x};", [f(1.0), f(-(2f32.powi(-60))), 0], f(1.0) - 1),
        ("add.rz.f32 {d}, {w}, {x};", [f(-1.0), f(-(2f32.powi(-24)) * 1.5), 0], f(-1.0)),
        ("add.ftz.f32 {d}, {w}, {x};", [tiny, tiny, 0], 0),
        ("add.f32 {d}, {w}, {x};", [tiny, tiny, 0], 2),
        ("mul.rz.f32 {d}, {w}, {x};", [f(1.0) + 1, f(1.0) + 1, 0], f(1.0) + 2),
        (
            "fma.rn.f32 {d}, {w}, {x}, {y};",
            [f(1.0) + 1, f(1.0) + 1, f(-1.0)],
            f(2f32.powi(-22) + 2f32.powi(-46)),
        ),
        ("fma.rn.sat.f32 {d}, {w}, {x}, {y};", [f(3.0), f(3.0), 0], f(1.0)),
        ("min.f32 {d}, {w}, {x};", [f(f32::NAN), f(2.0), 0], f(2.0)),
        ("min.NaN.f32 {d}, {w}, {x};", [f(f32::NAN), f(2.0), 0], 0x7fff_ffff),
        ("max.f32 {d}, {w}, {x};", [f(-0.0), f(0.0), 0], f(0.0)),
        ("rcp.rn.f32 {d}, {w};", [f(3.0), 0, 0], f(1.0 / 3.0)),
        ("sqrt.rn.f32 {d}, {w};", [f(2.0), 0, 0], f(2f32.sqrt())),
        ("rsqrt.approx.f32 {d}, {w};", [f(4.0), 0, 0], f(0.5)),
        ("neg.f32 {d}, {w};", [f(1.0), 0, 0], f(-1.0)),
        ("fma.rn.bf16x2 {d}, {w}, {x}, {y};", [0x3f80_4000, 0x4000_4000, 0x3f80_3f80], 0x4040_40a0),
        ("add.f16x2 {d}, {w}, {x};", [0x3c00_4000, 0x3c00_3c00, 0], 0x4000_4200),
        ("fma.rn.f64 {q}, {a}, {b}, {c};", [2f64, 3.0, 4.0].map(f64::to_bits), 10f64.to_bits()),
        ("setp.geu.f32 %p0, {w}, {x}; selp.u32 {d}, 1, 2, %p0;", [f(f32::NAN), 0, 0], 1),
    ] {
        assert_eq!(evaluate(instruction, operands), wanted, "{instruction} of {operands:x?}");
    }
}

#[test]
fn conversions_round_and_clamp() {
    for (instruction, operands, wanted) in [
        ("cvt.rni.s32.f32 {d}, {w};", [f(2.5), 0, 0], 2),
        ("cvt.rzi.s32.f32 {d}, {w};", [f(-2.5), 0, 0], 0xffff_fffe),
        ("cvt.rzi.u32.f32 {d}, {w};", [f(-2.5), 0, 0], 0),
        ("cvt.rzi.s32.f32 {d}, {w};", [f(1e10), 0, 0], 0x7fff_ffff),
        ("cvt.rzi.s32.f32 {d}, {w};", [f(f32::NAN), 0, 0], 0),
        ("cvt.rn.f32.s32 {d}, {w};", [0x0100_0001, 0, 0], f(16_777_216.0)),
        ("cvt.rp.f32.u32 {d}, {w};", [0x0100_0001, 0, 0], f(16_777_218.0)),
        ("cvt.rz.f32.u64 {d}, {a};", [u64::MAX, 0, 0], 0x5f7f_ffff),
        ("cvt.s32.s16 {d}, {h};", [0x8000, 0, 0], 0xffff_8000),
        ("cvt.sat.u8.s32 {d}, {w};", [300, 0, 0], 255),
        ("cvt.rn.bf16x2.f32 {d}, {w}, {x};", [f(1.0), f(-2.0), 0], 0x3f80_c000),
        ("cvt.rn.f16x2.f32 {d}, {w}, {x};", [f(65520.0), f(65519.0), 0], 0x7c00_7bff),
        ("cvt.rz.f16x2.f32 {d}, {w}, {x};", [f(65536.0), f(2f32.powi(-24) * 1.5), 0], 0x7bff_0001),
        ("cvt.rna.tf32.f32 {d}, {w};", [f(1.0) + 0x1000, 0, 0], f(1.0) + 0x2000),
        ("cvt.f32.f16 {d}, {h};", [0x0001, 0, 0], f(2f32.powi(-24))),
        ("cvt.f32.bf16 {d}, {h};", [0x3fc0, 0, 0], f(1.5)),
        ("cvt.rn.satfinite.e4m3x2.f32 %h2, {w}, {x}; cvt.u32.u16 {d}, %h2;", [f(1000.0), f(-0.5), 0], 0x7eb0),
        ("cvt.rn.satfinite.e5m2x2.f32 %h2, {w}, {x}; cvt.u32.u16 {d}, %h2;", [f(1e9), f(1.0), 0], 0x7b3c),
        ("cvt.rn.f16x2.e4m3x2 {d}, {h};", [0x3038, 0, 0], 0x3800_3c00),
    ] {
        assert_eq!(evaluate(instruction, operands), wanted, "{instruction} of {operands:x?}");
    }
}
