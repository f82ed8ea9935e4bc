//! Runs a model that is linked into a program: a table that the compiler wrote says what is called with what.
//!
//! Nothing is allocated and no state is kept, so that any number of threads may run a model at the same time, each
//! with a workspace of its own. The tables are trusted: they are part of the program. What the caller gives is not.

use core::ffi::c_void;
use core::ptr;

/// The alignment of workspaces, arenas and scratch memory.
const ALIGNMENT: usize = 64;
/// The alignment of inputs and outputs.
const CALLER_ALIGNMENT: usize = 16;

/// What is wrong with a call; the numbers are part of the C interface.
#[derive(Clone, Copy)]
#[repr(i32)]
pub enum Failure {
    /// A pointer that must not be null is.
    Null = 1,
    /// An input, an output or the workspace is not aligned.
    Misaligned = 2,
    /// An extent is outside of the range the model was compiled for.
    Extent = 3,
    /// The workspace is too small.
    Workspace = 4,
    /// An output overlaps an input, another output or the workspace.
    Overlap = 5,
    /// The processor lacks instructions that the code was made of.
    Processor = 6,
    /// A size does not fit an integer.
    Size = 7,
}

/// An integer expression: pairs of an operation and a number, for a stack machine.
#[repr(C)]
pub struct Expression {
    words: *const [i64; 2],
    len: usize,
}

/// Where a buffer lies and how large it is.
#[repr(C)]
pub struct Buffer {
    place: u64,
    index: usize,
    constant: *const u8,
    offset: Expression,
    bytes: Expression,
}

const INPUT: u64 = 0;
const OUTPUT: u64 = 1;
const CONSTANT: u64 = 2;

/// A call of a kernel.
#[repr(C)]
pub struct Step {
    kernel: Kernel,
    buffers: *const u64,
    buffer_count: usize,
    symbols: *const u64,
    symbol_count: usize,
    tiles: Expression,
    scratch: Expression,
}

type Kernel = unsafe extern "C" fn(*const *mut u8, *const i64, i64, i64, *mut u8);

/// A model.
#[repr(C)]
pub struct Plan {
    /// The features of the processor that the code uses.
    needs: u64,
    /// The least and the largest value of each symbol.
    ranges: *const [i64; 2],
    symbol_count: usize,
    /// The buffer of each input.
    inputs: *const u64,
    input_count: usize,
    /// The buffer of each output.
    outputs: *const u64,
    output_count: usize,
    buffers: *const Buffer,
    buffer_count: usize,
    steps: *const Step,
    step_count: usize,
    arena: Expression,
    /// The most buffers, and symbols, that a step has.
    most_buffers: usize,
    most_symbols: usize,
}

/// Who runs tiles: the caller's threads.
#[repr(C)]
pub struct Threads {
    workers: i64,
    run: unsafe extern "C" fn(context: *mut c_void, tiles: i64, body: Body, task: *const c_void),
    context: *mut c_void,
}

/// Runs the tiles `begin..end` as one of the workers.
type Body = unsafe extern "C" fn(task: *const c_void, worker: i64, begin: i64, end: i64);

/// What the workers of a step share.
#[repr(C)]
struct Task {
    kernel: Kernel,
    buffers: *const *mut u8,
    symbols: *const i64,
    scratch: *mut u8,
    scratch_bytes: usize,
}

unsafe extern "C" fn run_tiles(task: *const c_void, worker: i64, begin: i64, end: i64) {
    // SAFETY: the caller passes on the task it was given, and a worker below the number it declared, so that the
    // scratch memory lies in the workspace.
    unsafe {
        let task = &*task.cast::<Task>();
        let scratch = task.scratch.add(worker as usize * task.scratch_bytes);
        (task.kernel)(task.buffers, task.symbols, begin, end, scratch);
    }
}

/// The bytes of workspace for a run with these extents on so many workers, or a failure's number below zero.
///
/// # Safety
/// The plan must be the compiler's, and `symbols` must hold as many numbers as the plan has symbols.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_plan_workspace(plan: *const Plan, symbols: *const i64, workers: i64) -> i64 {
    // SAFETY: as the caller promises.
    let sizes = unsafe { Sizes::new(&*plan, symbols, workers) };
    match sizes {
        Ok(sizes) => sizes.all as i64,
        Err(failure) => -(failure as i64),
    }
}

/// Runs a model; 0, or a failure's number.
///
/// # Safety
/// The plan must be the compiler's; `inputs`, `outputs` and `symbols` must hold what the plan has of each, every
/// tensor as large as its type with these extents, and the workspace `workspace_bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_plan_run(
    plan: *const Plan,
    inputs: *const *const u8,
    outputs: *const *mut u8,
    symbols: *const i64,
    workspace: *mut u8,
    workspace_bytes: usize,
    threads: *const Threads,
) -> i32 {
    // SAFETY: as the caller promises.
    let done = unsafe {
        let room = Room { start: workspace, bytes: workspace_bytes };
        run(&*plan, Caller { inputs, outputs, symbols }, room, threads.as_ref())
    };
    match done {
        Ok(()) => 0,
        Err(failure) => failure as i32,
    }
}

#[derive(Clone, Copy)]
struct Caller {
    inputs: *const *const u8,
    outputs: *const *mut u8,
    symbols: *const i64,
}

struct Room {
    start: *mut u8,
    bytes: usize,
}

/// The parts of a workspace, from its start on: pointers, arguments of a kernel, the arena, scratch memory.
struct Sizes {
    pointers: usize,
    arguments: usize,
    values: usize,
    arena: usize,
    all: usize,
}

impl Sizes {
    unsafe fn new(plan: &Plan, symbols: *const i64, workers: i64) -> Result<Sizes, Failure> {
        if symbols.is_null() && plan.symbol_count > 0 {
            return Err(Failure::Null);
        }
        // SAFETY: the caller promises as many symbols as the plan has; the plan's own tables are whole.
        unsafe {
            for at in 0..plan.symbol_count {
                let ([lo, hi], value) = (*plan.ranges.add(at), *symbols.add(at));
                if value < lo || value > hi {
                    return Err(Failure::Extent);
                }
            }
            let mut scratch = 0;
            for at in 0..plan.step_count {
                scratch = rounded((*plan.steps.add(at)).scratch.size(symbols)?)?.max(scratch);
            }
            let workers = usize::try_from(workers.max(1)).map_err(|_| Failure::Size)?;
            let arguments = plan.buffer_count * 8;
            let values = arguments + plan.most_buffers * 8;
            let arena = rounded(values + plan.most_symbols * 8)?;
            let arena_bytes = rounded(plan.arena.size(symbols)?)?;
            let scratch = scratch.checked_mul(workers).ok_or(Failure::Size)?;
            let all = arena.checked_add(arena_bytes).and_then(|n| n.checked_add(scratch));
            let all = all.filter(|n| *n <= isize::MAX as usize).ok_or(Failure::Size)?;
            Ok(Sizes { pointers: 0, arguments, values, arena, all })
        }
    }
}

fn rounded(bytes: usize) -> Result<usize, Failure> {
    bytes.checked_next_multiple_of(ALIGNMENT).ok_or(Failure::Size)
}

unsafe fn run(plan: &Plan, caller: Caller, room: Room, threads: Option<&Threads>) -> Result<(), Failure> {
    if crate::processor::lacking(plan.needs) != 0 {
        return Err(Failure::Processor);
    }
    let symbols = caller.symbols;
    // SAFETY: the caller promises arrays as long as the plan says; all pointers that are used lie in memory whose
    // size was checked, or which the caller promises.
    unsafe {
        let sizes = Sizes::new(plan, symbols, threads.map_or(1, |t| t.workers))?;
        if room.start.is_null() || room.bytes < sizes.all {
            return Err(Failure::Workspace);
        }
        if !room.start.addr().is_multiple_of(ALIGNMENT) {
            return Err(Failure::Misaligned);
        }
        check(plan, caller, &room)?;
        let pointers = room.start.add(sizes.pointers).cast::<*mut u8>();
        let arena = room.start.add(sizes.arena);
        let scratch = arena.add(rounded(plan.arena.size(symbols)?)?);
        for at in 0..plan.buffer_count {
            let buffer = &*plan.buffers.add(at);
            *pointers.add(at) = match buffer.place {
                INPUT => (*caller.inputs.add(buffer.index)).cast_mut(),
                OUTPUT => *caller.outputs.add(buffer.index),
                CONSTANT => buffer.constant.cast_mut(),
                _ => arena.add(buffer.offset.size(symbols)?),
            };
        }
        let arguments = room.start.add(sizes.arguments).cast::<*mut u8>();
        let values = room.start.add(sizes.values).cast::<i64>();
        for at in 0..plan.step_count {
            let step = &*plan.steps.add(at);
            for i in 0..step.buffer_count {
                *arguments.add(i) = *pointers.add(*step.buffers.add(i) as usize);
            }
            for i in 0..step.symbol_count {
                *values.add(i) = *symbols.add(*step.symbols.add(i) as usize);
            }
            let tiles = step.tiles.value(symbols).ok_or(Failure::Size)?;
            let task = Task {
                kernel: step.kernel,
                buffers: arguments,
                symbols: values,
                scratch,
                scratch_bytes: rounded(step.scratch.size(symbols)?)?,
            };
            let task = (&raw const task).cast::<c_void>();
            match threads {
                _ if tiles <= 0 => {}
                None => run_tiles(task, 0, 0, tiles),
                Some(threads) => (threads.run)(threads.context, tiles, run_tiles, task),
            }
        }
        // Outputs that are an input, a constant or another output are copies.
        for at in 0..plan.output_count {
            let number = *plan.outputs.add(at) as usize;
            let (from, to) = (*pointers.add(number), *caller.outputs.add(at));
            if !ptr::eq(from, to) {
                ptr::copy_nonoverlapping(from, to, (*plan.buffers.add(number)).bytes.size(symbols)?);
            }
        }
    }
    Ok(())
}

/// Checks the caller's pointers.
unsafe fn check(plan: &Plan, caller: Caller, room: &Room) -> Result<(), Failure> {
    let no_inputs = caller.inputs.is_null() && plan.input_count > 0;
    if no_inputs || (caller.outputs.is_null() && plan.output_count > 0) {
        return Err(Failure::Null);
    }
    // SAFETY: the caller promises arrays as long as the plan says.
    unsafe {
        let input = |at: usize| part(plan, *caller.inputs.add(at), plan.inputs, at, caller.symbols);
        let output = |at: usize| part(plan, *caller.outputs.add(at), plan.outputs, at, caller.symbols);
        let workspace = (room.start.addr(), room.bytes);
        for at in 0..plan.input_count {
            if overlap(input(at)?, workspace) {
                return Err(Failure::Overlap);
            }
        }
        for at in 0..plan.output_count {
            let own = output(at)?;
            let mut shared = overlap(own, workspace);
            for other in 0..plan.input_count {
                shared |= overlap(own, input(other)?);
            }
            for other in 0..at {
                shared |= overlap(own, output(other)?);
            }
            if shared {
                return Err(Failure::Overlap);
            }
        }
    }
    Ok(())
}

/// The address and the size of an input or output.
unsafe fn part(
    plan: &Plan,
    pointer: *const u8,
    buffers: *const u64,
    at: usize,
    symbols: *const i64,
) -> Result<(usize, usize), Failure> {
    // SAFETY: `at` is below the number of inputs or outputs, and the plan's tables are whole.
    let bytes = unsafe { (*plan.buffers.add(*buffers.add(at) as usize)).bytes.size(symbols)? };
    if pointer.is_null() && bytes > 0 {
        return Err(Failure::Null);
    }
    if !pointer.addr().is_multiple_of(CALLER_ALIGNMENT) {
        return Err(Failure::Misaligned);
    }
    Ok((pointer.addr(), bytes))
}

fn overlap(a: (usize, usize), b: (usize, usize)) -> bool {
    a.1 > 0 && b.1 > 0 && a.0 < b.0.wrapping_add(b.1) && b.0 < a.0.wrapping_add(a.1)
}

impl Expression {
    /// The value as a size.
    unsafe fn size(&self, symbols: *const i64) -> Result<usize, Failure> {
        // SAFETY: as the caller promises for `value`.
        unsafe { self.value(symbols) }.and_then(|value| usize::try_from(value).ok()).ok_or(Failure::Size)
    }

    /// The value, or nothing if it overflows. The operations are those of the runtime's expressions, in order.
    ///
    /// # Safety
    /// The words must be the compiler's, and `symbols` hold what they name.
    unsafe fn value(&self, symbols: *const i64) -> Option<i64> {
        let mut stack = [0i64; 32];
        let mut depth = 0usize;
        for at in 0..self.len {
            // SAFETY: as the caller promises.
            let [op, number] = unsafe { *self.words.add(at) };
            let value = match op {
                0 => number,
                // SAFETY: as the caller promises.
                1 => unsafe { *symbols.add(number as usize) },
                binary => {
                    let (b, a) = (*stack.get(depth.checked_sub(1)?)?, *stack.get(depth.checked_sub(2)?)?);
                    depth -= 2;
                    match binary {
                        2 => a.checked_add(b)?,
                        3 => a.checked_mul(b)?,
                        4 => floor_div(a, b)?,
                        5 => a.checked_sub(b.checked_mul(floor_div(a, b)?)?)?,
                        6 => a.min(b),
                        _ => a.max(b),
                    }
                }
            };
            *stack.get_mut(depth)? = value;
            depth += 1;
        }
        if depth == 1 { Some(stack[0]) } else { None }
    }
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    if b == 0 {
        return Some(0);
    }
    let quotient = a.checked_div(b)?;
    Some(if quotient.checked_mul(b)? != a && ((a < 0) != (b < 0)) { quotient - 1 } else { quotient })
}
