//! All integration tests, as one binary: linking it once is what takes the time.

mod cli;
mod docs;
mod filetests;
mod properties;
mod support;
mod tidy;
