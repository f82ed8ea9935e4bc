//! What sequences and optional values are made of, so that branches may give them: the tensors go through the graph,
//! the structure around them, which must be the same in both branches, stays with the importer.

use super::REPORTED;
use super::context::{Refusal, Step};
use super::values::{Held, Item};

/// An item without its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Structure {
    /// A tensor.
    Tensor,
    /// The elements of a sequence.
    Sequence(Vec<Structure>),
    /// An optional value, empty or not.
    Optional(Option<Box<Structure>>),
}

impl Structure {
    /// Takes an item apart: its tensors are appended in order.
    pub(crate) fn of(item: &Item, tensors: &mut Vec<Held>) -> Step<Structure> {
        Ok(match item {
            Item::Tensor(held) => {
                tensors.push(held.clone());
                Structure::Tensor
            }
            Item::Sequence(items) => {
                let parts = items.iter().map(|i| Structure::of(i, tensors)).collect::<Step<Vec<Structure>>>();
                Structure::Sequence(parts?)
            }
            Item::Optional(None) => Structure::Optional(None),
            Item::Optional(Some(inner)) => {
                Structure::Optional(Some(Box::new(Structure::of(inner, tensors)?)))
            }
            Item::Poison => return Err(Refusal { constraint: REPORTED.into(), ..Refusal::default() }),
        })
    }

    /// Puts an item together again; `None` if there are too few tensors.
    pub(crate) fn fill(&self, tensors: &mut impl Iterator<Item = Item>) -> Option<Item> {
        Some(match self {
            Structure::Tensor => tensors.next()?,
            Structure::Sequence(parts) => {
                let items = parts.iter().map(|p| p.fill(tensors)).collect::<Option<Vec<Item>>>()?;
                Item::Sequence(std::rc::Rc::new(items))
            }
            Structure::Optional(None) => Item::Optional(None),
            Structure::Optional(Some(inner)) => Item::Optional(Some(Box::new(inner.fill(tensors)?))),
        })
    }
}
