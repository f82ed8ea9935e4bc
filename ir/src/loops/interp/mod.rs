//! What a nest means: runs it element by element.
//!
//! It finds reads and writes out of bounds, reads of elements never written, outputs left unwritten, and two
//! iterations of a loop whose iterations may run at the same time that touch one element with a write.

mod code;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use self::code::{Code, Merge, Names, Place, Value};
use super::Nest;
use crate::dim::{Bindings, SlotDim as Index, Symbol};
use crate::dtype::{DType, Scalar};
use crate::tensor::{Tensor, TensorError};

/// Why a nest has no value for some inputs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InterpError {
    /// The inputs do not fit the parameters.
    #[error("input `{name}`: expected {expected}, got {got}")]
    Input {
        /// The parameter.
        name: Symbol,
        /// Its type.
        expected: String,
        /// What was given.
        got: String,
    },
    /// An index outside of its axis.
    #[error("expected an index of `{buffer}` in 0..{extent} along axis {axis}, got {index}")]
    OutOfBounds {
        /// The buffer.
        buffer: Symbol,
        /// The axis.
        axis: usize,
        /// Its extent.
        extent: usize,
        /// The index.
        index: i64,
    },
    /// An element that was never written.
    #[error("expected `{buffer}`{at:?} to be written before it is read")]
    Uninitialised {
        /// The buffer.
        buffer: Symbol,
        /// The element.
        at: Vec<usize>,
    },
    /// Two iterations touch one element, at least one of them writing it.
    #[error(
        "expected iterations of `{var}` to be independent, but {first} and {second} both touch `{buffer}`{at:?}"
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
        at: Vec<usize>,
    },
    /// An extent below zero, or memory beyond what a test should take.
    #[error("{0}")]
    Size(String),
}

impl From<TensorError> for InterpError {
    fn from(error: TensorError) -> Self {
        InterpError::Size(error.to_string())
    }
}

/// Runs a verified nest on inputs in the order of its parameters.
pub fn interpret(nest: &Nest, inputs: &[Tensor]) -> Result<Vec<Tensor>, InterpError> {
    let bindings = bind_inputs(nest, inputs)?;
    interpret_with(nest, inputs, &bindings)
}

/// Symbols take their values from the extents of inputs; one that no input has takes the least of its range.
fn bind_inputs(nest: &Nest, inputs: &[Tensor]) -> Result<Bindings, InterpError> {
    let mut bindings = Bindings::new();
    for (buffer, tensor) in nest.inputs.iter().zip(inputs) {
        for (dim, extent) in buffer.ty.shape.iter().zip(tensor.shape()) {
            if let Some(symbol) = dim.as_symbol() {
                bindings.entry(symbol.clone()).or_insert(*extent as i64);
            }
        }
    }
    for (symbol, range) in nest.ranges.iter() {
        bindings.entry(symbol.clone()).or_insert(range.lo);
    }
    Ok(bindings)
}

/// Runs a verified nest whose symbols have these values.
pub fn interpret_with(
    nest: &Nest,
    inputs: &[Tensor],
    bindings: &Bindings,
) -> Result<Vec<Tensor>, InterpError> {
    let mut machine = Machine::default();
    let mut names = Names::default();
    for (symbol, value) in bindings {
        let slot = names.scalar(symbol);
        machine.set(slot, Scalar::Int(i128::from(*value)));
    }
    let declared = nest.ranges.iter().map(|(s, _)| s.clone());
    if let Some(symbol) = nest.symbols().into_iter().chain(declared).find(|s| !bindings.contains_key(s)) {
        return Err(InterpError::Size(format!("expected a value for the symbol `{symbol}`")));
    }
    if inputs.len() != nest.inputs.len() {
        let message = format!("expected {} inputs, got {}", nest.inputs.len(), inputs.len());
        return Err(InterpError::Size(message));
    }
    for (buffer, tensor) in nest.inputs.iter().zip(inputs) {
        let expected = buffer.ty.shape.eval(bindings).ok();
        if tensor.dtype() != buffer.ty.dtype || expected.as_deref() != Some(tensor.shape()) {
            return Err(InterpError::Input {
                name: buffer.name.clone(),
                expected: buffer.ty.to_string(),
                got: format!("{}{:?}", tensor.dtype(), tensor.shape()),
            });
        }
        let slot = names.buffer(&buffer.name);
        names.types.insert(buffer.name.clone(), buffer.ty.dtype);
        let elements = tensor.iter_scalars().map(Some).collect();
        machine.place(
            slot,
            Memory {
                name: buffer.name.clone(),
                dtype: buffer.ty.dtype,
                extents: tensor.shape().to_vec(),
                elements,
                born: 0,
            },
        );
    }
    for buffer in &nest.outputs {
        let extents = buffer
            .ty
            .shape
            .eval(bindings)
            .map_err(|s| InterpError::Size(format!("expected a value for `{s}`")))?;
        let slot = names.buffer(&buffer.name);
        names.types.insert(buffer.name.clone(), buffer.ty.dtype);
        machine.allocate(slot, &buffer.name, buffer.ty.dtype, extents.to_vec())?;
    }
    let body = names.block(&nest.body);
    machine.block(&body)?;
    let mut outputs = Vec::new();
    for buffer in &nest.outputs {
        let memory = &machine.buffers[names.buffers[&buffer.name]];
        let mut values = Vec::with_capacity(memory.elements.len());
        for (i, element) in memory.elements.iter().enumerate() {
            values.push(element.ok_or_else(|| InterpError::Uninitialised {
                buffer: buffer.name.clone(),
                at: memory.unflatten(i),
            })?);
        }
        outputs.push(Tensor::from_scalars(memory.dtype, &memory.extents, &values)?);
    }
    Ok(outputs)
}

struct Memory {
    name: Symbol,
    dtype: DType,
    extents: Vec<usize>,
    elements: Vec<Option<Scalar>>,
    /// How many buffers had been made before, to know which a loop's iterations make for themselves.
    born: u64,
}

impl Memory {
    fn unflatten(&self, mut flat: usize) -> Vec<usize> {
        let mut at: Vec<usize> = self
            .extents
            .iter()
            .rev()
            .map(|extent| {
                let i = flat % extent;
                flat /= extent;
                i
            })
            .collect();
        at.reverse();
        at
    }
}

/// Who touched an element within one run of a concurrent loop.
#[derive(Default)]
struct Touch {
    written: Option<i64>,
    read: Option<i64>,
    read_by_several: bool,
}

struct Concurrent {
    name: Symbol,
    iteration: i64,
    /// Buffers made since are an iteration's own.
    born: u64,
    touched: FxHashMap<(usize, usize), Touch>,
}

#[derive(Default)]
struct Machine {
    scalars: Vec<Scalar>,
    buffers: Vec<Memory>,
    made: u64,
    concurrent: Vec<Concurrent>,
}

/// More elements than this in one buffer is beyond what an interpreter is for.
const MAX_ELEMENTS: usize = 1 << 28;

impl Machine {
    fn set(&mut self, slot: usize, value: Scalar) {
        if self.scalars.len() <= slot {
            self.scalars.resize(slot + 1, Scalar::Int(0));
        }
        self.scalars[slot] = value;
    }

    fn place(&mut self, slot: usize, memory: Memory) {
        while self.buffers.len() <= slot {
            let name = Symbol::new("");
            self.buffers.push(Memory {
                name,
                dtype: DType::Bool,
                extents: Vec::new(),
                elements: Vec::new(),
                born: 0,
            });
        }
        self.buffers[slot] = memory;
    }

    fn allocate(
        &mut self,
        slot: usize,
        name: &Symbol,
        dtype: DType,
        extents: Vec<usize>,
    ) -> Result<(), InterpError> {
        let count = extents.iter().try_fold(1usize, |n, e| n.checked_mul(*e)).filter(|n| *n <= MAX_ELEMENTS);
        let count = count
            .ok_or_else(|| InterpError::Size(format!("expected `{name}` to have at most 2^28 elements")))?;
        self.made += 1;
        self.place(
            slot,
            Memory { name: name.clone(), dtype, extents, elements: vec![None; count], born: self.made },
        );
        Ok(())
    }

    fn block(&mut self, body: &[Code]) -> Result<(), InterpError> {
        body.iter().try_for_each(|code| self.run(code))
    }

    fn run(&mut self, code: &Code) -> Result<(), InterpError> {
        match code {
            Code::For { var, name, extent, concurrent, body } => {
                let extent = self.index(extent);
                if *concurrent {
                    let (born, touched) = (self.made, FxHashMap::default());
                    self.concurrent.push(Concurrent { name: name.clone(), iteration: 0, born, touched });
                }
                for i in 0..extent {
                    self.set(*var, Scalar::Int(i128::from(i)));
                    if *concurrent && let Some(last) = self.concurrent.last_mut() {
                        last.iteration = i;
                    }
                    self.block(body)?;
                }
                if *concurrent {
                    self.concurrent.pop();
                }
                Ok(())
            }
            Code::If { conds, body } => {
                if self.holds(conds) {
                    self.block(body)
                } else {
                    Ok(())
                }
            }
            Code::Let { slot, value } => {
                let value = self.value(value)?;
                self.set(*slot, value);
                Ok(())
            }
            Code::Alloc { slot, name, dtype, extents } => {
                let mut sizes = Vec::with_capacity(extents.len());
                for extent in extents {
                    let size = self.index(extent);
                    sizes.push(usize::try_from(size).map_err(|_| {
                        InterpError::Size(format!(
                            "expected extents of `{name}` that are not negative, got {size}"
                        ))
                    })?);
                }
                self.allocate(*slot, name, *dtype, sizes)
            }
            Code::Store { targets, values, combine } => self.store(targets, values, combine),
        }
    }

    fn store(&mut self, targets: &[Place], values: &[Value], combine: &Merge) -> Result<(), InterpError> {
        let mut given: SmallVec<[Scalar; 2]> = SmallVec::new();
        for value in values {
            given.push(self.value(value)?);
        }
        let mut flats: SmallVec<[usize; 2]> = SmallVec::new();
        for target in targets {
            flats.push(self.flat(target)?);
        }
        let new: SmallVec<[Scalar; 2]> = match combine {
            Merge::Replace => given,
            Merge::With(op) => {
                let mut new = SmallVec::new();
                for ((target, flat), value) in targets.iter().zip(&flats).zip(&given) {
                    let old = self.read(target.buffer, *flat)?;
                    new.push(op.eval(&[old, *value], self.buffers[target.buffer].dtype));
                }
                new
            }
            Merge::Tuple { params, results } => {
                let mut old: SmallVec<[Scalar; 4]> = SmallVec::new();
                for (target, flat) in targets.iter().zip(&flats) {
                    old.push(self.read(target.buffer, *flat)?);
                }
                for (param, value) in params.iter().zip(old.into_iter().chain(given)) {
                    self.set(*param, value);
                }
                let mut new = SmallVec::new();
                for result in results {
                    new.push(self.value(result)?);
                }
                new
            }
        };
        for ((target, flat), value) in targets.iter().zip(&flats).zip(new) {
            self.touch(target.buffer, *flat, true)?;
            let memory = &mut self.buffers[target.buffer];
            memory.elements[*flat] = Some(value.round_to(memory.dtype));
        }
        Ok(())
    }

    fn flat(&self, place: &Place) -> Result<usize, InterpError> {
        let memory = &self.buffers[place.buffer];
        let mut flat = 0;
        for (axis, (at, extent)) in place.at.iter().zip(&memory.extents).enumerate() {
            let index = self.index(at);
            match usize::try_from(index) {
                Ok(i) if i < *extent => flat = flat * extent + i,
                _ => {
                    let (buffer, extent) = (memory.name.clone(), *extent);
                    return Err(InterpError::OutOfBounds { buffer, axis, extent, index });
                }
            }
        }
        Ok(flat)
    }

    fn read(&mut self, buffer: usize, flat: usize) -> Result<Scalar, InterpError> {
        self.touch(buffer, flat, false)?;
        let memory = &self.buffers[buffer];
        memory.elements[flat].ok_or_else(|| InterpError::Uninitialised {
            buffer: memory.name.clone(),
            at: memory.unflatten(flat),
        })
    }

    fn touch(&mut self, buffer: usize, flat: usize, write: bool) -> Result<(), InterpError> {
        let memory = &self.buffers[buffer];
        for looped in self.concurrent.iter_mut().filter(|l| memory.born <= l.born) {
            let now = looped.iteration;
            let touch = looped.touched.entry((buffer, flat)).or_default();
            let other = |before: Option<i64>| before.filter(|i| *i != now);
            let conflict = match write {
                true if touch.read_by_several => touch.read.map(|i| if i == now { i - 1 } else { i }),
                true => other(touch.written).or_else(|| other(touch.read)),
                false => other(touch.written),
            };
            if let Some(first) = conflict {
                return Err(InterpError::Race {
                    var: looped.name.clone(),
                    first,
                    second: now,
                    buffer: memory.name.clone(),
                    at: memory.unflatten(flat),
                });
            }
            if write {
                touch.written = Some(now);
            } else {
                touch.read_by_several |= other(touch.read).is_some();
                touch.read = Some(now);
            }
        }
        Ok(())
    }

    fn holds(&self, conds: &[(Index, Index)]) -> bool {
        conds.iter().all(|(left, right)| self.index(left) < self.index(right))
    }

    fn index(&self, index: &Index) -> i64 {
        index.eval(&|slot| self.scalars[slot].to_i128() as i64)
    }

    fn value(&mut self, value: &Value) -> Result<Scalar, InterpError> {
        Ok(match value {
            Value::Const(value) => *value,
            Value::Index(index) => Scalar::Int(i128::from(self.index(index))),
            Value::Var(slot) => self.scalars[*slot],
            Value::Load(place) => {
                let flat = self.flat(place)?;
                self.read(place.buffer, flat)?
            }
            Value::Op(op, args, dtype) => {
                let mut operands: SmallVec<[Scalar; 3]> = SmallVec::new();
                for arg in args {
                    operands.push(self.value(arg)?);
                }
                op.eval(&operands, *dtype)
            }
            Value::Cast { from, to, saturate, value } => self.value(value)?.cast(*from, *to, *saturate),
            Value::Bitcast { from, to, value } => to.decode_bits(from.encode_bits(self.value(value)?)),
            Value::Guard { conds, then, otherwise } => {
                if self.holds(conds) {
                    self.value(then)?
                } else {
                    self.value(otherwise)?
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_nest;
    use super::*;

    fn run(text: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>, InterpError> {
        let nest = parse_nest(text).unwrap_or_else(|d| panic!("{}", d.render("nest", text)));
        let printed = nest.to_string();
        assert_eq!(parse_nest(&printed).unwrap_or_else(|d| panic!("{}", d.render("nest", &printed))), nest);
        interpret(&nest, inputs)
    }

    fn ramp(shape: &[usize]) -> Tensor {
        Tensor::from_f64_iter(DType::F32, shape, (0..shape.iter().product()).map(|i| i as f64)).unwrap()
    }

    #[test]
    fn a_product_of_matrices_with_an_epilogue() {
        let text = "nest @mm(x: f32[N, 3], w: f32[3, 2]) -> (y: f32[N, 2]) where N in 1..=8 {
            for i in 0..N parallel {
              for j in 0..2 {
                y[i, j] = f32(0.0)
                for k in 0..3 {
                  y[i, j] += x[i, k] * w[k, j]
                }
                let t = y[i, j]
                y[i, j] = max(t - f32(10.0), f32(0.0))
              }
            }
          }";
        let y = run(text, &[ramp(&[2, 3]), ramp(&[3, 2])]).unwrap();
        assert_eq!(y[0].literal(), "[[0.0, 3.0], [18.0, 30.0]]");
    }

    #[test]
    fn guards_protect_what_they_skip() {
        let text = "nest @pad(x: f32[3]) -> (y: f32[5]) {
            for i in 0..5 { y[i] = (if -1 < i - 1 && i - 1 < 3 then x[i - 1] else f32(9.0)) }
          }";
        assert_eq!(run(text, &[ramp(&[3])]).unwrap()[0].literal(), "[9.0, 0.0, 1.0, 2.0, 9.0]");
    }

    #[test]
    fn tuples_reduce_together() {
        let text = "nest @argmax(x: f32[4]) -> (m: f32[], p: i64[]) {
            m[] = f32(-inf)
            p[] = i64(0)
            for i in 0..4 {
              (m[], p[]) by |a, b, c, d| (max(a, c), select(lt(a, c), d, b)) = (x[i], index(i))
            }
          }";
        let x = Tensor::from_slice(&[4], &[1.0f32, 5.0, 2.0, 5.0]).unwrap();
        let out = run(text, &[x]).unwrap();
        assert_eq!((out[0].literal(), out[1].literal()), ("5.0".into(), "1".into()));
    }

    #[test]
    fn faults_are_found() {
        let race =
            "nest @r(x: f32[4]) -> (y: f32[]) { y[] = f32(0.0) for i in 0..4 parallel { y[] += x[i] } }";
        assert!(matches!(run(race, &[ramp(&[4])]), Err(InterpError::Race { .. })));
        let read = "nest @u(x: f32[2]) -> (y: f32[2]) { alloc t: f32[2] in stack t[0] = x[0] for i in 0..2 { y[i] = t[i] } }";
        assert!(matches!(run(read, &[ramp(&[2])]), Err(InterpError::Uninitialised { .. })));
        let bounds = "nest @b(x: f32[2]) -> (y: f32[2]) { for i in 0..2 { y[i] = x[i + 1] } }";
        assert!(matches!(run(bounds, &[ramp(&[2])]), Err(InterpError::OutOfBounds { index: 2, .. })));
        let left = "nest @l() -> (y: f32[2]) { y[0] = f32(0.0) }";
        assert!(matches!(run(left, &[]), Err(InterpError::Uninitialised { .. })));
        let private = "nest @p(x: f32[4]) -> (y: f32[4]) { for i in 0..4 parallel { alloc t: f32[] in stack t[] = x[i] y[i] = t[] } }";
        assert!(run(private, &[ramp(&[4])]).is_ok());
    }

    #[test]
    fn names_and_types_are_verified() {
        for (text, code) in [
            ("nest @n(x: f32[2]) -> (y: f32[2]) { for i in 0..2 { y[i] = z[i] } }", "name"),
            ("nest @n(x: f32[2]) -> (y: f32[2]) { for i in 0..2 { y[i] = x[i, 0] } }", "rank"),
            ("nest @n(x: f32[2]) -> (y: i32[2]) { for i in 0..2 { y[i] = x[i] } }", "type"),
            ("nest @n(x: f32[2]) -> (y: f32[2]) { for x in 0..2 { } }", "name"),
            ("nest @n(x: f32[2]) -> (y: f32[2]) { x[0] = y[0] }", "store"),
            ("nest @n(x: f32[N]) -> (y: f32[N]) { for i in 0..N vector { y[i] = x[i] } }", "extent"),
        ] {
            assert_eq!(parse_nest(text).unwrap_err().0[0].code, code, "{text}");
        }
    }
}
