//! Functions of the model's own are inlined where they are called; one that calls itself is refused.

use rustc_hash::FxHashMap;

use super::context::{Refusal, Results};
use super::proto::{FunctionProto, ModelProto, NodeProto};
use super::values::Item;
use super::{DEEPEST, Importer, REPORTED, canonical_domain, opsets};

/// The functions by domain, name and overload.
pub(crate) type Functions<'m> = FxHashMap<(&'m str, &'m str, &'m str), &'m FunctionProto>;

/// The functions of a model.
pub(crate) fn index(model: &ModelProto) -> Functions<'_> {
    model
        .functions
        .iter()
        .map(|f| ((canonical_domain(&f.domain), f.name.as_str(), f.overload.as_str()), f))
        .collect()
}

impl<'m> Importer<'m> {
    /// Imports the body of a function in place of a node.
    pub(crate) fn call(
        &mut self,
        node: &'m NodeProto,
        function: &'m FunctionProto,
        inputs: Vec<Option<Item>>,
    ) -> Results {
        let this: *const FunctionProto = function;
        if self.calls.contains(&this) {
            return Err(Refusal::new(format!(
                "expected a function that does not call itself, got `{}`",
                function.name
            )));
        }
        if self.depth >= DEEPEST {
            return Err(Refusal::new(format!("expected functions nested at most {DEEPEST} deep")));
        }
        let mut attrs: FxHashMap<_, _> =
            function.attribute_proto.iter().map(|a| (a.name.as_str(), a)).collect();
        for attr in &node.attribute {
            let given = match attr.ref_attr_name.as_str() {
                "" => Some(attr),
                outer => self.function_attrs.get(outer).copied(),
            };
            attrs.extend(given.map(|g| (attr.name.as_str(), g)));
        }
        let mut scope = FxHashMap::default();
        for (name, item) in function.input.iter().zip(inputs) {
            if let Some(item) = item {
                scope.insert(name.as_str(), item);
            }
        }
        // An operand that is left out must not be looked for by its name.
        let absent =
            function.input.iter().filter(|name| !scope.contains_key(name.as_str())).collect::<Vec<_>>();
        for name in absent {
            scope.insert(name.as_str(), Item::Optional(None));
        }
        let before = self.problems.len();
        let outer_scopes = std::mem::replace(&mut self.scopes, vec![scope]);
        let outer_attrs = std::mem::replace(&mut self.function_attrs, attrs);
        let outer_opsets = (!function.opset_import.is_empty())
            .then(|| std::mem::replace(&mut self.opsets, opsets(&function.opset_import)));
        self.calls.push(this);
        self.depth += 1;
        self.import_nodes(&function.node);
        let results: Vec<Item> =
            function.output.iter().map(|name| self.lookup(name).cloned().unwrap_or(Item::Poison)).collect();
        self.depth -= 1;
        self.calls.pop();
        self.scopes = outer_scopes;
        self.function_attrs = outer_attrs;
        if let Some(opsets) = outer_opsets {
            self.opsets = opsets;
        }
        if self.problems.len() > before {
            return Err(Refusal { constraint: REPORTED.into(), ..Refusal::default() });
        }
        Ok(results)
    }
}
