//! All integration tests, as one binary: linking it once is what takes the time.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod cli;
mod cuda;
mod docs;
mod embedding;
mod filetests;
mod foreign_targets;
mod properties;
mod properties_compiled;
mod properties_eqsat;
mod properties_nests;
mod properties_schedules;
mod ptxas;
mod schema;
mod support;
mod tidy;
