//! All integration tests, as one binary: linking it once is what takes the time.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod artifacts;
mod cli;
mod cuda;
mod docs;
mod embedding;
mod filetests;
mod foreign_targets;
mod functions;
mod linked;
mod properties;
mod properties_compiled;
mod properties_eqsat;
mod properties_nests;
mod properties_schedules;
mod properties_texts;
mod ptxas;
mod quantised;
mod schema;
mod support;
mod tidy;
mod winograd;
