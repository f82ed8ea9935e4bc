//! Passes over the intermediate representations, and the pipelines made of them.

pub mod eqsat;
pub mod graph_passes;
pub mod graph_to_loops;
pub mod layout;
pub mod loops_to_mem;
pub mod mem_passes;
pub mod memory_plan;
pub mod nest_passes;
pub mod pass;
pub mod pipeline;
pub mod schedule;
