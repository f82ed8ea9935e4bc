//! Native types that are element types, and the reinterpretation of bytes as slices of them.

use crate::dtype::DType;

mod sealed {
    pub trait Sealed {}
}

/// A native type with the memory layout of an element type.
///
/// `bool` can be put into tensors but not viewed: not every byte is one.
pub trait Element: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The element type.
    const DTYPE: DType;
    /// Whether every bit pattern is a value, so that bytes may be viewed as this type.
    const VIEWABLE: bool;

    #[doc(hidden)]
    fn write_le(self, slot: &mut [u8]);
}

macro_rules! elements {
    ($($native:ty => $dtype:ident),* $(,)?) => {$(
        impl sealed::Sealed for $native {}
        impl Element for $native {
            const DTYPE: DType = DType::$dtype;
            const VIEWABLE: bool = true;

            #[inline]
            fn write_le(self, slot: &mut [u8]) {
                slot.copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

elements! {
    f64 => F64, f32 => F32, half::f16 => F16, half::bf16 => BF16,
    i64 => I64, i32 => I32, i16 => I16, i8 => I8,
    u64 => U64, u32 => U32, u16 => U16, u8 => U8,
}

impl sealed::Sealed for bool {}
impl Element for bool {
    const DTYPE: DType = DType::Bool;
    const VIEWABLE: bool = false;

    fn write_le(self, slot: &mut [u8]) {
        slot.copy_from_slice(&[self.into()]);
    }
}

/// Whether the bytes of a tensor of `dtype` are elements of `T` on this machine.
pub(super) fn readable_as<T: Element>(dtype: DType) -> bool {
    let same = T::DTYPE == dtype || (T::DTYPE == DType::U8 && dtype == DType::Bool);
    same && T::VIEWABLE && cfg!(target_endian = "little")
}

/// Views bytes as elements; `None` if misaligned or not a whole number of them.
pub(super) fn cast_slice<T: Element>(bytes: &[u8]) -> Option<&[T]> {
    if !T::VIEWABLE {
        return None;
    }
    // SAFETY: `VIEWABLE` types are plain numbers for which every bit pattern is a value.
    let (before, elements, after) = unsafe { bytes.align_to::<T>() };
    (before.is_empty() && after.is_empty()).then_some(elements)
}

/// Views bytes as elements for writing; see [`cast_slice`].
pub(super) fn cast_slice_mut<T: Element>(bytes: &mut [u8]) -> Option<&mut [T]> {
    if !T::VIEWABLE {
        return None;
    }
    // SAFETY: as for `cast_slice`, and every value of such a type is valid as bytes.
    let (before, elements, after) = unsafe { bytes.align_to_mut::<T>() };
    (before.is_empty() && after.is_empty()).then_some(elements)
}
