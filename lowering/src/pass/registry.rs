//! The passes that a driver knows.

use super::PassDef;
use crate::{graph_passes, mem_passes, nest_passes};

/// Passes by name.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    passes: Vec<PassDef>,
}

impl Registry {
    /// No passes.
    pub fn empty() -> Registry {
        Registry::default()
    }

    /// The passes of this crate.
    pub fn builtin() -> Registry {
        let all = graph_passes::PASSES.iter().chain(nest_passes::PASSES).chain(mem_passes::PASSES);
        all.fold(Registry::empty(), |registry, pass| registry.with(**pass))
    }

    /// One pass more; it takes the place of one of the same name.
    pub fn with(mut self, pass: PassDef) -> Registry {
        self.passes.retain(|p| p.name != pass.name);
        self.passes.push(pass);
        self.passes.sort_by_key(|p| p.name);
        self
    }

    /// The passes in order of name.
    pub fn passes(&self) -> &[PassDef] {
        &self.passes
    }

    /// The pass of a name.
    pub fn find(&self, name: &str) -> Option<&PassDef> {
        self.passes.iter().find(|p| p.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::Options;

    #[test]
    fn every_pass_is_documented_and_its_defaults_are_of_their_kinds() {
        let registry = Registry::builtin();
        assert_eq!(
            registry.passes().len(),
            graph_passes::PASSES.len() + nest_passes::PASSES.len() + mem_passes::PASSES.len()
        );
        for pass in registry.passes() {
            let _ = Options::defaults(pass.options);
            assert!(pass.doc().starts_with(&format!("`{}`: ", pass.name)), "{}", pass.name);
            assert!(pass.doc().contains("```tcc") && pass.doc().contains("->"), "{}", pass.name);
        }
    }
}
