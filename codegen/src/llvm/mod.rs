//! The backend of the feature `llvm`: programs are written as LLVM's text, which LLVM optimises and compiles.
//!
//! Vectors are as wide as the program has them, each buffer's accesses are marked as apart from those of all
//! others, and no arithmetic is reassociated or contracted: what the program says is what is computed.

mod casts;
mod forms;
mod function;
mod index;
mod kept;
mod machine;
mod memory;
mod module;
mod ops;
#[cfg(test)]
mod tests;
mod tile;

use tcc_ir::dtype::DType;
use tcc_ir::mem::Program;

use crate::groups::emit_in_groups;
use crate::{Backend, CpuTarget, EmitError};

/// The backend of the feature `llvm`.
pub struct Llvm;

impl Backend for Llvm {
    fn name(&self) -> &'static str {
        "llvm"
    }

    fn has_type(&self, dtype: DType) -> bool {
        use DType::*;
        matches!(dtype, F64 | F32 | F16 | BF16 | I64 | I32 | I16 | I8 | U64 | U32 | U16 | U8 | Bool)
    }

    fn emit(&self, programs: &[Program], target: &CpuTarget) -> Result<Vec<u8>, EmitError> {
        emit_in_groups(programs, MODULE_PROGRAMS, &|group| compile(group, target))
    }
}

/// The text of a module with a function for each program.
pub fn text(programs: &[Program], target: &CpuTarget) -> Result<String, EmitError> {
    let mut module = module::ModuleText::default();
    programs.iter().try_for_each(|program| function::emit(program, target, &mut module))?;
    Ok(module.text())
}

/// How many programs make a module. A constant, so that the bytes do not depend on the machine that compiles.
const MODULE_PROGRAMS: usize = 4;

fn compile(programs: &[Program], target: &CpuTarget) -> Result<Vec<u8>, EmitError> {
    let text = text(programs, target)?;
    machine::object(&text, target).map_err(|message| {
        let names: Vec<&str> = programs.iter().map(|p| p.name.as_str()).collect();
        EmitError::Internal { program: names.join(", @"), message }
    })
}
