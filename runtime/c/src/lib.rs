//! The C interface of the runtime; `tcc_rt.h` beside this crate is its contract.
//!
//! Every function checks its pointers for null, gives errors as numbers with a message for the thread, and lets no
//! panic out.

mod threads;

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tcc_runtime::artifact::Artifact;
use tcc_runtime::model::{Executable, Means, Session, TensorView, TensorViewMut};
use tcc_runtime::threads::{Inline, Parallel, Pool, PoolConfig};

use threads::CallersThreads;

/// A loaded model with the names of its inputs and outputs as C strings.
pub struct Model {
    executable: Arc<Executable>,
    inputs: Vec<CString>,
    outputs: Vec<CString>,
}

/// A series of runs.
pub struct Runs {
    session: Session<Arc<Executable>>,
    threads: Box<dyn Parallel>,
}

/// A tensor of the caller's; see `tcc_rt.h`.
#[repr(C)]
pub struct Tensor {
    dtype: *const c_char,
    shape: *const i64,
    rank: usize,
    data: *mut u8,
    bytes: usize,
}

/// Why a call failed.
enum Failure {
    Null(&'static str),
    Open(String),
    Run(String),
    Overlap,
    Panic,
}

impl Failure {
    fn number(&self) -> i32 {
        match self {
            Failure::Null(_) => 1,
            Failure::Open(_) => 2,
            Failure::Run(_) => 3,
            Failure::Overlap => 4,
            Failure::Panic => 5,
        }
    }

    fn message(&self) -> String {
        match self {
            Failure::Null(what) => format!("expected {what}, got a null pointer"),
            Failure::Open(message) | Failure::Run(message) => message.clone(),
            Failure::Overlap => "expected outputs in memory of their own, got some that overlap".to_owned(),
            Failure::Panic => "the runtime panicked".to_owned(),
        }
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Carries out a call and remembers what went wrong.
fn guarded(call: impl FnOnce() -> Result<(), Failure>) -> i32 {
    let done = catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Failure::Panic));
    let Err(failure) = done else { return 0 };
    let text = CString::new(failure.message().replace('\0', " ")).unwrap_or_default();
    LAST.with(|last| *last.borrow_mut() = text);
    failure.number()
}

/// See `tcc_rt.h`.
#[unsafe(no_mangle)]
pub extern "C" fn tcc_rt_last_error() -> *const c_char {
    LAST.with(|last| last.borrow().as_ptr())
}

/// # Safety
/// `path` must be null or a C string, `model` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_rt_open(path: *const c_char, model: *mut *mut Model) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let path = unsafe { text(path, "a path")? };
        if model.is_null() {
            return Err(Failure::Null("a place for the model"));
        }
        let failed = |e: &dyn std::fmt::Display| Failure::Open(format!("{path}: {e}"));
        let variant = Artifact::open(Path::new(path)).and_then(Artifact::choose).map_err(|e| failed(&e))?;
        let executable = Executable::new(variant.model).map_err(|e| failed(&e))?;
        let name = |n: &String| CString::new(n.replace('\0', " ")).unwrap_or_default();
        let inputs = executable.model().inputs.iter().map(|p| name(&p.name)).collect();
        let outputs = executable.model().outputs.iter().map(|p| name(&p.name)).collect();
        let opened = Box::new(Model { executable: Arc::new(executable), inputs, outputs });
        // SAFETY: not null, and writable as the caller promises.
        unsafe { *model = Box::into_raw(opened) };
        Ok(())
    })
}

/// # Safety
/// `model` must be null or come from `tcc_rt_open`, and not be used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_rt_close(model: *mut Model) {
    if !model.is_null() {
        // SAFETY: it was made from a box and belongs to the caller alone.
        drop(unsafe { Box::from_raw(model) });
    }
}

/// # Safety
/// `model` must be null or an open model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_rt_input_count(model: *const Model) -> usize {
    // SAFETY: as the caller promises.
    unsafe { model.as_ref() }.map_or(0, |m| m.inputs.len())
}

/// # Safety
/// As for `tcc_rt_input_count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_rt_output_count(model: *const Model) -> usize {
    // SAFETY: as the caller promises.
    unsafe { model.as_ref() }.map_or(0, |m| m.outputs.len())
}

/// # Safety
/// As for `tcc_rt_input_count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_rt_input_name(model: *const Model, index: usize) -> *const c_char {
    // SAFETY: as the caller promises.
    unsafe { model.as_ref() }.and_then(|m| m.inputs.get(index)).map_or(std::ptr::null(), |n| n.as_ptr())
}

/// # Safety
/// As for `tcc_rt_input_count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_rt_output_name(model: *const Model, index: usize) -> *const c_char {
    // SAFETY: as the caller promises.
    unsafe { model.as_ref() }.and_then(|m| m.outputs.get(index)).map_or(std::ptr::null(), |n| n.as_ptr())
}

/// # Safety
/// `model` must be null or an open model, `session` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_rt_session_new(
    model: *const Model,
    threads: usize,
    session: *mut *mut Runs,
) -> i32 {
    guarded(|| {
        let own: Box<dyn Parallel> = match threads {
            0 | 1 => Box::new(Inline),
            count => {
                let pool = Pool::new(&PoolConfig::with_threads(count));
                Box::new(pool.map_err(|e| Failure::Run(e.to_string()))?)
            }
        };
        // SAFETY: as the caller promises.
        unsafe { begin(model, own, session) }
    })
}

/// # Safety
/// As for `tcc_rt_session_new`, and `threads` must be null or outlive the session and keep to its contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_rt_session_on(
    model: *const Model,
    threads: *const CallersThreads,
    session: *mut *mut Runs,
) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let threads = unsafe { threads.as_ref() }.ok_or(Failure::Null("threads"))?;
        // SAFETY: as the caller promises.
        unsafe { begin(model, Box::new(*threads), session) }
    })
}

/// # Safety
/// `model` must be null or an open model, `session` null or writable.
unsafe fn begin(
    model: *const Model,
    threads: Box<dyn Parallel>,
    session: *mut *mut Runs,
) -> Result<(), Failure> {
    // SAFETY: as the caller promises.
    let model = unsafe { model.as_ref() }.ok_or(Failure::Null("a model"))?;
    if session.is_null() {
        return Err(Failure::Null("a place for the session"));
    }
    let runs = Runs { session: Session::new(Arc::clone(&model.executable)), threads };
    // SAFETY: not null, and writable as the caller promises.
    unsafe { *session = Box::into_raw(Box::new(runs)) };
    Ok(())
}

/// # Safety
/// `session` must be null or come from this library, and not be used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_rt_session_free(session: *mut Runs) {
    if !session.is_null() {
        // SAFETY: it was made from a box and belongs to the caller alone.
        drop(unsafe { Box::from_raw(session) });
    }
}

/// # Safety
/// The session must be null or one of this library's that no other thread uses, the tensors as many as is said, with
/// memory as they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tcc_rt_run(
    session: *mut Runs,
    inputs: *const Tensor,
    input_count: usize,
    outputs: *const Tensor,
    output_count: usize,
) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let runs = unsafe { session.as_mut() }.ok_or(Failure::Null("a session"))?;
        // SAFETY: as the caller promises.
        let (inputs, outputs) = unsafe { (list(inputs, input_count)?, list(outputs, output_count)?) };
        let parts = |t: &Tensor| (t.data.addr(), t.bytes);
        let overlap = |a: (usize, usize), b: (usize, usize)| {
            a.1 > 0 && b.1 > 0 && a.0 < b.0.wrapping_add(b.1) && b.0 < a.0.wrapping_add(a.1)
        };
        for (i, output) in outputs.iter().enumerate() {
            let mut others = inputs.iter().chain(&outputs[..i]);
            if others.any(|other| overlap(parts(output), parts(other))) {
                return Err(Failure::Overlap);
            }
        }
        let shapes = |all: &[Tensor]| all.iter().map(shape).collect::<Result<Vec<Vec<usize>>, Failure>>();
        let (of_inputs, of_outputs) = (shapes(inputs)?, shapes(outputs)?);
        let mut views = Vec::with_capacity(inputs.len());
        for (tensor, shape) in inputs.iter().zip(&of_inputs) {
            // SAFETY: the tensor's memory is as it says.
            let bytes = unsafe { bytes(tensor)? };
            // SAFETY: as the caller promises.
            views.push(TensorView { dtype: unsafe { text(tensor.dtype, "an element type")? }, shape, bytes });
        }
        let mut results = Vec::with_capacity(outputs.len());
        for (tensor, shape) in outputs.iter().zip(&of_outputs) {
            // SAFETY: the tensor's memory is as it says, and was seen to overlap no other tensor's.
            let bytes = unsafe { bytes(tensor)? };
            // SAFETY: as the caller promises.
            let dtype = unsafe { text(tensor.dtype, "an element type")? };
            results.push(TensorViewMut { dtype, shape, bytes });
        }
        let means = Means::threads(&*runs.threads);
        runs.session.run_into(&views, &mut results, &means).map_err(|e| Failure::Run(e.to_string()))?;
        Ok(())
    })
}

/// # Safety
/// `at` must be null or a C string that outlives `'a`.
unsafe fn text<'a>(at: *const c_char, what: &'static str) -> Result<&'a str, Failure> {
    if at.is_null() {
        return Err(Failure::Null(what));
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(at) };
    text.to_str().map_err(|_| Failure::Run(format!("expected {what} in UTF-8, got {text:?}")))
}

/// # Safety
/// `at` must be null or hold `len` values for `'a`.
unsafe fn list<'a, T>(at: *const T, len: usize) -> Result<&'a [T], Failure> {
    match (at.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Failure::Null("a list")),
        // SAFETY: as the caller promises.
        _ => Ok(unsafe { std::slice::from_raw_parts(at, len) }),
    }
}

fn shape(tensor: &Tensor) -> Result<Vec<usize>, Failure> {
    // SAFETY: the caller of `tcc_rt_run` promises as many extents as it says.
    let extents = unsafe { list(tensor.shape, tensor.rank)? };
    let extent = |e: &i64| {
        usize::try_from(*e).map_err(|_| Failure::Run(format!("expected an extent of at least 0, got {e}")))
    };
    extents.iter().map(extent).collect()
}

/// # Safety
/// The memory must be as the tensor says for `'a`, and not be reached in another way meanwhile.
unsafe fn bytes<'a>(tensor: &Tensor) -> Result<&'a mut [u8], Failure> {
    match (tensor.data.is_null(), tensor.bytes) {
        (_, 0) => Ok(&mut []),
        (true, _) => Err(Failure::Null("data")),
        // SAFETY: as the caller promises.
        (_, len) => Ok(unsafe { std::slice::from_raw_parts_mut(tensor.data, len) }),
    }
}
