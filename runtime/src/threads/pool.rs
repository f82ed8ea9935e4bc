//! The pool: workers spin for a while after each run and park later; a run on spinning workers takes no lock and
//! allocates nothing.
//!
//! A run is published as one word, the *ticket*: a generation number and how many workers take part. Worker `w`
//! acts on a new ticket only when `w` is below that count, so the job it then reads cannot be overwritten: the
//! caller waits for every participant before it releases the pool.

use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::{Body, Parallel, ThreadError, affinity, panic_message, run_inline};

/// How the tiles of a run are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// One contiguous, nearly equal range for each worker: the same tiles go to the same worker every time, so
    /// its caches stay warm.
    Static,
    /// Workers take chunks from a shared counter until none are left, which evens out unequal tiles and cores.
    Chunked {
        /// How many chunks each worker would take if all were equally fast; at least 1.
        chunks_per_worker: usize,
    },
}

/// The choices a pool is made with.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// How many threads run tiles, the caller's included; 0 counts as 1.
    pub threads: usize,
    /// How tiles are divided.
    pub distribution: Distribution,
    /// How long a worker looks for the next run before it sleeps.
    pub spin: Duration,
    /// Processor of worker 1, 2, …, or empty to let threads float. The caller's thread is never bound.
    pub affinity: Vec<usize>,
}

impl PoolConfig {
    /// Static distribution, 200 µs of spinning, no affinity.
    pub fn with_threads(threads: usize) -> PoolConfig {
        PoolConfig {
            threads,
            distribution: Distribution::Static,
            spin: Duration::from_micros(200),
            affinity: Vec::new(),
        }
    }
}

/// A fixed set of threads.
///
/// Calls from several threads at once are correct: one of them gets the workers, the others run their tiles on
/// their own thread meanwhile. A run started inside a body runs inline under the worker number of that body.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// The same threads, for unparking without touching the join handles.
    handles: Vec<Thread>,
    distribution: Distribution,
}

impl Pool {
    /// Starts `config.threads - 1` workers; the caller of `run` is the remaining thread.
    pub fn new(config: &PoolConfig) -> Result<Pool, ThreadError> {
        let threads = config.threads.clamp(1, MAX_THREADS);
        let shared = Arc::new(Shared::new(threads));
        let mut pool = Pool {
            shared: Arc::clone(&shared),
            workers: Vec::with_capacity(threads - 1),
            handles: Vec::with_capacity(threads - 1),
            distribution: config.distribution,
        };
        for worker in 1..threads {
            let shared = Arc::clone(&shared);
            let spin = config.spin;
            let processor = config.affinity.get(worker - 1).copied();
            let thread = std::thread::Builder::new()
                .name(format!("tcc-{worker}"))
                .spawn(move || {
                    if let Some(processor) = processor {
                        affinity::bind_to(processor);
                    }
                    shared.serve(worker, spin);
                })
                .map_err(|e| ThreadError::Spawn { wanted: threads, reason: e.to_string() })?;
            pool.handles.push(thread.thread().clone());
            pool.workers.push(thread);
        }
        Ok(pool)
    }
}

impl Parallel for Pool {
    fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    fn run(&self, tiles: i64, body: Body<'_>) -> Result<(), ThreadError> {
        let shared = &*self.shared;
        let (pool, worker) = CURRENT.get();
        if std::ptr::eq(pool, shared) {
            return run_inline(worker, tiles, body);
        }
        let participants = usize::try_from(tiles).unwrap_or(0).min(self.threads());
        if participants <= 1
            || shared.busy.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            return run_inline(0, tiles, body);
        }
        let chunk = match self.distribution {
            Distribution::Static => 0,
            Distribution::Chunked { chunks_per_worker } => {
                let chunks = participants.saturating_mul(chunks_per_worker.max(1)) as i64;
                (tiles / chunks).max(1)
            }
        };
        // SAFETY: only the lifetime is erased, and this function does not return before all participants are
        // done with the body.
        let body = unsafe { std::mem::transmute::<Body<'_>, Body<'static>>(body) };
        // SAFETY: `busy` is held and no participant of an earlier ticket is left, so nobody reads the job.
        unsafe { *shared.job.get() = Some(Job { body, tiles, chunk, participants: participants as i64 }) };
        shared.next.0.store(0, Ordering::Relaxed);
        shared.pending.0.store(participants - 1, Ordering::Relaxed);
        shared.publish(participants, &self.handles);
        shared.take_part(0);
        shared.wait_for_others();
        // SAFETY: as above; the erased borrow must not outlive this call.
        unsafe { *shared.job.get() = None };
        let failure = if shared.failed.load(Ordering::Acquire) {
            shared.failed.store(false, Ordering::Relaxed);
            shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
        } else {
            None
        };
        shared.busy.0.store(false, Ordering::Release);
        failure.map_or(Ok(()), Err)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::SeqCst);
        self.shared.publish(MAX_THREADS, &self.handles);
        for worker in self.workers.drain(..) {
            // Bodies are run under `catch_unwind`, so a worker has nothing to report.
            let _ = worker.join();
        }
    }
}

/// The low bits of a ticket hold the number of participants.
const PARTICIPANT_BITS: u32 = 16;
const MAX_THREADS: usize = (1 << PARTICIPANT_BITS) - 1;

thread_local! {
    /// Which pool's body this thread is running, and as which worker.
    static CURRENT: Cell<(*const Shared, usize)> = const { Cell::new((std::ptr::null(), 0)) };
}

/// One value on its own cache lines, so that spinning on it disturbs no neighbour.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

struct Shared {
    ticket: Padded<AtomicU64>,
    next: Padded<AtomicI64>,
    pending: Padded<AtomicUsize>,
    busy: Padded<AtomicBool>,
    job: UnsafeCell<Option<Job>>,
    /// One flag for each worker from 1 on.
    parked: Vec<Padded<AtomicBool>>,
    shutdown: AtomicBool,
    failed: AtomicBool,
    failure: Mutex<Option<ThreadError>>,
}

#[derive(Clone, Copy)]
struct Job {
    body: Body<'static>,
    tiles: i64,
    /// 0 for static distribution.
    chunk: i64,
    participants: i64,
}

// SAFETY: `job` is the only field that is not `Sync` by itself; it is written only by the holder of `busy` when
// no participant is left, and read only by participants of a ticket published after the write.
unsafe impl Sync for Shared {}
// SAFETY: as above; the body it holds is `Sync`.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({} workers)", self.parked.len())
    }
}

impl Shared {
    fn new(threads: usize) -> Shared {
        Shared {
            ticket: Padded::default(),
            next: Padded::default(),
            pending: Padded::default(),
            busy: Padded::default(),
            job: UnsafeCell::new(None),
            parked: (1..threads).map(|_| Padded::default()).collect(),
            shutdown: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// Makes the next ticket visible and wakes those participants that sleep.
    fn publish(&self, participants: usize, handles: &[Thread]) {
        let generation = (self.ticket.0.load(Ordering::Relaxed) >> PARTICIPANT_BITS).wrapping_add(1);
        // Sequentially consistent together with `park`: either the worker sees this ticket before it sleeps, or
        // its flag is seen here.
        self.ticket.0.store(generation << PARTICIPANT_BITS | participants as u64, Ordering::SeqCst);
        for (parked, thread) in self.parked.iter().zip(handles).take(participants.saturating_sub(1)) {
            if parked.0.load(Ordering::SeqCst) {
                thread.unpark();
            }
        }
    }

    /// The life of a worker.
    fn serve(&self, worker: usize, spin: Duration) {
        let mut seen = 0;
        loop {
            seen = self.next_ticket(worker, seen, spin);
            if self.shutdown.load(Ordering::SeqCst) {
                return;
            }
            if worker < (seen & MAX_THREADS as u64) as usize {
                self.take_part(worker);
                self.pending.0.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Waits for a ticket other than `seen`: spinning at first, asleep later.
    fn next_ticket(&self, worker: usize, seen: u64, spin: Duration) -> u64 {
        let mut started = None;
        loop {
            for _ in 0..SPINS_PER_CLOCK_READ {
                let ticket = self.ticket.0.load(Ordering::Acquire);
                if ticket != seen {
                    return ticket;
                }
                std::hint::spin_loop();
            }
            if started.get_or_insert_with(Instant::now).elapsed() >= spin {
                break;
            }
        }
        let parked = &self.parked[worker - 1].0;
        parked.store(true, Ordering::SeqCst);
        let ticket = loop {
            let ticket = self.ticket.0.load(Ordering::SeqCst);
            if ticket != seen {
                break ticket;
            }
            std::thread::park();
        };
        parked.store(false, Ordering::Relaxed);
        ticket
    }

    /// Runs this worker's share of the current job.
    fn take_part(&self, worker: usize) {
        // SAFETY: this worker takes part in the current ticket, so the job was written before it was published
        // and stays until the caller has seen this worker finish.
        let Some(job) = (unsafe { *self.job.get() }) else { return };
        let outer = CURRENT.replace((self, worker));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if job.chunk == 0 {
                let bound =
                    |w: i64| (i128::from(job.tiles) * i128::from(w) / i128::from(job.participants)) as i64;
                (job.body)(worker, bound(worker as i64), bound(worker as i64 + 1));
            } else {
                loop {
                    let begin = self.next.0.fetch_add(job.chunk, Ordering::Relaxed);
                    if begin >= job.tiles {
                        break;
                    }
                    (job.body)(worker, begin, begin.saturating_add(job.chunk).min(job.tiles));
                }
            }
        }));
        CURRENT.set(outer);
        if let Err(payload) = outcome {
            let error = ThreadError::Panicked { worker, message: panic_message(&*payload) };
            // Dropping a payload may panic again, here where nothing would catch it; a leak is the lesser harm.
            std::mem::forget(payload);
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.failed.store(true, Ordering::Release);
        }
    }

    /// Waits until every other participant is done; gives the processor away when that takes long.
    fn wait_for_others(&self) {
        let mut spins = 0u32;
        while self.pending.0.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins < SPINS_BEFORE_YIELD {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Reading the clock costs about as much as one pause on current processors.
const SPINS_PER_CLOCK_READ: u32 = 64;
const SPINS_BEFORE_YIELD: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn pools() -> Vec<Pool> {
        let chunked = Distribution::Chunked { chunks_per_worker: 4 };
        let configs =
            [(1, Distribution::Static), (2, Distribution::Static), (3, chunked), (5, Distribution::Static)];
        let config = |(threads, distribution)| PoolConfig {
            distribution,
            spin: Duration::from_micros(20),
            ..PoolConfig::with_threads(threads)
        };
        configs.map(|c| Pool::new(&config(c)).unwrap()).into_iter().collect()
    }

    /// Runs `tiles` tiles and says how often each was visited.
    fn visits(pool: &Pool, tiles: usize) -> Vec<u32> {
        let seen: Vec<AtomicU32> = (0..tiles).map(|_| AtomicU32::new(0)).collect();
        let body = |worker: usize, begin: i64, end: i64| {
            assert!(worker < pool.threads());
            for tile in begin..end {
                seen[tile as usize].fetch_add(1, Ordering::Relaxed);
            }
        };
        pool.run(tiles as i64, &body).unwrap();
        seen.into_iter().map(AtomicU32::into_inner).collect()
    }

    #[test]
    fn every_tile_runs_once() {
        for pool in pools() {
            for tiles in [0, 1, 2, 3, 7, 100, 1001] {
                assert_eq!(visits(&pool, tiles), vec![1; tiles]);
            }
            assert_eq!(pool.run(-3, &|_, _, _| panic!("no tiles")), Ok(()));
        }
    }

    #[test]
    fn sleeping_workers_wake() {
        for pool in pools() {
            for _ in 0..20 {
                std::thread::sleep(Duration::from_micros(300));
                assert_eq!(visits(&pool, 9), vec![1; 9]);
            }
        }
    }

    #[test]
    fn a_panic_is_an_error_and_the_pool_lives_on() {
        for pool in pools() {
            for bad in [0, 7, 15] {
                let outcome =
                    pool.run(16, &|_, begin, end| assert!(!(begin..end).contains(&bad), "tile {bad}"));
                let Err(ThreadError::Panicked { message, .. }) = outcome else { panic!("expected a panic") };
                assert_eq!(message, format!("tile {bad}"));
                assert_eq!(visits(&pool, 50), vec![1; 50]);
            }
        }
    }

    #[test]
    fn nested_runs_stay_on_their_worker() {
        for pool in pools() {
            let total = AtomicI64::new(0);
            let outer = |worker: usize, begin: i64, end: i64| {
                for _ in begin..end {
                    let inner = |nested: usize, b: i64, e: i64| {
                        assert_eq!(nested, worker);
                        total.fetch_add(e - b, Ordering::Relaxed);
                    };
                    pool.run(10, &inner).unwrap();
                }
            };
            pool.run(20, &outer).unwrap();
            assert_eq!(total.into_inner(), 200);
        }
    }

    #[test]
    fn callers_on_many_threads_do_not_disturb_each_other() {
        for pool in pools() {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for round in 0..200 {
                            assert_eq!(visits(&pool, round % 13), vec![1; round % 13]);
                        }
                    });
                }
            });
        }
    }
}
