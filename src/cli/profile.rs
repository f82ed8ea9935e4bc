//! Where the time of a model goes: for each kernel its time, its rates as fractions of what the processor was found
//! to reach, how evenly threads were used, and which ceiling it is nearest to.

use serde_json::{Value, json};
use tcc_ir::tensor::Tensor;
use tcc_runtime::cpu::{Ceilings, Cpu, probe};
use tcc_runtime::model::{Arithmetic, Model, Op, RunError, Step, Timing};
use tcc_runtime::threads::Parallel;

use crate::compile::Compiled;

/// What was measured.
pub(super) struct Profile {
    rows: Vec<Row>,
    /// What the processor reaches on as many threads, if it was measured.
    pub(super) ceilings: Option<Ceilings>,
    /// The steps of one run.
    timings: Vec<Timing>,
    names: Vec<String>,
}

/// One step.
struct Row {
    name: String,
    /// The median time.
    ns: u64,
    share: f64,
    /// Operations and bytes of a call, where their numbers are known.
    flops: Option<i64>,
    bytes: Option<i64>,
    arithmetic: Arithmetic,
    imbalance: f64,
    host: bool,
}

/// How often a model is run for a profile.
const RUNS: usize = 9;
/// A kernel whose work takes less than this on an ideal machine is bound by being called.
const CALL_NS: f64 = 2000.0;

impl Profile {
    /// Runs the model; with `ceilings` the processor is measured, too.
    pub(super) fn take(
        compiled: &Compiled,
        inputs: &[Tensor],
        threads: &dyn Parallel,
        ceilings: bool,
    ) -> Result<Profile, RunError> {
        let model = compiled.model();
        let workers = threads.threads();
        let mut times: Vec<Vec<(u64, f64)>> = vec![Vec::new(); model.steps.len()];
        let mut timings = Vec::new();
        for _ in 0..RUNS {
            timings = compiled.measure(inputs, threads, true)?;
            for timing in &timings {
                times[timing.step].push((timing.time.as_nanos() as u64, timing.imbalance(workers)));
            }
        }
        let symbols = symbols(model, inputs);
        let mut rows: Vec<Row> = model
            .steps
            .iter()
            .zip(&mut times)
            .map(|(step, times)| row(model, step, times, &symbols))
            .collect();
        let names = rows.iter().map(|row| row.name.clone()).collect();
        let total: u64 = rows.iter().map(|row| row.ns).sum();
        rows.iter_mut().for_each(|row| row.share = row.ns as f64 / total.max(1) as f64);
        rows.sort_by_key(|row| std::cmp::Reverse(row.ns));
        let ceilings = match ceilings {
            true => Some(probe(&Cpu::detect().caches, workers)?),
            false => None,
        };
        Ok(Profile { rows, ceilings, timings, names })
    }

    /// A line for each step, the longest first.
    pub(super) fn table(&self) -> String {
        let mut text = "  share       time  GFLOP/s   of peak     GB/s   of level  uneven  why\n".to_owned();
        for row in &self.rows {
            let near = self.near(row);
            let figure = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.1}"));
            let percent = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{:.0}%", v * 100.0));
            text += &format!(
                "{:>6.1}% {:>7.4} ms {:>8} {:>9} {:>8} {:>5} {:>4} {:>7.2}  {}: {}\n",
                row.share * 100.0,
                row.ns as f64 / 1e6,
                figure(row.rate(row.flops)),
                percent(near.compute),
                figure(row.rate(row.bytes)),
                percent(near.memory),
                near.level,
                row.imbalance,
                near.why,
                row.name,
            );
        }
        text
    }

    /// The same as a list.
    pub(super) fn json(&self) -> Value {
        let one = |row: &Row| {
            let near = self.near(row);
            let fraction = near
                .compute
                .into_iter()
                .chain(near.memory)
                .fold(None, |a: Option<f64>, b| Some(a.map_or(b, |a| a.max(b))));
            json!({
                "name": row.name, "ns": row.ns, "share": row.share, "flops": row.flops, "bytes": row.bytes,
                "gflops": row.rate(row.flops), "gbps": row.rate(row.bytes), "fraction_of_peak": near.compute,
                "fraction_of_bandwidth": near.memory, "level": near.level, "fraction_of_ceiling": fraction,
                "imbalance": row.imbalance, "why": near.why,
            })
        };
        self.rows.iter().map(one).collect()
    }

    /// How near a step is to the ceilings.
    fn near(&self, row: &Row) -> Near {
        let Some(ceilings) = self.ceilings.as_ref() else { return Near::default() };
        let caches = Cpu::detect().caches;
        let peak = match row.arithmetic {
            Arithmetic::Bf16 if ceilings.bf16_gflops > 0.0 => ceilings.bf16_gflops,
            Arithmetic::Int8 if ceilings.int8_gops > 0.0 => ceilings.int8_gops,
            _ => ceilings.f32_gflops.max(ceilings.micro_kernel_gflops),
        };
        let bytes = row.bytes.unwrap_or(0).max(0) as usize;
        // What a step reads was there before it: it comes from the smallest level that holds all of it.
        let levels = [
            ("L1", caches.l1 * ceilings.threads, ceilings.l1_gbps),
            ("L2", caches.l2 * ceilings.threads, ceilings.l2_gbps),
            ("L3", caches.l3, ceilings.l3_gbps),
        ];
        let level = levels.into_iter().find(|(_, size, rate)| bytes <= *size && *rate > 0.0);
        let (level, _, bandwidth) = level.unwrap_or(("DRAM", 0, ceilings.dram_gbps));
        let of = |rate: Option<f64>, ceiling: f64| rate.filter(|_| ceiling > 0.0).map(|r| r / ceiling);
        let (compute, memory) = (of(row.rate(row.flops), peak), of(row.rate(row.bytes), bandwidth));
        let ideal = (row.flops.unwrap_or(0) as f64 / peak).max(bytes as f64 / bandwidth);
        let why = match (compute, memory) {
            _ if row.host => "interpreted",
            (None, None) => "unknown",
            _ if ideal < CALL_NS && row.ns < 4 * CALL_NS as u64 => "call",
            (Some(c), Some(m)) if m > c => "memory",
            (None, Some(_)) => "memory",
            _ => "compute",
        };
        Near { compute, memory, level, why }
    }

    /// One run for Perfetto: steps on one line, each worker's part of them on its own.
    pub(super) fn trace(&self) -> Value {
        let us = |time: std::time::Duration| time.as_nanos() as f64 / 1e3;
        let named = |thread: usize, name: String| json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": thread, "args": { "name": name } });
        let mut events = vec![named(0, "steps".to_owned())];
        let most = self.timings.iter().flat_map(|t| &t.slices).map(|s| s.worker).max().unwrap_or(0);
        events.extend((0..=most).map(|worker| named(worker + 1, format!("worker {worker}"))));
        for timing in &self.timings {
            let name = self.names.get(timing.step).map_or("", String::as_str);
            let event = |thread: usize, start, time| {
                json!({
                    "name": name, "cat": "kernel", "ph": "X", "pid": 1, "tid": thread, "ts": us(start),
                    "dur": us(time), "args": { "step": timing.step },
                })
            };
            events.push(event(0, timing.start, timing.time));
            events.extend(timing.slices.iter().map(|s| event(s.worker + 1, s.start, s.time)));
        }
        json!({ "traceEvents": events, "displayTimeUnit": "ns" })
    }
}

/// Fractions of ceilings.
struct Near {
    compute: Option<f64>,
    memory: Option<f64>,
    level: &'static str,
    why: &'static str,
}

impl Default for Near {
    fn default() -> Near {
        Near { compute: None, memory: None, level: "-", why: "unknown" }
    }
}

impl Row {
    /// So much in the step's time, in units of 10^9 a second.
    fn rate(&self, amount: Option<i64>) -> Option<f64> {
        amount.map(|amount| amount as f64 / self.ns.max(1) as f64)
    }
}

fn row(model: &Model, step: &Step, times: &mut [(u64, f64)], symbols: &[Option<i64>]) -> Row {
    times.sort_unstable_by_key(|(ns, _)| *ns);
    let (ns, imbalance) = times.get(times.len() / 2).copied().unwrap_or((0, 1.0));
    match step {
        Step::Kernel { name, buffers, operations, arithmetic, .. } => {
            let mut own: Vec<u32> = buffers.clone();
            own.sort_unstable();
            own.dedup();
            let size = |b: &u32| model.buffers.get(*b as usize)?.bytes.eval(symbols);
            Row {
                name: name.clone(),
                ns,
                share: 0.0,
                flops: operations.eval(symbols),
                bytes: own.iter().map(size).sum(),
                arithmetic: *arithmetic,
                imbalance,
                host: false,
            }
        }
        Step::Host { name, .. } => Row {
            name: name.clone(),
            ns,
            share: 0.0,
            flops: None,
            bytes: None,
            arithmetic: Arithmetic::F32,
            imbalance: 1.0,
            host: true,
        },
    }
}

/// The values of the symbols that are extents of inputs.
fn symbols(model: &Model, inputs: &[Tensor]) -> Vec<Option<i64>> {
    let mut symbols = vec![None; model.symbols.len()];
    for (param, tensor) in model.inputs.iter().zip(inputs) {
        for (dim, extent) in param.shape.iter().zip(tensor.shape()) {
            if let [Op::Symbol(s)] = dim.0.as_slice()
                && let Some(slot) = symbols.get_mut(*s as usize)
            {
                *slot = i64::try_from(*extent).ok();
            }
        }
    }
    symbols
}
