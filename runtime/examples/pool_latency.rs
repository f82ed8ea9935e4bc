//! Prints what an empty parallel run costs, on workers that spin and on workers that sleep.
#![allow(clippy::print_stdout, reason = "the figures are this program's output")]

use std::time::{Duration, Instant};
use tcc_runtime::threads::{Distribution, Parallel, Pool, PoolConfig, ThreadError};

fn main() -> Result<(), ThreadError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{:>8} {:>10} {:>12} {:>12}", "threads", "tiles", "spinning ns", "sleeping ns");
    let chunked = Distribution::Chunked { chunks_per_worker: 4 };
    for threads in 1..=cores {
        for (name, distribution) in [("static", Distribution::Static), ("chunked", chunked)] {
            let pool = Pool::new(&PoolConfig { distribution, ..PoolConfig::with_threads(threads) })?;
            let spinning = median_ns(&pool, 20_000, Duration::ZERO)?;
            let sleeping = median_ns(&pool, 200, Duration::from_micros(500))?;
            println!("{threads:>8} {name:>10} {spinning:>12} {sleeping:>12}");
        }
    }
    Ok(())
}

fn median_ns(pool: &Pool, runs: usize, pause: Duration) -> Result<u128, ThreadError> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let start = Instant::now();
        pool.run(64, &|_, _, _| {})?;
        times.push(start.elapsed().as_nanos());
    }
    times.sort_unstable();
    Ok(times[runs / 2])
}
