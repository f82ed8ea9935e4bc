"""Correctness against PyTorch in f64, speed beside cuBLAS, PyTorch and torch.compile, golden vectors; a table.

    suite.py TCC [SECTION…]

Exits with 1 if a kernel is wrong or something is below what is asked of it.
"""

import os
import pathlib
import statistics
import sys

import numpy as np
import torch
import torch.nn.functional as F

import golden
from device import Suite, target, time_torch
from kinds import DOT, KINDS

ROOT = pathlib.Path(__file__).resolve().parents[2]


def given(shapes):
    """Random inputs, as arrays and as f64 on the GPU."""
    generator = np.random.default_rng(7)
    arrays = {}
    for name, shape in shapes.items():
        if isinstance(shape[-1], tuple):
            arrays[name] = generator.integers(0, shape[0], shape[-1])
        else:
            arrays[name] = generator.standard_normal(shape, dtype=np.float32)
    wide = [torch.from_numpy(a).cuda() for a in arrays.values()]
    return arrays, [t.double() if t.is_floating_point() else t for t in wide]


def correct(suite):
    for name, tolerance, shapes, text, reference in KINDS:
        arrays, wide = given(shapes)
        wanted = reference(*wide).cpu().numpy()
        got = suite.run(suite.graph("kind", text), arrays)["y"].astype(np.float64)
        spread = float(np.sqrt(np.mean(np.square(wanted)))) or 1.0
        error = float(np.max(np.abs(got - wanted))) / spread
        suite.row("correct", name, f"error {error:.1e}, allowed {tolerance:.0e}", got.shape == wanted.shape and error <= tolerance)


def gemm(suite):
    wanted = 75 if target() == "sm_90a" else 60
    for kind, dtype, least in [("bf16", torch.bfloat16, wanted), ("f16", torch.float16, wanted), ("f32", torch.float32, 0)]:
        for n in [1024, 2048, 4096, 8192]:
            text = f"""graph @g(%x: {kind}[{n}, {n}], %w: {kind}[{n}, {n}]) -> (y: {kind}[{n}, {n}]) {{
              %0 = dot %x, %w {DOT} dtype={kind} : {kind}[{n}, {n}]
              return %0
            }}"""
            ours = suite.bench(suite.graph("gemm", text), seconds=0.2)
            a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
            torch.backends.cuda.matmul.allow_tf32 = False
            theirs = time_torch(lambda: a @ b, repeats=15)
            flops = 2 * n**3 / 1e9
            share = 100 * theirs / ours
            result = f"{flops / ours:8.1f} TFLOP/s/1000, cuBLAS {flops / theirs:8.1f}: {share:5.1f}%"
            suite.row("gemm", f"{kind} {n}", result.replace("TFLOP/s/1000", "GFLOP/s"), share >= least)


def memory(suite):
    big = torch.empty(1 << 28, device="cuda")
    copy = 2 * big.numel() * 4 / time_torch(lambda: big.copy_(big.roll(0))) / 1e6
    other = torch.empty_like(big)
    copy = max(copy, 2 * big.numel() * 4 / time_torch(lambda: other.copy_(big)) / 1e6)
    suite.row("memory", "copy", f"{copy:8.0f} GB/s")
    del big, other
    n, m = 16384, 4096
    cases = [
        ("elementwise", f"graph @g(%x: f32[{n}, {m}]) -> (y: f32[{n}, {m}]) {{\n  %0 = gelu %x : f32[{n}, {m}]\n  return %0\n}}"),
        ("softmax", f"graph @g(%x: f32[{n}, {m}]) -> (y: f32[{n}, {m}]) {{\n  %0 = softmax %x axis=1 : f32[{n}, {m}]\n  return %0\n}}"),
        ("layer norm", f"graph @g(%x: f32[{n}, {m}], %b: f32[{m}]) -> (y: f32[{n}, {m}]) {{\n  %0 = layer_norm %x, %b, %b axis=1 eps=0.00001 : f32[{n}, {m}]\n  return %0\n}}"),
    ]
    for name, text in cases:
        rate = 2 * n * m * 4 / suite.bench(suite.graph("memory", text), seconds=0.2) / 1e6
        suite.row("memory", name, f"{rate:8.0f} GB/s: {100 * rate / copy:5.1f}% of copy", rate >= 0.85 * copy)


def attention(suite):
    for length, causal in [(512, False), (2048, False), (2048, True), (4096, True)]:
        shape = (4, 16, length, 64)
        ty = f"f16[{', '.join(map(str, shape))}]"
        text = f"""graph @g(%q: {ty}, %k: {ty}, %v: {ty}) -> (y: {ty}) {{
          %0 = attention %q, %k, %v scale=0.125 causal={str(causal).lower()} softcap=0.0 : {ty}
          return %0
        }}"""
        ours = suite.bench(suite.graph("attention", text), seconds=0.2)
        q, k, v = (torch.randn(shape, device="cuda", dtype=torch.float16) for _ in range(3))
        theirs = time_torch(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal))
        name = f"f16 {length}{' causal' if causal else ''}"
        suite.row("attention", name, f"{ours:8.3f} ms, SDPA {theirs:8.3f} ms: {100 * theirs / ours:5.1f}%")


def models(suite):
    sys.path.insert(0, str(ROOT / "tests" / "exports"))
    import text
    import vision

    for name, build in [("bert-base", text.bert), ("resnet-50", vision.resnet50)]:
        with torch.no_grad():
            entry = build(True)
            entry.model.eval()
            path = suite.path(name + ".onnx")
            torch.onnx.export(entry.model, entry.inputs, path, input_names=entry.names, output_names=entry.outputs, opset_version=17, dynamo=False)
            arrays = {n: t.numpy() for n, t in zip(entry.names, entry.inputs)}
            wide = entry.model.double()
            inputs = [t.double() if t.is_floating_point() else t for t in entry.inputs]
            wanted = wide.cuda()(*[t.cuda() for t in inputs])
            wanted = (wanted if torch.is_tensor(wanted) else wanted[0]).cpu().numpy()
            got = suite.run(path, arrays)[entry.outputs[0]]
            spread = float(np.sqrt(np.mean(np.square(wanted)))) or 1.0
            error = float(np.max(np.abs(got - wanted))) / spread
            suite.row("models", name, f"error {error:.1e} against f64", error <= 2e-3)
            ours = suite.bench(path, arrays)
            narrow = entry.model.float().cuda()
            inputs = [t.cuda() for t in entry.inputs]
            compiled = torch.compile(narrow, mode="reduce-overhead")
            for _ in range(5):
                compiled(*inputs)
            torch.cuda.synchronize()
            times = []
            for _ in range(20):
                start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                start.record()
                compiled(*inputs)
                end.record()
                end.synchronize()
                times.append(start.elapsed_time(end))
            theirs = statistics.median(times)
            suite.row("models", name, f"{ours:8.3f} ms, torch.compile {theirs:8.3f} ms: {100 * theirs / ours:5.1f}%")


def record(suite):
    folder = ROOT / "codegen" / "src" / "ptx" / "emulate" / "tests" / "golden"
    written, refused = golden.record(folder)
    suite.row("golden", "vectors", f"{written} instructions recorded, {len(refused)} not known to this GPU: {' '.join(refused)}")


SECTIONS = {"correct": correct, "golden": record, "gemm": gemm, "memory": memory, "attention": attention, "models": models}


def main():
    suite = Suite(sys.argv[1])
    wanted = sys.argv[2:] or list(SECTIONS)
    print(f"{torch.cuda.get_device_name()}, {target()}, torch {torch.__version__}", flush=True)
    for name in wanted:
        if suite.left() < 20:
            suite.row(name, "all", "SKIPPED: no time left", False)
            continue
        try:
            SECTIONS[name](suite)
        except Exception as error:
            suite.row(name, "rest of section", f"{type(error).__name__}: {str(error)[:300]}", False)
    print(f"{len(suite.rows)} rows, {suite.failed} below, {int(540 - suite.left())} s")
    os._exit(1 if suite.failed else 0)


if __name__ == "__main__":
    main()
