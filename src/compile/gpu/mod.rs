//! Models for GPUs: kernels as PTX, what launches them as data, and their execution in the emulator.

mod artifact;
mod c_source;
#[cfg(feature = "cuda")]
mod device;
mod emulate;
mod plan;
mod ptxas;
#[cfg(test)]
mod tests;

use tcc_codegen::ptx::GpuTarget;
use tcc_ir::dim::Dim;
use tcc_ir::dtype::DType;
use tcc_ir::graph::Graph;
use tcc_lowering::pipeline::rewrite;
use tcc_runtime::model::{Constant, Param};

use super::host::HostWork;
use super::{CompileError, Compiler, Report};

pub use artifact::GpuArtifactError;
#[cfg(feature = "cuda")]
pub use device::DeviceRunError;
pub use emulate::{GpuRun, GpuRunError};
pub use ptxas::{Assembled, Ptxas};
pub use tcc_runtime::cuda::{Kernel, Launch, Manifest, Resources, Step, Target, Weight};

/// A model compiled for one or several GPUs.
pub struct GpuModel {
    manifest: Manifest,
    ptx: Vec<(GpuTarget, String)>,
    cubins: Vec<(GpuTarget, Vec<u8>)>,
    constants: Vec<Constant>,
    host: Vec<HostWork>,
    report: Report,
}

impl Compiler {
    /// Compiles a graph for GPUs.
    pub fn compile_gpu(&self, graph: &Graph, targets: &[GpuTarget]) -> Result<GpuModel, CompileError> {
        plan::plan(&self.rewritten(graph)?, targets)
    }

    /// The programs that a graph's kernels are emitted from, as text.
    pub fn emit_gpu_programs(&self, graph: &Graph, targets: &[GpuTarget]) -> Result<String, CompileError> {
        use tcc_lowering::eqsat::CostModel;
        use tcc_lowering::graph_to_loops::{Work, lower_graph_for};
        let stages = lower_graph_for(&self.rewritten(graph)?, &CostModel::gpu());
        let machines = plan::machines(targets);
        let programs = |nest| machines.iter().map(move |m| plan::program(nest, m).to_string());
        let nests = stages.iter().filter_map(|s| match &s.work {
            Work::Nest(nest) => Some(nest),
            Work::Host(_) => None,
        });
        Ok(nests.flat_map(programs).collect())
    }

    /// The graph after the passes that know nothing of processors: layouts for CPUs are no gain here.
    fn rewritten(&self, graph: &Graph) -> Result<Graph, CompileError> {
        let graph = if self.bindings.is_empty() { graph.clone() } else { self.specialise(graph)? };
        Ok(rewrite(&graph, &self.options)?)
    }
}

impl GpuModel {
    fn new(
        manifest: Manifest,
        ptx: Vec<(GpuTarget, String)>,
        constants: Vec<Constant>,
        host: Vec<HostWork>,
        report: Report,
    ) -> GpuModel {
        let mut model = GpuModel { manifest, ptx, cubins: Vec::new(), constants, host, report };
        model.manifest.weights = artifact::layout(&model.constants);
        model
    }

    /// What is launched, and how.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What became of the graph.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The PTX for each target.
    pub fn ptx(&self) -> &[(GpuTarget, String)] {
        &self.ptx
    }

    /// Assembles the kernels for every target, notes what they use, and gives what the assembler warned of.
    pub fn assemble(&mut self, ptxas: &Ptxas) -> Result<Vec<String>, String> {
        let mut warnings = Vec::new();
        for ((target, text), described) in self.ptx.iter().zip(&mut self.manifest.targets) {
            let assembled = ptxas.assemble(text, *target)?;
            described.cubin = Some(format!("kernels/{target}.cubin"));
            described.resources = assembled.resources;
            for kernel in &self.manifest.kernels {
                if let Some(resources) = described.resources.get_mut(&kernel.name) {
                    let launch = &kernel.launches[described.schedule as usize];
                    let shared = launch.shared_bytes.eval(&[]).unwrap_or(0);
                    resources.occupancy =
                        ptxas::occupancy(*target, resources.registers, launch.block, shared);
                }
            }
            warnings.extend(assembled.warnings.iter().map(|w| format!("{target}: {w}")));
            self.cubins.push((*target, assembled.cubin));
        }
        Ok(warnings)
    }

    /// Why there is no C source that runs the model, if there is none.
    pub fn without_c_source(&self) -> Option<String> {
        c_source::c_source(&self.manifest).err()
    }

    /// The inputs: names, element types and extents.
    pub fn inputs(&self) -> Vec<(String, Option<DType>, Vec<Dim>)> {
        let one = |param: &Param| {
            let dims =
                param.shape.iter().map(|e| super::dim_of(e, &self.manifest.symbols).unwrap_or(Dim::ONE));
            (param.name.clone(), param.dtype.parse().ok(), dims.collect())
        };
        self.manifest.inputs.iter().map(one).collect()
    }
}
