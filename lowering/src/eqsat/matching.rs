//! From rules to searches and from matches to new nodes.
//!
//! Ops that commute are searched in either order, so that no rule is needed for that. A template is typed as
//! a whole before anything is added: what is ill typed, or of another type than what it replaces, is refused.

use egg::{ENodeOrVar, Id, Language, Pattern, RecExpr, Subst, Var};
use smallvec::SmallVec;
use tcc_ir::dim::Dim;
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::graph::{Attr, AttrKind, Attrs, Op};
use tcc_ir::numerics::Numerics;
use tcc_ir::scalar::{ScalarOp, Signature};
use tcc_ir::shape::{Shape, TensorType};
use tcc_ir::tensor::Tensor;

use super::facts::{Egraph, attr_of, infer, type_of};
use super::functions::Arg;
use super::language::{Children, ENode, Head};
use super::rule::{Callee, Expr, Rule, RuleSet, Term};

/// One way to search for a rule.
pub(super) struct Search {
    /// The rule's place in its set.
    pub(super) rule: usize,
    pub(super) pattern: Pattern<ENode>,
    /// Variables that stand for literals, with their numbers.
    literals: Vec<(Var, f64)>,
    /// What the names of families stand for.
    family: Vec<(String, Op)>,
}

/// More orders of the operands than this of one rule are not searched.
const MAX_ORDERS: usize = 256;

/// All searches of a set.
pub(super) fn searches(set: &RuleSet) -> Vec<Search> {
    let mut all = Vec::new();
    for (rule, one) in set.rules.iter().enumerate() {
        let mut orders = orders(&one.pattern);
        orders.truncate(MAX_ORDERS);
        for order in &orders {
            for family in families(order) {
                let (mut ast, mut literals) = (RecExpr::default(), Vec::new());
                write(order, &family, one.vars.len(), &mut literals, &mut ast);
                all.push(Search { rule, pattern: Pattern::new(ast), literals, family });
            }
        }
    }
    all
}

/// A term with the operands of commuting ops in every order.
fn orders(term: &Term) -> Vec<Term> {
    let Term::Apply { head, operands, attrs } = term else { return vec![term.clone()] };
    let mut lists: Vec<Vec<Term>> = vec![Vec::new()];
    for operand in operands {
        let choices = orders(operand);
        let extended = lists.iter().flat_map(|list| {
            choices.iter().map(|choice| list.iter().cloned().chain([choice.clone()]).collect())
        });
        lists = extended.collect();
    }
    if commutes(head) && operands[0] != operands[1] {
        let swapped: Vec<Vec<Term>> = lists.iter().map(|list| list.iter().rev().cloned().collect()).collect();
        lists.extend(swapped);
    }
    let apply = |operands| Term::Apply { head: head.clone(), operands, attrs: attrs.clone() };
    lists.into_iter().map(apply).collect()
}

fn commutes(head: &Callee) -> bool {
    use ScalarOp::{Add, And, Eq, Max, Min, Mul, Ne, Or, Xor};
    matches!(head, Callee::Op(Op::Scalar(Add | Mul | Max | Min | And | Or | Xor | Eq | Ne)))
}

/// Every choice of ops for the families of a term.
fn families(term: &Term) -> Vec<Vec<(String, Op)>> {
    let mut names: Vec<(String, usize)> = Vec::new();
    family_names(term, &mut names);
    let mut all = vec![Vec::new()];
    for (name, arity) in names {
        let fits = |op: &&ScalarOp| op.def().signature == Signature::Same && op.def().operands.len() == arity;
        let ops: Vec<Op> = ScalarOp::ALL.iter().filter(fits).map(|op| Op::Scalar(*op)).collect();
        let extended = all.iter().flat_map(|known: &Vec<(String, Op)>| {
            ops.iter().map(|op| known.iter().cloned().chain([(name.clone(), *op)]).collect())
        });
        all = extended.collect();
    }
    all
}

fn family_names(term: &Term, names: &mut Vec<(String, usize)>) {
    if let Term::Apply { head, operands, .. } = term {
        if let Callee::Any(name) = head
            && !names.iter().any(|(known, _)| known == name)
        {
            names.push((name.clone(), operands.len()));
        }
        operands.iter().for_each(|operand| family_names(operand, names));
    }
}

fn op_of(head: &Callee, family: &[(String, Op)]) -> Option<Op> {
    match head {
        Callee::Op(op) => Some(*op),
        Callee::Any(name) => family.iter().find(|(known, _)| known == name).map(|(_, op)| *op),
    }
}

fn var(number: usize) -> Var {
    Var::from_u32(number as u32)
}

fn write(
    term: &Term,
    family: &[(String, Op)],
    vars: usize,
    literals: &mut Vec<(Var, f64)>,
    ast: &mut RecExpr<ENodeOrVar<ENode>>,
) -> Id {
    match term {
        Term::Var(number) => ast.add(ENodeOrVar::Var(var(*number))),
        Term::Number(number) => {
            let fresh = var(vars + literals.len());
            literals.push((fresh, *number));
            ast.add(ENodeOrVar::Var(fresh))
        }
        Term::Full { .. } => unreachable!("the parser takes `full` in templates only"),
        Term::Apply { head, operands, attrs } => {
            let mut children = Children::new();
            for attr in attrs {
                let Expr::Var(number) = attr else { unreachable!("attributes of patterns are variables") };
                children.push(ast.add(ENodeOrVar::Var(var(*number))));
            }
            for operand in operands {
                children.push(write(operand, family, vars, literals, ast));
            }
            let op =
                op_of(head, family).unwrap_or_else(|| unreachable!("every family of a pattern is chosen"));
            ast.add(ENodeOrVar::ENode(ENode { head: Head::Op(op), children }))
        }
    }
}

/// A match with its conditions checked: what the template is there.
pub(super) struct Instance {
    built: Built,
}

/// A part of an instance.
enum Built {
    Known(Id, TensorType),
    New { op: Op, attrs: Attrs, operands: Vec<Built>, ty: TensorType },
}

impl Built {
    fn ty(&self) -> &TensorType {
        match self {
            Built::Known(_, ty) | Built::New { ty, .. } => ty,
        }
    }
}

impl Search {
    /// The classes of the rule's variables in a match.
    pub(super) fn bound(&self, rule: &Rule, subst: &Subst) -> SmallVec<[Id; 8]> {
        (0..rule.vars.len()).filter_map(|i| subst.get(var(i)).copied()).collect()
    }

    /// The pattern where its variables stand for what they were bound to.
    pub(super) fn written(&self, egraph: &mut Egraph, subst: &Subst) -> Id {
        let ast = &self.pattern.ast;
        let mut ids: Vec<Id> = Vec::with_capacity(ast.len());
        for node in ast.iter() {
            let id = match node {
                ENodeOrVar::Var(var) => subst[*var],
                ENodeOrVar::ENode(node) => {
                    let node = node.clone().map_children(|child| ids[usize::from(child)]);
                    egraph.add_uncanonical(node)
                }
            };
            ids.push(id);
        }
        ids.last().copied().expect("a pattern has a node")
    }

    /// The ops that the families of the rule stand for.
    pub(super) fn family(&self) -> impl Iterator<Item = Op> {
        self.family.iter().map(|(_, op)| *op)
    }

    /// The value of an expression of the rule in a match.
    pub(super) fn eval(&self, egraph: &Egraph, vars: &[Id], expr: &Expr) -> Option<Attr> {
        Scope { egraph, vars, family: &self.family }.eval(expr)
    }

    /// The rule's template where its variables stand for these classes; nothing if it is ill typed.
    pub(super) fn template(&self, egraph: &Egraph, rule: &Rule, vars: &[Id]) -> Option<Instance> {
        let built = Scope { egraph, vars, family: &self.family }.build(&rule.template)?;
        Some(Instance { built })
    }

    /// The template for a match in class `root`, if the rule holds there.
    pub(super) fn instance(
        &self,
        egraph: &Egraph,
        rule: &Rule,
        root: Id,
        subst: &Subst,
        vars: &[Id],
    ) -> Option<Instance> {
        let literal = |(var, number): &(Var, f64)| {
            let id = *subst.get(*var)?;
            let splat = egraph[id].data.splat?;
            is_number(splat, *number, type_of(egraph, id)?.dtype, rule.numerics).then_some(())
        };
        self.literals.iter().try_for_each(literal)?;
        let scope = Scope { egraph, vars, family: &self.family };
        let holds = |c: &Expr| matches!(scope.eval(c), Some(Attr::Bool(true)));
        if !rule.conditions.iter().all(holds) {
            return None;
        }
        let built = scope.build(&rule.template)?;
        let (old, new) = (type_of(egraph, root)?, built.ty());
        let same = old.dtype == new.dtype && old.shape.equal(&new.shape, &egraph.analysis.ranges);
        same.then_some(Instance { built })
    }
}

/// Whether a number is a literal: the nearest of its type, or near enough where the rule is not exact.
fn is_number(splat: Scalar, number: f64, dtype: DType, numerics: Numerics) -> bool {
    match splat {
        Scalar::Int(v) => number.fract() == 0.0 && v as f64 == number,
        Scalar::Float(v) => {
            let Scalar::Float(nearest) = Scalar::Float(number).round_to(dtype) else { return false };
            // Types of a few bits have too few numbers for two of them to be nearly the same.
            let epsilon = dtype.epsilon().filter(|e| *e < 0.01);
            let near = epsilon.is_some_and(|e| (v - number).abs() <= 4.0 * e.max(1e-6) * number.abs());
            v == nearest || (numerics > Numerics::Exact && number.fract() != 0.0 && near)
        }
    }
}

struct Scope<'a> {
    egraph: &'a Egraph,
    vars: &'a [Id],
    family: &'a [(String, Op)],
}

impl Scope<'_> {
    fn eval(&self, expr: &Expr) -> Option<Attr> {
        match expr {
            Expr::Var(number) => attr_of(self.egraph, self.vars[*number]).cloned(),
            Expr::Free(_) => None,
            Expr::Value(value) => Some(value.clone()),
            Expr::List(items) => {
                list(items.iter().map(|item| self.eval(item)).collect::<Option<Vec<Attr>>>()?)
            }
            Expr::Call(function, args) => {
                let arg = |(i, arg): (usize, &Expr)| match arg {
                    Expr::Var(number) if function.takes_tensor(i) => Some(Arg::Tensor(self.vars[*number])),
                    arg => self.eval(arg).map(Arg::Attr),
                };
                let args: Option<SmallVec<[Arg; 4]>> = args.iter().enumerate().map(arg).collect();
                function.call(self.egraph, &args?)
            }
        }
    }

    fn build(&self, term: &Term) -> Option<Built> {
        match term {
            Term::Var(number) => {
                let id = self.vars[*number];
                Some(Built::Known(id, type_of(self.egraph, id)?.clone()))
            }
            // Alone it has no neighbour to take a type from.
            Term::Number(_) => None,
            Term::Full { value, dtype, shape } => {
                let Attr::DType(dtype) = self.eval(dtype)? else { return None };
                let Attr::Dims(shape) = coerce(self.eval(shape)?, AttrKind::Dims)? else { return None };
                match self.eval(value)? {
                    Attr::Float(v) => full(v, dtype, &shape),
                    Attr::Int(v) => full(v as f64, dtype, &shape),
                    Attr::Dim(d) => full(d.as_const()? as f64, dtype, &shape),
                    _ => None,
                }
            }
            Term::Apply { head, operands, attrs } => {
                let op = op_of(head, self.family)?;
                let declared = op.def().attrs.iter().zip(attrs);
                let attrs: Attrs =
                    declared.map(|(def, attr)| coerce(self.eval(attr)?, def.kind)).collect::<Option<_>>()?;
                let mut built: Vec<Option<Built>> = operands.iter().map(|t| self.build(t)).collect();
                let neighbour = built.iter().flatten().map(|b| b.ty().clone()).next();
                for (slot, operand) in built.iter_mut().zip(operands) {
                    if let (Term::Number(number), Some(ty)) = (operand, &neighbour) {
                        *slot = full(*number, ty.dtype, &ty.shape);
                    }
                }
                let operands: Vec<Built> = built.into_iter().collect::<Option<_>>()?;
                let ty = {
                    let types: SmallVec<[&TensorType; 4]> = operands.iter().map(Built::ty).collect();
                    let results = infer(&self.egraph.analysis.ranges, op, &attrs, &types)?;
                    let [ty] = results.as_slice() else { return None };
                    ty.clone()
                };
                Some(Built::New { op, attrs, operands, ty })
            }
        }
    }
}

/// A list of numbers if all are, else of extents.
pub(super) fn list(items: Vec<Attr>) -> Option<Attr> {
    if items.iter().all(|item| matches!(item, Attr::Int(_))) {
        let int = |item: &Attr| if let Attr::Int(v) = item { Some(*v) } else { None };
        return items.iter().map(int).collect::<Option<_>>().map(Attr::Ints);
    }
    let dim = |item: Attr| match item {
        Attr::Int(v) => Some(Dim::from(v)),
        Attr::Dim(d) => Some(d),
        _ => None,
    };
    items.into_iter().map(dim).collect::<Option<Shape>>().map(Attr::Dims)
}

/// An attribute as one of a kind that can hold it.
pub(super) fn coerce(attr: Attr, kind: AttrKind) -> Option<Attr> {
    if attr.kind() == kind {
        return Some(attr);
    }
    match (attr, kind) {
        (Attr::Ints(v), AttrKind::Dims) => Some(Attr::Dims(v.iter().map(|i| Dim::from(*i)).collect())),
        (Attr::Dims(v), AttrKind::Ints) => v.iter().map(Dim::as_const).collect::<Option<_>>().map(Attr::Ints),
        (Attr::Int(v), AttrKind::Dim) => Some(Attr::Dim(Dim::from(v))),
        (Attr::Int(v), AttrKind::Float) => Some(Attr::Float(v as f64)),
        (Attr::Dim(v), AttrKind::Int) => v.as_const().map(Attr::Int),
        _ => None,
    }
}

/// A number repeated; none if it is none of the type.
fn full(number: f64, dtype: DType, shape: &Shape) -> Option<Built> {
    let scalar = if dtype.is_float() {
        Scalar::Float(number)
    } else if number.fract() == 0.0 {
        Scalar::Int(number as i128)
    } else {
        return None;
    };
    let rounded = scalar.round_to(dtype);
    if !dtype.is_float() && rounded != scalar {
        return None;
    }
    let attrs = Attrs::from_iter([Attr::Tensor(Tensor::scalar(dtype, rounded))]);
    let ty = TensorType::scalar(dtype);
    let one = Built::New { op: Op::Const, attrs, operands: Vec::new(), ty };
    if shape.rank() == 0 {
        return Some(one);
    }
    let attrs = Attrs::from_iter([Attr::Dims(shape.clone())]);
    let ty = TensorType::new(dtype, shape.clone());
    Some(Built::New { op: Op::Broadcast, attrs, operands: vec![one], ty })
}

impl Instance {
    /// The type of what it gives.
    pub(super) fn ty(&self) -> &TensorType {
        self.built.ty()
    }

    /// Adds what is new and gives the class; `made` hears of every node that was not there.
    pub(super) fn add(self, egraph: &mut Egraph, made: &mut dyn FnMut(&ENode)) -> Id {
        add(egraph, self.built, made)
    }
}

fn add(egraph: &mut Egraph, built: Built, made: &mut dyn FnMut(&ENode)) -> Id {
    match built {
        Built::Known(id, _) => id,
        Built::New { op, attrs, operands, .. } => {
            let mut children: Children = attrs.iter().map(|attr| add_attr(egraph, attr)).collect();
            for operand in operands {
                let id = add(egraph, operand, made);
                children.push(id);
            }
            let node = ENode { head: Head::Op(op), children };
            if egraph.lookup(node.clone()).is_none() {
                made(&node);
            }
            egraph.add(node)
        }
    }
}

/// The class of an op on classes, if it is well typed.
pub(super) fn apply(
    egraph: &mut Egraph,
    op: Op,
    attrs: Attrs,
    operands: &[Id],
    made: &mut dyn FnMut(&ENode),
) -> Option<Id> {
    let types: Vec<TensorType> =
        operands.iter().map(|id| type_of(egraph, *id).cloned()).collect::<Option<_>>()?;
    let borrowed: SmallVec<[&TensorType; 4]> = types.iter().collect();
    let results = infer(&egraph.analysis.ranges, op, &attrs, &borrowed)?;
    let [ty] = results.as_slice() else { return None };
    let ty = ty.clone();
    let operands = operands.iter().zip(&types).map(|(id, ty)| Built::Known(*id, ty.clone())).collect();
    let built = Built::New { op, attrs, operands, ty };
    Some(add(egraph, built, made))
}

/// The class of an attribute.
pub(super) fn add_attr(egraph: &mut Egraph, attr: &Attr) -> Id {
    let number = egraph.analysis.attrs.intern(attr);
    egraph.add(ENode::leaf(Head::Attr(number)))
}

/// A node under the names that its children have now.
pub(super) fn canonical(egraph: &Egraph, node: &ENode) -> ENode {
    node.clone().map_children(|id| egraph.find(id))
}
