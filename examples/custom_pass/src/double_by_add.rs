//! `double-by-add`: multiplies by two by adding.
//!
//! ```tcc
//! graph @f(%x: f32[2]) -> (y: f32[2]) {
//!   %0 = const value=f32[2] splat 2.0 : f32[2]
//!   %1 = mul %x, %0 : f32[2]
//!   return %1
//! }
//! ```
//! ->
//! ```tcc
//! graph @f(%x: f32[2]) -> (y: f32[2]) {
//!   %0 = const value=f32[2] splat 2.0 : f32[2]
//!   %1 = add %x, %x : f32[2]
//!   return %1
//! }
//! ```
//!
//! Both round the same exact value, so the pass is exact.

use tcc::ir::graph::{Attr, Attrs, Graph, Op, Rewriter, Value};
use tcc::ir::numerics::Numerics;
use tcc::ir::scalar::ScalarOp;
use tcc::lowering::pass::{Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub(crate) const PASS: PassDef = PassDef {
    name: "double-by-add",
    summary: "multiplies by two by adding",
    source: include_str!("double_by_add.rs"),
    options: &[],
    numerics: Numerics::Exact,
    run: PassFn::Graph(run),
};

fn run(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let mut rewriter = Rewriter::new(graph);
    let mut changed = false;
    for (id, node) in graph.nodes() {
        let doubles =
            node.op == Op::Scalar(ScalarOp::Mul) && is_two(&rewriter.to, rewriter.get(node.operands[1]));
        if doubles && cx.rewrite() {
            let x = rewriter.get(node.operands[0]);
            rewriter.push_for(node, Op::Scalar(ScalarOp::Add), &[x, x], Attrs::new())?;
            changed = true;
        } else {
            rewriter.copy(id);
        }
    }
    Ok(Outcome::of(changed, rewriter.finish()))
}

fn is_two(graph: &Graph, value: Value) -> bool {
    match graph.def_node(value).and_then(|node| node.attrs.first()) {
        Some(Attr::Tensor(tensor)) => tensor.iter_scalars().all(|s| s.to_f64() == 2.0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::PASS;
    use tcc::lowering::pass::{CheckOptions, Ir, Pipeline, Registry, RunOptions, run};

    #[test]
    fn the_header_is_true() {
        let doc = PASS.doc();
        let texts: Vec<&str> =
            doc.split("```").skip(1).step_by(2).map(|t| t.trim_start_matches("tcc\n")).collect();
        let registry = Registry::builtin().with(PASS);
        let pipeline = Pipeline::parse("double-by-add", &registry).unwrap();
        let options =
            RunOptions { diff: true, check: Some(CheckOptions::default()), ..RunOptions::default() };
        let after = run(Ir::parse(texts[0]).unwrap(), &pipeline, &options, &mut |_| {}).unwrap();
        assert_eq!(after.to_string(), texts[1]);
    }
}
