"""Runs single instructions on the GPU, through the driver alone, and writes down what they gave.

Every vector is a kernel of one warp in PTX whose first lines are comments with its inputs and outputs, 32 bits a word,
all words of lane 0 first. The emulator's tests run the same kernels and compare.
"""

import ctypes
import random
import struct

import torch

# Floats that matter: zeros, ones, the least and largest, halves to round, infinities, no numbers.
SPECIAL = [0x00000000, 0x80000000, 0x3F800000, 0xBF800000, 0x00000001, 0x007FFFFF, 0x7F7FFFFF, 0x7F800000, 0xFF800000,
           0x7FC00000, 0x3F000000, 0x3FC00000, 0x477FE000, 0x477FF000, 0x33800000, 0x4F000000]


def unary(name, text, within=0):
    return (name, 80, 1, 1, [f"{text} %o0, %r0;"], "float", within)


def binary(name, text, kind="int", within=0, least=80):
    return (name, least, 2, 1, [f"{text} %o0, %r0, %r1;"], kind, within)


def three(name, text, kind="int", within=0):
    return (name, 80, 3, 1, [f"{text} %o0, %r0, %r1, %r2;"], kind, within)


def widening(name, text):
    return (name, 80, 2, 2, [f"{text} %d0, %r0, %r1;", "mov.b64 {%o0, %o1}, %d0;"], "int", 0)


def mma(name, shape, types, a, b, least=80, kind="half"):
    def regs(prefix, first, count):
        return "{" + ", ".join(f"{prefix}{first + i}" for i in range(count)) + "}"

    text = f"mma.sync.aligned.{shape}.row.col.{types} {regs('%o', 0, 4)}, {regs('%r', 0, a)}, {regs('%r', a, b)}, {regs('%r', a + b, 4)};"
    return (name, least, a + b + 4, 4, [text], kind, 64)


# Name, least capability, words in, words out, instructions, kind of inputs, units in the last place of f32 allowed.
INSTRUCTIONS = [
    unary("ex2", "ex2.approx.f32", 4), unary("lg2", "lg2.approx.f32", 4), unary("sqrt", "sqrt.rn.f32"),
    unary("rsqrt", "rsqrt.approx.f32", 4), unary("rcp", "rcp.rn.f32"), unary("tanh", "tanh.approx.f32", 8192),
    unary("sin", "sin.approx.f32", 8192), unary("cos", "cos.approx.f32", 8192), unary("neg", "neg.f32"),
    unary("abs", "abs.f32"), unary("cvt_rni", "cvt.rni.f32.f32"), unary("cvt_rmi", "cvt.rmi.f32.f32"),
    unary("cvt_s32", "cvt.rzi.s32.f32"), unary("cvt_u32", "cvt.rzi.u32.f32"), unary("cvt_tf32", "cvt.rna.tf32.f32"),
    ("cvt_f16", 80, 1, 1, ["cvt.rn.f16.f32 %h0, %r0;", "cvt.u32.u16 %o0, %h0;"], "float", 0),
    ("cvt_f16x2", 80, 2, 1, ["cvt.rn.f16x2.f32 %o0, %r0, %r1;"], "float", 0),
    ("cvt_bf16x2", 80, 2, 1, ["cvt.rn.bf16x2.f32 %o0, %r0, %r1;"], "float", 0),
    ("cvt_e4m3x2", 89, 2, 1, ["cvt.rn.satfinite.e4m3x2.f32 %h0, %r0, %r1;", "cvt.u32.u16 %o0, %h0;"], "float", 0),
    ("cvt_e5m2x2", 89, 2, 1, ["cvt.rn.satfinite.e5m2x2.f32 %h0, %r0, %r1;", "cvt.u32.u16 %o0, %h0;"], "float", 0),
    binary("add_f32", "add.rn.f32", "float"), binary("sub_f32", "sub.rn.f32", "float"),
    binary("mul_f32", "mul.rn.f32", "float"), binary("div_f32", "div.rn.f32", "float"),
    binary("min_f32", "min.f32", "float"), binary("max_f32", "max.f32", "float"),
    binary("min_nan", "min.NaN.f32", "float"), binary("max_nan", "max.NaN.f32", "float"),
    binary("add_f16x2", "add.rn.f16x2", "half"), binary("mul_f16x2", "mul.rn.f16x2", "half"),
    three("fma_f32", "fma.rn.f32", "float"), three("fma_f16x2", "fma.rn.f16x2", "half"),
    three("fma_bf16x2", "fma.rn.bf16x2", "half"),
    binary("add_u32", "add.u32"), binary("sub_u32", "sub.u32"), binary("mul_lo", "mul.lo.u32"),
    binary("mul_hi_u32", "mul.hi.u32"), binary("mul_hi_s32", "mul.hi.s32"), binary("min_s32", "min.s32"),
    binary("max_u32", "max.u32"), binary("and", "and.b32"), binary("or", "or.b32"), binary("xor", "xor.b32"),
    binary("shl", "shl.b32"), binary("shr_u32", "shr.u32"), binary("shr_s32", "shr.s32"),
    binary("div_u32", "div.u32"), binary("rem_u32", "rem.u32"),
    widening("mul_wide_u32", "mul.wide.u32"), widening("mul_wide_s32", "mul.wide.s32"),
    ("popc", 80, 1, 1, ["popc.b32 %o0, %r0;"], "int", 0), ("clz", 80, 1, 1, ["clz.b32 %o0, %r0;"], "int", 0),
    ("brev", 80, 1, 1, ["brev.b32 %o0, %r0;"], "int", 0),
    three("bfe_u32", "bfe.u32"), three("bfe_s32", "bfe.s32"), three("prmt", "prmt.b32"),
    three("dp4a_s32", "dp4a.s32.s32"), three("shf_wrap", "shf.l.wrap.b32"), three("shf_clamp", "shf.r.clamp.b32"),
    ("lop3", 80, 3, 1, ["lop3.b32 %o0, %r0, %r1, %r2, 0xE8;"], "int", 0),
    ("bfi", 80, 4, 1, ["bfi.b32 %o0, %r0, %r1, %r2, %r3;"], "int", 0),
    ("shfl_down", 80, 1, 1, ["shfl.sync.down.b32 %o0, %r0, 5, 31, 0xffffffff;"], "int", 0),
    ("shfl_up", 80, 1, 1, ["shfl.sync.up.b32 %o0, %r0, 3, 0, 0xffffffff;"], "int", 0),
    ("shfl_bfly", 80, 1, 1, ["shfl.sync.bfly.b32 %o0, %r0, 12, 31, 0xffffffff;"], "int", 0),
    ("shfl_idx", 80, 2, 1, ["shfl.sync.idx.b32 %o0, %r0, %r1, 31, 0xffffffff;"], "int", 0),
    ("redux_add", 80, 1, 1, ["redux.sync.add.u32 %o0, %r0, 0xffffffff;"], "int", 0),
    mma("mma_f16_k16", "m16n8k16", "f32.f16.f16.f32", 4, 2), mma("mma_bf16_k16", "m16n8k16", "f32.bf16.bf16.f32", 4, 2, kind="brain"),
    mma("mma_f16_k8", "m16n8k8", "f32.f16.f16.f32", 2, 1), mma("mma_tf32_k8", "m16n8k8", "f32.tf32.tf32.f32", 4, 2, kind="small"),
    mma("mma_tf32_k4", "m16n8k4", "f32.tf32.tf32.f32", 2, 1, kind="small"),
    mma("mma_s8_k32", "m16n8k32", "s32.s8.s8.s32", 4, 2, kind="int"),
    mma("mma_e4m3_k32", "m16n8k32", "f32.e4m3.e4m3.f32", 4, 2, least=89, kind="quarter"),
]


def words(kind, count):
    """Random words of a kind; floats include those that matter."""
    pick = random.Random(5)

    def one(i):
        if kind == "int":
            return pick.choice([pick.getrandbits(32), pick.getrandbits(5), 0xFFFFFFFF])
        if kind == "float":
            return SPECIAL[i % len(SPECIAL)] if i < 2 * len(SPECIAL) else struct.unpack("<I", struct.pack("<f", pick.gauss(0, 4)))[0]
        if kind == "half":
            return struct.unpack("<I", struct.pack("<ee", pick.randint(-4, 4), pick.randint(-4, 4)))[0]
        if kind == "brain":
            high = [struct.unpack("<I", struct.pack("<f", pick.randint(-4, 4)))[0] >> 16 for _ in range(2)]
            return high[0] | high[1] << 16
        if kind == "quarter":
            return sum(pick.choice([0x00, 0x38, 0xB8, 0x40, 0xC0]) << 8 * b for b in range(4))
        return struct.unpack("<I", struct.pack("<f", pick.randint(-8, 8)))[0]

    return [one(i) for i in range(count)]


def kernel(capability, count_in, count_out, body):
    version = "7.8" if capability < 89 else "8.4"
    loads = "\n".join(f"    ld.global.u32 %r{i}, [%a+{4 * i}];" for i in range(count_in))
    stores = "\n".join(f"    st.global.u32 [%b+{4 * i}], %o{i};" for i in range(count_out))
    text = "\n".join("    " + line for line in body)
    return f""".version {version}
.target sm_{capability}
.address_size 64

.visible .entry one(.param .u64 from, .param .u64 to)
{{
    .reg .b16 %h<2>;
    .reg .b32 %r<16>, %o<8>, %lane;
    .reg .b64 %d<2>, %a, %b;
    ld.param.u64 %a, [from];
    ld.param.u64 %b, [to];
    mov.u32 %lane, %tid.x;
    mad.wide.u32 %a, %lane, {4 * count_in}, %a;
    mad.wide.u32 %b, %lane, {4 * count_out}, %b;
{loads}
{text}
{stores}
    ret;
}}
"""


def launch(cuda, text, given, count_out):
    """What the kernel gives, or None where the driver refuses it."""
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    if cuda.cuModuleLoadData(ctypes.byref(module), text.encode() + b"\0") != 0:
        return None
    assert cuda.cuModuleGetFunction(ctypes.byref(function), module, b"one") == 0
    signed = [w - (1 << 32) if w >> 31 else w for w in given]
    source = torch.tensor(signed, dtype=torch.int32, device="cuda")
    result = torch.zeros(32 * count_out, dtype=torch.int32, device="cuda")
    addresses = [ctypes.c_uint64(source.data_ptr()), ctypes.c_uint64(result.data_ptr())]
    pointers = (ctypes.c_void_p * 2)(*[ctypes.addressof(a) for a in addresses])
    status = cuda.cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, None, pointers, None)
    torch.cuda.synchronize()
    cuda.cuModuleUnload(module)
    assert status == 0, f"launch: {status}"
    return [w & 0xFFFFFFFF for w in result.tolist()]


def record(folder):
    """Writes the vectors; gives how many there are, and what this GPU does not know."""
    cuda = ctypes.CDLL("libcuda.so.1")
    torch.zeros(1, device="cuda")
    major, minor = torch.cuda.get_device_capability()
    folder.mkdir(parents=True, exist_ok=True)
    written, refused = 0, []
    for name, capability, count_in, count_out, body, kind, within in INSTRUCTIONS:
        text = kernel(capability, count_in, count_out, body)
        given = words(kind, 32 * count_in)
        got = launch(cuda, text, given, count_out) if major * 10 + minor >= capability else None
        if got is None:
            refused.append(name)
            continue
        lines = [f"// recorded on {torch.cuda.get_device_name()}", f"// within {within}"]
        lines += ["// in " + " ".join(f"{w:08x}" for w in given), "// out " + " ".join(f"{w:08x}" for w in got)]
        (folder / f"{name}.ptx").write_text("\n".join(lines) + "\n" + text)
        written += 1
    return written, refused
