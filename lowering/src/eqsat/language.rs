//! The e-nodes: derived from the op table, so that a new op needs nothing here.
//!
//! Attributes are leaf children that come before the operands, so patterns bind them like anything else.
//! Equal attributes have one number because they are interned by their bits.

use std::hash::Hasher;

use egg::{Id, Language};
use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;
use tcc_ir::graph::{Attr, Op};

use crate::graph_passes::cse::{hash_attr, same_attr};

/// The children of an e-node: attributes, then operands.
pub(super) type Children = SmallVec<[Id; 6]>;

/// What an e-node is, apart from its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Head {
    /// An interned attribute.
    Attr(u32),
    /// A parameter of the graph.
    Param(u32),
    /// An op of the table without regions or names of its own.
    Op(Op),
    /// A node of the graph that rules do not look into: with regions, or binding symbols.
    Opaque(u32),
    /// One result of a node that has several.
    Project(u32),
}

/// A node of the e-graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ENode {
    pub(super) head: Head,
    pub(super) children: Children,
}

impl ENode {
    pub(super) fn leaf(head: Head) -> ENode {
        ENode { head, children: Children::new() }
    }

    /// How many of the children are attributes.
    pub(super) fn attr_count(&self) -> usize {
        match self.head {
            Head::Op(op) => op.def().attrs.len(),
            _ => 0,
        }
    }

    /// The children that are attributes.
    pub(super) fn attrs(&self) -> &[Id] {
        &self.children[..self.attr_count()]
    }

    /// The children that are tensors.
    pub(super) fn operands(&self) -> &[Id] {
        &self.children[self.attr_count()..]
    }
}

impl Language for ENode {
    type Discriminant = Head;

    fn discriminant(&self) -> Head {
        self.head
    }

    fn matches(&self, other: &ENode) -> bool {
        self.head == other.head && self.children.len() == other.children.len()
    }

    fn children(&self) -> &[Id] {
        &self.children
    }

    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.children
    }
}

/// Attributes by number.
#[derive(Default)]
pub(super) struct AttrTable {
    values: Vec<Attr>,
    by_hash: FxHashMap<u64, SmallVec<[u32; 1]>>,
}

impl AttrTable {
    /// The number of an attribute.
    pub(super) fn intern(&mut self, attr: &Attr) -> u32 {
        let mut state = FxHasher::default();
        hash_attr(attr, &mut state);
        let alike = self.by_hash.entry(state.finish()).or_default();
        // Kinds are compared too: an empty list of numbers is no empty list of expressions.
        let same = |i: &&u32| {
            let known = &self.values[**i as usize];
            known.kind() == attr.kind() && same_attr(known, attr)
        };
        if let Some(known) = alike.iter().find(same) {
            return *known;
        }
        let number = self.values.len() as u32;
        alike.push(number);
        self.values.push(attr.clone());
        number
    }

    /// The attribute of a number that this table gave.
    pub(super) fn get(&self, number: u32) -> &Attr {
        &self.values[number as usize]
    }
}
