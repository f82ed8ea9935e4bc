//! How tiles are spread over threads: the `Parallel` trait an embedder can implement, and this crate's own pool.

mod affinity;
mod pool;

pub use pool::{Distribution, Pool, PoolConfig};

/// A body of work: `(worker, begin, end)`, with `worker` below `Parallel::threads` and tiles `begin..end`.
pub type Body<'a> = &'a (dyn Fn(usize, i64, i64) + Sync);

/// Why a parallel run did not finish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThreadError {
    /// The body panicked on some thread; the tiles after it on that thread did not run.
    #[error("expected every tile to finish, found a panic on worker {worker}: {message}")]
    Panicked {
        /// The worker on which the (first noticed) panic happened.
        worker: usize,
        /// What the panic said.
        message: String,
    },
    /// The system would not start a thread.
    #[error("expected to start {wanted} threads, found that the system refuses: {reason}")]
    Spawn {
        /// How many threads were asked for.
        wanted: usize,
        /// The system's reason.
        reason: String,
    },
}

/// Something that runs ranges of tiles, on several threads or on one.
///
/// An implementation must call the body with ranges that cover `0..tiles` exactly once, must not return before
/// all of them are done, and must never run two calls with the same `worker` at the same time within one run:
/// the worker number selects private scratch memory.
pub trait Parallel: Send + Sync {
    /// How many workers there can be, the caller's thread included; at least 1.
    fn threads(&self) -> usize;

    /// Runs `body` over all tiles and waits for it.
    fn run(&self, tiles: i64, body: Body<'_>) -> Result<(), ThreadError>;
}

/// Runs everything on the caller's thread, as worker 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inline;

impl Parallel for Inline {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tiles: i64, body: Body<'_>) -> Result<(), ThreadError> {
        run_inline(0, tiles, body)
    }
}

/// Runs all tiles here and now under the given worker number, turning a panic into an error.
fn run_inline(worker: usize, tiles: i64, body: Body<'_>) -> Result<(), ThreadError> {
    if tiles <= 0 {
        return Ok(());
    }
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(worker, 0, tiles)))
        .map_err(|payload| ThreadError::Panicked { worker, message: panic_message(&*payload) })
}

/// What a panic said, where it said it in words.
fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a payload that is not text".to_owned())
}
