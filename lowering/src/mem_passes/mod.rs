//! Passes over programs.

mod expand_functions;

pub use expand_functions::expand_functions;
