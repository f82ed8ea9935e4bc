//! Which nodes share a kernel: the choice that costs least on a target.
//!
//! A kernel computes a value that has memory from others that have, so groups follow from which values have
//! memory, and cannot be cyclic. Where a value may have memory or be computed again at each use, both are tried,
//! from what is usually right on, and what makes the whole cheaper stays. A kernel costs a launch and the larger
//! of its traffic and its work, with what it computes again counted again.

use tcc_ir::graph::{Graph, Node, Op, Value};

use super::is_host;
use super::materialise::{Plan, Wishes, decide, inlines, is_heavy, own_cost, walks};
use crate::eqsat::{CostModel, Costs};

/// Rounds over all values that are open.
const ROUNDS: usize = 3;

/// Nodes looked at in all rounds together; what is left then stays as usual.
const MOST_LOOKS: usize = 40_000_000;

/// How often ops that walk over an operand several times do so.
const WALKS: f64 = 3.0;

/// The plan that costs least of those tried.
pub(super) fn choose(graph: &Graph, model: &CostModel) -> Plan {
    let mut best = decide(graph, &Wishes::default());
    if best.open().next().is_none() {
        return best;
    }
    let estimate = Estimate::new(graph, model);
    let mut wishes = Wishes::default();
    let mut least = estimate.cost(&best);
    let mut looks = 0;
    for _ in 0..ROUNDS {
        let before = least;
        let open: Vec<(Value, bool)> = best.open().collect();
        for (value, memory) in open {
            looks += graph.node_count();
            if looks > MOST_LOOKS {
                return best;
            }
            let known = wishes.insert(value, !memory);
            let plan = decide(graph, &wishes);
            let cost = estimate.cost(&plan);
            if cost < least {
                (best, least) = (plan, cost);
            } else {
                match known {
                    Some(known) => wishes.insert(value, known),
                    None => wishes.remove(&value),
                };
            }
        }
        if least >= before {
            break;
        }
    }
    best
}

/// What plans of a graph cost.
struct Estimate<'g> {
    graph: &'g Graph,
    model: &'g CostModel,
    /// The elements of each value, and its bytes.
    elements: Vec<f64>,
    bytes: Vec<f64>,
    /// The time that a heavy op's own work takes.
    heavy: Vec<f64>,
}

impl<'g> Estimate<'g> {
    fn new(graph: &'g Graph, model: &'g CostModel) -> Estimate<'g> {
        let costs = Costs::new(model, &graph.ranges);
        let elements: Vec<f64> = graph.values().map(|v| costs.elements(graph.ty(v))).collect();
        let size = |v: Value| elements[v.index()] * graph.ty(v).dtype.bits() as f64 / 8.0;
        let bytes = graph.values().map(size).collect();
        let mut heavy = vec![0.0; elements.len()];
        for (_, node) in graph.nodes().filter(|(_, n)| is_heavy(n.op)) {
            let operands: Vec<_> = node.operands.iter().map(|v| graph.ty(*v)).collect();
            let result = node.result();
            let work = costs.work(node.op, &node.attrs, &operands, elements[result.index()]);
            let product = matches!(node.op, Op::Dot | Op::Conv | Op::Attention);
            heavy[result.index()] = work / if product { model.contraction } else { model.scalar };
        }
        Estimate { graph, model, elements, bytes, heavy }
    }

    fn cost(&self, plan: &Plan) -> f64 {
        let mut seen = vec![0; self.elements.len()];
        let mut total = 0.0;
        for (id, node) in self.graph.nodes() {
            if is_host(node.op) || node.op == Op::Const || !plan.has_memory(node.result()) {
                continue;
            }
            total += self.kernel(plan, node, &mut seen, id.index() as u32 + 1);
        }
        total
    }

    /// The cost of the kernel of one value; `seen` holds the last kernel that met each value.
    fn kernel(&self, plan: &Plan, root: &Node, seen: &mut [u32], stamp: u32) -> f64 {
        let made = root.result().index();
        let (mut traffic, mut work, mut heavy) = (self.bytes[made], 0.0, 0.0);
        let mut todo = vec![(root, self.elements[made])];
        let mut widest: f64 = 1.0;
        while let Some((node, count)) = todo.pop() {
            widest = widest.max(count);
            work += f64::from(own_cost(node.op)) * count;
            heavy += self.heavy[node.result().index()];
            for operand in &node.operands {
                let i = operand.index();
                if std::mem::replace(&mut seen[i], stamp) == stamp {
                    continue;
                }
                let count = if walks(node.op) {
                    WALKS * self.elements[i]
                } else if is_heavy(node.op) {
                    self.elements[i]
                } else {
                    count
                };
                match self.graph.def_node(*operand) {
                    Some(from) if !plan.has_memory(*operand) => todo.push((from, count)),
                    Some(from) if from.op == Op::Const && inlines(from) => {}
                    _ => traffic += self.bytes[i].min(count * self.bytes[i] / self.elements[i].max(1.0)),
                }
            }
        }
        let busy = (widest / self.model.lanes).min(1.0);
        let time = work / (self.model.scalar * busy) + heavy;
        self.model.launch + time.max(traffic / self.model.bandwidth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcc_ir::graph::parse_graph;

    /// Two sums read the tanh of a large tensor: to keep it saves work, to compute it twice saves traffic.
    #[test]
    fn targets_group_as_their_rooflines_say() {
        let graph = parse_graph(
            "graph @f(%x: f32[512, 2048]) -> (y: f32[512], z: f32[2048]) {\n\
             %0 = tanh %x : f32[512, 2048]\n\
             %1 = reduce_sum %0 axes=[1] : f32[512]\n\
             %2 = reduce_sum %0 axes=[0] : f32[2048]\n\
             return %1, %2\n}\n",
        )
        .unwrap();
        let tanh = graph.nodes().next().map(|(_, n)| n.result()).unwrap();
        assert!(choose(&graph, &CostModel::cpu()).has_memory(tanh), "a processor keeps it");
        assert!(!choose(&graph, &CostModel::gpu()).has_memory(tanh), "a GPU computes it twice");
    }

    /// What is cheap is computed in each of several walks, what is dear is kept for them.
    #[test]
    fn what_is_computed_again_is_counted_again() {
        let graph = |op: &str| {
            let text = format!(
                "graph @f(%x: f32[512, 2048]) -> (y: f32[512, 2048]) {{\n\
                 %0 = {op} : f32[512, 2048]\n\
                 %1 = softmax %0 axis=1 : f32[512, 2048]\n\
                 return %1\n}}\n"
            );
            parse_graph(&text).unwrap()
        };
        let kept = |op: &str| {
            let graph = graph(op);
            let value = graph.nodes().next().map(|(_, n)| n.result()).unwrap();
            choose(&graph, &CostModel::cpu()).has_memory(value)
        };
        assert!(!kept("mul %x, %x"));
        assert!(kept("erf %x"));
    }
}
