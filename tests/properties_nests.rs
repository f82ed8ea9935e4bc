//! Properties of nests, taken from random graphs, and of texts with random damage.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tcc::ir::dim::Bindings;
use tcc::ir::dtype::DType;
use tcc::ir::graph::eval::evaluate;
use tcc::ir::loops::{Combine, Expr, Nest, Stmt, interpret_with, parse_nest};
use tcc::ir::scalar::{ScalarOp, Signature};
use tcc::ir::tensor::{Tensor, Tolerance};
use tcc::lowering::graph_to_loops::{Work, lower_graph};
use tcc::lowering::loops_to_mem::lower_nest;
use tcc::lowering::pass::{
    CheckOptions, Ir, Level, Pipeline, Registry, RunOptions, random_inputs, run as run_pipeline,
};

use crate::properties::seeds;
use crate::support::{Random, generate};

/// The kernels of a random graph.
fn nests(seed: u64) -> Vec<Nest> {
    let graph = generate::graph(seed);
    let nest = |work| match work {
        Work::Nest(nest) => Some(nest),
        Work::Host(_) => None,
    };
    lower_graph(&graph).into_iter().filter_map(|stage| nest(stage.work)).collect()
}

#[test]
fn nests_verify_and_round_trip() {
    let mut count = 0;
    for nest in seeds().flat_map(nests) {
        nest.verify().unwrap_or_else(|d| panic!("{d}\n{nest}"));
        let text = nest.to_string();
        let again = parse_nest(&text).unwrap_or_else(|d| panic!("{}", d.render("text", &text)));
        assert_eq!(again.to_string(), text);
        count += 1;
    }
    assert!(count > 500, "only {count} nests came of the graphs");
}

#[test]
fn every_nest_pass_keeps_what_is_computed() {
    let registry = Registry::builtin();
    let names: Vec<&str> =
        registry.passes().iter().filter(|p| p.level() == Level::Nest).map(|p| p.name).collect();
    let pipeline = Pipeline::parse(&names.join(","), &registry).unwrap();
    let check = Some(CheckOptions { samples: 2, seed: 0 });
    let options = RunOptions { diff: true, check, ..RunOptions::default() };
    let (mut compared, mut changed) = (0, 0);
    for nest in seeds().flat_map(nests) {
        run_pipeline(Ir::Nest(nest.clone()), &pipeline, &options, &mut |applied| {
            compared += applied.checked.as_ref().map_or(0, |c| c.compared);
            changed += usize::from(applied.changed);
        })
        .unwrap_or_else(|e| panic!("{e}\n{nest}"));
    }
    assert!(compared > changed, "only {compared} of {changed} changes were compared on a sample");
}

/// A poor man's fuzzer, which is always there: whatever happens to a text, the parser answers.
#[test]
fn damaged_texts_are_refused_or_read() {
    let tokens = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "%",
        "@",
        "\"",
        "-",
        "9999999999999999999",
        "0",
        "é",
        "\0",
        "nan",
        ":",
        "=",
        "//",
        "/",
        "max(",
        "\n",
    ];
    for seed in seeds() {
        let mut random = Random(seed);
        let mut texts = vec![generate::graph(seed).to_string()];
        texts.extend(nests(seed).first().map(ToString::to_string));
        for text in texts {
            for _ in 0..4 {
                let mut damaged = text.clone();
                for _ in 0..1 + random.below(3) {
                    let token = tokens[random.below(tokens.len())];
                    damage(&mut damaged, token, &mut random);
                }
                let read = catch_unwind(AssertUnwindSafe(|| Ir::parse(&damaged).map(|ir| ir.to_string())));
                match read {
                    Ok(Ok(printed)) => assert!(Ir::parse(&printed).is_ok(), "reads once only:\n{damaged}"),
                    Ok(Err(diags)) => assert!(!diags.render("damaged", &damaged).is_empty()),
                    Err(_) => panic!("seed {seed}: the parser panics on\n{damaged}"),
                }
            }
        }
    }
}

fn damage(text: &mut String, token: &str, random: &mut Random) {
    let mut place = |end: usize, text: &str| {
        let mut at = random.below(end + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = place(text.len(), text);
    let to = from + place((text.len() - from).min(12), &text[from..]);
    text.replace_range(from..to, token);
}

/// Lowering keeps what a nest computes, bit for bit: it orders nothing anew.
#[test]
fn programs_compute_what_their_nests_do() {
    let mut compared = 0;
    for nest in seeds().flat_map(nests) {
        let bindings: Bindings =
            nest.ranges.iter().map(|(s, r)| (s.clone(), r.lo.max(2).min(r.hi))).collect();
        let tensor = |i: usize| {
            let ty = &nest.inputs[i].ty;
            Tensor::random(ty.dtype, &ty.shape.eval(&bindings).ok()?, i as u64).ok()
        };
        let Some(inputs) = (0..nest.inputs.len()).map(tensor).collect::<Option<Vec<_>>>() else { continue };
        let Ok(expected) = interpret_with(&nest, &inputs, &bindings) else { continue };
        let program = lower_nest(&nest);
        let got = tcc::ir::mem::interpret(&program, &inputs, &bindings)
            .unwrap_or_else(|e| panic!("{e}\n{nest}\n{program}"));
        for (got, want) in got.iter().zip(&expected) {
            let got = got.reshape(want.shape()).unwrap();
            assert_eq!(&got, want, "{nest}\n{program}");
            compared += 1;
        }
    }
    assert!(compared > 500, "{compared}");
}

/// Whether a result that may be rounded differently goes into a function that jumps: then a difference in the
/// last place can become any difference, and there is nothing to compare.
fn jumps_after_rounding(nest: &Nest) -> bool {
    use ScalarOp::*;
    let (mut rounds, mut jumps) = (false, false);
    for stmt in &nest.body {
        stmt.each(&mut |s| {
            rounds |= matches!(s, Stmt::Store { combine: Combine::With(Add | Mul), .. });
            s.each_expr(&mut |e| {
                e.each(&mut |inner| match inner {
                    Expr::Bitcast(..) => jumps = true,
                    Expr::Cast { to, .. } => jumps |= !to.is_float(),
                    Expr::Op(op, _) => {
                        jumps |= matches!(op, Atan2 | Floor | Ceil | Round | Trunc | Sign | Rem | FloorMod);
                        jumps |= op.def().signature == Signature::Test;
                    }
                    _ => {}
                });
            });
        });
    }
    rounds && jumps
}

/// Every nest computes what the nodes it was made of compute, given the values that it reads.
#[test]
fn nests_compute_what_their_nodes_do() {
    let mut compared = 0;
    let mut failures = Vec::new();
    for seed in seeds() {
        let graph = generate::graph(seed);
        let mut all = graph.clone();
        for value in graph.values() {
            all.add_output(&format!("value{}", value.index()), value);
        }
        let Ok(sample) = random_inputs(&Ir::Graph(graph.clone()), seed, false) else { continue };
        // A graph without a value for these inputs says nothing.
        let Ok(values) = evaluate(&all, &sample.inputs) else { continue };
        let values = &values[graph.outputs().len()..];
        for stage in lower_graph(&graph) {
            let Work::Nest(nest) = stage.work else { continue };
            // Names given while the graph runs are not among those of its parameters.
            if !nest.ranges.iter().all(|(s, _)| sample.bindings.contains_key(s)) {
                continue;
            }
            if jumps_after_rounding(&nest) {
                continue;
            }
            let inputs: Vec<Tensor> = stage.inputs.iter().map(|v| values[v.index()].clone()).collect();
            let result = interpret_with(&nest, &inputs, &sample.bindings).map_err(|e| e.to_string());
            let agrees = result.and_then(|outputs| {
                let expected = stage.outputs.iter().map(|v| &values[v.index()]);
                outputs.iter().zip(expected).try_for_each(|(a, e)| {
                    let tolerance = tolerance(&nest, e.dtype());
                    a.compare(e, tolerance).map(|_| ()).map_err(|e| e.to_string())
                })
            });
            match agrees {
                Ok(()) => compared += 1,
                Err(error) => failures.push(format!("seed {seed}: {error}\n{nest}")),
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}\n{}",
        failures.len(),
        failures.len() + compared,
        failures.join("\n")
    );
    assert!(compared > 500, "only {compared} nests were compared");
}

/// A sum of narrower floats that is widened afterwards is no more precise than they are.
fn tolerance(nest: &Nest, dtype: DType) -> Tolerance {
    let floats = nest.params().map(|b| b.ty.dtype).filter(|d| d.is_float() && d.bits() >= 16);
    match floats.min_by_key(|d| d.bits()) {
        Some(narrow) if dtype.is_float() && dtype.bits() > narrow.bits() => Tolerance::for_dtype(narrow),
        _ => Tolerance::for_dtype(dtype),
    }
}

#[test]
fn a_loop_that_cannot_be_vectors_gives_up_the_wide_register_it_fills() {
    let text = "nest @f(x: f32[8]) -> (y: f32[8]) {
  alloc sum: f32[8] in register
  for i in 0..8 vector { sum[i] = f32(0.0) }
  for k in 0..4 { for i in 0..8 vector { sum[i] += x[i % 3 + k] } }
  for i in 0..8 vector { y[i] = sum[i] }
}";
    let nest = parse_nest(text).unwrap_or_else(|d| panic!("{}", d.render("text", text)));
    let x = [Tensor::random(DType::F32, &[8], 1).unwrap()];
    let expected = interpret_with(&nest, &x, &Bindings::new()).unwrap();
    let program = lower_nest(&nest);
    let got = tcc::ir::mem::interpret(&program, &x, &Bindings::new()).unwrap();
    assert_eq!(got, expected, "{program}");
}
