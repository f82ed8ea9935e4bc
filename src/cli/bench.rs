//! `tcc bench`: how long a model takes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::model::{RunArgs, compiled_inputs};
use super::profile::Profile;
use super::targets::ceilings_json;
use super::{Context, Failure, gpu, write_file};

const EXAMPLES: &str = "Examples:
  tcc bench model.onnx --threads 2
  tcc bench model.tcc --inputs in.npz --seconds 2 --profile --json
  tcc bench model.tcc --trace trace.json";

/// Measure how long a model or an artifact takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// For how long to measure.
    #[arg(long, default_value = "1")]
    seconds: f64,
    /// Show each kernel's time, what it computes and moves, and how near that is to what the processor can do.
    #[arg(long)]
    profile: bool,
    /// Write one run as a trace that Perfetto and chrome://tracing show.
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,
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
    let wanted = args.profile || args.trace.is_some();
    let profile = if wanted {
        Some(Profile::take(&compiled, &inputs, &*pool, args.profile).map_err(|e| fail(&e))?)
    } else {
        None
    };
    if let (Some(path), Some(profile)) = (&args.trace, &profile) {
        let written = write_file(path, profile.trace().to_string().as_bytes());
        written.map_err(|e| Failure::io(&path.display().to_string(), &e))?;
    }
    let profile = profile.filter(|_| args.profile);
    report(context, times, compile_ms, compiled.backend(), threads, profile);
    Ok(())
}

/// Says how long runs took, and kernels if they were looked at.
fn report(
    context: &Context,
    mut times: Vec<Duration>,
    compile_ms: f64,
    backend: &str,
    threads: usize,
    profile: Option<Profile>,
) {
    times.sort_unstable();
    let at = |fraction: f64| times[((times.len() - 1) as f64 * fraction) as usize].as_nanos() as u64;
    if context.output.json {
        let mut report = json!({
            "median_ns": at(0.5), "p10_ns": at(0.1), "p90_ns": at(0.9), "min_ns": at(0.0), "runs": times.len(),
            "compile_ms": compile_ms, "peak_rss_bytes": peak_rss(), "backend": backend, "threads": threads,
        });
        if let Some(profile) = &profile {
            report["kernels"] = profile.json();
            report["ceilings"] = profile.ceilings.as_ref().map(ceilings_json).unwrap_or_default();
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
    if let Some(profile) = profile {
        context.output.print(&profile.table());
    }
}

/// The most memory this process ever had, as the system counts it.
fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
