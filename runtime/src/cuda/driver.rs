//! The driver's library and the functions that are called in it.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::sync::Arc;

use super::CudaError;

/// The environment variable that names another library than the system's.
pub const DRIVER_VARIABLE: &str = "TCC_CUDA_DRIVER";

/// What the driver's package calls it, and what links made for developers call it.
const NAMES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];

/// The driver of NVIDIA GPUs, loaded and initialised.
pub struct Driver {
    pub(super) api: Api,
}

pub(super) type Handle = *mut c_void;
type Status = c_int;

/// Declares the table of functions, and loads each by the name that the driver exports.
macro_rules! functions {
    ($($field:ident $symbol:literal ($($argument:ty),*);)*) => {
        /// The driver's functions by what they do.
        pub(super) struct Api {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> Status,)*
        }

        impl Api {
            fn load(library: Handle) -> Result<Api, CudaError> {
                $(
                    let name = concat!($symbol, "\0");
                    // SAFETY: the library is open, the name ends with a zero.
                    let found = unsafe { libc::dlsym(library, name.as_ptr().cast()) };
                    if found.is_null() {
                        return Err(CudaError::OldDriver($symbol));
                    }
                    // SAFETY: the driver's interface gives the function of this name these parameters.
                    let $field = unsafe {
                        std::mem::transmute::<Handle, unsafe extern "C" fn($($argument),*) -> Status>(found)
                    };
                )*
                Ok(Api { $($field),* })
            }

            /// The name of a function of the table, for errors.
            pub(super) const fn names() -> &'static [(&'static str, &'static str)] {
                &[$((stringify!($field), $symbol)),*]
            }
        }
    };
}

functions! {
    init "cuInit" (c_uint);
    error_name "cuGetErrorName" (Status, *mut *const c_char);
    error_string "cuGetErrorString" (Status, *mut *const c_char);
    device_count "cuDeviceGetCount" (*mut c_int);
    device "cuDeviceGet" (*mut c_int, c_int);
    device_name "cuDeviceGetName" (*mut c_char, c_int, c_int);
    device_attribute "cuDeviceGetAttribute" (*mut c_int, c_int, c_int);
    context_retain "cuDevicePrimaryCtxRetain" (*mut Handle, c_int);
    context_release "cuDevicePrimaryCtxRelease_v2" (c_int);
    context_push "cuCtxPushCurrent_v2" (Handle);
    context_pop "cuCtxPopCurrent_v2" (*mut Handle);
    module_load "cuModuleLoadDataEx" (*mut Handle, *const c_void, c_uint, *mut c_int, *mut Handle);
    module_unload "cuModuleUnload" (Handle);
    module_function "cuModuleGetFunction" (*mut Handle, Handle, *const c_char);
    function_set "cuFuncSetAttribute" (Handle, c_int, c_int);
    launch "cuLaunchKernel" (
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut Handle, *mut Handle
    );
    memory_allocate "cuMemAlloc_v2" (*mut u64, usize);
    memory_free "cuMemFree_v2" (u64);
    copy_in "cuMemcpyHtoDAsync_v2" (u64, *const c_void, usize, Handle);
    copy_out "cuMemcpyDtoHAsync_v2" (*mut c_void, u64, usize, Handle);
    stream_create "cuStreamCreate" (*mut Handle, c_uint);
    stream_destroy "cuStreamDestroy_v2" (Handle);
    stream_wait "cuStreamSynchronize" (Handle);
    capture_begin "cuStreamBeginCapture_v2" (Handle, c_int);
    capture_end "cuStreamEndCapture" (Handle, *mut Handle);
    graph_instantiate "cuGraphInstantiateWithFlags" (*mut Handle, Handle, u64);
    graph_destroy "cuGraphDestroy" (Handle);
    graph_launch "cuGraphLaunch" (Handle, Handle);
    graph_exec_destroy "cuGraphExecDestroy" (Handle);
    event_create "cuEventCreate" (*mut Handle, c_uint);
    event_destroy "cuEventDestroy_v2" (Handle);
    event_record "cuEventRecord" (Handle, Handle);
    event_wait "cuEventSynchronize" (Handle);
    event_elapsed "cuEventElapsedTime" (*mut f32, Handle, Handle);
}

/// Calls a function of the driver and turns what it says into a result.
macro_rules! call {
    ($driver:expr, $field:ident($($argument:expr),* $(,)?)) => {{
        let driver: &$crate::cuda::driver::Driver = $driver;
        let status = (driver.api.$field)($($argument),*);
        driver.checked(stringify!($field), status)
    }};
}
pub(super) use call;

impl Driver {
    /// The system's driver, or the library that [`DRIVER_VARIABLE`] names.
    pub fn open() -> Result<Arc<Driver>, CudaError> {
        match std::env::var_os(DRIVER_VARIABLE) {
            Some(path) => Driver::open_at(Path::new(&path)),
            None => {
                let mut first = None;
                for name in NAMES {
                    match Driver::open_at(Path::new(name)) {
                        Err(CudaError::NoDriver(why)) => first = first.or(Some(why)),
                        other => return other,
                    }
                }
                Err(CudaError::NoDriver(first.unwrap_or_default()))
            }
        }
    }

    /// A driver in a library of this name.
    pub fn open_at(path: &Path) -> Result<Arc<Driver>, CudaError> {
        let bytes = path.as_os_str().as_encoded_bytes();
        let name = CString::new(bytes).map_err(|e| CudaError::NoDriver(e.to_string()))?;
        // SAFETY: the name ends with a zero. The library is never closed, so that its functions stay.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            // SAFETY: after a failure the message is there, and belongs to this thread until the next call.
            let said = unsafe { libc::dlerror() };
            // SAFETY: the message ends with a zero.
            let said =
                (!said.is_null()).then(|| unsafe { CStr::from_ptr(said) }.to_string_lossy().into_owned());
            return Err(CudaError::NoDriver(said.unwrap_or_else(|| path.display().to_string())));
        }
        let driver = Driver { api: Api::load(library)? };
        // SAFETY: the function takes no pointers.
        unsafe { call!(&driver, init(0))? };
        Ok(Arc::new(driver))
    }

    /// How many GPUs there are.
    pub fn devices(&self) -> Result<usize, CudaError> {
        let mut count = 0;
        // SAFETY: the number is written to a variable of the type that the driver expects.
        unsafe { call!(self, device_count(&raw mut count))? };
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// A status as a result; `field` is the function's name in the table.
    pub(super) fn checked(&self, field: &str, status: Status) -> Result<(), CudaError> {
        if status == 0 {
            return Ok(());
        }
        let call = Api::names().iter().find(|(f, _)| *f == field).map_or("driver", |(_, symbol)| symbol);
        let name = self.text(self.api.error_name, status);
        Err(CudaError::Call { call, code: status, name, message: self.text(self.api.error_string, status) })
    }

    fn text(&self, of: unsafe extern "C" fn(Status, *mut *const c_char) -> Status, status: Status) -> String {
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: the driver writes the address of a constant text, or of none for numbers it does not know.
        let known = unsafe { of(status, &raw mut text) } == 0 && !text.is_null();
        if !known {
            return format!("error {status}");
        }
        // SAFETY: the driver's texts end with a zero and are never freed.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}
