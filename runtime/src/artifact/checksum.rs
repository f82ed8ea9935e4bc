//! Checksums of parts of artifacts: they find damage, not forgery, at the rate at which memory is read.

/// Four sums side by side, so that their latencies overlap, over words of 8 bytes.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let mut sums = [1u64, 2, 3, 4];
    let mut blocks = bytes.chunks_exact(32);
    for block in &mut blocks {
        for (sum, word) in sums.iter_mut().zip(block.chunks_exact(8)) {
            *sum = step(*sum, u64::from_le_bytes(std::array::from_fn(|i| word[i])));
        }
    }
    let mut all = bytes.len() as u64;
    for sum in sums {
        all = step(all, sum);
    }
    for byte in blocks.remainder() {
        all = step(all, u64::from(*byte));
    }
    all ^ all >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_changes_it() {
        let bytes: Vec<u8> = (0..77u8).collect();
        let sum = checksum(&bytes);
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(&other), sum, "bit {bit}");
        }
        assert_ne!(checksum(&bytes[..76]), sum);
    }
}
