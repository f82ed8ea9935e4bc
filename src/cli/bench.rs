//! `tcc bench`: how long a model takes.

use std::time::{Duration, Instant};

use serde_json::json;
use tcc_runtime::model::Step;

use super::model::{RunArgs, compiled_inputs};
use super::{Context, Failure, gpu};

const EXAMPLES: &str = "Examples:
  tcc bench model.onnx --threads 2
  tcc bench model.tcc --inputs in.npz --seconds 2 --profile --json";

/// Measure how long a model or an artifact takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// For how long to measure.
    #[arg(long, default_value = "1")]
    seconds: f64,
    /// Show the time of each kernel.
    #[arg(long)]
    profile: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    if !(args.seconds.is_finite() && args.seconds >= 0.0) {
        return Err(Failure::Usage(format!("--seconds: expected a time, got {}", args.seconds)));
    }
    let fail = |e: &dyn std::fmt::Display| Failure::Input(format!("{}: {e}", args.run.model.display()));
    let start = Instant::now();
    if let Some((model, _)) = gpu::wanted(&args.run)? {
        let compile_ms = start.elapsed().as_secs_f64() * 1e3;
        let inputs = args.run.tensors(&gpu::inputs(&model)?, context)?;
        let times = gpu::measure(&args.run.model, &model, &inputs, args.seconds)?;
        report(context, times, compile_ms, "cuda", 0, None);
        return Ok(());
    }
    let compiled = args.run.compiled()?;
    let compile_ms = start.elapsed().as_secs_f64() * 1e3;
    let (threads, pool) = args.run.threads()?;
    let inputs = args.run.tensors(&compiled_inputs(&compiled)?, context)?;
    let once = || compiled.measure(&inputs, &*pool, false).map_err(|e| fail(&e));
    // The first calls find memory and caches cold.
    once()?;
    once()?;
    let mut times: Vec<Duration> = Vec::new();
    let begin = Instant::now();
    while times.is_empty() || begin.elapsed().as_secs_f64() < args.seconds {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed());
    }
    let kernels = if args.profile { Some(profile(args, &compiled, &inputs, &*pool)?) } else { None };
    report(context, times, compile_ms, args.run.compile.backend()?.name(), threads, kernels);
    Ok(())
}

/// Says how long runs took, and kernels if they were looked at.
fn report(
    context: &Context,
    mut times: Vec<Duration>,
    compile_ms: f64,
    backend: &str,
    threads: usize,
    kernels: Option<Vec<(String, u64, f64)>>,
) {
    times.sort_unstable();
    let at = |fraction: f64| times[((times.len() - 1) as f64 * fraction) as usize].as_nanos() as u64;
    if context.output.json {
        let mut report = json!({
            "median_ns": at(0.5), "p10_ns": at(0.1), "p90_ns": at(0.9), "min_ns": at(0.0), "runs": times.len(),
            "compile_ms": compile_ms, "peak_rss_bytes": peak_rss(), "backend": backend, "threads": threads,
        });
        if let Some(kernels) = &kernels {
            let one =
                |(name, ns, share): &(String, u64, f64)| json!({ "name": name, "ns": ns, "share": share });
            report["kernels"] = kernels.iter().map(one).collect();
        }
        context.output.print(&format!("{report}\n"));
        return;
    }
    let ms = |ns: u64| ns as f64 / 1e6;
    context.output.print(&format!(
        "{:.4} ms median of {} runs ({:.4} to {:.4} from the 10th to the 90th percentile), {backend}, {threads} threads\n",
        ms(at(0.5)),
        times.len(),
        ms(at(0.1)),
        ms(at(0.9)),
    ));
    for (name, ns, share) in kernels.unwrap_or_default() {
        context.output.print(&format!("{:>6.1}% {:>10.4} ms  {name}\n", share * 100.0, ms(ns)));
    }
}

/// The median time of each step with its share, the longest first.
fn profile(
    args: &Args,
    compiled: &crate::compile::Compiled,
    inputs: &[tcc_ir::tensor::Tensor],
    pool: &dyn tcc_runtime::threads::Parallel,
) -> Result<Vec<(String, u64, f64)>, Failure> {
    const RUNS: usize = 9;
    let steps = &compiled.model().steps;
    let mut all: Vec<Vec<u64>> = vec![Vec::new(); steps.len()];
    for _ in 0..RUNS {
        let timings = compiled
            .measure(inputs, pool, true)
            .map_err(|e| Failure::Input(format!("{}: {e}", args.run.model.display())))?;
        for timing in timings {
            all[timing.step].push(timing.time.as_nanos() as u64);
        }
    }
    let mut rows: Vec<(String, u64, f64)> = Vec::new();
    for (step, times) in steps.iter().zip(&mut all) {
        times.sort_unstable();
        let name = match step {
            Step::Kernel { name, .. } => name.clone(),
            Step::Host { name, .. } => format!("{name} (interpreted)"),
        };
        rows.push((name, times[times.len() / 2], 0.0));
    }
    let total: u64 = rows.iter().map(|(_, ns, _)| ns).sum();
    rows.iter_mut().for_each(|row| row.2 = row.1 as f64 / total.max(1) as f64);
    rows.sort_by_key(|row| std::cmp::Reverse(row.1));
    Ok(rows)
}

/// The most memory this process ever had, as the system counts it.
fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
