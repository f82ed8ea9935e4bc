//! The kernels: their inputs, and the same in plain Rust. Sums are exact, so that results agree bit for bit.

use super::super::{Arg, Counters, GlobalMemory, Options, TensorMap, launch};
use super::{Case, Trouble, numbers};
use crate::ptx::Module;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "vector_add",
        text: include_str!("kernels/vector_add.ptx"),
        run: vector_add,
        free_of_conflicts: true,
    },
    Case {
        name: "reduction",
        text: include_str!("kernels/reduction.ptx"),
        run: reduction,
        free_of_conflicts: true,
    },
    Case {
        name: "transpose",
        text: include_str!("kernels/transpose.ptx"),
        run: transpose,
        free_of_conflicts: true,
    },
    Case {
        name: "matmul_simt",
        text: include_str!("kernels/matmul_simt.ptx"),
        run: |module, options| {
            let encode = |v: f32| v.to_le_bytes().to_vec();
            matmul(module, options, [32, 48, 64], [16, 16], [16, 16, 1], 0, encode)
        },
        free_of_conflicts: true,
    },
    Case {
        name: "softmax",
        text: include_str!("kernels/softmax.ptx"),
        run: softmax,
        free_of_conflicts: true,
    },
    Case {
        name: "histogram",
        text: include_str!("kernels/histogram.ptx"),
        run: histogram,
        free_of_conflicts: false,
    },
    Case {
        name: "matmul_mma bf16",
        text: include_str!("kernels/matmul_mma.ptx"),
        run: |module, options| {
            let encode = |v: f32| half::bf16::from_f32(v).to_le_bytes().to_vec();
            matmul(module, options, [64, 48, 96], [32, 16], [64, 1, 1], 3584, encode)
        },
        free_of_conflicts: true,
    },
    Case {
        name: "matmul_wgmma",
        text: include_str!("kernels/matmul_wgmma.ptx"),
        run: matmul_wgmma,
        free_of_conflicts: true,
    },
    Case {
        name: "bulk_store",
        text: include_str!("kernels/bulk_store.ptx"),
        run: bulk_store,
        free_of_conflicts: true,
    },
];

/// The same kernel with f16 operands.
#[test]
fn f16_has_the_fragments_of_bf16() {
    let text = include_str!("kernels/matmul_mma.ptx").replace("bf16.bf16", "f16.f16");
    let encode = |v: f32| half::f16::from_f32(v).to_le_bytes().to_vec();
    let module = Module::parse(&text).unwrap();
    matmul(&module, Options::default(), [64, 48, 96], [32, 16], [64, 1, 1], 3584, encode).unwrap();
}

/// Small integers as floats.
fn floats(count: usize, seed: u64) -> Vec<f32> {
    numbers(count, 15, seed).into_iter().map(|n| n as f32 - 7.0).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn go(
    module: &Module,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    args: &[Arg],
    memory: &mut GlobalMemory,
    options: Options,
) -> Result<Counters, Trouble> {
    let name = &module.kernels[0].name;
    launch(module, name, grid, block, shared, args, memory, options).map_err(|f| Trouble::Fault(Box::new(f)))
}

/// That a buffer holds these floats to within a distance.
fn expect(memory: &GlobalMemory, address: u64, wanted: &[f32], within: f32) -> Result<(), Trouble> {
    let found = memory.read(address, wanted.len() * 4).ok_or(Trouble::Wrong)?;
    let found = found.chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap()));
    let close = found.zip(wanted).all(|(a, b)| (a - b).abs() <= within);
    if close { Ok(()) } else { Err(Trouble::Wrong) }
}

fn vector_add(module: &Module, options: Options) -> Result<Counters, Trouble> {
    let count = 302;
    let (a, b) = (floats(count, 1), floats(count, 2));
    let mut memory = GlobalMemory::new();
    let args =
        [memory.upload("a", &bytes(&a)), memory.upload("b", &bytes(&b)), memory.reserve("c", count * 4)];
    let c = args[2];
    let mut args: Vec<Arg> = args.into_iter().map(Arg::U64).collect();
    args.push(Arg::U32(count as u32));
    let counters = go(module, [2, 1, 1], [64, 1, 1], 0, &args, &mut memory, options)?;
    let wanted: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    expect(&memory, c, &wanted, 0.0)?;
    Ok(counters)
}

fn reduction(module: &Module, options: Options) -> Result<Counters, Trouble> {
    let blocks = 5;
    let x = floats(blocks * 256, 3);
    let mut memory = GlobalMemory::new();
    let x_at = memory.upload("x", &bytes(&x));
    let partial = memory.reserve("partial", blocks * 4);
    let ticket = memory.upload("ticket", &[0; 4]);
    let sum = memory.reserve("sum", 4);
    let args = [x_at, partial, ticket, sum].map(Arg::U64);
    let counters = go(module, [blocks as u32, 1, 1], [128, 1, 1], 0, &args, &mut memory, options)?;
    expect(&memory, sum, &[x.iter().sum()], 0.0)?;
    Ok(counters)
}

fn transpose(module: &Module, options: Options) -> Result<Counters, Trouble> {
    let (rows, columns) = (64, 96);
    let x = floats(rows * columns, 4);
    let mut memory = GlobalMemory::new();
    let (x_at, y) = (memory.upload("x", &bytes(&x)), memory.reserve("y", rows * columns * 4));
    let args = [Arg::U64(x_at), Arg::U64(y), Arg::U32(rows as u32), Arg::U32(columns as u32)];
    let counters = go(module, [3, 2, 1], [32, 8, 1], 0, &args, &mut memory, options)?;
    let wanted: Vec<f32> = (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect();
    expect(&memory, y, &wanted, 0.0)?;
    Ok(counters)
}

fn softmax(module: &Module, options: Options) -> Result<Counters, Trouble> {
    let rows = 3;
    let x: Vec<f32> = numbers(rows * 64, 1000, 5).into_iter().map(|n| n as f32 / 100.0 - 5.0).collect();
    let mut memory = GlobalMemory::new();
    let (x_at, y) = (memory.upload("x", &bytes(&x)), memory.reserve("y", rows * 64 * 4));
    let args = [Arg::U64(x_at), Arg::U64(y), Arg::U32(rows as u32)];
    let counters = go(module, [2, 1, 1], [64, 1, 1], 0, &args, &mut memory, options)?;
    let mut wanted = Vec::new();
    for row in x.chunks(64) {
        let sum: f64 = row.iter().map(|v| f64::from(*v).exp()).sum();
        wanted.extend(row.iter().map(|v| (f64::from(*v).exp() / sum) as f32));
    }
    expect(&memory, y, &wanted, 1e-6)?;
    Ok(counters)
}

fn histogram(module: &Module, options: Options) -> Result<Counters, Trouble> {
    let x: Vec<u8> = numbers(150, 32, 6).into_iter().map(|n| n as u8).collect();
    let mut memory = GlobalMemory::new();
    let (x_at, counts) = (memory.upload("x", &x), memory.upload("counts", &[0; 128]));
    let args = [Arg::U64(x_at), Arg::U64(counts), Arg::U32(150)];
    let counters = go(module, [3, 1, 1], [64, 1, 1], 0, &args, &mut memory, options)?;
    let found: Vec<u8> = memory.read(counts, 128).unwrap().to_vec();
    let wanted = (0..32u8).flat_map(|v| (x.iter().filter(|n| **n == v).count() as u32).to_le_bytes());
    if wanted.eq(found) { Ok(counters) } else { Err(Trouble::Wrong) }
}

/// `c = a * b` for sizes m, n, k and tiles of rows and columns.
fn matmul(
    module: &Module,
    options: Options,
    [m, n, k]: [usize; 3],
    tile: [usize; 2],
    block: [u32; 3],
    shared: u32,
    encode: fn(f32) -> Vec<u8>,
) -> Result<Counters, Trouble> {
    let (a, b) = (floats(m * k, 7), floats(k * n, 8));
    let mut memory = GlobalMemory::new();
    let encoded = |values: &[f32]| values.iter().flat_map(|v| encode(*v)).collect::<Vec<u8>>();
    let a_at = memory.upload("a", &encoded(&a));
    let b_at = memory.upload("b", &encoded(&b));
    let c = memory.reserve("c", m * n * 4);
    let args = [Arg::U64(a_at), Arg::U64(b_at), Arg::U64(c), Arg::U32(n as u32), Arg::U32(k as u32)];
    let grid = [(n / tile[1]) as u32, (m / tile[0]) as u32, 1];
    let counters = go(module, grid, block, shared, &args, &mut memory, options)?;
    let element = |i: usize| (0..k).map(|j| a[i / n * k + j] * b[j * n + i % n]).sum();
    expect(&memory, c, &(0..m * n).map(element).collect::<Vec<f32>>(), 0.0)?;
    Ok(counters)
}

fn matmul_wgmma(module: &Module, options: Options) -> Result<Counters, Trouble> {
    let (m, n, k) = (128, 64, 320);
    let (a, b) = (floats(m * k, 9), floats(n * k, 10));
    let mut memory = GlobalMemory::new();
    let encoded = |values: &[f32]| -> Vec<u8> {
        values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect()
    };
    let (a_at, b_at) = (memory.upload("a", &encoded(&a)), memory.upload("b", &encoded(&b)));
    let c = memory.reserve("c", m * n * 4);
    let mut map = |address: u64, rows: usize, tile: u32| {
        let encoded = memory.encode(TensorMap {
            address,
            element: 2,
            dims: vec![k as u64, rows as u64],
            strides: vec![k as u64 * 2],
            box_dims: vec![64, tile],
            swizzle: 128,
        });
        Arg::Bytes(encoded.to_vec())
    };
    let maps = [map(a_at, m, 64), map(b_at, n, 32)];
    let mut args = maps.to_vec();
    args.extend([Arg::U64(c), Arg::U32(n as u32), Arg::U32(k as u32)]);
    let grid = [(n / 32) as u32, (m / 64) as u32, 1];
    let counters = go(module, grid, [256, 1, 1], 24576 + 32, &args, &mut memory, options)?;
    let element = |i: usize| (0..k).map(|j| a[i / n * k + j] * b[i % n * k + j]).sum();
    expect(&memory, c, &(0..m * n).map(element).collect::<Vec<f32>>(), 0.0)?;
    Ok(counters)
}

fn bulk_store(module: &Module, options: Options) -> Result<Counters, Trouble> {
    let x = floats(192, 11);
    let mut memory = GlobalMemory::new();
    let (x_at, y) = (memory.upload("x", &bytes(&x)), memory.reserve("y", 192 * 4));
    let args = [Arg::U64(x_at), Arg::U64(y)];
    let counters = go(module, [3, 1, 1], [64, 1, 1], 0, &args, &mut memory, options)?;
    let wanted: Vec<f32> = x.iter().map(|v| v + v).collect();
    expect(&memory, y, &wanted, 0.0)?;
    Ok(counters)
}
