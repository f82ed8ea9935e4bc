//! The elements of all buffers, and who touched them: bounds, uninitialised reads and races are found here.

use rustc_hash::FxHashMap;

use super::InterpError;
use crate::dim::Symbol;
use crate::dtype::{DType, Scalar};

/// The coordinates of a thread in its block; -1 along an axis without a loop.
pub(super) type Thread = [i64; 3];

/// More elements than this at once are beyond what an interpreter is for.
const MAX_ELEMENTS: usize = 1 << 25;

#[derive(Default)]
pub(super) struct Elements {
    buffers: Vec<Buffer>,
    free: Vec<usize>,
    live: usize,
    made: u64,
    concurrent: Vec<Concurrent>,
    /// What the threads of a block touched since the last barrier, if there are threads.
    phase: Option<FxHashMap<(u64, usize), Touch<Thread>>>,
    /// Elements that copies under way read (how many of them) or write.
    in_flight: FxHashMap<(u64, usize), Flight>,
}

/// What copies under way do with an element.
#[derive(Clone, Copy)]
enum Flight {
    Read(usize),
    Written,
}

/// One element of a copy that is under way: where it goes, and what is copied there.
pub(super) struct Moved {
    pub(super) to: (usize, i64),
    /// Nothing where zero is written.
    pub(super) from: Option<(usize, i64)>,
}

struct Buffer {
    name: Symbol,
    dtype: DType,
    elements: Vec<Option<Scalar>>,
    /// How many buffers had been made with it: no two have the same number.
    born: u64,
    /// Whether threads can touch what another one wrote.
    shared: bool,
}

/// A loop that runs now and whose iterations may run at the same time.
struct Concurrent {
    var: Symbol,
    iteration: i64,
    /// Buffers made since are an iteration's own.
    born: u64,
    touched: FxHashMap<(u64, usize), Touch<i64>>,
}

/// Who touched an element; two different readers stand for all.
struct Touch<Who> {
    written: Option<Who>,
    read: [Option<Who>; 2],
}

impl<Who: Copy + PartialEq> Touch<Who> {
    const NOBODY: Touch<Who> = Touch { written: None, read: [None; 2] };

    /// Notes a touch; gives who else touched the element so that the order of the two matters.
    fn note(&mut self, now: Who, write: bool) -> Option<Who> {
        let other = |before: Option<Who>| before.filter(|who| *who != now);
        let conflict = other(self.written);
        if write {
            self.written = Some(now);
            return conflict.or(other(self.read[0])).or(other(self.read[1]));
        }
        match self.read {
            [None, _] => self.read[0] = Some(now),
            [Some(first), None] if first != now => self.read[1] = Some(now),
            _ => {}
        }
        conflict
    }
}

impl Elements {
    pub(super) fn with_threads(threads: bool) -> Self {
        Elements { phase: threads.then(FxHashMap::default), ..Elements::default() }
    }

    /// Makes a buffer of a number of elements that may come from untrusted text.
    pub(super) fn make(
        &mut self,
        name: &Symbol,
        dtype: DType,
        elements: i64,
        shared: bool,
    ) -> Result<usize, InterpError> {
        let count = usize::try_from(elements).ok().filter(|n| *n <= MAX_ELEMENTS - self.live);
        let count = count.ok_or_else(|| {
            InterpError::Size(format!(
                "expected `{name}` to have elements, and all buffers at most {MAX_ELEMENTS}, got {elements}"
            ))
        })?;
        self.live += count;
        self.made += 1;
        let elements = vec![None; count];
        let buffer = Buffer { name: name.clone(), dtype, elements, born: self.made, shared };
        Ok(match self.free.pop() {
            Some(at) => {
                self.buffers[at] = buffer;
                at
            }
            None => {
                self.buffers.push(buffer);
                self.buffers.len() - 1
            }
        })
    }

    pub(super) fn fill(&mut self, buffer: usize, values: impl Iterator<Item = Scalar>) {
        self.buffers[buffer].elements.iter_mut().zip(values).for_each(|(to, value)| *to = Some(value));
    }

    pub(super) fn release(&mut self, buffer: usize) {
        self.live -= std::mem::take(&mut self.buffers[buffer].elements).len();
        self.free.push(buffer);
    }

    pub(super) fn dtype(&self, buffer: usize) -> DType {
        self.buffers[buffer].dtype
    }

    /// All elements of a buffer, each of which must have been written.
    pub(super) fn all(&self, buffer: usize) -> Result<Vec<Scalar>, InterpError> {
        let Buffer { name, elements, .. } = &self.buffers[buffer];
        let value = |(element, value): (usize, &Option<Scalar>)| {
            value.ok_or_else(|| InterpError::Uninitialised { buffer: name.clone(), element })
        };
        elements.iter().enumerate().map(value).collect()
    }

    pub(super) fn read(&mut self, thread: Thread, buffer: usize, at: i64) -> Result<Scalar, InterpError> {
        let element = self.touch(thread, buffer, at, false)?;
        let Buffer { name, elements, .. } = &self.buffers[buffer];
        elements[element].ok_or_else(|| InterpError::Uninitialised { buffer: name.clone(), element })
    }

    pub(super) fn write(
        &mut self,
        thread: Thread,
        buffer: usize,
        at: i64,
        value: Scalar,
    ) -> Result<(), InterpError> {
        let element = self.touch(thread, buffer, at, true)?;
        let Buffer { dtype, elements, .. } = &mut self.buffers[buffer];
        elements[element] = Some(value.round_to(*dtype));
        Ok(())
    }

    /// Begins to copy an element. The copy ends as late as it may; until then nobody else may touch where it goes or
    /// change what it reads.
    pub(super) fn depart(&mut self, thread: Thread, moved: &Moved) -> Result<(), InterpError> {
        if let Some((buffer, at)) = moved.from {
            self.read(thread, buffer, at)?;
            let entry = self.in_flight.entry((self.buffers[buffer].born, at as usize));
            if let Flight::Read(count) = entry.or_insert(Flight::Read(0)) {
                *count += 1;
            }
        }
        let (buffer, at) = moved.to;
        let element = self.touch(thread, buffer, at, true)?;
        self.in_flight.insert((self.buffers[buffer].born, element), Flight::Written);
        Ok(())
    }

    /// Ends the copy of an element.
    pub(super) fn arrive(&mut self, thread: Thread, moved: &Moved) -> Result<(), InterpError> {
        let mut value = Scalar::zero(self.buffers[moved.to.0].dtype);
        if let Some((buffer, at)) = moved.from {
            let place = (self.buffers[buffer].born, at as usize);
            if let Some(Flight::Read(count)) = self.in_flight.get_mut(&place) {
                *count -= 1;
                if *count == 0 {
                    self.in_flight.remove(&place);
                }
            }
            value = self.read(thread, buffer, at)?;
        }
        let (buffer, at) = moved.to;
        self.in_flight.remove(&(self.buffers[buffer].born, at as usize));
        self.write(thread, buffer, at, value)
    }

    fn touch(&mut self, thread: Thread, buffer: usize, at: i64, write: bool) -> Result<usize, InterpError> {
        let Buffer { name, elements, born, shared, .. } = &self.buffers[buffer];
        let element = usize::try_from(at).ok().filter(|i| *i < elements.len()).ok_or_else(|| {
            InterpError::OutOfBounds { buffer: name.clone(), elements: elements.len(), element: at }
        })?;
        let place = (*born, element);
        match self.in_flight.get(&place) {
            Some(Flight::Written) => {
                return Err(InterpError::InFlight { buffer: name.clone(), element });
            }
            Some(Flight::Read(_)) if write => {
                return Err(InterpError::InFlight { buffer: name.clone(), element });
            }
            _ => {}
        }
        for looped in self.concurrent.iter_mut().filter(|l| *born <= l.born) {
            let touch = looped.touched.entry(place).or_insert(Touch::NOBODY);
            if let Some(first) = touch.note(looped.iteration, write) {
                let (var, second) = (looped.var.clone(), looped.iteration);
                return Err(InterpError::Race { var, first, second, buffer: name.clone(), element });
            }
        }
        if *shared && let Some(phase) = &mut self.phase {
            let touch = phase.entry(place).or_insert(Touch::NOBODY);
            if let Some(first) = touch.note(thread, write) {
                let buffer = name.clone();
                return Err(InterpError::ThreadRace { first, second: thread, buffer, element });
            }
        }
        Ok(element)
    }

    /// Makes the writes of all threads of a block visible to each other.
    pub(super) fn end_phase(&mut self) {
        if let Some(phase) = &mut self.phase {
            phase.clear();
        }
    }

    pub(super) fn begin_concurrent(&mut self, var: &Symbol) {
        let touched = FxHashMap::default();
        self.concurrent.push(Concurrent { var: var.clone(), iteration: 0, born: self.made, touched });
    }

    /// Says which iteration of the innermost concurrent loop runs from now on.
    pub(super) fn set_iteration(&mut self, iteration: i64) {
        if let Some(looped) = self.concurrent.last_mut() {
            looped.iteration = iteration;
        }
    }

    pub(super) fn end_concurrent(&mut self) {
        self.concurrent.pop();
    }
}
