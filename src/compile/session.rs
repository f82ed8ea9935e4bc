//! Runs of one caller with the caller's own memory for inputs and outputs.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tcc_runtime::model::{self, Executable, Means, RunError, TensorView, TensorViewMut, Timing};
use tcc_runtime::threads::Parallel;

use super::{Compiled, host};

/// A series of runs that share their memory. From the second on, a run with the same extents takes no lock and
/// allocates nothing, if every op of the model has a kernel.
pub struct Session {
    session: model::Session<Arc<Executable>>,
    host: Arc<Vec<host::HostWork>>,
    symbols: Vec<String>,
    profile: bool,
}

impl Session {
    pub(super) fn new(compiled: &Compiled) -> Session {
        Session {
            session: model::Session::new(Arc::clone(&compiled.executable)),
            host: Arc::clone(&compiled.host),
            symbols: compiled.model().symbols.clone(),
            profile: false,
        }
    }

    /// Times every step of the runs to come.
    pub fn profile(mut self) -> Session {
        self.profile = true;
        self
    }

    /// Runs the model on borrowed inputs and writes to borrowed outputs, without copies where both are aligned to
    /// 16 bytes.
    pub fn run_into(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorViewMut<'_>],
        threads: &dyn Parallel,
    ) -> Result<Vec<Timing>, RunError> {
        self.run_until(inputs, outputs, threads, None)
    }

    /// As [`Session::run_into`], and ends early with an error once `cancel` is set, from whatever thread.
    pub fn run_until(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorViewMut<'_>],
        threads: &dyn Parallel,
        cancel: Option<&AtomicBool>,
    ) -> Result<Vec<Timing>, RunError> {
        let (works, names) = (&self.host, &self.symbols);
        let host = |index: u32, inputs: &[TensorView<'_>], symbols: &[Option<i64>]| {
            let work = works.get(index as usize).ok_or("no such op")?;
            host::carry_out(work, inputs, symbols, names)
        };
        let means = Means { threads, host: &host, cancel, profile: self.profile };
        self.session.run_into(inputs, outputs, &means)
    }
}
