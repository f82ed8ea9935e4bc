//! Instances of rules: both sides as graphs, so that an interpreter can compare them.
//!
//! The `try` lines of a rule say which shapes its variables take. Names that are bound nowhere are extents,
//! drawn here: zero, one and odd numbers, and symbols. Element types are tried one after the other; what is
//! ill typed or does not meet the conditions is no instance.

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Range, Symbol};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::graph::{Attr, Attrs, Graph, Op, Value};
use tcc_ir::scalar::{ScalarOp, Signature};
use tcc_ir::shape::Shape;
use tcc_ir::tensor::Tensor;

use super::cost::CostModel;
use super::facts::Egraph;
use super::functions::Arg;
use super::matching::{canonical, coerce, list, searches};
use super::rule::{Callee, Content, Example, Expr, Rule, RuleSet, Term};
use super::saturate::{Budget, Origins, saturate};
use super::{convert, extract};

/// One place where a rule applies.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The pattern.
    pub before: Graph,
    /// The template.
    pub after: Graph,
}

const DTYPES: &[DType] = &[
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::I32,
    DType::I64,
    DType::U8,
    DType::I8,
    DType::Bool,
];

/// Extents for the names of an example, in order of first use.
const EXTENTS: &[[i64; 6]] =
    &[[2, 3, 5, 1, 2, 3], [1, 1, 1, 1, 1, 1], [3, 0, 2, 5, 1, 1], [7, 5, 3, 1, 3, 2], [5, 1, 3, 2, 7, 1]];

/// The instances that the examples of a rule have; `seed` varies constants and the ops of families.
pub fn instances(rule: &Rule, seed: u64) -> Vec<Instance> {
    let set = RuleSet { rules: vec![rule.clone()] };
    let searches = searches(&set);
    let mut all = Vec::new();
    let mut turn = seed;
    for example in &rule.examples {
        for dtype in DTYPES {
            for (draw, extents) in EXTENTS.iter().enumerate() {
                for symbolic in [false, true] {
                    turn += 1;
                    // Symbols add nothing to the other draws.
                    if symbolic && draw > 0 {
                        continue;
                    }
                    let maker = Maker::new(rule, example, *dtype, extents, symbolic, turn);
                    let made = maker.pattern().and_then(|before| {
                        let after = rewritten(&before, &set, &searches)?;
                        Some(Instance { before, after })
                    });
                    all.extend(made);
                }
            }
        }
    }
    all
}

/// The graph with the rule applied at its outputs.
fn rewritten(graph: &Graph, set: &RuleSet, searches: &[super::matching::Search]) -> Option<Graph> {
    let mut imported = convert::Imported::new(graph);
    let budget = Budget { iterations: 1, ..Budget::default() };
    let mut origins = Origins::default();
    saturate(&mut imported.egraph, set, searches, budget, &mut origins, &mut || true);
    assert_eq!(imported.egraph.analysis.conflicts, 0, "types disagree after {}", set.rules[0].name);
    let classes = extract::Classes::new(&imported.egraph, &CostModel::cpu());
    let root = |value: Value| classes.number(&imported.egraph, imported.class(value)?);
    let roots: Vec<u32> = graph.outputs().iter().map(|(_, v)| root(*v)).collect::<Option<_>>()?;
    let extraction = if set.rules[0].merging.is_some() {
        let choices = classes.places(&imported.egraph, origins.groups.first()?);
        classes.choosing(&imported.egraph, &imported.original, &choices)
    } else {
        let old = canonical(&imported.egraph, imported.original.last()?);
        classes.avoiding(&imported.egraph, &imported.original, *roots.first()?, &old)?
    };
    let regions = FxHashMap::default();
    let exporter = convert::Exporter::new(graph, &imported, &classes, &extraction, &regions);
    exporter.export(&roots).filter(|(_, touched)| *touched).map(|(next, _)| next)
}

struct Maker<'r> {
    rule: &'r Rule,
    example: &'r Example,
    dtype: DType,
    extents: &'r [i64; 6],
    symbolic: bool,
    /// What the ops of families follow from, the same at both places of a rule that merges.
    turn: u64,
    seed: u64,
    graph: Graph,
    names: Vec<String>,
    attrs: FxHashMap<String, Attr>,
    tensors: FxHashMap<String, Value>,
}

impl<'r> Maker<'r> {
    fn new(
        rule: &'r Rule,
        example: &'r Example,
        dtype: DType,
        extents: &'r [i64; 6],
        symbolic: bool,
        seed: u64,
    ) -> Self {
        let (names, attrs, tensors) = Default::default();
        let (turn, graph) = (seed, Graph::new("f"));
        Maker { rule, example, dtype, extents, symbolic, turn, seed, graph, names, attrs, tensors }
    }

    /// The pattern, twice if the rule merges: what differs between the places has other extents.
    fn pattern(mut self) -> Option<Graph> {
        self.bind(&|_| true)?;
        let root = self.build(&self.rule.pattern)?;
        self.graph.add_output("y", root);
        if let Some(merging) = &self.rule.merging {
            let differs = |name: &str| merging.over.iter().any(|(over, _)| self.rule.vars[*over] == name);
            let mut shared = Vec::new();
            let tensors = self.example.tensors.iter().map(|(name, operand)| (name, &operand.shape));
            let attrs = self.example.attrs.iter().map(|(name, value)| (name, value));
            tensors.chain(attrs).filter(|(n, _)| !differs(n)).for_each(|(_, e)| free_names(e, &mut shared));
            for name in &mut self.names {
                if !shared.contains(name) {
                    name.clear();
                }
            }
            self.bind(&differs)?;
            let root = self.build(&self.rule.pattern)?;
            self.graph.add_output("z", root);
        }
        self.graph.verify().ok()?;
        Some(self.graph)
    }

    /// Gives the variables of some names what the example says.
    fn bind(&mut self, wanted: &dyn Fn(&str) -> bool) -> Option<()> {
        for (name, operand) in self.example.tensors.iter().filter(|(name, _)| wanted(name)) {
            let Attr::Dims(shape) = coerce(self.eval(&operand.shape)?, tcc_ir::graph::AttrKind::Dims)? else {
                return None;
            };
            let dtype = operand.dtype.unwrap_or(self.dtype);
            self.seed += 1;
            let value = match operand.content {
                Content::Unknown => self.graph.add_param(name, tcc_ir::shape::TensorType::new(dtype, shape)),
                Content::Constant => {
                    let tensor = Tensor::random(dtype, &shape.as_fixed()?, self.seed).ok()?;
                    self.graph.constant(tensor).ok()?
                }
                Content::Splat(number) => self.full(number, dtype, &shape)?,
            };
            self.tensors.insert(name.clone(), value);
        }
        for (name, attr) in self.example.attrs.iter().filter(|(name, _)| wanted(name)) {
            let value = self.eval(attr)?;
            self.attrs.insert(name.clone(), value);
        }
        Some(())
    }

    fn full(&mut self, number: f64, dtype: DType, shape: &Shape) -> Option<Value> {
        let scalar = if dtype.is_float() { Scalar::Float(number) } else { Scalar::Int(number as i128) };
        if !dtype.is_float() && scalar.round_to(dtype).to_f64() != number {
            return None;
        }
        self.graph.full(dtype, number, shape).ok()
    }

    /// The extent that a name stands for.
    fn extent(&mut self, name: &str) -> Dim {
        let at = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        if !self.symbolic {
            return Dim::from(self.extents[at % self.extents.len()]);
        }
        let symbol = Symbol::new(&format!("S{name}"));
        self.graph.set_range(symbol.clone(), Range { lo: 1, hi: 5 });
        Dim::sym(symbol)
    }

    fn eval(&mut self, expr: &Expr) -> Option<Attr> {
        match expr {
            Expr::Var(number) => self.attrs.get(&self.rule.vars[*number]).cloned(),
            Expr::Free(name) => {
                let dim = self.extent(name);
                Some(dim.as_const().map_or(Attr::Dim(dim), Attr::Int))
            }
            Expr::Value(value) => Some(value.clone()),
            Expr::List(items) => list(items.iter().map(|i| self.eval(i)).collect::<Option<Vec<Attr>>>()?),
            Expr::Call(function, args) => {
                let args: Option<Vec<Arg>> = args.iter().map(|a| self.eval(a).map(Arg::Attr)).collect();
                let empty: Egraph = convert::Imported::new(&Graph::new("none")).egraph;
                function.call(&empty, &args?)
            }
        }
    }

    fn build(&mut self, term: &Term) -> Option<Value> {
        match term {
            Term::Var(number) => self.tensors.get(&self.rule.vars[*number]).copied(),
            Term::Number(_) | Term::Full { .. } => None,
            Term::Apply { head, operands, attrs } => {
                let op = match head {
                    Callee::Op(op) => *op,
                    Callee::Any(_) => {
                        let fits = |op: &&ScalarOp| {
                            op.def().signature == Signature::Same && op.def().operands.len() == operands.len()
                        };
                        let ops: Vec<&ScalarOp> = ScalarOp::ALL.iter().filter(fits).collect();
                        // The same at every place of the pattern.
                        Op::Scalar(*ops[self.rule.name.len().wrapping_add(self.example_turn()) % ops.len()])
                    }
                };
                let declared = op.def().attrs.iter().zip(attrs);
                let attrs: Vec<Attr> = declared
                    .map(|(def, attr)| {
                        let value = match self.eval(attr) {
                            Some(value) => value,
                            // A type that an example leaves open is the one tried.
                            None if def.kind == tcc_ir::graph::AttrKind::DType => self.dtype.into(),
                            None => return None,
                        };
                        coerce(value, def.kind)
                    })
                    .collect::<Option<_>>()?;
                let mut values: Vec<Option<Value>> = operands.iter().map(|o| self.build(o)).collect();
                let neighbour = values.iter().flatten().map(|v| self.graph.ty(*v).clone()).next();
                for (slot, operand) in values.iter_mut().zip(operands) {
                    if let (Term::Number(number), Some(ty)) = (operand, &neighbour) {
                        *slot = self.full(*number, ty.dtype, &ty.shape);
                    }
                }
                let values: Vec<Value> = values.into_iter().collect::<Option<_>>()?;
                self.graph.op(op, &values, Attrs::from_iter(attrs)).ok()
            }
        }
    }

    fn example_turn(&self) -> usize {
        self.turn as usize
    }
}

/// The names of an expression that stand for extents.
fn free_names(expr: &Expr, names: &mut Vec<String>) {
    match expr {
        Expr::Free(name) => names.push(name.clone()),
        Expr::List(items) | Expr::Call(_, items) => items.iter().for_each(|item| free_names(item, names)),
        Expr::Var(_) | Expr::Value(_) => {}
    }
}
