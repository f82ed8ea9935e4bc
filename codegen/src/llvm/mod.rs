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
mod merge;
mod module;
mod ops;
#[cfg(test)]
mod tests;
mod tile;

use tcc_ir::dtype::DType;
use tcc_ir::mem::Program;

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
        let objects = in_parallel(&groups(programs), target)?;
        merge::merge(&objects)
            .map_err(|message| EmitError::Internal { program: "module".to_owned(), message })
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

fn groups(programs: &[Program]) -> Vec<&[Program]> {
    programs.chunks(MODULE_PROGRAMS).collect()
}

/// Compiles modules on all cores; the objects come in the order of the modules.
fn in_parallel(groups: &[&[Program]], target: &CpuTarget) -> Result<Vec<Vec<u8>>, EmitError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(groups.len());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(group) = groups.get(index) else { return done };
            done.push((index, compile(group, target)));
        }
    };
    let mut all: Vec<(usize, Result<Vec<u8>, EmitError>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect()
    });
    all.sort_by_key(|(index, _)| *index);
    if all.len() != groups.len() {
        let message = "a thread that compiled ended early".to_owned();
        return Err(EmitError::Internal { program: "module".to_owned(), message });
    }
    all.into_iter().map(|(_, object)| object).collect()
}

fn compile(programs: &[Program], target: &CpuTarget) -> Result<Vec<u8>, EmitError> {
    let text = text(programs, target)?;
    machine::object(&text, target).map_err(|message| {
        let names: Vec<&str> = programs.iter().map(|p| p.name.as_str()).collect();
        EmitError::Internal { program: names.join(", @"), message }
    })
}
