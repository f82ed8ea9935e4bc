//! Models as objects that link into a program with nothing else: kernels, weights, the table of what is called with
//! what, and the runner of such tables.
//!
//! The host side of a model stays data: `runtime/freestanding/plan.rs` says how it is laid out and walks over it.

mod header;
mod table;

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use tcc_codegen::cranelift::{Forward, forwards};
use tcc_codegen::link::{Data, Linked, Parts, link};
use tcc_codegen::{CpuTarget, EmitError};
use tcc_runtime::model::{Model, Place, Step};

use super::Translated;

/// What models need of the runtime, by architecture; empty where it could not be compiled with this program.
const FREESTANDING: [(&str, &[u8]); 2] = [
    ("x86_64", include_bytes!(concat!(env!("OUT_DIR"), "/freestanding-x86_64.o"))),
    ("aarch64", include_bytes!(concat!(env!("OUT_DIR"), "/freestanding-aarch64.o"))),
];

/// Why a model cannot be an object of its own.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Some ops have no kernel: they need the interpreter, which no object holds.
    #[error("expected a kernel for every op, got {}", .0.join("; "))]
    Interpreted(Vec<String>),
    /// A size is known only in the middle of a run.
    #[error("expected sizes that follow from the inputs' extents, got a buffer made in the middle of a run")]
    Late,
    /// The runtime's part was not compiled for this architecture.
    #[error("expected a tcc that was built with Rust's core library for {0}, got one without it")]
    Architecture(String),
    /// A name that no C function can have.
    #[error("expected a name that is an identifier of C, got `{0}`")]
    Name(String),
    /// The backend failed.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The C compiler that links shared objects is missing, or refused.
    #[error("expected `{compiler}` to link a shared object, got: {message}")]
    Compiler {
        /// What was called.
        compiler: String,
        /// What it said.
        message: String,
    },
    /// The objects could not be put together.
    #[error("the parts of the object do not fit together: {0}")]
    Link(String),
    /// The object could not be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A model as one relocatable object with its C header.
pub struct LinkedModel<'a> {
    linked: Linked<'a>,
    arch: &'static str,
    header: String,
}

impl LinkedModel<'_> {
    /// Writes the object.
    pub fn write(&self, out: &mut impl Write) -> Result<(), LinkError> {
        self.linked.write(out).map_err(LinkError::Link)
    }

    /// The header, with the contract of the functions in it.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// What a program needs for it besides the C library's memory functions: functions of the mathematical library.
    pub fn mathematics(&self) -> impl Iterator<Item = &str> {
        self.linked.undefined().iter().map(String::as_str).filter(|name| !MEMORY.contains(name))
    }
}

/// What every C library has without being asked for.
const MEMORY: [&str; 4] = ["memcmp", "memcpy", "memmove", "memset"];

impl Translated {
    /// The model as an object whose functions begin with a name.
    pub fn link(&self, name: &str) -> Result<LinkedModel<'_>, LinkError> {
        let identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(identifier) || name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty()
        {
            return Err(LinkError::Name(name.to_owned()));
        }
        refuse(&self.model, &self.report.interpreted)?;
        let arch = self.target.arch;
        let freestanding = FREESTANDING.iter().find(|(a, object)| *a == arch && !object.is_empty());
        let (_, freestanding) = freestanding.ok_or_else(|| LinkError::Architecture(arch.to_owned()))?;
        // Objects are read where they lie, and that must be as aligned as they ask for.
        let freestanding = freestanding.to_vec();
        let [run, workspace] = ["run", "workspace_bytes"].map(|what| format!("{name}_{what}"));
        let entries = entries(name, &run, &workspace, &self.target)?;
        let mut objects: Vec<&[u8]> = vec![&entries];
        if !self.model.functions.is_empty() {
            objects.push(&self.model.object);
        }
        // What is borrowed for longer than this call is only the constants.
        let mut data: Vec<Data<'_>> = Vec::new();
        for (i, constant) in self.model.constants.iter().enumerate() {
            let bytes = Cow::Borrowed((*constant.bytes).as_ref());
            data.push(Data { name: constant_name(i), bytes, alignment: 64, addresses: Vec::new() });
        }
        // Micro-kernels may read, though never use, a row beyond the end of their operand.
        let beyond = Cow::Owned(vec![0; super::plan::READ_BEYOND as usize]);
        data.push(Data {
            name: "tcc_beyond".to_owned(),
            bytes: beyond,
            alignment: 64,
            addresses: Vec::new(),
        });
        data.push(table::table(name, &self.model, &self.target));
        let exports = Some(vec![run, workspace]);
        let linked =
            link(Parts { objects, library: Some(&freestanding), data, exports }).map_err(LinkError::Link)?;
        let mathematics: Vec<&str> =
            linked.undefined().iter().map(String::as_str).filter(|n| !MEMORY.contains(n)).collect();
        let header = header::header(name, self, &mathematics);
        Ok(LinkedModel { linked, header, arch })
    }
}

/// Links a model to a shared object with the C compiler that `CC` names, or `cc`, or the one for another
/// architecture; gives the file's size.
pub fn shared_object(model: &LinkedModel<'_>, path: &Path) -> Result<u64, LinkError> {
    let here = cfg!(target_arch = "aarch64") == (model.arch == "aarch64");
    let named = std::env::var("CC").ok().filter(|name| !name.is_empty());
    let usual = if here { "cc".to_owned() } else { format!("{}-linux-gnu-gcc", model.arch) };
    let compiler = named.unwrap_or(usual);
    let object = path.with_extension(format!("{}.o", std::process::id()));
    let done = (|| {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&object)?);
        model.write(&mut out)?;
        out.flush()?;
        let mut command = Command::new(&compiler);
        command.args(["-shared", "-Wl,-z,noexecstack", "-Wl,-z,defs", "-o"]).arg(path).arg(&object);
        if model.mathematics().next().is_some() {
            command.arg("-lm");
        }
        let refused = |message: String| LinkError::Compiler { compiler: compiler.clone(), message };
        let output = command.output().map_err(|e| refused(e.to_string()))?;
        if !output.status.success() {
            return Err(refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(std::fs::metadata(path)?.len())
    })();
    // It may not have been made.
    let _ = std::fs::remove_file(&object);
    done
}

fn constant_name(index: usize) -> String {
    format!("tcc_constant_{index}")
}

fn plan_name(name: &str) -> String {
    format!("{name}_plan")
}

/// The functions that callers see.
fn entries(name: &str, run: &str, workspace: &str, target: &CpuTarget) -> Result<Vec<u8>, EmitError> {
    let forward = |name_: &str, callee: &str, arguments: usize| Forward {
        name: name_.to_owned(),
        data: plan_name(name),
        callee: callee.to_owned(),
        arguments,
    };
    forwards(&[forward(run, "tcc_plan_run", 6), forward(workspace, "tcc_plan_workspace", 2)], target)
}

fn refuse(model: &Model, interpreted: &[String]) -> Result<(), LinkError> {
    if model.steps.iter().any(|step| matches!(step, Step::Host { .. })) {
        return Err(LinkError::Interpreted(interpreted.to_vec()));
    }
    if model.buffers.iter().any(|buffer| buffer.place == Place::Late) {
        return Err(LinkError::Late);
    }
    Ok(())
}
