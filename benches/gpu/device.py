"""What the suite shares: the clock, calls of tcc, timing of PyTorch, the table."""

import json
import os
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch

# All sections together; what is left over is said to be skipped.
SECONDS = 540

TARGETS = {70: "sm_70", 75: "sm_75", 80: "sm_80", 86: "sm_86", 89: "sm_89", 90: "sm_90a", 100: "sm_100", 120: "sm_120"}


def target():
    """The target that suits this GPU best."""
    major, minor = torch.cuda.get_device_capability()
    return TARGETS[max(c for c in TARGETS if c <= major * 10 + minor)]


class Suite:
    def __init__(self, tcc):
        self.tcc = os.path.abspath(tcc)
        self.begin = time.monotonic()
        self.folder = tempfile.mkdtemp(prefix="tcc-gpu-")
        self.rows = []
        self.failed = 0

    def left(self):
        return SECONDS - (time.monotonic() - self.begin)

    def row(self, section, name, result, good=True):
        self.failed += not good
        mark = "" if good else "  <-- below"
        self.rows.append((section, name, result + mark))
        print(f"{section:10} {name:34} {result}{mark}", flush=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def graph(self, name, text):
        path = self.path(name + ".tcc")
        with open(path, "w") as file:
            file.write(text + "\n")
        return path

    def call(self, *arguments):
        done = subprocess.run([self.tcc, *arguments], capture_output=True, text=True, timeout=max(self.left(), 1))
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip()[:300])
        return done.stdout

    def run(self, model, inputs):
        """Outputs by name."""
        given, got = self.path("in.npz"), self.path("out.npz")
        np.savez(given, **inputs)
        self.call("run", model, "--target", target(), "--inputs", given, "--output", got, "--quiet")
        return dict(np.load(got))

    def bench(self, model, inputs=None, seconds=0.5):
        """Milliseconds: the median of repeated launches, by the GPU's clock."""
        given = []
        if inputs is not None:
            np.savez(self.path("bench.npz"), **inputs)
            given = ["--inputs", self.path("bench.npz")]
        said = self.call("--json", "bench", model, "--target", target(), "--seconds", str(seconds), *given)
        return json.loads(said.strip().splitlines()[-1])["median_ns"] / 1e6


def time_torch(work, repeats=30):
    """Milliseconds: the median over launches of a captured graph, or of plain calls where that cannot be captured."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    launch = work
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        launch = graph.replay
    except RuntimeError:
        torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        launch()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)
