//! Every function of one operand on every f16 and bf16, and on f32 over the whole range, as machine code of every
//! backend against the reference.

use tcc::codegen::BACKENDS;
use tcc::compile::Compiler;
use tcc::ir::dtype::DType;
use tcc::ir::graph::eval::evaluate;
use tcc::ir::graph::{Op, parse_graph};
use tcc::ir::numerics::Numerics;
use tcc::ir::scalar::Signature;
use tcc::ir::tensor::Tensor;
use tcc::lowering::pipeline::Strictness;
use tcc::runtime::threads::Inline;

/// The steps between two values of a type, with all NaNs in one place.
fn steps_apart(dtype: DType, a: u64, b: u64) -> u64 {
    let (bits, exponent) = match dtype {
        DType::F16 => (16, 0x7c00),
        DType::BF16 => (16, 0x7f80),
        _ => (32, 0x7f80_0000),
    };
    let sign = 1u64 << (bits - 1);
    let order = |value: u64| match value {
        v if v & (sign - 1) > exponent => i64::MAX / 4,
        v if v & sign != 0 => -((v & (sign - 1)) as i64),
        v => v as i64,
    };
    order(a).abs_diff(order(b))
}

/// Whether a number is so small that a product of factors which are exact may have lost it.
fn vanishes(dtype: DType, bits: u64) -> bool {
    let value = match dtype {
        DType::F32 => f32::from_bits(bits as u32),
        DType::BF16 => f32::from_bits((bits as u32) << 16),
        _ => return false,
    };
    value.abs() < 1e-36
}

fn words(tensor: &Tensor) -> Vec<u64> {
    let bytes = tensor.to_bytes().unwrap();
    let size = tensor.dtype().bits() as usize / 8;
    bytes.chunks(size).map(|c| c.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))).collect()
}

/// Functions of one operand of a type that give the same type.
fn functions(dtype: DType) -> impl Iterator<Item = Op> {
    Op::all().filter(move |op| match op {
        Op::Scalar(scalar) => {
            scalar.arity() == 1
                && scalar.def().signature != Signature::Test
                && scalar.result(&[dtype]) == Ok(dtype)
        }
        _ => false,
    })
}

/// Compares each function on all of these values.
fn compare(dtype: DType, inputs: &Tensor, allowed: u64) -> Vec<String> {
    let mut failures = Vec::new();
    for op in functions(dtype) {
        let (count, name) = (inputs.len(), op.name());
        let text = format!(
            "graph @f(%x: {dtype}[{count}]) -> (y: {dtype}[{count}]) {{\n  %0 = {name} %x : {dtype}[{count}]\n  return %0\n}}"
        );
        let graph = parse_graph(&text).unwrap_or_else(|d| panic!("{}", d.render("graph", &text)));
        let want = words(&evaluate(&graph, std::slice::from_ref(inputs)).unwrap()[0]);
        let exact = op.def().numerics == Numerics::Exact;
        for backend in BACKENDS {
            let compiled =
                Compiler::new().backend(*backend).strictness(Strictness::Strict).compile(&graph).unwrap();
            assert!(compiled.report().interpreted.is_empty(), "{name} on {dtype} by {}", backend.name());
            let got = words(&compiled.run(std::slice::from_ref(inputs), &Inline).unwrap().outputs[0]);
            let apart = want.iter().zip(&got).map(|(w, g)| {
                if vanishes(dtype, *w) && vanishes(dtype, *g) { 0 } else { steps_apart(dtype, *w, *g) }
            });
            let apart = apart.enumerate();
            let (at, worst) = apart.max_by_key(|(_, steps)| *steps).unwrap();
            if worst > if exact { 0 } else { allowed } {
                failures.push(format!(
                    "{name} of {} on {}: {:#x}, expected {:#x}",
                    inputs.get_flat(at).to_f64(),
                    backend.name(),
                    got[at],
                    want[at]
                ));
            }
        }
    }
    failures
}

#[test]
fn functions_of_every_half() {
    let mut failures = Vec::new();
    for dtype in [DType::F16, DType::BF16] {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let all = Tensor::from_bytes(dtype, &[1 << 16], bytes).unwrap();
        assert!(functions(dtype).count() > 20);
        failures.extend(compare(dtype, &all, 1));
    }
    assert!(failures.is_empty(), "{} functions\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn functions_of_floats_over_the_whole_range() {
    // A prime distance visits every exponent and all kinds of fractions.
    let step = if std::env::var_os("TCC_LONG").is_some() { 257 } else { 65_537 };
    let bytes: Vec<u8> = (0..=u32::MAX).step_by(step).flat_map(u32::to_le_bytes).collect();
    let all = Tensor::from_bytes(DType::F32, &[bytes.len() / 4], bytes).unwrap();
    let failures = compare(DType::F32, &all, 6);
    assert!(failures.is_empty(), "{} functions\n{}", failures.len(), failures.join("\n"));
}
