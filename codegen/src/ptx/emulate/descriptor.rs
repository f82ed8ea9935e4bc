//! Where the elements of an operand lie in shared memory: swizzles, and descriptors of matrices.

/// An address under the swizzle of a pattern of so many bytes: rows exchange their chunks of sixteen bytes.
pub(super) fn swizzle(pattern: u32, address: u64) -> u64 {
    let mask = match pattern {
        128 => 0x70,
        64 => 0x30,
        32 => 0x10,
        _ => 0,
    };
    address ^ (address >> 3 & mask)
}

/// An operand in shared memory, as 64 bits describe it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    start: u64,
    leading: u64,
    stride: u64,
    pattern: u32,
}

impl Descriptor {
    /// None if it has a base offset, which is not modelled.
    pub(super) fn decode(bits: u64) -> Option<Descriptor> {
        let field = |at: u32| (bits >> at & 0x3fff) << 4;
        let pattern = [0, 128, 64, 32][(bits >> 62) as usize];
        (bits >> 49 & 7 == 0).then_some(Descriptor {
            start: field(0),
            leading: field(16),
            stride: field(32),
            pattern,
        })
    }

    /// The address of sixteen bytes. With k contiguous (`transposed` false) they are elements of one row or
    /// column; otherwise elements of one k.
    pub(super) fn chunk(self, outer: u64, k: u64, bytes: u64, transposed: bool) -> u64 {
        let Descriptor { start, leading, stride, pattern } = self;
        let width = u64::from(pattern);
        let (row, column) = (outer * bytes, k * bytes);
        let address = match (transposed, pattern) {
            (false, 0) => start + outer / 8 * stride + outer % 8 * 16 + column / 16 * leading + column % 16,
            (false, _) => start + outer / 8 * stride + outer % 8 * width + column,
            (true, 0) => start + row / 16 * stride + row % 16 + k % 8 * 16 + k / 8 * leading,
            (true, _) => start + row / width * leading + row % width + k % 8 * width + k / 8 * stride,
        };
        // Descriptors hold eighteen bits of an address.
        swizzle(pattern, address) & 0x3_ffff
    }
}
