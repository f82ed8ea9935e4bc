//! From the stages of a graph to kernels, launches and ops for the host.

use rustc_hash::FxHashMap;
use tcc_codegen::EmitError;
use tcc_codegen::ptx::{self, GpuTarget};
use tcc_ir::dim::Symbol;
use tcc_ir::graph::Graph;
use tcc_ir::loops::Nest;
use tcc_ir::mem::Program;
use tcc_lowering::eqsat::CostModel;
use tcc_lowering::graph_to_loops::{Stage, Work, lower_graph_for};
use tcc_lowering::loops_to_mem::lower_nest;
use tcc_lowering::mem_passes::expand_functions;
use tcc_lowering::schedule::gpu::{GpuMachine, schedule_gpu};
use tcc_runtime::cuda::{FORMAT, Kernel, Launch, Manifest, Step, Target};

use super::super::host::HostWork;
use super::super::plan::{Planner, types};
use super::{CompileError, GpuModel};

/// The program of a nest under its default schedule for GPUs.
pub(super) fn program(nest: &Nest, machine: &GpuMachine) -> Program {
    let mut program = lower_nest(&schedule_gpu(nest, machine));
    expand_functions(&mut program, true);
    ptx::expand_device_functions(&mut program);
    program
}

/// Plans all stages of a graph for some targets.
pub(super) fn plan(graph: &Graph, targets: &[GpuTarget]) -> Result<GpuModel, CompileError> {
    let stages = lower_graph_for(graph, &CostModel::gpu());
    let mut planner = Planner::new(graph);
    planner.params();
    planner.results(&stages);
    let mut gpu = Gpu {
        targets,
        machines: machines(targets),
        texts: targets.iter().map(|t| ptx::header(*t)).collect(),
        kernels: Vec::new(),
        known: FxHashMap::default(),
        steps: Vec::new(),
    };
    for stage in &stages {
        gpu.stage(stage, &mut planner)?;
    }
    planner.outputs()?;
    planner.report.kernels = gpu.kernels.len();
    let model = planner.model;
    let manifest = Manifest {
        format: FORMAT,
        symbols: model.symbols,
        ranges: model.ranges,
        inputs: model.inputs,
        outputs: model.outputs,
        buffers: model.buffers,
        arena_bytes: model.arena_bytes,
        weights: Vec::new(),
        targets: targets.iter().map(|t| described(t, &gpu.machines)).collect(),
        kernels: gpu.kernels,
        steps: gpu.steps,
        host: planner.host.iter().map(ToString::to_string).collect(),
    };
    let ptx = targets.iter().copied().zip(gpu.texts).collect();
    Ok(GpuModel::new(manifest, ptx, model.constants, planner.host, planner.report))
}

fn described(target: &GpuTarget, machines: &[GpuMachine]) -> Target {
    let own = machine(target);
    Target {
        name: target.to_string(),
        schedule: machines.iter().position(|m| *m == own).unwrap_or(0) as u32,
        ptx: format!("{}.{}", target.version.0, target.version.1),
        file: format!("kernels/{target}.ptx"),
        cubin: None,
        resources: Default::default(),
    }
}

/// What schedules for a target may use.
fn machine(target: &GpuTarget) -> GpuMachine {
    GpuMachine { tensor_cores: target.capability >= 80, ..GpuMachine::default() }
}

/// The machines among some targets, each once.
pub(super) fn machines(targets: &[GpuTarget]) -> Vec<GpuMachine> {
    let mut machines = Vec::new();
    for machine in targets.iter().map(machine) {
        if !machines.contains(&machine) {
            machines.push(machine);
        }
    }
    machines
}

struct Gpu<'t> {
    targets: &'t [GpuTarget],
    /// What schedules are made for.
    machines: Vec<GpuMachine>,
    /// The PTX for each target.
    texts: Vec<String>,
    kernels: Vec<Kernel>,
    /// Kernels by the text of their programs, or why there is none.
    known: FxHashMap<String, Result<u32, String>>,
    steps: Vec<Step>,
}

impl Gpu<'_> {
    fn stage(&mut self, stage: &Stage, planner: &mut Planner<'_>) -> Result<(), CompileError> {
        let mut inputs = Vec::with_capacity(stage.inputs.len());
        for value in &stage.inputs {
            inputs.push(planner.buffer(*value)?);
        }
        let outputs: Vec<u32> = stage.outputs.iter().map(|v| planner.buffers[v]).collect();
        let (work, name, reason) = match &stage.work {
            Work::Host(id) => {
                let node = planner.graph.node(*id);
                planner.report.interpreted.push(format!("{}: no kernel", node.describe()));
                (planner.alone(node)?, node.op.name().to_owned(), "the op has no kernel".to_owned())
            }
            Work::Nest(nest) => match self.kernel(nest, planner)? {
                Ok(kernel) => {
                    let buffers = inputs.into_iter().chain(outputs).collect();
                    self.steps.push(Step::Launch { kernel, buffers });
                    planner.report.calls += 1;
                    return Ok(());
                }
                Err(reason) => {
                    planner.report.interpreted.push(format!("{}: {reason}", nest.name));
                    (HostWork::Nest(nest.clone()), nest.name.clone(), reason)
                }
            },
        };
        let number = planner.host.len() as u32;
        planner.host.push(work);
        self.steps.push(Step::Host { work: number, inputs, outputs, name, reason });
        Ok(())
    }

    /// The number of a nest's kernel, or why there is none.
    fn kernel(&mut self, nest: &Nest, planner: &Planner<'_>) -> Result<Result<u32, String>, CompileError> {
        if let Some(dtype) = types(nest).into_iter().find(|d| !ptx::has_type(*d)) {
            return Ok(Err(format!("device code has no {dtype}")));
        }
        let mut programs: Vec<Program> = self.machines.iter().map(|m| program(nest, m)).collect();
        programs.iter_mut().for_each(|p| p.name.clear());
        let text: String = programs.iter().map(ToString::to_string).collect();
        if let Some(known) = self.known.get(&text) {
            return Ok(known.clone());
        }
        let name = format!("k{}_{}", self.kernels.len(), nest.name);
        programs.iter_mut().for_each(|p| p.name.clone_from(&name));
        let mut codes = Vec::new();
        let mut launches: Vec<Option<Launch>> = vec![None; programs.len()];
        for target in self.targets {
            let own = machine(target);
            let Some(schedule) = self.machines.iter().position(|m| *m == own) else { continue };
            match ptx::emit(&programs[schedule], *target) {
                Ok((kernel, code)) => {
                    codes.push(code);
                    launches[schedule] = Some(launch(&kernel, planner));
                }
                Err(EmitError::Unsupported { message, .. }) => {
                    self.known.insert(text, Err(message.clone()));
                    return Ok(Err(message));
                }
                Err(other) => return Err(other.into()),
            }
        }
        let launches: Vec<Launch> = launches.into_iter().flatten().collect();
        if launches.is_empty() {
            return Ok(Err("no target was given".to_owned()));
        }
        for (all, code) in self.texts.iter_mut().zip(codes) {
            all.push('\n');
            all.push_str(&code);
        }
        let number = self.kernels.len() as u32;
        self.kernels.push(Kernel { name, launches, nest: nest.to_string() });
        self.known.insert(text, Ok(number));
        Ok(Ok(number))
    }
}

fn launch(kernel: &ptx::Kernel, planner: &Planner<'_>) -> Launch {
    let number = |s: &Symbol| planner.numbers.get(s).copied().unwrap_or(u32::MAX);
    Launch {
        grid: kernel.grid.each_ref().map(|d| planner.expr(d)),
        block: kernel.block,
        shared_bytes: planner.expr(&kernel.shared_bytes),
        scratch_bytes: planner.expr(&kernel.scratch_bytes),
        symbols: kernel.symbols.iter().map(number).collect(),
    }
}
