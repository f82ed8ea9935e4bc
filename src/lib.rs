//! `tcc`, a tensor compiler: the facade over its crates.
