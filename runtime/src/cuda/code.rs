//! The code of a model for the GPU at hand: the target that fits best, and the module that the driver makes of it.

use std::ffi::{CString, c_int, c_void};
use std::sync::Arc;

use super::context::Context;
use super::driver::{Handle, call};
use super::{CudaError, Manifest, Target};

/// The code for one target of a manifest.
pub struct Code<'c> {
    /// PTX, which the driver compiles.
    pub ptx: &'c str,
    /// Machine code, if it was made.
    pub cubin: Option<&'c [u8]>,
}

/// The driver's numbers for its compiler's options.
const INFO_LOG: c_int = 3;
const INFO_LOG_BYTES: c_int = 4;
const ERROR_LOG: c_int = 5;
const ERROR_LOG_BYTES: c_int = 6;
/// The driver's number for the most shared memory that a function can be launched with.
const MAX_DYNAMIC_SHARED: c_int = 8;
/// What blocks can have without asking.
const PLAIN_SHARED: usize = 48 << 10;

/// The number of the target that suits a GPU best: made for it alone, or else for the newest that it is not older
/// than.
pub(super) fn best_target(manifest: &Manifest, capability: u32) -> Result<usize, CudaError> {
    let rank = |target: &Target| {
        let (made_for, alone) = target.capability()?;
        let runs = if alone { made_for == capability } else { made_for <= capability };
        runs.then_some((made_for, alone))
    };
    let ranked = manifest.targets.iter().enumerate().filter_map(|(i, t)| Some((rank(t)?, i)));
    ranked.max().map(|(_, i)| i).ok_or_else(|| CudaError::Target {
        got: capability,
        known: manifest.targets.iter().map(|t| t.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// Whether machine code for a target runs on a GPU: the same generation, and no younger.
fn runs_machine_code(target: &Target, capability: u32) -> bool {
    target.capability().is_some_and(|(made_for, alone)| {
        made_for == capability || (!alone && made_for / 10 == capability / 10 && made_for <= capability)
    })
}

/// Kernels that the driver has loaded.
pub(super) struct Module {
    context: Arc<Context>,
    raw: Handle,
}

// SAFETY: the driver allows calls about a module from any thread; nothing in it changes.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    pub(super) fn load(
        context: &Arc<Context>,
        target: &Target,
        code: &Code<'_>,
    ) -> Result<Module, CudaError> {
        let cubin = code.cubin.filter(|_| runs_machine_code(target, context.capability()));
        // PTX ends with a zero; machine code says its own length.
        let ptx = CString::new(code.ptx)
            .map_err(|_| CudaError::Malformed(format!("{}: expected text without zeros", target.file)))?;
        let image: *const c_void = cubin.map_or(ptx.as_ptr().cast(), |c| c.as_ptr().cast());
        let (mut info, mut error) = (vec![0u8; 8 << 10], vec![0u8; 8 << 10]);
        let mut options = [INFO_LOG, INFO_LOG_BYTES, ERROR_LOG, ERROR_LOG_BYTES];
        let mut values: [Handle; 4] = [
            info.as_mut_ptr().cast(),
            std::ptr::without_provenance_mut(info.len()),
            error.as_mut_ptr().cast(),
            std::ptr::without_provenance_mut(error.len()),
        ];
        let mut raw = std::ptr::null_mut();
        let _entered = context.enter()?;
        // SAFETY: the image is text that ends with a zero or an object that says its length; the logs have the room
        // that the options say, and live until the call returns.
        let loaded = unsafe {
            let count = options.len() as u32;
            let (options, values) = (options.as_mut_ptr(), values.as_mut_ptr());
            call!(context.driver(), module_load(&raw mut raw, image, count, options, values))
        };
        match loaded {
            Ok(()) => Ok(Module { context: Arc::clone(context), raw }),
            Err(CudaError::Call { name, message, .. }) => {
                let log =
                    described(&error, code.ptx).or_else(|| described(&info, code.ptx)).unwrap_or(message);
                Err(CudaError::Code { target: target.name.clone(), name, log })
            }
            Err(other) => Err(other),
        }
    }

    /// A kernel, allowed to have this much shared memory.
    pub(super) fn function(&self, name: &str, shared_bytes: usize) -> Result<Function, CudaError> {
        let text = CString::new(name)
            .map_err(|_| CudaError::Malformed(format!("expected names without zeros, got {name:?}")))?;
        let mut raw = std::ptr::null_mut();
        let _entered = self.context.enter()?;
        let driver = self.context.driver();
        // SAFETY: the module lives, the name ends with a zero, and the handle is written to a variable of its type.
        unsafe { call!(driver, module_function(&raw mut raw, self.raw, text.as_ptr()))? };
        if shared_bytes > PLAIN_SHARED {
            let bytes = c_int::try_from(shared_bytes).unwrap_or(c_int::MAX);
            // SAFETY: the function lives as long as the module.
            unsafe { call!(driver, function_set(raw, MAX_DYNAMIC_SHARED, bytes))? };
        }
        Ok(Function(raw))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Ok(_entered) = self.context.enter() {
            // SAFETY: the module was loaded in this context and is unloaded once.
            let _ = unsafe { call!(self.context.driver(), module_unload(self.raw)) };
        }
    }
}

/// A kernel of a module, for as long as that lives.
#[derive(Clone, Copy)]
pub(super) struct Function(pub(super) Handle);

// SAFETY: the driver allows launches from any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// What a log says, with the line of code that it names; nothing if it is empty.
fn described(log: &[u8], ptx: &str) -> Option<String> {
    let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    let said = text.trim();
    if said.is_empty() {
        return None;
    }
    let number = said.split("line ").nth(1).and_then(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse::<usize>().ok()
    });
    let line = number.and_then(|n| ptx.lines().nth(n.checked_sub(1)?));
    let about = line.map(|l| format!(" (`{}`)", l.trim())).unwrap_or_default();
    Some(format!("{}{about}", said.lines().collect::<Vec<_>>().join("; ")))
}
