//! The text of graphs. The printer is the specification; what it prints parses to the same graph.
//!
//! ```text
//! graph @scaled(%x: f32[N, 4], %s: f32[]) -> (y: f32[N, 4]) where N in 1..=64 {
//!   %0 = broadcast %s shape=[N, 4] : f32[N, 4]
//!   %1 = mul %x, %0 : f32[N, 4] from "scale"
//!   return %1
//! }
//! ```
//!
//! An op is followed by its operands, its attributes in the order of the op table, the types of its results,
//! and, where they exist, the name of what it came from and its regions, which are written like graphs.

mod constant;
mod parse;
mod print;

pub use parse::parse_graph;
pub(crate) use parse::{parse_ranges, parse_type};
pub(super) use print::print_graph;

/// How a graph is printed.
#[derive(Clone, Debug, Default)]
pub struct PrintOptions {
    /// Leave out the elements of large constants. The text is then for reading only.
    pub elide_constants: bool,
}

impl super::Graph {
    /// The text under these options.
    pub fn print(&self, options: &PrintOptions) -> String {
        struct Printed<'a>(&'a super::Graph, &'a PrintOptions);
        impl std::fmt::Display for Printed<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                print_graph(self.0, f, self.1)
            }
        }
        Printed(self, options).to_string()
    }
}
