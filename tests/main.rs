//! All integration tests, as one binary: linking it once is what takes the time.
