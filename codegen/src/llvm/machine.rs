//! From LLVM's text to object bytes: everything that needs LLVM itself.

use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{
    CodeModel, FileType, InitializationConfig, RelocMode, Target, TargetMachine, TargetTriple,
};

use crate::CpuTarget;

/// What is done to every module. Loops are neither unrolled nor vectorised: that is the schedule's business.
const PASSES: &str = "always-inline,function(sroa,early-cse<memssa>,sroa,simplifycfg,instcombine<no-verify-fixpoint>,\
    loop-mssa(licm),gvn,dse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm)),globaldce";

/// The features that LLVM knows, by the runtime's words.
const FEATURES: [(&str, &str); 11] = [
    ("sse4.1", "+sse4.1"),
    ("avx2", "+avx2,+fma,+f16c,+popcnt,+bmi"),
    ("avx512", "+avx512f,+avx512bw,+avx512dq,+avx512vl"),
    ("avx512vnni", "+avx512vnni"),
    ("avxvnni", "+avxvnni"),
    ("avx512bf16", "+avx512bf16"),
    ("avx512fp16", "+avx512fp16"),
    ("neon", "+neon"),
    ("dotprod", "+dotprod"),
    ("neonbf16", "+bf16"),
    ("fullfp16", "+fullfp16"),
];

/// Compiles a module to a relocatable object.
pub(super) fn object(text: &str, target: &CpuTarget) -> Result<Vec<u8>, String> {
    let machine = machine(target)?;
    let context = Context::create();
    let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "programs");
    let module = context.create_module_from_ir(buffer).map_err(|e| e.to_string())?;
    module.set_triple(&machine.get_triple());
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    if cfg!(debug_assertions) {
        module.verify().map_err(|e| e.to_string())?;
    }
    module.run_passes(PASSES, &machine, PassBuilderOptions::create()).map_err(|e| e.to_string())?;
    let object = machine.write_to_memory_buffer(&module, FileType::Object).map_err(|e| e.to_string())?;
    Ok(object.as_slice().to_vec())
}

fn machine(target: &CpuTarget) -> Result<TargetMachine, String> {
    let triple = TargetTriple::create(&format!("{}-unknown-linux-gnu", target.arch));
    let cpu = if target.arch == "aarch64" {
        Target::initialize_aarch64(&InitializationConfig::default());
        "generic"
    } else {
        Target::initialize_x86(&InitializationConfig::default());
        "x86-64"
    };
    let features: Vec<&str> =
        FEATURES.iter().filter(|(ours, _)| target.has(ours)).map(|(_, theirs)| *theirs).collect();
    let found = Target::from_triple(&triple).map_err(|e| e.to_string())?;
    found
        .create_target_machine(
            &triple,
            cpu,
            &features.join(","),
            OptimizationLevel::Default,
            RelocMode::PIC,
            CodeModel::Small,
        )
        .ok_or_else(|| format!("LLVM has no target {}", target.arch))
}
