//! Host tensors: a typed, strided window onto shared bytes.
//!
//! Elements are little-endian; types narrower than a byte are packed, the low bits first. Cloning
//! and every view share storage; writing copies first if anybody else could see the write. Sizes
//! are checked when a tensor is made, so that index arithmetic afterwards cannot overflow.

mod codec;
mod compare;
mod display;
mod element;
mod random;
mod runs;
mod storage;
mod view;

pub use compare::{Closeness, Mismatch, Tolerance, WorstElement};
pub use element::Element;
pub use storage::{SharedBytes, SharedMemory};

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use thiserror::Error;

use crate::dtype::{DType, Scalar};
use runs::Runs;
use storage::{AlignedBytes, Storage};

/// The extents of a tensor's axes.
pub type Extents = SmallVec<[usize; 4]>;
/// The distances between neighbours along each axis, in elements.
pub type Strides = SmallVec<[isize; 4]>;

/// The most elements of any tensor or view, so that bit offsets fit in `isize`.
const MAX_ELEMENTS: usize = isize::MAX as usize / 64;

/// A host tensor: a typed, strided window onto shared bytes.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Extents,
    strides: Strides,
    /// The element of the storage at index 0, …, 0.
    offset: usize,
    storage: Storage,
}

/// Why a tensor could not be made, viewed or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The size overflows, or memory for it cannot be had.
    #[error("expected a tensor that fits in memory, found {dtype}{shape:?}")]
    TooLarge {
        /// The element type asked for.
        dtype: DType,
        /// The extents asked for.
        shape: Vec<usize>,
    },
    /// Data whose amount differs from what the shape needs.
    #[error("expected {expected} {unit} for {dtype}{shape:?}, found {found}")]
    WrongLength {
        /// `elements` or `bytes`.
        unit: &'static str,
        /// The element type asked for.
        dtype: DType,
        /// The extents asked for.
        shape: Vec<usize>,
        /// The amount needed.
        expected: usize,
        /// The amount given.
        found: usize,
    },
    /// An index outside the tensor.
    #[error("expected an index within {shape:?}, found {found:?}")]
    OutOfBounds {
        /// The extents of the tensor.
        shape: Vec<usize>,
        /// The index given.
        found: Vec<usize>,
    },
    /// A list with one entry per axis has another length.
    #[error("expected {expected} {what}, one per axis, found {found}")]
    WrongRank {
        /// What the list holds.
        what: &'static str,
        /// The number of axes.
        expected: usize,
        /// The entries given.
        found: usize,
    },
    /// A list of axes that is not a permutation.
    #[error("expected a permutation of the axes 0..{rank}, found {found:?}")]
    NotAPermutation {
        /// The number of axes.
        rank: usize,
        /// The list given.
        found: Vec<usize>,
    },
    /// Shapes with different numbers of elements.
    #[error("expected a shape of as many elements as {from:?}, found {to:?}")]
    Reshape {
        /// The extents of the tensor.
        from: Vec<usize>,
        /// The extents asked for.
        to: Vec<usize>,
    },
    /// A shape that the tensor does not broadcast to.
    #[error("expected a shape that {from:?} broadcasts to, found {to:?}")]
    Broadcast {
        /// The extents of the tensor.
        from: Vec<usize>,
        /// The extents asked for.
        to: Vec<usize>,
    },
    /// A slice that leaves its axis.
    #[error(
        "axis {axis}: expected a slice within 0..{extent} of step other than 0, found start {start}, size {size}, step {step}"
    )]
    Slice {
        /// The axis.
        axis: usize,
        /// Its extent.
        extent: usize,
        /// The first index.
        start: usize,
        /// The number of indices.
        size: usize,
        /// The distance between indices.
        step: isize,
    },
}

/// Larger tensors are laid out anew in parts of this size, which tests make small.
const PACKED_AT_ONCE: usize = if cfg!(test) { 1 << 10 } else { 64 << 20 };

impl Tensor {
    /// All bits zero: zero in every type but `f8e8m0`, which has none and gets its least value.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        let (_, bytes) = checked_size(dtype, shape)?;
        Ok(Tensor::from_owned(dtype, shape, allocate(dtype, shape, bytes)?))
    }

    /// Every element equal to `value`, rounded to the type.
    pub fn full(dtype: DType, shape: &[usize], value: Scalar) -> Result<Tensor, TensorError> {
        let (elements, bytes) = checked_size(dtype, shape)?;
        let mut storage = allocate(dtype, shape, bytes)?;
        codec::fill(dtype, storage.as_mut(), elements, dtype.encode_bits(value));
        Ok(Tensor::from_owned(dtype, shape, storage))
    }

    /// A tensor of rank 0 that holds `value`, rounded to the type.
    pub fn scalar(dtype: DType, value: Scalar) -> Tensor {
        Tensor::full(dtype, &[], value).expect("eight bytes can be allocated or nothing works")
    }

    /// Row-major elements of a native type.
    pub fn from_slice<T: Element>(shape: &[usize], elements: &[T]) -> Result<Tensor, TensorError> {
        let (count, bytes) = checked_size(T::DTYPE, shape)?;
        check_length("elements", T::DTYPE, shape, count, elements.len())?;
        let mut storage = allocate(T::DTYPE, shape, bytes)?;
        let width = size_of::<T>();
        for (slot, element) in storage.as_mut().chunks_exact_mut(width).zip(elements) {
            element.write_le(slot);
        }
        Ok(Tensor::from_owned(T::DTYPE, shape, storage))
    }

    /// Row-major little-endian bytes, packed for types narrower than a byte. Bytes of `bool` other
    /// than 0 become 1.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: Vec<u8>) -> Result<Tensor, TensorError> {
        Tensor::from_byte_slice(dtype, shape, &bytes)
    }

    /// [`Tensor::from_bytes`] of borrowed bytes.
    pub fn from_byte_slice(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorError> {
        let (_, expected) = checked_size(dtype, shape)?;
        check_length("bytes", dtype, shape, expected, bytes.len())?;
        let mut storage = allocate(dtype, shape, expected)?;
        storage.as_mut().copy_from_slice(bytes);
        if dtype.is_bool() {
            storage.as_mut().iter_mut().for_each(|byte| *byte = (*byte != 0).into());
        }
        Ok(Tensor::from_owned(dtype, shape, storage))
    }

    /// A window onto bytes that somebody else owns, such as a mapped file: row-major little-endian
    /// elements from byte `start` on, which need not be aligned. Nothing is copied, except that
    /// `bool` with bytes other than 0 and 1 is.
    pub fn from_shared(
        dtype: DType,
        shape: &[usize],
        owner: SharedBytes,
        start: usize,
    ) -> Result<Tensor, TensorError> {
        let (_, expected) = checked_size(dtype, shape)?;
        let all: &[u8] = (*owner).as_ref();
        let available = all.len().saturating_sub(start);
        if available < expected {
            check_length("bytes", dtype, shape, expected, available)?;
        }
        let bytes = all.get(start..).and_then(|rest| rest.get(..expected)).unwrap_or(&[]);
        if dtype.is_bool() && bytes.iter().any(|byte| *byte > 1) {
            return Tensor::from_byte_slice(dtype, shape, bytes);
        }
        let storage = Storage::shared(owner, start, expected);
        Ok(Tensor::row_major(dtype, shape, storage))
    }

    /// Row-major scalars, each rounded to the type.
    pub fn from_scalars(dtype: DType, shape: &[usize], values: &[Scalar]) -> Result<Tensor, TensorError> {
        let (count, bytes) = checked_size(dtype, shape)?;
        check_length("elements", dtype, shape, count, values.len())?;
        let mut storage = allocate(dtype, shape, bytes)?;
        for (index, value) in values.iter().enumerate() {
            codec::write_bits(storage.as_mut(), dtype.bits(), index, dtype.encode_bits(*value));
        }
        Ok(Tensor::from_owned(dtype, shape, storage))
    }

    /// Row-major values as if cast from `f64` with saturation, see [`Scalar::cast`]. The iterator
    /// must yield exactly as many as the shape needs.
    pub fn from_f64_iter(
        dtype: DType,
        shape: &[usize],
        values: impl IntoIterator<Item = f64>,
    ) -> Result<Tensor, TensorError> {
        Tensor::encode_f64(dtype, shape, values.into_iter(), true)
    }

    fn encode_f64(
        dtype: DType,
        shape: &[usize],
        mut values: impl Iterator<Item = f64>,
        saturate: bool,
    ) -> Result<Tensor, TensorError> {
        let (count, bytes) = checked_size(dtype, shape)?;
        let mut storage = allocate(dtype, shape, bytes)?;
        let written = codec::encode_f64(dtype, storage.as_mut(), values.by_ref().take(count), saturate);
        let excess = usize::from(written == count && values.next().is_some());
        check_length("elements", dtype, shape, count, written + excess)?;
        Ok(Tensor::from_owned(dtype, shape, storage))
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The extent of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The distance between neighbours along each axis, in elements.
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The bytes that the elements take when packed in row-major order.
    pub fn byte_len(&self) -> usize {
        self.dtype.bytes_for(self.len()).expect("checked when the tensor was made")
    }

    /// The element at an index, `None` outside the tensor.
    pub fn try_get(&self, index: &[usize]) -> Option<Scalar> {
        Some(self.read(self.locate(index)?))
    }

    /// The element at an index.
    ///
    /// # Panics
    /// Outside the tensor, as indexing a slice does; see [`Tensor::try_get`].
    pub fn get(&self, index: &[usize]) -> Scalar {
        let found = self.try_get(index);
        found.unwrap_or_else(|| panic!("expected an index within {:?}, found {index:?}", self.shape))
    }

    /// The element at a position in row-major order.
    ///
    /// # Panics
    /// Outside the tensor, as indexing a slice does.
    pub fn get_flat(&self, position: usize) -> Scalar {
        assert!(position < self.len(), "expected a position within 0..{}, found {position}", self.len());
        self.read(self.locate_flat(position))
    }

    /// Writes one element, rounded to the type; copies first if the storage is shared.
    pub fn set(&mut self, index: &[usize], value: Scalar) -> Result<(), TensorError> {
        if self.locate(index).is_none() {
            return Err(self.out_of_bounds(index));
        }
        self.make_unique()?;
        let at = self.locate(index).expect("copying keeps the shape");
        self.write(at, value);
        Ok(())
    }

    /// Writes the element at a position in row-major order; see [`Tensor::set`].
    pub fn set_flat(&mut self, position: usize, value: Scalar) -> Result<(), TensorError> {
        if position >= self.len() {
            return Err(self.out_of_bounds(&[position]));
        }
        self.make_unique()?;
        let at = self.locate_flat(position);
        self.write(at, value);
        Ok(())
    }

    /// Whether the elements lie packed in row-major order.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.is_empty()
            || self.shape.iter().zip(&self.strides).rev().all(|(&extent, &stride)| {
                let fits = extent == 1 || stride == expected;
                expected *= extent as isize;
                fits
            })
    }

    /// The same elements packed in row-major order: this tensor if it is so already, else a copy.
    pub fn contiguous(&self) -> Result<Tensor, TensorError> {
        if self.is_contiguous() {
            return Ok(self.clone());
        }
        Ok(Tensor::from_owned(self.dtype, &self.shape, self.pack()?))
    }

    /// The elements of a contiguous, aligned tensor of a native type, `None` for others. The bytes
    /// of a `bool` tensor are readable as `u8`.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        if !element::readable_as::<T>(self.dtype) {
            return None;
        }
        element::cast_slice(self.packed_bytes()?)
    }

    /// The elements for writing, `None` for types that differ from `T` or when no memory can be had
    /// for the copy that shared or strided storage needs.
    pub fn as_mut_slice<T: Element>(&mut self) -> Option<&mut [T]> {
        if T::DTYPE != self.dtype || !element::readable_as::<T>(self.dtype) {
            return None;
        }
        if !self.is_contiguous() {
            *self = self.contiguous().ok()?;
        }
        self.make_unique().ok()?;
        let start = self.offset * size_of::<T>();
        let length = self.byte_len();
        element::cast_slice_mut(self.storage.unique_bytes()?.get_mut(start..)?.get_mut(..length)?)
    }

    /// The elements in row-major order.
    pub fn iter_scalars(&self) -> impl Iterator<Item = Scalar> + '_ {
        self.iter_bits().map(|bits| self.dtype.decode_bits(bits))
    }

    /// The elements in row-major order as `f64`; integers beyond 2^53 round.
    pub fn to_vec_f64(&self) -> Result<Vec<f64>, TensorError> {
        let mut values = Vec::new();
        values.try_reserve_exact(self.len()).map_err(|_| too_large(self.dtype, &self.shape))?;
        codec::decode_f64(self.dtype, self.storage.bytes(), self.runs(), &mut values);
        Ok(values)
    }

    /// The elements as packed row-major little-endian bytes, borrowed where they lie so already.
    /// Unused bits of the last byte are 0.
    pub fn to_bytes(&self) -> Result<Cow<'_, [u8]>, TensorError> {
        match self.packed_bytes() {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => Ok(Cow::Owned(self.pack()?.as_ref().to_vec())),
        }
    }

    /// Converts every element; see [`Scalar::cast`].
    pub fn cast(&self, to: DType, saturate: bool) -> Result<Tensor, TensorError> {
        let from = self.dtype;
        if from == to {
            return Ok(self.clone());
        }
        let exact_in_f64 = from.is_float() || (!to.is_int() && from.bits() <= 32);
        if exact_in_f64 {
            return Tensor::encode_f64(to, &self.shape, self.to_vec_f64()?.into_iter(), saturate);
        }
        let (_, bytes) = checked_size(to, &self.shape)?;
        let mut storage = allocate(to, &self.shape, bytes)?;
        for (index, value) in self.iter_scalars().enumerate() {
            let bits = to.encode_bits(value.cast(from, to, saturate));
            codec::write_bits(storage.as_mut(), to.bits(), index, bits);
        }
        Ok(Tensor::from_owned(to, &self.shape, storage))
    }

    /// The SHA-256 of type, shape and packed bytes, in hexadecimal. For a whole region of shared
    /// bytes it is computed once.
    pub fn content_hash(&self) -> String {
        let whole = self.storage.whole_region(self.dtype, self.offset, self.byte_len());
        match (self.is_contiguous(), whole) {
            (true, Some(region)) => region.hash_once(self.dtype, &self.shape, || self.hash_content()),
            _ => self.hash_content(),
        }
    }

    fn hash_content(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.dtype.name());
        hasher.update([0]);
        hasher.update((self.rank() as u64).to_le_bytes());
        for extent in &self.shape {
            hasher.update((*extent as u64).to_le_bytes());
        }
        match self.packed_bytes() {
            Some(bytes) => hasher.update(bytes),
            None => codec::pack_in_chunks(self.dtype.bits(), self.iter_bits(), |chunk| hasher.update(chunk)),
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_owned(dtype: DType, shape: &[usize], bytes: AlignedBytes) -> Tensor {
        Tensor::row_major(dtype, shape, Storage::owned(bytes))
    }

    fn row_major(dtype: DType, shape: &[usize], storage: Storage) -> Tensor {
        Tensor { dtype, shape: shape.into(), strides: view::row_major_strides(shape), offset: 0, storage }
    }

    fn runs(&self) -> Runs {
        Runs::new(&self.shape, &self.strides, self.offset)
    }

    /// The raw bits of each element in row-major order.
    fn iter_bits(&self) -> impl Iterator<Item = u64> + '_ {
        let bytes = self.storage.bytes();
        let width = self.dtype.bits();
        self.runs().into_indices().map(move |index| codec::read_bits(bytes, width, index))
    }

    /// The packed bytes, if the elements lie so: contiguous, from a whole byte on, ending in zeros.
    fn packed_bytes(&self) -> Option<&[u8]> {
        let bits = self.dtype.bits() as usize;
        if !self.is_contiguous() || (!self.is_empty() && !(self.offset * bits).is_multiple_of(8)) {
            return None;
        }
        let start = if self.is_empty() { 0 } else { self.offset * bits / 8 };
        let bytes = self.storage.bytes().get(start..)?.get(..self.byte_len())?;
        let used_of_last = self.len() * bits % 8;
        match bytes.last() {
            Some(last) if used_of_last != 0 && last >> used_of_last != 0 => None,
            _ => Some(bytes),
        }
    }

    fn pack(&self) -> Result<AlignedBytes, TensorError> {
        let mut packed = allocate(self.dtype, &self.shape, self.byte_len())?;
        let rows = self.shape.first().copied().unwrap_or(1);
        let row_bytes = packed.as_ref().len() / rows.max(1);
        if packed.as_ref().len() <= PACKED_AT_ONCE || rows < 2 || self.dtype.is_sub_byte() {
            codec::pack(self.dtype.bits(), self.storage.bytes(), self.runs(), packed.as_mut());
            self.storage.copied();
            return Ok(packed);
        }
        // Part by part, so that not all of a mapped file and all of its copy are in memory at once.
        let step = (PACKED_AT_ONCE / row_bytes).max(1);
        for first in (0..rows).step_by(step) {
            let mut part = self.clone();
            part.shape[0] = step.min(rows - first);
            part.offset = self.offset.wrapping_add_signed(first as isize * self.strides[0]);
            let to = &mut packed.as_mut()[first * row_bytes..(first + part.shape[0]) * row_bytes];
            codec::pack(self.dtype.bits(), self.storage.bytes(), part.runs(), to);
            self.storage.copied();
        }
        Ok(packed)
    }

    /// Makes this tensor the only one that sees its storage, and each element a place of its own.
    fn make_unique(&mut self) -> Result<(), TensorError> {
        let overlaps =
            self.shape.iter().zip(&self.strides).any(|(&extent, &stride)| extent > 1 && stride == 0);
        if overlaps || self.storage.unique_bytes().is_none() {
            *self = Tensor::from_owned(self.dtype, &self.shape, self.pack()?);
        }
        Ok(())
    }

    fn locate(&self, index: &[usize]) -> Option<usize> {
        if index.len() != self.rank() || index.iter().zip(&self.shape).any(|(at, extent)| at >= extent) {
            return None;
        }
        let distance: isize = index.iter().zip(&self.strides).map(|(&at, stride)| at as isize * stride).sum();
        Some(self.offset.wrapping_add_signed(distance))
    }

    fn locate_flat(&self, mut position: usize) -> usize {
        let mut at = self.offset;
        for (&extent, &stride) in self.shape.iter().zip(&self.strides).rev() {
            at = at.wrapping_add_signed((position % extent) as isize * stride);
            position /= extent;
        }
        at
    }

    fn read(&self, at: usize) -> Scalar {
        self.dtype.decode_bits(codec::read_bits(self.storage.bytes(), self.dtype.bits(), at))
    }

    fn write(&mut self, at: usize, value: Scalar) {
        let bytes = self.storage.unique_bytes().expect("made unique by the caller");
        codec::write_bits(bytes, self.dtype.bits(), at, self.dtype.encode_bits(value));
    }

    fn out_of_bounds(&self, index: &[usize]) -> TensorError {
        TensorError::OutOfBounds { shape: self.shape.to_vec(), found: index.to_vec() }
    }
}

/// Bit for bit: same type, same shape, same bits of every element.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && match (self.packed_bytes(), other.packed_bytes()) {
                (Some(left), Some(right)) => left == right,
                _ => self.iter_bits().eq(other.iter_bits()),
            }
    }
}

impl Eq for Tensor {}

/// The elements and packed bytes of a shape, if both are within what memory can hold.
pub(crate) fn checked_size(dtype: DType, shape: &[usize]) -> Result<(usize, usize), TensorError> {
    // An extent of 0 does not excuse the others: strides are made of their products too.
    let product = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent.max(1)));
    let bounded = product.filter(|&elements| elements <= MAX_ELEMENTS);
    let elements = bounded.ok_or_else(|| too_large(dtype, shape))?;
    let elements = if shape.contains(&0) { 0 } else { elements };
    let bytes = dtype.bytes_for(elements).ok_or_else(|| too_large(dtype, shape))?;
    Ok((elements, bytes))
}

fn allocate(dtype: DType, shape: &[usize], bytes: usize) -> Result<AlignedBytes, TensorError> {
    AlignedBytes::zeroed(bytes).ok_or_else(|| too_large(dtype, shape))
}

fn too_large(dtype: DType, shape: &[usize]) -> TensorError {
    TensorError::TooLarge { dtype, shape: shape.to_vec() }
}

fn check_length(
    unit: &'static str,
    dtype: DType,
    shape: &[usize],
    expected: usize,
    found: usize,
) -> Result<(), TensorError> {
    if expected == found {
        return Ok(());
    }
    Err(TensorError::WrongLength { unit, dtype, shape: shape.to_vec(), expected, found })
}

#[cfg(test)]
mod tests;
