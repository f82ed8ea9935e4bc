//! Binds the calling thread to one processor, where the system can; elsewhere threads simply float.

/// Binds the calling thread to `processor`; says whether it worked.
#[cfg(target_os = "linux")]
pub(super) fn bind_to(processor: usize) -> bool {
    if processor >= libc::CPU_SETSIZE as usize {
        return false;
    }
    // SAFETY: a zeroed `cpu_set_t` is the empty set, `processor` is below its size, and pid 0 is this thread.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0
    }
}

/// Binds the calling thread to `processor`; says whether it worked.
#[cfg(not(target_os = "linux"))]
pub(super) fn bind_to(_processor: usize) -> bool {
    false
}
