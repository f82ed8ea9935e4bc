"""Exports architectures with random weights as users do, and compares tcc with ONNX Runtime on them.

    check.py TCC [--size small|full] [--engine interpreter|cranelift|emulator|assembler] [--only NAME] [--exporter dynamo|torchscript]
             [--opset N] [--keep FOLDER]

Every model is exported with one set of extents and run with another. The small models go to both engines, the full
ones to machine code only; the emulator runs kernels for GPUs, and
NVIDIA's assembler must neither warn nor spill. Exits with 1 if anything is refused or differs.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import onnx
import onnxruntime
import torch

import text
import vision

# Each architecture meets several versions over the two exporters; the script exporter ends at 20.
OPSETS = {"dynamo": [18, 19, 20, 21, 22, 23], "torchscript": [17, 18, 19, 20]}


def export(entry, exporter, opset, path):
    if exporter == "dynamo":
        shapes = dynamic_shapes(entry)
        torch.onnx.export(
            entry.model, entry.example, path, input_names=entry.names, output_names=entry.outputs,
            dynamic_shapes=shapes, opset_version=opset, dynamo=True, verbose=False,
        )
        return

    def label(a):
        return a if isinstance(a, str) else "2*half_frames" if isinstance(a, tuple) else a.name

    axes = {name: {i: label(a) for i, a in open.items()} for name, open in zip(entry.names, entry.axes)}
    torch.onnx.export(
        entry.model, entry.example, path, input_names=entry.names, output_names=entry.outputs,
        dynamic_axes=axes, opset_version=opset, dynamo=False,
    )


def dynamic_shapes(entry):
    made = {}

    def dim(a):
        if isinstance(a, str):
            return torch.export.Dim.DYNAMIC
        factor, a = a if isinstance(a, tuple) else (1, a)
        if a.name not in made:
            made[a.name] = torch.export.Dim(a.name, min=a.least, max=a.most)
        return factor * made[a.name]

    shapes = [{i: dim(a) for i, a in open.items()} for open in entry.axes]
    variadic = [p for p in forward_parameters(entry.model) if p.kind == p.VAR_POSITIONAL]
    if variadic:
        plain = len(forward_parameters(entry.model)) - 1
        shapes = [*shapes[:plain], tuple(shapes[plain:])]
    return tuple(shapes)


def forward_parameters(model):
    import inspect

    return list(inspect.signature(model.forward).parameters.values())


def reference(path, inputs):
    """What ONNX Runtime gives for the inputs, by name of the output."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    known = {i.name for i in session.get_inputs()}
    outputs = [o.name for o in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, {k: v for k, v in inputs.items() if k in known})))


def run(tcc, path, inputs, engine, folder):
    """What tcc gives for the inputs, by name of the output, or what it complains about."""
    given, got = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
    np.savez(given, **inputs)
    command = [tcc, "run", path, "--inputs", given, "--output", got, "--quiet"]
    if engine == "interpreter":
        command.append("--interpret")
    if engine == "emulator":
        command += ["--target", "sm_80", "--emulate"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return None, f"exit {done.returncode}: {done.stderr.strip()[:1500]}"
    return dict(np.load(got)), ""


def assembled(tcc, path, folder):
    """What NVIDIA's assembler has against the kernels, and how many there are."""
    out = os.path.join(folder, "gpu")
    command = [tcc, "--json", "compile", path, "--target", "sm_80,sm_90a", "--cubin", "-o", out]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return f"exit {done.returncode}: {done.stderr.strip()[:1500]}", 0
    report = json.loads(done.stdout.strip().splitlines()[-1])
    found = list(report["warnings"])
    for target in report["targets"]:
        for name, used in target["resources"].items():
            if used["spill_bytes"] > 0:
                found.append(f"{target['name']}: {name} spills {used['spill_bytes']} bytes")
    return "; ".join(found), report["kernels"]


def difference(got, wanted, relative=1e-3, absolute=1e-3):
    """Why arrays differ beyond the tolerances, of which the absolute one is relative to the spread; or their
    greatest error."""
    worst = 0.0
    for name, w in wanted.items():
        if name not in got:
            return f"no output {name}, there are {list(got)}", worst
        g = got[name]
        if g.shape != w.shape or g.dtype != w.dtype:
            return f"{name}: expected {w.dtype}{w.shape}, got {g.dtype}{g.shape}", worst
        if w.size == 0:
            continue
        g, w = g.astype(np.float64), w.astype(np.float64)
        spread = float(np.sqrt(np.mean(np.square(w)))) if np.isfinite(w).all() else 1.0
        error = np.abs(g - w)
        error = np.where((g == w) | (np.isnan(g) & np.isnan(w)), 0, error)
        worst = max(worst, float(np.max(error)) / max(spread, 1e-30))
        if not np.all(error <= absolute * spread + relative * np.abs(w)):
            at = np.unravel_index(np.argmax(error), error.shape)
            return f"{name}{list(map(int, at))}: expected {w[at]}, got {g[at]}, spread {spread:.3g}", worst
    return "", worst


def check(build, full, exporter, opset, engines, tcc, folder):
    torch.manual_seed(sum(map(ord, build.__name__)))
    with torch.no_grad():
        entry = build(full)
        entry.model.eval()
        path = os.path.join(folder, f"{build.__name__}-{exporter}-{opset}.onnx")
        try:
            export(entry, exporter, opset, path)
        except Exception as error:
            return [("export", f"{type(error).__name__}: {str(error).strip()[:300]}")]
    inputs = {name: t.numpy() for name, t in zip(entry.names, entry.inputs)}
    model = onnx.load(path, load_external_data=False)
    used = {i.name for i in model.graph.input}
    inputs = {k: v for k, v in inputs.items() if k in used}
    actual = {o.domain: o.version for o in model.opset_import}.get("", 0)
    try:
        wanted = reference(path, inputs)
    except Exception as error:
        return [("onnxruntime", str(error)[:300])]
    found = []
    for engine in engines:
        start = time.time()
        if engine == "assembler":
            complaint, kernels = assembled(tcc, path, folder)
            print(f"{build.__name__:16} {exporter:11} {actual:2} {complaint or f'{kernels} kernels assemble'}", flush=True)
            found += [(engine, complaint)] if complaint else []
            continue
        got, complaint = run(tcc, path, inputs, engine, folder)
        seconds = time.time() - start
        worst = 0.0
        if got is not None:
            complaint, worst = difference(got, wanted)
        line = f"{build.__name__:16} {exporter:11} {actual:2} {len(model.graph.node):5} nodes {engine:11} "
        print(line + (complaint or f"agrees, error {worst:.1e}, {seconds:.1f} s"), flush=True)
        if complaint:
            found.append((engine, complaint))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tcc")
    parser.add_argument("--size", choices=["small", "full"], default="small")
    parser.add_argument("--engine", choices=["interpreter", "cranelift", "emulator", "assembler"])
    parser.add_argument("--only", default="")
    parser.add_argument("--exporter", choices=list(OPSETS))
    parser.add_argument("--opset", type=int)
    parser.add_argument("--keep", help="a folder in which exported models stay")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    onnxruntime.set_default_logger_severity(4)
    # The fast path of attention is one operator, for which the script exporter has no word.
    torch.backends.mha.set_fastpath_enabled(False)
    full = arguments.size == "full"
    engines = [arguments.engine] if arguments.engine else ["cranelift"] if full else ["interpreter", "cranelift"]
    problems, total = [], 0
    for turn, build in enumerate(vision.ENTRIES + text.ENTRIES):
        if arguments.only not in build.__name__:
            continue
        for exporter, opsets in OPSETS.items():
            if arguments.exporter not in (None, exporter):
                continue
            # The full models take one version each, the small ones two.
            chosen = [opsets[(turn + i * (len(opsets) // 2)) % len(opsets)] for i in range(1 if full else 2)]
            for opset in [arguments.opset] if arguments.opset else chosen:
                with tempfile.TemporaryDirectory() as folder:
                    if arguments.keep:
                        folder = arguments.keep
                        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
                    total += 1
                    found = check(build, full, exporter, opset, engines, arguments.tcc, folder)
                    problems += [(build.__name__, exporter, opset, *p) for p in found]
    for problem in problems:
        print("PROBLEM", *problem)
    print(f"{total} models, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
