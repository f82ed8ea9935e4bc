//! Extents that a model states of its own values, for where inference cannot decide.
//!
//! Of two open extents that are broadcast, either may turn out to be 1, so the result has their maximum. Where the
//! model says that it is one of its named extents, that is what it is taken for, and the run checks it. Nothing else
//! is believed: what models say of their values is often left over from before they were edited.

use rustc_hash::FxHashMap;

use super::Importer;
use super::proto::{DimensionValue, GraphProto, TensorShapeProto, TypeValue, ValueInfoProto};
use super::values::{Form, Held, Item};
use crate::dim::{Atom, Dim, Symbol};
use crate::shape::Shape;

/// What a model says.
#[derive(Default)]
pub(crate) struct Declared<'m> {
    /// The names of extents that inputs have.
    pub(crate) symbols: FxHashMap<&'m str, Symbol>,
    /// Shapes of values in the main graph.
    shapes: FxHashMap<&'m str, &'m TensorShapeProto>,
}

impl<'m> Declared<'m> {
    /// Takes note of the shapes of a graph's values.
    pub(crate) fn read(&mut self, graph: &'m GraphProto) {
        // Without names there is nothing to decide.
        if !self.symbols.is_empty() {
            let infos = graph.value_info.iter().chain(&graph.output);
            self.shapes = infos.filter_map(|info| Some((info.name.as_str(), shape_of(info)?))).collect();
        }
    }
}

fn shape_of(info: &ValueInfoProto) -> Option<&TensorShapeProto> {
    match info.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(tensor) => tensor.shape.as_ref(),
        _ => None,
    }
}

impl Importer<'_> {
    /// A result, with extents that were left undecided taken from what the model says of it.
    pub(crate) fn decided(&mut self, name: &str, item: Item) -> Item {
        let Item::Tensor(held) = &item else { return item };
        let Form::Node(value) = held.form else { return item };
        if !held.ty.shape.iter().any(is_undecided) || self.scopes.len() != 1 || self.depth > 0 {
            return item;
        }
        let Some(stated) = self.declared.shapes.get(name) else { return item };
        if stated.dim.len() != held.ty.shape.rank() {
            return item;
        }
        let shape: Shape = held
            .ty
            .shape
            .iter()
            .zip(&stated.dim)
            .map(|(dim, stated)| match &stated.value {
                Some(DimensionValue::Param(name)) if is_undecided(dim) => {
                    self.declared.symbols.get(name.as_str()).cloned().map_or(dim.clone(), Dim::sym)
                }
                _ => dim.clone(),
            })
            .collect();
        // An extent that provably differs stays what it is.
        match self.graph.reshape(value, &shape) {
            Ok(value) => Item::Tensor(Held::node(value, self.graph.ty(value).clone())),
            Err(_) => item,
        }
    }
}

fn is_undecided(dim: &Dim) -> bool {
    dim.as_const().is_none() && dim.terms().any(|t| t.atoms.iter().any(|atom| matches!(atom, Atom::Max(_))))
}
