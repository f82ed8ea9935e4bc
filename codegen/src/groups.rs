//! Programs as one object, compiled in groups on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};

use tcc_ir::mem::Program;

use crate::EmitError;
use crate::link::{Parts, link};

/// What makes an object of programs.
type Emit<'e> = dyn Fn(&[Program]) -> Result<Vec<u8>, EmitError> + Sync + 'e;

/// Compiles groups of `size` programs side by side and puts their objects together. The size is the backend's, so
/// that the bytes do not depend on the machine that compiles.
pub(crate) fn emit_in_groups(
    programs: &[Program],
    size: usize,
    emit: &Emit<'_>,
) -> Result<Vec<u8>, EmitError> {
    let internal = |message: String| EmitError::Internal { program: "module".to_owned(), message };
    let groups: Vec<&[Program]> = programs.chunks(size).collect();
    if let [one] = groups.as_slice() {
        return emit(one);
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(groups.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(group) = groups.get(index) else { return done };
            done.push((index, emit(group)));
        }
    };
    let mut all: Vec<(usize, Result<Vec<u8>, EmitError>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let own = work();
        own.into_iter().chain(threads.into_iter().flat_map(|t| t.join().unwrap_or_default())).collect()
    });
    all.sort_by_key(|(index, _)| *index);
    if all.len() != groups.len() {
        return Err(internal("a thread that compiled ended early".to_owned()));
    }
    let objects = all.into_iter().map(|(_, object)| object).collect::<Result<Vec<_>, _>>()?;
    let parts = Parts { objects: objects.iter().map(|o| &**o).collect(), ..Parts::default() };
    link(parts).and_then(|linked| linked.to_bytes()).map_err(internal)
}
