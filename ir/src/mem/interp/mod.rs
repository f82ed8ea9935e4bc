//! What a program means: runs it lane by lane.
//!
//! It finds reads and writes out of bounds, reads of elements never written, outputs left unwritten, iterations
//! of `parallel` and `block` loops that touch one element with a write, threads that do so without a barrier in
//! between, barriers that not all threads of a block reach, and touches of what an asynchronous copy has not finished:
//! such a copy ends as late as it is allowed to.

mod code;
mod elements;
mod run;
#[cfg(test)]
mod tests;

use self::code::Names;
use self::elements::{Elements, Thread};
use self::run::{Context, Machine};
use super::Program;
use crate::diag::Diags;
use crate::dim::{Bindings, Symbol};
use crate::tensor::{Tensor, TensorError};

/// Why a program has no value for some inputs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InterpError {
    /// The program means nothing.
    #[error("{0}")]
    Invalid(Diags),
    /// The inputs do not fit the parameters.
    #[error("input `{name}`: expected {expected}, got {got}")]
    Input {
        /// The parameter.
        name: Symbol,
        /// Its type and number of elements.
        expected: String,
        /// What was given.
        got: String,
    },
    /// A symbol has no value, or one that the program was not made for.
    #[error("symbol `{name}`: expected {expected}, got {got}")]
    Symbol {
        /// The symbol.
        name: Symbol,
        /// What it can be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// An element outside of its buffer.
    #[error("expected an element of `{buffer}` in 0..{elements}, got {element}")]
    OutOfBounds {
        /// The buffer.
        buffer: Symbol,
        /// How many it has.
        elements: usize,
        /// The element.
        element: i64,
    },
    /// An element that was never written.
    #[error("expected `{buffer}`[{element}] to be written before it is read")]
    Uninitialised {
        /// The buffer.
        buffer: Symbol,
        /// The element.
        element: usize,
    },
    /// Two iterations touch one element, at least one of them writing it.
    #[error(
        "expected iterations of `{var}` to be independent, but {first} and {second} both touch `{buffer}`[{element}]"
    )]
    Race {
        /// The loop.
        var: Symbol,
        /// One iteration.
        first: i64,
        /// Another one.
        second: i64,
        /// The buffer.
        buffer: Symbol,
        /// The element.
        element: usize,
    },
    /// Two threads touch one element without a barrier in between, at least one of them writing it.
    #[error(
        "expected a barrier between threads {first:?} and {second:?}, which both touch `{buffer}`[{element}]"
    )]
    ThreadRace {
        /// The coordinates of one thread; -1 along an axis without a loop.
        first: [i64; 3],
        /// Those of another one.
        second: [i64; 3],
        /// The buffer.
        buffer: Symbol,
        /// The element.
        element: usize,
    },
    /// An element that an asynchronous copy is about to read or write is written, or read where it is written.
    #[error("expected the copy under way at `{buffer}`[{element}] to be waited for")]
    InFlight {
        /// The buffer.
        buffer: Symbol,
        /// The element.
        element: usize,
    },
    /// Copies of a thread or an iteration outlive it.
    #[error("expected all copies to be waited for by the end of their thread, but {groups} groups are not")]
    LeftInFlight {
        /// How many groups.
        groups: usize,
    },
    /// Some threads of a block wait at a barrier, others end or wait at another one.
    #[error("expected all threads of `{var}` to reach the same barrier, but {first} and {second} do not")]
    Diverged {
        /// The loop.
        var: Symbol,
        /// One thread.
        first: i64,
        /// Another one.
        second: i64,
    },
    /// A negative extent, or more memory or work than a test should take.
    #[error("{0}")]
    Size(String),
}

impl From<TensorError> for InterpError {
    fn from(error: TensorError) -> Self {
        InterpError::Size(error.to_string())
    }
}

/// All registers of all threads that wait at a barrier have at most this many lanes.
const MAX_LANES: usize = 1 << 22;

/// Runs a program on inputs in the order of its parameters, of any shape with as many elements as the parameter;
/// gives the outputs as tensors of rank 1. Every symbol of the program needs a value.
pub fn interpret(
    program: &Program,
    inputs: &[Tensor],
    bindings: &Bindings,
) -> Result<Vec<Tensor>, InterpError> {
    program.verify().map_err(InterpError::Invalid)?;
    check_symbols(program, bindings)?;
    if inputs.len() != program.inputs.len() {
        let message = format!("expected {} inputs, got {}", program.inputs.len(), inputs.len());
        return Err(InterpError::Size(message));
    }
    let mut names = Names::new(program);
    let body = names.block(&program.body);
    let mut elements = Elements::with_threads(names.threads);
    let mut memories = Vec::new();
    for (i, memory) in program.params().enumerate() {
        let count = memory.elements.eval(bindings).map_err(unbound)?;
        if let Some(tensor) = inputs.get(i)
            && (tensor.dtype() != memory.dtype || i64::try_from(tensor.len()) != Ok(count))
        {
            return Err(InterpError::Input {
                name: memory.name.clone(),
                expected: format!("{}[{count}]", memory.dtype),
                got: format!("{}{:?}", tensor.dtype(), tensor.shape()),
            });
        }
        let buffer = elements.make(&memory.name, memory.dtype, count, true)?;
        if let Some(tensor) = inputs.get(i) {
            elements.fill(buffer, tensor.iter_scalars());
        }
        memories.push((names.memory_slot(&memory.name), buffer));
    }
    let lanes = names.starts.last().copied().unwrap_or(0);
    if lanes > MAX_LANES {
        return Err(InterpError::Size(format!(
            "expected registers of at most {MAX_LANES} lanes together, got {lanes}"
        )));
    }
    for symbol in bindings.keys() {
        names.index_slot(symbol);
    }
    let mut context = Context::new(&body, lanes, names.indices.len(), names.memories.len());
    for (slot, buffer) in &memories {
        context.memories[*slot] = *buffer;
    }
    for (symbol, value) in bindings {
        context.indices[names.indices[symbol]] = *value;
    }
    let mut machine = Machine::new(elements);
    machine.run(context)?;
    let mut outputs = Vec::new();
    for (memory, (_, buffer)) in program.params().zip(&memories).skip(inputs.len()) {
        let values = machine.elements.all(*buffer)?;
        outputs.push(Tensor::from_scalars(memory.dtype, &[values.len()], &values)?);
    }
    Ok(outputs)
}

fn unbound(name: Symbol) -> InterpError {
    InterpError::Symbol { name, expected: "a value".to_owned(), got: "none".to_owned() }
}

/// What is said of the symbols must hold, since the verifier relies on it.
fn check_symbols(program: &Program, bindings: &Bindings) -> Result<(), InterpError> {
    for symbol in program.symbols() {
        let Some(value) = bindings.get(&symbol).copied() else { return Err(unbound(symbol)) };
        if program.ranges.contains(&symbol) {
            let range = program.ranges.get(&symbol);
            if value < range.lo || value > range.hi {
                let (expected, got) = (format!("{}..={}", range.lo, range.hi), value.to_string());
                return Err(InterpError::Symbol { name: symbol, expected, got });
            }
        }
    }
    Ok(())
}
