//! Passes over the intermediate representations, and the pipelines made of them.
