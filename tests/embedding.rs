//! What an embedder relies on: no allocation once warm, the same bits whatever the threads, many calls at once, and
//! an error value for every wrong use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tcc::compile::{Compiled, Compiler, Session};
use tcc::ir::graph::parse_graph;
use tcc::lowering::pipeline::Strictness;
use tcc::runtime::model::{RunError, TensorView, TensorViewMut};
use tcc::runtime::threads::{Body, Inline, Parallel, Pool, PoolConfig, ThreadError};

use crate::support::Random;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Three dense layers of a width, for any batch.
fn layers(width: usize) -> Compiled {
    let mut random = Random(7);
    let mut text = format!("graph @layers(%x: f32[N, {width}]) -> (y: f32[N, {width}]) {{\n");
    let weights: Vec<String> = (0..width * width)
        .map(|_| format!("{:.3}", random.below(2000) as f64 / 1000.0 / width as f64 - 1.0 / width as f64))
        .collect();
    let rows: Vec<String> = weights.chunks(width).map(|row| format!("[{}]", row.join(", "))).collect();
    text +=
        &format!("  %w = const value=f32[{width}, {width}] [{}] : f32[{width}, {width}]\n", rows.join(", "));
    let mut last = "%x".to_owned();
    for layer in 0..3 {
        text += &format!(
            "  %d{layer} = dot {last}, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[N, {width}]\n  %t{layer} = tanh %d{layer} : f32[N, {width}]\n"
        );
        last = format!("%t{layer}");
    }
    text += &format!("  return {last}\n}}");
    let graph = parse_graph(&text).unwrap_or_else(|d| panic!("{}", d.render("layers", &text)));
    Compiler::new().compile(&graph).unwrap()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn rows(seed: u64, count: usize, width: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let values: Vec<f32> = (0..count * width).map(|_| random.below(4000) as f32 / 1000.0 - 2.0).collect();
    bytes(&values)
}

fn call(session: &mut Session, x: &[u8], y: &mut [u8], shape: [usize; 2], threads: &dyn Parallel) {
    let input = TensorView { dtype: "f32", shape: &shape, bytes: x };
    let output = TensorViewMut { dtype: "f32", shape: &shape, bytes: y };
    session.run_into(&[input], &mut [output], threads).unwrap();
}

#[test]
fn a_warm_call_allocates_nothing() {
    let compiled = layers(64);
    let pool = Pool::new(&PoolConfig::with_threads(2)).unwrap();
    for threads in [&Inline as &dyn Parallel, &pool] {
        let mut session = compiled.session();
        let (x, mut y) = (rows(1, 3, 64), vec![0u8; 3 * 64 * 4]);
        (0..3).for_each(|_| call(&mut session, &x, &mut y, [3, 64], threads));
        let before = ALLOCATIONS.get();
        (0..1000).for_each(|_| call(&mut session, &x, &mut y, [3, 64], threads));
        assert_eq!(ALLOCATIONS.get() - before, 0);
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_company() {
    let compiled = layers(48);
    let alone = |count: usize, threads: usize| {
        let pool = Pool::new(&PoolConfig::with_threads(threads)).unwrap();
        let (x, mut y) = (rows(count as u64, count, 48), vec![0u8; count * 48 * 4]);
        call(&mut compiled.session(), &x, &mut y, [count, 48], &pool);
        y
    };
    let expected: Vec<Vec<u8>> = (1..=20).map(|count| alone(count, 1)).collect();
    for threads in [2, 7] {
        for (i, want) in expected.iter().enumerate() {
            assert!(alone(i + 1, threads) == *want, "{} rows on {threads} threads", i + 1);
        }
    }
    let calls = if std::env::var_os("TCC_LONG").is_some() { 10_000 } else { 300 };
    let pool = Pool::new(&PoolConfig::with_threads(2)).unwrap();
    std::thread::scope(|scope| {
        for caller in 0..8u64 {
            let (compiled, expected, pool) = (&compiled, &expected, &pool);
            scope.spawn(move || {
                let mut session = compiled.session();
                let mut random = Random(caller);
                for _ in 0..calls {
                    let count = 1 + random.below(expected.len());
                    let (x, mut y) = (rows(count as u64, count, 48), vec![0u8; count * 48 * 4]);
                    call(&mut session, &x, &mut y, [count, 48], pool);
                    assert!(y == expected[count - 1], "{count} rows");
                }
            });
        }
    });
}

#[test]
fn memory_stays_flat_over_many_shapes() {
    let compiled = layers(16);
    let calls = if std::env::var_os("TCC_LONG").is_some() { 1_000_000 } else { 20_000 };
    let mut session = compiled.session();
    let mut random = Random(3);
    let (x, mut y) = (rows(5, 32, 16), vec![0u8; 32 * 16 * 4]);
    call(&mut session, &x, &mut y, [32, 16], &Inline);
    let before = ALLOCATIONS.get();
    for _ in 0..calls {
        let count = 1 + random.below(32);
        call(&mut session, &x[..count * 64], &mut y[..count * 64], [count, 16], &Inline);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn unaligned_memory_gives_the_same() {
    let compiled = layers(16);
    let x = rows(9, 5, 16);
    let mut want = vec![0u8; x.len()];
    call(&mut compiled.session(), &x, &mut want, [5, 16], &Inline);
    for shift in [1, 4, 7] {
        let mut shifted = vec![0u8; x.len() + shift];
        shifted[shift..].copy_from_slice(&x);
        let mut y = vec![0u8; x.len() + shift];
        call(&mut compiled.session(), &shifted[shift..], &mut y[shift..], [5, 16], &Inline);
        assert!(y[shift..] == want, "shifted by {shift}");
    }
}

#[test]
fn a_session_outlives_the_model_it_came_from() {
    let compiled = layers(16);
    let x = rows(4, 2, 16);
    let (mut want, mut got) = (vec![0u8; 128], vec![0u8; 128]);
    call(&mut compiled.session(), &x, &mut want, [2, 16], &Inline);
    let mut session = compiled.session();
    let caller = std::thread::spawn(move || {
        for _ in 0..200 {
            call(&mut session, &x, &mut got, [2, 16], &Inline);
        }
        got
    });
    drop(compiled);
    assert!(caller.join().unwrap() == want);
}

/// An embedder's pool: a scoped thread for each worker, tiles dealt out one by one.
struct Dealing(usize);

impl Parallel for Dealing {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tiles: i64, body: Body<'_>) -> Result<(), ThreadError> {
        let next = AtomicI64::new(0);
        std::thread::scope(|scope| {
            for worker in 0..self.0 {
                let next = &next;
                scope.spawn(move || {
                    loop {
                        let tile = next.fetch_add(1, Ordering::Relaxed);
                        if tile >= tiles {
                            return;
                        }
                        body(worker, tile, tile + 1);
                    }
                });
            }
        });
        Ok(())
    }
}

#[test]
fn an_embedders_pool_gives_the_same_bits() {
    let compiled = layers(48);
    let x = rows(2, 20, 48);
    let (mut want, mut got) = (vec![0u8; x.len()], vec![0u8; x.len()]);
    call(&mut compiled.session(), &x, &mut want, [20, 48], &Inline);
    call(&mut compiled.session(), &x, &mut got, [20, 48], &Dealing(3));
    assert!(got == want);
}

#[test]
fn subnormals_are_zeros_only_where_numbers_may_be_approximate() {
    let text = "graph @f(%x: f32[64]) -> (y: f32[64]) {\n  %0 = mul %x, %x : f32[64]\n  return %0\n}";
    let graph = parse_graph(text).unwrap();
    let x = bytes(&[1e-20; 64]);
    for (strictness, zero) in
        [(Strictness::Strict, false), (Strictness::Default, false), (Strictness::Fast, true)]
    {
        let compiled = Compiler::new().strictness(strictness).compile(&graph).unwrap();
        let mut y = vec![1u8; 256];
        let input = TensorView { dtype: "f32", shape: &[64], bytes: &x };
        let output = TensorViewMut { dtype: "f32", shape: &[64], bytes: &mut y };
        compiled.session().run_into(&[input], &mut [output], &Inline).unwrap();
        assert_eq!(y.iter().all(|b| *b == 0), zero, "{strictness:?}");
        assert!(
            std::hint::black_box(1e-20f32) * std::hint::black_box(1e-20f32) > 0.0,
            "the mode was put back"
        );
    }
}

#[test]
fn wrong_use_is_an_error() {
    let compiled = layers(16);
    let mut session = compiled.session();
    let x = rows(1, 2, 16);
    let good = TensorView { dtype: "f32", shape: &[2, 16], bytes: &x };
    let mut y = [0u8; 128];
    let mut run = |inputs: &[TensorView<'_>], dtype: &str, shape: &[usize], len: usize| {
        let output = TensorViewMut { dtype, shape, bytes: &mut y[..len] };
        session.run_into(inputs, &mut [output], &Inline).map_err(|e| e.to_string())
    };
    assert!(run(&[good], "f32", &[2, 16], 128).is_ok());
    let wrong = [
        (run(&[], "f32", &[2, 16], 128), "expected 1 inputs, got 0"),
        (run(&[good], "f64", &[2, 16], 128), "output `y`: expected f32"),
        (run(&[good], "f32", &[3, 16], 128), "output `y`: expected f32"),
        (run(&[good], "f32", &[2, 16], 64), "output `y`: expected f32"),
        (run(&[TensorView { dtype: "i32", ..good }], "f32", &[2, 16], 128), "input `x`: expected f32"),
        (run(&[TensorView { shape: &[2, 17], ..good }], "f32", &[2, 16], 128), "input `x`: expected f32"),
        (run(&[TensorView { shape: &[32], ..good }], "f32", &[2, 16], 128), "input `x`: expected f32"),
        (run(&[TensorView { bytes: &x[..64], ..good }], "f32", &[2, 16], 128), "expected 128 bytes, got 64"),
    ];
    for (result, expected) in wrong {
        let error = result.expect_err(expected);
        assert!(error.contains(expected), "expected `{expected}`, got `{error}`");
    }
    assert!(run(&[good], "f32", &[2, 16], 128).is_ok(), "a session goes on after errors");
}

#[test]
fn a_run_can_be_cancelled() {
    let compiled = layers(16);
    let x = rows(1, 2, 16);
    let mut y = vec![0u8; 128];
    let cancel = AtomicBool::new(true);
    let input = TensorView { dtype: "f32", shape: &[2, 16], bytes: &x };
    let output = TensorViewMut { dtype: "f32", shape: &[2, 16], bytes: &mut y };
    let result = compiled.session().run_until(&[input], &mut [output], &Inline, Some(&cancel));
    assert!(matches!(result, Err(RunError::Cancelled { steps: 0, .. })), "{result:?}");
}
