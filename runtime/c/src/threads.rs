//! Threads of the caller's as threads of the runtime.

use std::ffi::c_void;

use tcc_runtime::threads::{Body, Parallel, ThreadError};

/// See `tcc_rt_threads` in `tcc_rt.h`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CallersThreads {
    workers: i64,
    run: unsafe extern "C" fn(context: *mut c_void, tiles: i64, body: RunTiles, task: *const c_void),
    context: *mut c_void,
}

type RunTiles = unsafe extern "C" fn(task: *const c_void, worker: i64, begin: i64, end: i64);

// SAFETY: the contract asks for functions that may be called from any thread; the context is theirs.
unsafe impl Send for CallersThreads {}
// SAFETY: as above.
unsafe impl Sync for CallersThreads {}

struct Task<'a> {
    body: Body<'a>,
}

unsafe extern "C" fn run_tiles(task: *const c_void, worker: i64, begin: i64, end: i64) {
    // SAFETY: the caller passes on the task of `run`, which waits for all tiles.
    let task = unsafe { &*task.cast::<Task<'_>>() };
    (task.body)(usize::try_from(worker).unwrap_or(0), begin, end);
}

impl Parallel for CallersThreads {
    fn threads(&self) -> usize {
        usize::try_from(self.workers).unwrap_or(1).max(1)
    }

    fn run(&self, tiles: i64, body: Body<'_>) -> Result<(), ThreadError> {
        if tiles > 0 {
            let task = Task { body };
            // SAFETY: the contract asks for every range of tiles once, and not to return before all are done, so
            // that the task outlives its uses.
            unsafe { (self.run)(self.context, tiles, run_tiles, (&raw const task).cast()) };
        }
        Ok(())
    }
}
