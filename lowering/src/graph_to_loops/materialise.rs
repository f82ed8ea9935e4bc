//! Which values get memory of their own.
//!
//! Parameters, large constants, outputs and results of host ops do. Of the others, one is written to memory
//! when its consumer walks over it more than once, or when it carries a heavy op that its consumer cannot go on
//! from. Where both would do, [`Wishes`] say what is wanted; `grouping.rs` finds the ones that cost least.

use rustc_hash::FxHashMap;
use tcc_ir::graph::{Def, Graph, Node, Op, Value};
use tcc_ir::numerics::Numerics;

use super::is_host;

/// What was decided.
pub(crate) struct Plan {
    memory: Vec<bool>,
    anchors: Vec<Option<Value>>,
    /// The values that could as well be decided otherwise.
    open: Vec<Value>,
}

/// Whether values that are open get memory.
pub(super) type Wishes = FxHashMap<Value, bool>;

impl Plan {
    /// Whether a value is written to memory (or is there from the start).
    pub(crate) fn has_memory(&self, value: Value) -> bool {
        self.memory[value.index()]
    }

    /// The values that could as well be decided otherwise, with the decisions made.
    pub(super) fn open(&self) -> impl Iterator<Item = (Value, bool)> {
        self.open.iter().map(|v| (*v, self.has_memory(*v)))
    }

    /// The heavy value that a value carries on from.
    pub(crate) fn anchor(&self, value: Value) -> Option<Value> {
        self.anchors[value.index()]
    }
}

/// The work of an expression, in additions.
const CHEAP: u32 = 4;
/// A transcendental function costs about this.
const FUNCTION: u32 = 12;
/// Deeper expressions than this gain nothing more and would strain the stack.
const MAX_DEPTH: u32 = 24;
/// More work than this in one expression is cut, so that recomputation stays bounded.
const MAX_COST: u32 = 400;

/// Ops with a nest of their own, which an elementwise epilogue can follow.
pub(super) fn is_heavy(op: Op) -> bool {
    matches!(
        op,
        Op::Dot
            | Op::Conv
            | Op::ReduceSum
            | Op::ReduceProd
            | Op::ReduceMax
            | Op::ReduceMin
            | Op::ArgMax
            | Op::ArgMin
            | Op::PoolMax
            | Op::PoolSum
            | Op::PoolArgMax
            | Op::CumSum
            | Op::CumProd
            | Op::ScatterElements
            | Op::ScatterNd
            | Op::Softmax
            | Op::LogSoftmax
            | Op::LayerNorm
            | Op::RmsNorm
            | Op::GroupNorm
            | Op::Attention
    )
}

/// Ops whose nests leave nothing for an epilogue.
fn takes_no_epilogue(op: Op) -> bool {
    matches!(op, Op::ScatterElements | Op::ScatterNd)
}

/// Ops that read every element of an operand several times.
fn rereads(op: Op) -> bool {
    matches!(
        op,
        Op::Dot
            | Op::Conv
            | Op::PoolMax
            | Op::PoolSum
            | Op::PoolArgMax
            | Op::ScatterElements
            | Op::ScatterNd
            | Op::Attention
            | Op::GroupNorm
    )
}

fn is_elementwise(op: Op) -> bool {
    matches!(op, Op::Scalar(_) | Op::Cast | Op::Bitcast | Op::Quantize | Op::Dequantize)
}

/// Ops that only say where an element comes from.
fn is_view(op: Op) -> bool {
    matches!(op, Op::Reshape | Op::Transpose | Op::Broadcast | Op::Slice | Op::Reverse)
}

#[derive(Clone, Copy, Default)]
struct Info {
    cost: u32,
    depth: u32,
    /// Indices come from data, so that scalars must be named before the expression.
    names: bool,
    /// Nothing but views of memory.
    view: bool,
}

struct Decider<'g> {
    graph: &'g Graph,
    memory: Vec<bool>,
    anchors: Vec<Option<Value>>,
    info: Vec<Info>,
}

/// Decides for every value.
pub(super) fn decide(graph: &Graph, wishes: &Wishes) -> Plan {
    let count = graph.value_count();
    let mut decider = Decider {
        graph,
        memory: vec![false; count],
        anchors: vec![None; count],
        info: vec![Info::default(); count],
    };
    for (_, value) in graph.params() {
        decider.put_in_memory(*value);
    }
    let uses = graph.use_counts();
    let mut is_output = vec![false; count];
    graph.outputs().iter().for_each(|(_, v)| is_output[v.index()] = true);
    let mut open = Vec::new();
    let mut walked = vec![false; count];
    for (_, node) in graph.nodes() {
        if walks(node.op) {
            walked[node.operands[0].index()] = true;
        }
    }
    for (_, node) in graph.nodes() {
        decider.visit(node);
        for result in node.results() {
            let i = result.index();
            let info = decider.info[i];
            let carries = decider.anchors[i].is_some();
            let forced = is_host(node.op)
                || is_output[i]
                || (uses[i] > 1 && carries)
                || info.depth > MAX_DEPTH
                || info.cost > MAX_COST;
            let may_do_both = !forced && !carries && !decider.memory[i] && info.cost > 0;
            let wanted = if may_do_both && (uses[i] > 1 || (walked[i] && info.cost >= FUNCTION)) {
                open.push(result);
                wishes.get(&result).copied().unwrap_or(uses[i] > 1 && info.cost > CHEAP)
            } else {
                false
            };
            if forced || wanted {
                decider.put_in_memory(result);
            }
        }
    }
    Plan { memory: decider.memory, anchors: decider.anchors, open }
}

/// Ops that compute an operand once more in each of several walks over it.
pub(super) fn walks(op: Op) -> bool {
    matches!(op, Op::Softmax | Op::LogSoftmax | Op::LayerNorm | Op::RmsNorm)
}

impl Decider<'_> {
    fn put_in_memory(&mut self, value: Value) {
        self.memory[value.index()] = true;
        self.info[value.index()] = Info { view: true, ..Info::default() };
        if let Def::Param(_) = self.graph.def(value) {
            self.anchors[value.index()] = None;
        }
    }

    /// Puts what a value is a rearrangement of in memory, in the order in which it is computed.
    fn put_source_in_memory(&mut self, value: Value) {
        let rearranged = |v: Value| {
            let node = self.graph.def_node(v).filter(|_| !self.memory[v.index()])?;
            matches!(node.op, Op::Transpose | Op::Reshape).then(|| node.operands[0])
        };
        let views: Vec<Value> = std::iter::successors(Some(value), |v| rearranged(*v)).collect();
        for (i, view) in views.iter().enumerate() {
            if i + 1 == views.len() {
                self.put_in_memory(*view);
            } else {
                self.anchors[view.index()] = None;
                self.info[view.index()] = Info { view: true, ..Info::default() };
            }
        }
    }

    fn visit(&mut self, node: &Node) {
        if is_host(node.op) {
            node.operands.iter().for_each(|v| self.put_in_memory(*v));
            return;
        }
        let mut merged = Info::default();
        let mut anchor = None;
        for operand in &node.operands {
            let i = operand.index();
            let carried = if self.memory[i] { None } else { self.anchors[i] };
            let info = self.info[i];
            let fits = match node.op {
                op if is_elementwise(op) => {
                    carried.is_none() || (anchor.is_none() && self.same_shape(*operand, node))
                }
                op if rereads(op) => info.view,
                // A reshape neither reorders nor drops elements, so an epilogue can go on behind it.
                Op::Reshape => true,
                // The loops of a convolution can be put in the order of any transposition of its result.
                Op::Transpose => carried.is_none() || (carried == Some(*operand) && self.is_conv(*operand)),
                Op::Broadcast => carried.is_none() && (info.cost < FUNCTION || !self.expands(*operand, node)),
                Op::Pad | Op::Concat => carried.is_none() && !info.names,
                // The second operand's elements become indices, read once for many elements.
                _ => carried.is_none(),
            };
            if !fits && rereads(node.op) {
                self.put_source_in_memory(*operand);
            } else if !fits {
                self.put_in_memory(*operand);
            } else if carried.is_some() {
                anchor = carried;
            }
            let info = self.info[i];
            merged.cost = merged.cost.saturating_add(info.cost);
            merged.depth = merged.depth.max(info.depth);
            merged.names |= info.names;
        }
        let view = is_view(node.op) && node.operands.iter().all(|v| self.info[v.index()].view);
        let result = node.result();
        if is_heavy(node.op) {
            self.anchors[result.index()] = Some(result);
            self.info[result.index()] = Info { depth: 1, ..Info::default() };
            if takes_no_epilogue(node.op) {
                self.put_in_memory(result);
            }
            return;
        }
        if node.op == Op::Const && !inlines(node) || matches!(node.op, Op::Dims | Op::Copy) {
            self.put_in_memory(result);
            return;
        }
        self.anchors[result.index()] = anchor;
        self.info[result.index()] = Info {
            cost: merged.cost.saturating_add(own_cost(node.op)),
            depth: merged.depth + 1,
            names: merged.names || matches!(node.op, Op::Gather | Op::GatherElements | Op::GatherNd),
            view,
        };
    }

    fn same_shape(&self, operand: Value, node: &Node) -> bool {
        self.graph.ty(operand).shape == self.graph.ty(node.result()).shape
    }

    fn is_conv(&self, value: Value) -> bool {
        self.graph.def_node(value).is_some_and(|n| n.op == Op::Conv)
    }

    fn expands(&self, operand: Value, node: &Node) -> bool {
        self.graph.ty(operand).shape.elements() != self.graph.ty(node.result()).shape.elements()
    }
}

/// Constants of one repeated value are written into the code.
pub(super) fn inlines(node: &Node) -> bool {
    let tcc_ir::graph::Attr::Tensor(value) = &node.attrs[0] else { return false };
    !value.is_empty() && value.strides().iter().zip(value.shape()).all(|(s, n)| *s == 0 || *n == 1)
}

/// The work of an op for one element.
pub(super) fn own_cost(op: Op) -> u32 {
    match op {
        Op::Scalar(scalar) => match scalar.def().numerics {
            Numerics::Exact => 1,
            _ => FUNCTION,
        },
        Op::Quantize | Op::Dequantize => 4,
        Op::Gather | Op::GatherElements | Op::GatherNd => 3,
        Op::Pad | Op::Concat => 2,
        _ => 0,
    }
}
