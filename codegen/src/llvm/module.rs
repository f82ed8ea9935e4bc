//! A module in LLVM's text: functions, what they declare, and the marks of their memory accesses.

use std::collections::BTreeMap;
use std::fmt::Write;

use tcc_ir::dim::Symbol;

/// The text of a module as it grows.
#[derive(Default)]
pub(super) struct ModuleText {
    functions: String,
    /// Declarations by name.
    declared: BTreeMap<String, String>,
    /// Functions that belong to no program, by name.
    shared: BTreeMap<String, String>,
    metadata: String,
    marks: usize,
}

impl ModuleText {
    /// Says that a function exists elsewhere.
    pub(super) fn declare(&mut self, name: &str, result: &str, types: &str, attributes: &str) {
        if !self.declared.contains_key(name) {
            let text = format!("declare {result} @{name}({types}) {attributes}\n");
            self.declared.insert(name.to_owned(), text);
        }
    }

    /// Adds a function of the module's own, if it is not there yet.
    pub(super) fn share(&mut self, name: &str, text: impl FnOnce() -> String) {
        if !self.shared.contains_key(name) {
            self.shared.insert(name.to_owned(), text());
        }
    }

    /// Adds the function of a program.
    pub(super) fn function(&mut self, name: &str, slots: &str, body: &str) {
        let _ = write!(
            self.functions,
            "define void @\"{name}\"(ptr noalias readonly %buffers, ptr noalias readonly %symbols, i64 %begin, \
             i64 %end, ptr %scratch) nounwind {{\nentry:\n{slots}{body}}}\n\n"
        );
    }

    /// For each buffer of a function, the marks which say that its accesses touch none of the others.
    ///
    /// Inputs may be one and the same memory; since nobody writes to them, nothing follows from calling them apart.
    pub(super) fn scopes(&mut self, names: &[Symbol]) -> Vec<(Symbol, String)> {
        // !0 is the empty node that marks loads of memory that does not change.
        let domain = self.mark("distinct !{!\"buffers\"}");
        let scopes: Vec<usize> =
            names.iter().map(|_| self.mark(&format!("distinct !{{!\"\", !{domain}}}"))).collect();
        let mut all = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let own = self.mark(&format!("!{{!{}}}", scopes[i]));
            let others: Vec<String> =
                scopes.iter().filter(|s| **s != scopes[i]).map(|s| format!("!{s}")).collect();
            let others = self.mark(&format!("!{{{}}}", others.join(", ")));
            all.push((name.clone(), format!(", !alias.scope !{own}, !noalias !{others}")));
        }
        all
    }

    fn mark(&mut self, text: &str) -> usize {
        self.marks += 1;
        let _ = writeln!(self.metadata, "!{} = {text}", self.marks);
        self.marks
    }

    /// The whole text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.declared.values().for_each(|d| text.push_str(d));
        self.shared.values().for_each(|f| text.push_str(f));
        text.push_str(&self.functions);
        text.push_str("!0 = !{}\n");
        text.push_str(&self.metadata);
        text
    }
}
