//! What the emulator finds wrong with a kernel, and where.

/// What kind of rule a kernel broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The launch does not fit the kernel.
    BadLaunch,
    /// An access outside of every buffer, or across the end of one.
    OutOfBounds,
    /// An address that is no multiple of the access.
    Misaligned,
    /// A register that no instruction has written for the lane.
    UninitialisedRegister,
    /// Memory that nobody has written.
    UninitialisedMemory,
    /// Two accesses that nothing orders, one of them a write.
    Race,
    /// Data or registers of an asynchronous operation that nobody has waited for.
    MissingWait,
    /// Data that an asynchronous unit accesses with no proxy fence behind the accesses of threads.
    MissingProxyFence,
    /// Lanes that must act together do not.
    DivergentCollective,
    /// Nothing can run any more, or nothing changes any more.
    Deadlock,
    /// Operands that the instruction does not allow.
    InvalidOperation,
    /// The kernel executed `trap`.
    Trap,
}

/// What is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Fault {
    /// What kind of rule was broken.
    pub kind: FaultKind,
    /// The kernel.
    pub kernel: String,
    /// The line of the module's text, from 1; 0 where no instruction is to blame.
    pub line: u32,
    /// The instruction as written.
    pub instruction: String,
    /// The block.
    pub block: [u32; 3],
    /// The thread in its block, if one is to blame.
    pub thread: Option<[u32; 3]>,
    /// Expected …, got ….
    pub message: String,
}

impl Fault {
    fn text(&self) -> String {
        let Fault { kind, kernel, line, instruction, block, thread, message } = self;
        if *line == 0 {
            return format!("{kernel}: {kind:?}: {message}");
        }
        let [x, y, z] = block;
        let thread = thread.map_or(String::new(), |[x, y, z]| format!(", thread ({x}, {y}, {z})"));
        format!("{kernel}:{line}: `{instruction}`: {kind:?} in block ({x}, {y}, {z}){thread}: {message}")
    }
}

/// A fault before its place is known.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) kind: FaultKind,
    pub(super) lane: Option<usize>,
    pub(super) message: String,
}

/// What a step of the emulator gives.
pub(super) type Step<T = ()> = Result<T, Box<Stop>>;

/// A fault of the warp.
pub(super) fn stop<T>(kind: FaultKind, message: impl Into<String>) -> Step<T> {
    Err(Box::new(Stop { kind, lane: None, message: message.into() }))
}

/// A fault of a lane.
pub(super) fn stop_lane<T>(kind: FaultKind, lane: usize, message: impl Into<String>) -> Step<T> {
    Err(Box::new(Stop { kind, lane: Some(lane), message: message.into() }))
}

impl Stop {
    /// The same fault of a lane.
    pub(super) fn of_lane(mut self: Box<Self>, lane: usize) -> Box<Stop> {
        self.lane = Some(lane);
        self
    }
}
