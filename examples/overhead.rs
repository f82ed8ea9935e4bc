//! Prints what is not computing: the time of a call of a small model, of starting from an artifact, of compiling
//! twelve equal layers instead of one.
//!
//! ```text
//! cargo run --release --example overhead [-- ARTIFACT …]
//! ```
//!
//! Artifacts that are named are started from, too: opened, checked and loaded.

#![allow(clippy::print_stdout, reason = "the figures are this program's output")]

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use tcc::compile::{Compiled, Compiler};
use tcc::ir::graph::{Graph, parse_graph};
use tcc::runtime::model::{TensorView, TensorViewMut};
use tcc::runtime::threads::Inline;

fn main() -> Result<(), Box<dyn Error>> {
    let compiled = Compiler::new().compile(&perceptron()?)?;
    println!("call of three layers of width 64, batch 1: {:.2} us", call(&compiled)?.as_secs_f64() * 1e6);

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("mlp.tcc");
    compiled.write(&mut std::fs::File::create(&path)?)?;
    println!("start from its artifact: {:.3} ms", start(&path)?.as_secs_f64() * 1e3);
    for path in std::env::args().skip(1) {
        println!("start from {path}: {:.3} ms", start(Path::new(&path))?.as_secs_f64() * 1e3);
    }

    let (one, twelve) = (compile(&decoder(1)?)?, compile(&decoder(12)?)?);
    println!(
        "compiling 1 layer of a decoder: {:.1} ms, 12 layers: {:.1} ms, {:.2} times as long",
        one.as_secs_f64() * 1e3,
        twelve.as_secs_f64() * 1e3,
        twelve.as_secs_f64() / one.as_secs_f64()
    );
    Ok(())
}

fn parsed(text: &str) -> Result<Graph, Box<dyn Error>> {
    parse_graph(text).map_err(|d| d.render("graph", text).into())
}

fn perceptron() -> Result<Graph, Box<dyn Error>> {
    let mut text = "graph @mlp(%x: f32[1, 64]) -> (y: f32[1, 64]) {\n".to_owned();
    let mut last = "%x".to_owned();
    for layer in 0..3usize {
        let number = |i: usize| ((i * 7919 + layer * 104_729) % 1000) as f64 / 8000.0 - 0.0625;
        let row = |r: usize| {
            let all: Vec<String> = (0..64).map(|c| format!("{:.4}", number(r * 64 + c))).collect();
            format!("[{}]", all.join(", "))
        };
        let rows: Vec<String> = (0..64).map(row).collect();
        writeln!(text, "  %w{layer} = const value=f32[64, 64] [{}] : f32[64, 64]", rows.join(", "))?;
        writeln!(text, "  %d{layer} = {} : f32[1, 64]", dot(&last, &format!("%w{layer}"), 0))?;
        writeln!(text, "  %t{layer} = tanh %d{layer} : f32[1, 64]")?;
        last = format!("%t{layer}");
    }
    parsed(&format!("{text}  return {last}\n}}"))
}

fn dot(a: &str, b: &str, axis: usize) -> String {
    format!("dot {a}, {b} lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[{axis}] dtype=f32")
}

/// Layers of attention and two products each, with weights as inputs.
fn decoder(layers: usize) -> Result<Graph, Box<dyn Error>> {
    let mut params = vec!["%x: f32[128, 256]".to_owned()];
    let mut body = String::new();
    let mut last = "%x".to_owned();
    for l in 0..layers {
        for (name, shape) in
            [("q", "256, 256"), ("k", "256, 256"), ("v", "256, 256"), ("u", "256, 1024"), ("d", "1024, 256")]
        {
            params.push(format!("%w{name}{l}: f32[{shape}]"));
        }
        for name in ["q", "k", "v"] {
            writeln!(body, "  %{name}{l} = {} : f32[128, 256]", dot(&last, &format!("%w{name}{l}"), 0))?;
        }
        writeln!(body, "  %s{l} = {} : f32[128, 128]", dot(&format!("%q{l}"), &format!("%k{l}"), 1))?;
        writeln!(body, "  %p{l} = softmax %s{l} axis=1 : f32[128, 128]")?;
        writeln!(body, "  %o{l} = {} : f32[128, 256]", dot(&format!("%p{l}"), &format!("%v{l}"), 0))?;
        writeln!(body, "  %a{l} = add {last}, %o{l} : f32[128, 256]")?;
        writeln!(body, "  %u{l} = {} : f32[128, 1024]", dot(&format!("%a{l}"), &format!("%wu{l}"), 0))?;
        writeln!(body, "  %g{l} = gelu %u{l} : f32[128, 1024]")?;
        writeln!(body, "  %d{l} = {} : f32[128, 256]", dot(&format!("%g{l}"), &format!("%wd{l}"), 0))?;
        writeln!(body, "  %y{l} = add %a{l}, %d{l} : f32[128, 256]")?;
        last = format!("%y{l}");
    }
    let text =
        format!("graph @decoder({}) -> (y: f32[128, 256]) {{\n{body}  return {last}\n}}", params.join(", "));
    parsed(&text)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The median time of a warm call.
fn call(compiled: &Compiled) -> Result<Duration, Box<dyn Error>> {
    let mut session = compiled.session();
    let (x, mut y) = (vec![0u8; 256 + 16], vec![0u8; 256 + 16]);
    // Memory that a caller cares to align is used where it is.
    let [from, to] = [&x, &y].map(|v| v.as_ptr().addr().next_multiple_of(16) - v.as_ptr().addr());
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        for _ in 0..100 {
            let input = TensorView { dtype: "f32", shape: &[1, 64], bytes: &x[from..from + 256] };
            let output = TensorViewMut { dtype: "f32", shape: &[1, 64], bytes: &mut y[to..to + 256] };
            session.run_into(&[input], &mut [output], &Inline)?;
        }
        times.push(start.elapsed() / 100);
    }
    Ok(median(times))
}

/// The median time from a path to a model that can be called.
fn start(path: &Path) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..9 {
        let start = Instant::now();
        let compiled = Compiled::open(path)?;
        times.push(start.elapsed());
        drop(compiled);
    }
    Ok(median(times))
}

/// The median time of compiling.
fn compile(graph: &Graph) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        Compiler::new().compile(graph)?;
        times.push(start.elapsed());
    }
    Ok(median(times))
}
