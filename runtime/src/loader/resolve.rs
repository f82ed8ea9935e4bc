//! The symbols that compiled code may count on: micro-kernels, memory functions and the C library's mathematics.

use crate::{convert, kernels};

/// Finds a symbol of the runtime: a kernel that this processor can execute, or a function of the C library.
pub fn runtime_symbol(name: &str) -> Option<*const u8> {
    kernels::symbol(name).or_else(|| convert::symbol(name)).or_else(|| {
        let found = C_FUNCTIONS.binary_search_by_key(&name, |(known, _)| known).ok()?;
        Some(C_FUNCTIONS[found].1.0)
    })
}

struct Address(*const u8);

// SAFETY: the address of a function, which anybody may hold.
unsafe impl Sync for Address {}

macro_rules! c_functions {
    ($($name:ident)*) => {
        mod declared {
            // Only the addresses are taken; compiled code calls them with the types of C.
            unsafe extern "C" { $(pub(super) fn $name();)* }
        }

        /// Sorted by name.
        static C_FUNCTIONS: &[(&str, Address)] =
            &[$((stringify!($name), Address(declared::$name as *const u8))),*];
    };
}

c_functions! {
    acos acosf acosh acoshf asin asinf asinh asinhf atan atan2 atan2f atanf atanh atanhf cbrt cbrtf ceil ceilf
    copysign copysignf cos cosf cosh coshf erf erfc erfcf erff exp exp2 exp2f expf expm1 expm1f fabs fabsf floor
    floorf fma fmaf fmax fmaxf fmin fminf fmod fmodf hypot hypotf ldexp ldexpf lgamma lgammaf log log10 log10f log1p
    log1pf log2 log2f logf memcmp memcpy memmove memset nearbyint nearbyintf pow powf remainder remainderf rint rintf
    round roundeven roundevenf roundf sin sinf sinh sinhf sqrt sqrtf tan tanf tanh tanhf tgamma tgammaf trunc truncf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_name() {
        assert!(C_FUNCTIONS.is_sorted_by_key(|(name, _)| *name));
        for name in ["expf", "memcpy", "fmodf", "roundevenf", "tcc_mk_f32_portable"] {
            assert!(runtime_symbol(name).is_some(), "{name}");
        }
        assert!(runtime_symbol("system").is_none());
    }
}
