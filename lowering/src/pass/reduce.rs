//! Shrinking a graph while something stays true of it: the way from a failing model to a small failing graph.
//!
//! Outputs are dropped, nodes replaced by parameters in ever smaller groups and
//! extents made smaller, until nothing more can go. The caller says what must stay true.

use rustc_hash::FxHashMap;
use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Attrs, Def, Graph, Value, Violation};
use tcc_ir::shape::{Shape, TensorType};
use tcc_ir::tensor::Tensor;

/// What is done at most.
#[derive(Clone, Copy, Debug)]
pub struct ReduceOptions {
    /// How often the caller is asked.
    pub trials: usize,
}

impl Default for ReduceOptions {
    fn default() -> Self {
        ReduceOptions { trials: 2000 }
    }
}

/// A smaller graph of which `fails` holds, as it must of the graph given.
pub fn reduce(graph: &Graph, options: ReduceOptions, fails: &mut dyn FnMut(&Graph) -> bool) -> Graph {
    let mut search = Search { best: graph.clone(), trials: options.trials, fails };
    loop {
        let before = search.best.clone();
        search.drop_outputs();
        search.cut_nodes();
        search.shrink_symbols();
        search.shrink_extents();
        if search.best == before || search.trials == 0 {
            return search.best;
        }
    }
}

struct Search<'a> {
    best: Graph,
    trials: usize,
    fails: &'a mut dyn FnMut(&Graph) -> bool,
}

impl Search<'_> {
    /// Keeps a candidate if it still fails; one that cannot be built or does not verify is none.
    fn offer(&mut self, candidate: Result<Graph, Violation>) -> bool {
        let Ok(candidate) = candidate else { return false };
        if self.trials == 0 || candidate == self.best || candidate.verify().is_err() {
            return false;
        }
        self.trials -= 1;
        let kept = (self.fails)(&candidate);
        if kept {
            self.best = candidate;
        }
        kept
    }

    fn drop_outputs(&mut self) {
        let mut at = 0;
        while at < self.best.outputs().len() && self.best.outputs().len() > 1 {
            let kept: Vec<usize> = (0..self.best.outputs().len()).filter(|i| *i != at).collect();
            if !self.offer(rebuilt(&self.best, &kept, &|_| false)) {
                at += 1;
            }
        }
    }

    /// Replaces groups of nodes by parameters, halves first, then halves of them.
    fn cut_nodes(&mut self) {
        let mut size = self.best.node_count().div_ceil(2).max(1);
        loop {
            let mut start = 0;
            while start < self.best.node_count() {
                let all: Vec<usize> = (0..self.best.outputs().len()).collect();
                let cut = |i: usize| (start..start + size).contains(&i);
                let nodes = self.best.node_count();
                if !self.offer(rebuilt(&self.best, &all, &cut)) || self.best.node_count() == nodes {
                    start += size;
                }
            }
            if size == 1 {
                return;
            }
            size = size.div_ceil(2);
        }
    }

    fn shrink_symbols(&mut self) {
        for symbol in self.best.symbols() {
            let range = self.best.ranges.get(&symbol);
            for value in [range.lo.max(1).min(range.hi), 2, 3] {
                if !(range.lo..=range.hi).contains(&value) {
                    continue;
                }
                let bound = |s: &tcc_ir::dim::Symbol| (*s == symbol).then(|| Dim::from(value));
                if self.offer(self.best.substitute(&bound)) {
                    break;
                }
            }
        }
    }

    /// An extent is changed wherever the number stands as one, since others must usually agree with it.
    fn shrink_extents(&mut self) {
        let mut extents: Vec<i64> =
            self.best.param_types().flat_map(|t| t.shape.iter()).filter_map(Dim::as_const).collect();
        extents.sort_unstable();
        extents.dedup();
        for extent in extents.into_iter().rev().filter(|e| *e > 1) {
            for smaller in [1, 2, extent / 2] {
                if smaller < extent && self.offer(with_extent(&self.best, extent, smaller)) {
                    break;
                }
            }
        }
    }
}

/// The graph with only some outputs, and with the results of cut nodes as parameters; what nothing needs is
/// left out.
fn rebuilt(graph: &Graph, outputs: &[usize], cut: &dyn Fn(usize) -> bool) -> Result<Graph, Violation> {
    let mut wanted = Graph::new(&graph.name);
    wanted.ranges = graph.ranges.clone();
    // First find what is needed, backwards.
    let mut needed = vec![false; graph.value_count()];
    for at in outputs {
        needed[graph.outputs()[*at].1.index()] = true;
    }
    let nodes: Vec<_> = graph.nodes().collect();
    let live = graph.live_nodes();
    for (id, node) in nodes.iter().rev() {
        let binds = node.op.def().binds && live[id.index()];
        if (node.results().any(|v| needed[v.index()]) || binds) && !cut(id.index()) {
            node.operands.iter().for_each(|v| needed[v.index()] = true);
            node.results().for_each(|v| needed[v.index()] = true);
        }
    }
    let mut map: FxHashMap<Value, Value> = FxHashMap::default();
    let mut taken: Vec<String> = Vec::new();
    for (name, value) in graph.params() {
        if needed[value.index()] {
            map.insert(*value, wanted.add_param(name, graph.ty(*value).clone()));
            taken.push(name.to_string());
        }
    }
    for (id, node) in &nodes {
        if cut(id.index()) {
            for value in node.results().filter(|v| needed[v.index()]) {
                let mut name = format!("v{}", value.index());
                while taken.contains(&name) {
                    name.push('_');
                }
                map.insert(value, wanted.add_param(&name, graph.ty(value).clone()));
                taken.push(name);
            }
        }
    }
    for (id, node) in &nodes {
        if cut(id.index()) || !node.results().any(|v| needed[v.index()]) {
            continue;
        }
        let operands: Option<Vec<Value>> = node.operands.iter().map(|v| map.get(v).copied()).collect();
        let operands = operands.ok_or_else(|| Violation::new("order", "expected operands to be kept"))?;
        let copy = wanted.push_from(
            node.op,
            &operands,
            node.attrs.clone(),
            node.regions.to_vec(),
            node.origin.clone(),
        )?;
        for (old, new) in node.results().zip(wanted.node(copy).results().collect::<Vec<_>>()) {
            map.insert(old, new);
        }
    }
    for at in outputs {
        let (name, value) = &graph.outputs()[*at];
        let value = map.get(value).ok_or_else(|| Violation::new("order", "expected outputs to be kept"))?;
        wanted.add_output(name, *value);
    }
    Ok(wanted)
}

fn with_extent(graph: &Graph, from: i64, to: i64) -> Result<Graph, Violation> {
    let dim = |d: &Dim| if d.is(from) { Dim::from(to) } else { d.clone() };
    let shape = |s: &Shape| -> Shape { s.iter().map(dim).collect() };
    let ty = |t: &TensorType| TensorType::new(t.dtype, shape(&t.shape));
    let attr = |a: &Attr| match a {
        Attr::Dims(dims) => Attr::Dims(shape(dims)),
        Attr::Dim(d) => Attr::Dim(dim(d)),
        Attr::Types(types) => Attr::Types(types.iter().map(ty).collect()),
        Attr::Tensor(tensor) => Attr::Tensor(shrunk(tensor, from, to)),
        other => other.clone(),
    };
    let mut small = Graph::new(&graph.name);
    small.ranges = graph.ranges.clone();
    let mut map: Vec<Value> = Vec::with_capacity(graph.value_count());
    for value in graph.values() {
        match graph.def(value) {
            Def::Param(i) => {
                let name = &graph.params()[i as usize].0;
                map.push(small.add_param(name, ty(graph.ty(value))));
            }
            Def::Result(id, 0) => {
                let node = graph.node(id);
                let operands: Vec<Value> = node.operands.iter().map(|v| map[v.index()]).collect();
                let attrs: Attrs = node.attrs.iter().map(attr).collect();
                let copy =
                    small.push_from(node.op, &operands, attrs, node.regions.to_vec(), node.origin.clone())?;
                map.extend(small.node(copy).results());
            }
            Def::Result(..) => {}
        }
    }
    for (name, value) in graph.outputs() {
        small.add_output(name, map[value.index()]);
    }
    Ok(small)
}

/// The first elements along every axis of the extent.
fn shrunk(tensor: &Tensor, from: i64, to: i64) -> Tensor {
    let sizes: Vec<usize> =
        tensor.shape().iter().map(|n| if *n as i64 == from { to as usize } else { *n }).collect();
    let (starts, steps) = (vec![0; sizes.len()], vec![1; sizes.len()]);
    tensor.slice(&starts, &sizes, &steps).unwrap_or_else(|_| tensor.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcc_ir::graph::{Op, parse_graph};
    use tcc_ir::scalar::ScalarOp;

    #[test]
    fn what_does_not_matter_goes() {
        let text =
            "graph @f(%x: f32[N, 8], %w: f32[8, 8]) -> (a: f32[N, 8], b: f32[N, 8]) where N in 1..=64 {
  %0 = neg %x : f32[N, 8]
  %1 = exp %0 : f32[N, 8]
  %2 = dot %1, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[N, 8]
  %3 = tanh %2 : f32[N, 8]
  return %3, %1
}";
        let graph = parse_graph(text).unwrap_or_else(|d| panic!("{d}"));
        let mut fails = |g: &Graph| g.nodes().any(|(_, n)| n.op == Op::Scalar(ScalarOp::Tanh));
        let small = reduce(&graph, ReduceOptions::default(), &mut fails);
        let expected =
            "graph @f(%v2: f32[1, 1]) -> (a: f32[1, 1]) {\n  %0 = tanh %v2 : f32[1, 1]\n  return %0\n}\n";
        assert_eq!(small.to_string(), expected);
    }
}
