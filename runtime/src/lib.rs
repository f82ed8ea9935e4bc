//! Runs compiled models; knows nothing of the compiler.
