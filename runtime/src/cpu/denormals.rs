//! The mode of a thread in which subnormal numbers are taken for zeros, and given as zeros.

use std::marker::PhantomData;

/// Sets the mode of this thread and puts back, when it is dropped, what was there before. Nothing happens on
/// processors that are not known, or if the mode is not wanted.
#[derive(Debug)]
pub struct Denormals {
    before: Option<Control>,
    /// The mode is that of one thread.
    thread: PhantomData<*const ()>,
}

#[cfg(target_arch = "x86_64")]
type Control = u32;
#[cfg(not(target_arch = "x86_64"))]
type Control = u64;

impl Denormals {
    /// Takes subnormal numbers for zeros from here on, if `flush`.
    pub fn set(flush: bool) -> Denormals {
        let before = flush.then(control);
        if let Some(control) = before {
            set_control(control | FLUSH);
        }
        Denormals { before, thread: PhantomData }
    }
}

impl Drop for Denormals {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            set_control(before);
        }
    }
}

/// Flush to zero and denormals are zero, bits 15 and 6 of MXCSR.
#[cfg(target_arch = "x86_64")]
const FLUSH: u32 = 0x8040;
/// FZ, bit 24 of FPCR.
#[cfg(not(target_arch = "x86_64"))]
const FLUSH: u64 = 1 << 24;

#[cfg(target_arch = "x86_64")]
fn control() -> u32 {
    let mut control = 0u32;
    // SAFETY: the instruction writes the 4 bytes it is given and nothing else.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags)) };
    control
}

#[cfg(target_arch = "x86_64")]
fn set_control(control: u32) {
    // SAFETY: the value differs from one that was there in two bits that say how subnormal numbers are treated;
    // only compiled kernels run before it is put back.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, readonly)) };
}

#[cfg(target_arch = "aarch64")]
fn control() -> u64 {
    let control: u64;
    // SAFETY: a register is read.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags)) };
    control
}

#[cfg(target_arch = "aarch64")]
fn set_control(control: u64) {
    // SAFETY: as for x86-64.
    unsafe { std::arch::asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack, preserves_flags)) };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn control() -> u64 {
    0
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn set_control(_control: u64) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn subnormals_are_zeros_while_it_is_set() {
        let halved = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        assert!(halved() > 0.0);
        let set = Denormals::set(true);
        assert_eq!(halved(), 0.0);
        drop(set);
        assert!(halved() > 0.0);
        let set = Denormals::set(false);
        assert!(halved() > 0.0);
        drop(set);
    }
}
