//! The default backend: Cranelift.

mod index;
mod lanes;
mod ops;
mod program;
#[cfg(test)]
mod tests;

use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, types};
use cranelift_codegen::isa::{self, CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{Linkage, Module};
use cranelift_object::{ObjectBuilder, ObjectModule};
use tcc_ir::dtype::DType;
use tcc_ir::mem::Program;

use crate::groups::emit_in_groups;
use crate::{Backend, CpuTarget, EmitError};

/// The backend of the default features.
pub struct Cranelift;

impl Backend for Cranelift {
    fn name(&self) -> &'static str {
        "cranelift"
    }

    fn has_type(&self, dtype: DType) -> bool {
        use DType::*;
        matches!(dtype, F64 | F32 | F16 | BF16 | I64 | I32 | I16 | I8 | U64 | U32 | U16 | U8 | Bool)
    }

    fn emit(&self, programs: &[Program], target: &CpuTarget) -> Result<Vec<u8>, EmitError> {
        emit_in_groups(programs, MODULE_PROGRAMS, &|group| compile(group, target))
    }
}

/// How many programs make a module.
const MODULE_PROGRAMS: usize = 8;

/// An object with a function for each program.
fn compile(programs: &[Program], target: &CpuTarget) -> Result<Vec<u8>, EmitError> {
    let fail = |message: String| EmitError::Internal { program: "module".to_owned(), message };
    let isa = build_isa(target).map_err(fail)?;
    let builder = ObjectBuilder::new(isa, "tcc", cranelift_module::default_libcall_names());
    let mut module = ObjectModule::new(builder.map_err(|e| fail(e.to_string()))?);
    let mut context = module.make_context();
    let mut frontend = FunctionBuilderContext::new();
    for program in programs {
        let internal = |message: String| EmitError::Internal { program: program.name.clone(), message };
        context.func.signature = signature(module.isa().default_call_conv());
        program::emit(program, target, &mut module, &mut context.func, &mut frontend)?;
        let id = module
            .declare_function(&program.name, Linkage::Export, &context.func.signature)
            .map_err(|e| internal(e.to_string()))?;
        module.define_function(id, &mut context).map_err(|e| internal(format!("{e:?}")))?;
        module.clear_context(&mut context);
    }
    module.finish().emit().map_err(|e| fail(e.to_string()))
}

/// A function that passes what it is given on to another one, with the address of data before it.
pub struct Forward {
    /// Its name.
    pub name: String,
    /// The symbol of the data.
    pub data: String,
    /// The function that is called.
    pub callee: String,
    /// How many arguments it takes, all of 64 bits; what the callee returns has 64 bits, too.
    pub arguments: usize,
}

/// An object with such functions.
pub fn forwards(all: &[Forward], target: &CpuTarget) -> Result<Vec<u8>, EmitError> {
    let fail = |message: String| EmitError::Internal { program: "module".to_owned(), message };
    let isa = build_isa(target).map_err(fail)?;
    let builder = ObjectBuilder::new(isa, "tcc", cranelift_module::default_libcall_names());
    let mut module = ObjectModule::new(builder.map_err(|e| fail(e.to_string()))?);
    let mut context = module.make_context();
    let mut frontend = FunctionBuilderContext::new();
    for forward in all {
        let refused = |e: cranelift_module::ModuleError| fail(format!("{e:?}"));
        let signature = |arguments: usize| {
            let mut signature = Signature::new(module.isa().default_call_conv());
            signature.params.extend(vec![AbiParam::new(types::I64); arguments]);
            signature.returns.push(AbiParam::new(types::I64));
            signature
        };
        let (own, others) = (signature(forward.arguments), signature(forward.arguments + 1));
        let callee = module.declare_function(&forward.callee, Linkage::Import, &others).map_err(refused)?;
        let data = module.declare_data(&forward.data, Linkage::Import, false, false).map_err(refused)?;
        let id = module.declare_function(&forward.name, Linkage::Export, &own).map_err(refused)?;
        context.func.signature = own;
        let callee = module.declare_func_in_func(callee, &mut context.func);
        let data = module.declare_data_in_func(data, &mut context.func);
        let mut builder = FunctionBuilder::new(&mut context.func, &mut frontend);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let mut arguments = vec![builder.ins().symbol_value(types::I64, data)];
        arguments.extend_from_slice(builder.block_params(entry));
        let call = builder.ins().call(callee, &arguments);
        let results = builder.inst_results(call).to_vec();
        builder.ins().return_(&results);
        builder.finalize(module.target_config());
        module.define_function(id, &mut context).map_err(refused)?;
        module.clear_context(&mut context);
    }
    module.finish().emit().map_err(|e| fail(e.to_string()))
}

/// `fn(buffers, symbols, begin, end, scratch)`.
fn signature(convention: CallConv) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params.extend([AbiParam::new(types::I64); 5]);
    signature
}

/// The features that Cranelift knows on x86-64, by the runtime's words.
const X86_FLAGS: [(&str, &str); 9] = [
    ("sse4.1", "has_sse41"),
    ("sse4.1", "has_ssse3"),
    ("sse4.1", "has_sse3"),
    ("avx2", "has_sse42"),
    ("avx2", "has_popcnt"),
    ("avx2", "has_avx"),
    ("avx2", "has_avx2"),
    ("avx2", "has_fma"),
    ("avx2", "has_bmi1"),
];

fn build_isa(target: &CpuTarget) -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    for (name, value) in [("opt_level", "speed"), ("enable_verifier", "false"), ("is_pic", "true")] {
        flags.set(name, value).map_err(|e| e.to_string())?;
    }
    let mut isa =
        isa::lookup_by_name(&format!("{}-unknown-linux-gnu", target.arch)).map_err(|e| e.to_string())?;
    if target.arch == "x86_64" {
        for (feature, flag) in X86_FLAGS {
            if target.has(feature) {
                isa.enable(flag).map_err(|e| e.to_string())?;
            }
        }
    }
    isa.finish(settings::Flags::new(flags)).map_err(|e| e.to_string())
}
