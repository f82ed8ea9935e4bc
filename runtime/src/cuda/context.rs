//! A device's primary context, and what lives in it: memory, streams, events, captured graphs.

use std::ffi::{c_char, c_int};
use std::marker::PhantomData;
use std::sync::Arc;

use super::CudaError;
use super::driver::{Driver, Handle, call};

/// The primary context of a GPU, which all users of CUDA in the process share.
pub struct Context {
    driver: Arc<Driver>,
    device: c_int,
    raw: Handle,
    name: String,
    capability: u32,
    shared_bytes: usize,
}

// SAFETY: the driver allows calls in a context from any thread, also at the same time.
unsafe impl Send for Context {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Context {}

/// The driver's numbers for what a device has.
const MAJOR: c_int = 75;
const MINOR: c_int = 76;
const SHARED_OPTIN: c_int = 97;

impl Context {
    /// The primary context of the GPU of this number.
    pub fn new(driver: Arc<Driver>, number: usize) -> Result<Arc<Context>, CudaError> {
        let found = driver.devices()?;
        let ordinal = c_int::try_from(number).unwrap_or(c_int::MAX);
        if number >= found {
            return Err(CudaError::NoDevice { wanted: number, found });
        }
        let (mut device, mut raw) = (0, std::ptr::null_mut());
        let mut name = [0 as c_char; 128];
        // SAFETY: every pointer is to a variable of the type that the driver expects, with the room it is told.
        unsafe {
            call!(&driver, device(&raw mut device, ordinal))?;
            call!(&driver, device_name(name.as_mut_ptr(), name.len() as c_int, device))?;
        }
        let attribute = |which| {
            let mut value = 0;
            // SAFETY: the number is written to a variable of the type that the driver expects.
            unsafe { call!(&driver, device_attribute(&raw mut value, which, device))? };
            Ok::<u32, CudaError>(u32::try_from(value).unwrap_or(0))
        };
        let capability = attribute(MAJOR)? * 10 + attribute(MINOR)?;
        let shared_bytes = attribute(SHARED_OPTIN)? as usize;
        // SAFETY: as above; the context is released when this one is dropped.
        unsafe { call!(&driver, context_retain(&raw mut raw, device))? };
        let name = name.iter().take_while(|c| **c != 0).map(|c| char::from(*c as u8)).collect();
        Ok(Arc::new(Context { driver, device, raw, name, capability, shared_bytes }))
    }

    /// The GPU's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ten times its major plus its minor compute capability.
    pub fn capability(&self) -> u32 {
        self.capability
    }

    /// The most bytes of shared memory that a block can have.
    pub fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Makes the context that of the calling thread until the guard is dropped.
    pub(super) fn enter(&self) -> Result<Entered<'_>, CudaError> {
        // SAFETY: the context is retained for as long as `self` lives.
        unsafe { call!(&self.driver, context_push(self.raw))? };
        Ok(Entered(&self.driver, PhantomData))
    }

    /// Memory of the GPU.
    pub fn allocate(self: &Arc<Self>, bytes: usize) -> Result<DeviceMemory, CudaError> {
        let mut address = 0;
        if bytes > 0 {
            let _entered = self.enter()?;
            // SAFETY: the address is written to a variable of the type that the driver expects.
            unsafe { call!(&self.driver, memory_allocate(&raw mut address, bytes))? };
        }
        Ok(DeviceMemory { context: Arc::clone(self), address, bytes })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was retained once. What the driver says at the end helps nobody.
        let _ = unsafe { call!(&self.driver, context_release(self.device)) };
    }
}

/// The context is that of the thread for as long as this lives.
pub(super) struct Entered<'c>(&'c Driver, PhantomData<Handle>);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut before = std::ptr::null_mut();
        // SAFETY: the context was pushed by this thread: the guard is like a pointer, so it stays on its thread.
        let _ = unsafe { call!(self.0, context_pop(&raw mut before)) };
    }
}

/// Memory of a GPU, freed when it is dropped.
pub struct DeviceMemory {
    context: Arc<Context>,
    address: u64,
    bytes: usize,
}

impl DeviceMemory {
    /// Its address on the GPU.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies bytes to it and waits until they are there.
    pub fn write(&self, offset: usize, bytes: &[u8], stream: &Stream) -> Result<(), CudaError> {
        self.check(offset, bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        let _entered = self.context.enter()?;
        let to = self.address + offset as u64;
        // SAFETY: the range lies in the allocation, and the bytes live until the copy is done.
        unsafe { call!(self.context.driver(), copy_in(to, bytes.as_ptr().cast(), bytes.len(), stream.raw))? };
        stream.wait()
    }

    /// Copies bytes from it and waits until they are there.
    pub fn read(&self, offset: usize, bytes: &mut [u8], stream: &Stream) -> Result<(), CudaError> {
        self.check(offset, bytes.len())?;
        if bytes.is_empty() {
            return stream.wait();
        }
        let _entered = self.context.enter()?;
        let from = self.address + offset as u64;
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: the range lies in the allocation, and the bytes live until the copy is done.
        unsafe { call!(self.context.driver(), copy_out(to, from, bytes.len(), stream.raw))? };
        stream.wait()
    }

    fn check(&self, offset: usize, bytes: usize) -> Result<(), CudaError> {
        match offset.checked_add(bytes).is_some_and(|end| end <= self.bytes) {
            true => Ok(()),
            false => Err(CudaError::Argument {
                name: "device memory".to_owned(),
                expected: format!("a range below {}", self.bytes),
                got: format!("{bytes} bytes at {offset}"),
            }),
        }
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        if self.bytes > 0
            && let Ok(_entered) = self.context.enter()
        {
            // SAFETY: the memory was allocated in this context, once.
            let _ = unsafe { call!(self.context.driver(), memory_free(self.address)) };
        }
    }
}

/// Declares an owned handle that is destroyed in its context.
macro_rules! owned {
    ($(#[$doc:meta])* $name:ident destroyed by $destroy:ident) => {
        $(#[$doc])*
        pub struct $name {
            context: Arc<Context>,
            pub(super) raw: Handle,
        }

        // SAFETY: the driver allows calls about its objects from any thread.
        unsafe impl Send for $name {}

        impl Drop for $name {
            fn drop(&mut self) {
                if let Ok(_entered) = self.context.enter() {
                    // SAFETY: the object was made in this context and is destroyed once.
                    let _ = unsafe { call!(self.context.driver(), $destroy(self.raw)) };
                }
            }
        }
    };
}

owned! {
    /// An order of work on a GPU.
    Stream destroyed by stream_destroy
}
owned! {
    /// A moment in a stream.
    Event destroyed by event_destroy
}
owned! {
    /// Launches that were captured, to be repeated as one.
    Graph destroyed by graph_exec_destroy
}

/// A stream that does not wait for the default stream.
const NON_BLOCKING: u32 = 1;
/// Calls of other threads do not disturb a capture, nor it them.
const THREAD_LOCAL: c_int = 1;

impl Stream {
    /// A stream of its own.
    pub fn new(context: &Arc<Context>) -> Result<Stream, CudaError> {
        let _entered = context.enter()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the handle is written to a variable of the type that the driver expects.
        unsafe { call!(context.driver(), stream_create(&raw mut raw, NON_BLOCKING))? };
        Ok(Stream { context: Arc::clone(context), raw })
    }

    /// Waits until all of its work is done.
    pub fn wait(&self) -> Result<(), CudaError> {
        let _entered = self.context.enter()?;
        // SAFETY: the stream lives.
        unsafe { call!(self.context.driver(), stream_wait(self.raw)) }
    }
}

impl Event {
    /// A moment that has not come.
    pub fn new(context: &Arc<Context>) -> Result<Event, CudaError> {
        let _entered = context.enter()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the handle is written to a variable of the type that the driver expects.
        unsafe { call!(context.driver(), event_create(&raw mut raw, 0))? };
        Ok(Event { context: Arc::clone(context), raw })
    }

    /// The moment when what is in the stream now is done.
    pub fn record(&self, stream: &Stream) -> Result<(), CudaError> {
        let _entered = self.context.enter()?;
        // SAFETY: both live.
        unsafe { call!(self.context.driver(), event_record(self.raw, stream.raw)) }
    }

    /// Milliseconds from an earlier event to this one, which is waited for.
    pub fn since(&self, earlier: &Event) -> Result<f32, CudaError> {
        let _entered = self.context.enter()?;
        let mut time = 0f32;
        // SAFETY: both live, and the time is written to a variable of the type that the driver expects.
        unsafe {
            call!(self.context.driver(), event_wait(self.raw))?;
            call!(self.context.driver(), event_elapsed(&raw mut time, earlier.raw, self.raw))?;
        }
        Ok(time)
    }
}

impl Graph {
    /// What `work` puts into a stream, captured instead of carried out.
    ///
    /// # Safety
    /// `stream` must be a live stream of the context that nothing else uses meanwhile.
    pub(super) unsafe fn capture(
        context: &Arc<Context>,
        stream: Handle,
        work: impl FnOnce() -> Result<(), CudaError>,
    ) -> Result<Graph, CudaError> {
        let driver = context.driver();
        let _entered = context.enter()?;
        let (mut graph, mut raw) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the stream lives, as the caller warrants; handles are written to variables of their type. The
        // capture ends also if the work failed, so that the stream can be used again.
        unsafe {
            call!(driver, capture_begin(stream, THREAD_LOCAL))?;
            let done = work();
            let ended = call!(driver, capture_end(stream, &raw mut graph));
            let made =
                done.and(ended).and_then(|()| call!(driver, graph_instantiate(&raw mut raw, graph, 0)));
            if !graph.is_null() {
                call!(driver, graph_destroy(graph))?;
            }
            made?;
        }
        Ok(Graph { context: Arc::clone(context), raw })
    }

    /// Repeats the launches in a stream.
    ///
    /// # Safety
    /// `stream` must be a live stream of the context, and all memory that the launches use must be there until
    /// they are done.
    pub unsafe fn launch(&self, stream: super::RawStream) -> Result<(), CudaError> {
        let _entered = self.context.enter()?;
        // SAFETY: as the caller warrants.
        unsafe { call!(self.context.driver(), graph_launch(self.raw, stream.0)) }
    }
}
