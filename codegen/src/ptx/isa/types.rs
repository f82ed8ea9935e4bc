//! The types, state spaces and special registers that PTX names, each as one row of a table.

/// What the bits of a type mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Predicate,
    Bits,
    Unsigned,
    Signed,
    Float,
    /// Two floats in one register, the first in the low half.
    Pair,
}

macro_rules! types {
    ($($name:ident $text:literal $bits:literal $kind:ident;)*) => {
        /// A type as an instruction or a declaration names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Type { $($name,)* }

        impl Type {
            /// The type that a modifier names.
            pub(crate) fn parse(text: &str) -> Option<Type> {
                match text { $($text => Some(Type::$name),)* _ => None }
            }

            /// As PTX writes it.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Type::$name => $text,)* }
            }

            /// The bits of a value.
            pub(crate) fn bits(self) -> u32 {
                match self { $(Type::$name => $bits,)* }
            }

            /// What the bits mean.
            pub(crate) fn kind(self) -> Kind {
                match self { $(Type::$name => Kind::$kind,)* }
            }
        }
    };
}

types! {
    Pred "pred" 1 Predicate;
    B8 "b8" 8 Bits;
    B16 "b16" 16 Bits;
    B32 "b32" 32 Bits;
    B64 "b64" 64 Bits;
    U8 "u8" 8 Unsigned;
    U16 "u16" 16 Unsigned;
    U32 "u32" 32 Unsigned;
    U64 "u64" 64 Unsigned;
    S8 "s8" 8 Signed;
    S16 "s16" 16 Signed;
    S32 "s32" 32 Signed;
    S64 "s64" 64 Signed;
    F16 "f16" 16 Float;
    Bf16 "bf16" 16 Float;
    Tf32 "tf32" 32 Float;
    F32 "f32" 32 Float;
    F64 "f64" 64 Float;
    E4m3 "e4m3" 8 Float;
    E5m2 "e5m2" 8 Float;
    F16x2 "f16x2" 32 Pair;
    Bf16x2 "bf16x2" 32 Pair;
    E4m3x2 "e4m3x2" 16 Pair;
    E5m2x2 "e5m2x2" 16 Pair;
}

impl Type {
    /// The bytes of a value in memory.
    pub(crate) fn bytes(self) -> usize {
        self.bits().div_ceil(8) as usize
    }

    /// Whether values are floats or pairs of floats.
    pub(crate) fn is_float(self) -> bool {
        matches!(self.kind(), Kind::Float | Kind::Pair)
    }

    /// Whether the top bit is a sign.
    pub(crate) fn is_signed(self) -> bool {
        self.kind() == Kind::Signed
    }

    /// The type of the halves of a pair.
    pub(crate) fn half(self) -> Option<Type> {
        match self {
            Type::F16x2 => Some(Type::F16),
            Type::Bf16x2 => Some(Type::Bf16),
            Type::E4m3x2 => Some(Type::E4m3),
            Type::E5m2x2 => Some(Type::E5m2),
            _ => None,
        }
    }

    /// The bits that a value may have set.
    pub(crate) fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// A value with the bits above its width cleared.
    pub(crate) fn zero_extend(self, value: u64) -> u64 {
        value & self.mask()
    }

    /// A value with the top bit of its width repeated upwards.
    pub(crate) fn sign_extend(self, value: u64) -> i64 {
        let unused = 64 - self.bits();
        ((value << unused) as i64) >> unused
    }
}

/// A state space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Generic,
    Global,
    Shared,
    Param,
    Const,
    Local,
}

impl Space {
    /// The space that a modifier names.
    pub(crate) fn parse(text: &str) -> Option<Space> {
        Some(match text {
            "global" => Space::Global,
            "shared" | "shared::cta" | "shared::cluster" => Space::Shared,
            "param" | "param::entry" => Space::Param,
            "const" => Space::Const,
            "local" => Space::Local,
            _ => return None,
        })
    }
}

macro_rules! specials {
    ($($name:ident $text:literal;)*) => {
        /// A special register that keeps its value while a thread runs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Special { $($name,)* }

        impl Special {
            /// The special register of a name with its percent sign.
            pub(crate) fn parse(text: &str) -> Option<Special> {
                match text { $($text => Some(Special::$name),)* _ => None }
            }
        }
    };
}

specials! {
    TidX "%tid.x"; TidY "%tid.y"; TidZ "%tid.z";
    NtidX "%ntid.x"; NtidY "%ntid.y"; NtidZ "%ntid.z";
    CtaidX "%ctaid.x"; CtaidY "%ctaid.y"; CtaidZ "%ctaid.z";
    NctaidX "%nctaid.x"; NctaidY "%nctaid.y"; NctaidZ "%nctaid.z";
    Laneid "%laneid"; Warpid "%warpid"; Nwarpid "%nwarpid"; Smid "%smid";
    LanemaskEq "%lanemask_eq"; LanemaskLt "%lanemask_lt"; LanemaskLe "%lanemask_le";
    LanemaskGt "%lanemask_gt"; LanemaskGe "%lanemask_ge";
    ClusterCtarank "%cluster_ctarank"; ClusterNctarank "%cluster_nctarank";
    DynamicSmemSize "%dynamic_smem_size"; TotalSmemSize "%total_smem_size";
}
