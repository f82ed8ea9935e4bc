//! Rewrite rules as data: what the text of a rules file says, with its names resolved.

use tcc_ir::dtype::DType;
use tcc_ir::graph::{Attr, Op};
use tcc_ir::numerics::Numerics;

use super::functions::Function;

/// A rule: wherever `pattern` is found and the conditions hold, `template` is the same.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The name, distinct in a set.
    pub name: String,
    /// How far the template may be from the pattern.
    pub numerics: Numerics,
    /// The file it stands in, without the ending.
    pub theme: String,
    /// The text, on one line.
    pub text: String,
    /// The variables of the pattern, by the numbers that terms use.
    pub(super) vars: Vec<String>,
    pub(super) pattern: Term,
    pub(super) template: Term,
    pub(super) conditions: Vec<Expr>,
    /// Where several matches become one; the template is the pattern then.
    pub(super) merging: Option<Merging>,
    /// Instances that tests try the rule on.
    pub examples: Vec<Example>,
}

/// Matches that agree in all but some variables are one application of the pattern to those joined.
#[derive(Clone, Debug)]
pub(super) struct Merging {
    /// The variables that differ, with the axis along which tensors are joined and extents added.
    pub(super) over: Vec<(usize, Expr)>,
    /// The axis along which the results lie one after the other.
    pub(super) along: Expr,
}

/// An instance of a pattern's variables. Names that are bound nowhere are extents for a test to choose.
#[derive(Clone, Debug, Default)]
pub struct Example {
    /// The tensors.
    pub(super) tensors: Vec<(String, Operand)>,
    /// The attributes.
    pub(super) attrs: Vec<(String, Expr)>,
}

/// A tensor of an example.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) content: Content,
    /// Any type if none is given.
    pub(super) dtype: Option<DType>,
    pub(super) shape: Expr,
}

/// What is known of a tensor of an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Content {
    /// A parameter.
    Unknown,
    /// A constant with random elements.
    Constant,
    /// A constant that repeats a number.
    Splat(f64),
}

/// A pattern or a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    /// A variable.
    Var(usize),
    /// A tensor that repeats a number: in templates, of the type of its first neighbour.
    Number(f64),
    /// A tensor that repeats a number, of a type and shape that are given. Only in templates.
    Full { value: Box<Expr>, dtype: Box<Expr>, shape: Box<Expr> },
    /// An op. In patterns every attribute is a variable.
    Apply { head: Callee, operands: Vec<Term>, attrs: Vec<Expr> },
}

/// What a term applies.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Callee {
    /// An op of the table.
    Op(Op),
    /// Any elementwise op with as many operands and one element type, the same wherever the name stands.
    Any(String),
}

/// An expression over attributes, types and constants.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    /// A variable of the pattern.
    Var(usize),
    /// A name that the pattern does not bind; only in examples.
    Free(String),
    /// A value.
    Value(Attr),
    /// A list.
    List(Vec<Expr>),
    /// A function of the table.
    Call(&'static Function, Vec<Expr>),
}

/// Rules that are searched together.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// The rules in order.
    pub rules: Vec<Rule>,
}

impl RuleSet {
    /// The rules within a class of numerics.
    pub fn within(&self, most: Numerics) -> RuleSet {
        RuleSet { rules: self.rules.iter().filter(|r| r.numerics <= most).cloned().collect() }
    }

    /// Adds rules, each in the place of one of the same name.
    pub fn extend(&mut self, other: RuleSet) {
        for rule in other.rules {
            match self.rules.iter_mut().find(|r| r.name == rule.name) {
                Some(known) => *known = rule,
                None => self.rules.push(rule),
            }
        }
    }

    /// A rule by name.
    pub fn find(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|r| r.name == name)
    }
}
