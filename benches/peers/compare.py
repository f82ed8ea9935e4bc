"""Sets engines up one after the other, times them in turns, checks what they compute, and writes the table.

A figure is the median over rounds of the median call of a round. The table has the ratio of the best peer's time to
ours, so that above one is faster, and the rate that our faster backend reaches."""
import argparse, fnmatch, json, math, pathlib, platform, statistics, subprocess, sys, tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
OURS = ["tcc-llvm", "tcc-cranelift"]
PEERS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "torch": "torch", "inductor": "torch", "iree": "iree"}
MARK = ("<!-- peers: begin -->", "<!-- peers: end -->")
# What float32 sums in another order may differ by, relative to the largest element.
TOLERANCE = 2e-3


class Worker:
    def __init__(self, options, engine, workload, threads, folder):
        python = options.lab / PEERS.get(engine, "onnxruntime") / "bin/python"
        self.engine, self.output = engine, folder / f"{engine}.npz"
        command = [python, HERE / "worker.py", engine, options.lab / "models" / workload, str(threads), self.output, options.tcc]
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, cwd=HERE)
        self.ready, self.rounds = self.heard(), []

    def heard(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"ready": False, "error": "the process ended"}

    def time(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        self.rounds.append(self.heard())

    def median(self):
        return statistics.median(r["ms"] for r in self.rounds)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def measure(options, workload, threads, engines):
    """The figures of every engine that runs a workload and computes what is expected."""
    expected = np.load(options.lab / "models" / workload / "expected.npz")["y"]
    with tempfile.TemporaryDirectory() as folder:
        workers, figures = [], {}
        for engine in engines:
            worker = Worker(options, engine, workload, threads, pathlib.Path(folder))
            if not worker.ready["ready"]:
                figures[engine] = {"error": worker.ready["error"]}
                worker.stop()
                continue
            got = np.load(worker.output)["y"].astype(np.float64)
            off = np.abs(got - expected).max() / (np.abs(expected).max() + 1e-30) if got.shape == expected.shape else math.inf
            if not off < TOLERANCE:
                figures[engine] = {"error": f"expected the reference's numbers, off by {off:.1e}"}
                worker.stop()
                continue
            workers.append(worker)
        for index in range(options.rounds):
            turn = index % max(1, len(workers))
            for worker in workers[turn:] + workers[:turn]:
                worker.time(options.seconds)
        for worker in workers:
            worker.stop()
            figures[worker.engine] = {"ms": worker.median(), "compile_s": worker.ready["compile_s"],
                                      "mb": max(r["memory"] for r in worker.rounds) / 2**20}
    return figures


def rows(results, facts):
    for key, figures in results.items():
        workload, threads = key.rsplit("|", 1)
        timed = {e: f["ms"] for e, f in figures.items() if "ms" in f}
        peers = {e: t for e, t in timed.items() if e in PEERS}
        best = min(peers, key=peers.get) if peers else None
        parts = []
        for ours in OURS:
            if ours not in figures:
                parts += ["", ""]
            elif ours not in timed:
                parts += [figures[ours]["error"].split("\n")[0][:60], ""]
            else:
                parts += [f"{timed[ours]:.3f}", f"{peers[best] / timed[ours]:.2f}" if best else ""]
        fastest = min((timed[o] for o in OURS if o in timed), default=None)
        rate = ""
        for cost, unit in (("flops", "GFLOP/s"), ("bytes", "GB/s")):
            if fastest and not rate and cost in facts[workload]:
                rate = f"{facts[workload][cost] / fastest / 1e6:.0f} {unit}"
        ratio = peers[best] / fastest if best and fastest else None
        yield workload, threads, f"{best} {peers[best]:.3f}" if best else "", parts, rate, ratio


def table(results, facts):
    lines = ["| workload | threads | best peer, ms | llvm, ms | ratio | cranelift, ms | ratio | our rate |",
             "|---|---|---|---|---|---|---|---|"]
    ratios = []
    for workload, threads, best, parts, rate, ratio in rows(results, facts):
        lines.append(f"| {workload} | {threads} | {best} | {' | '.join(parts)} | {rate} |")
        ratios += [ratio] if ratio else []
    if ratios:
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        lines += ["", f"Geometric mean of the ratios over {len(ratios)} rows: {mean:.2f}; least {min(ratios):.2f}."]
    return "\n".join(lines)


def write(options, text):
    page = pathlib.Path("docs/benchmarks.md")
    old = page.read_text()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.processor())
    about = f"Measured by `benches/peers/run {' '.join(sys.argv[5:])}`".rstrip() + f" at commit {commit} on {model}."
    section = f"{MARK[0]}\n{about}\n\n{text}\n{MARK[1]}"
    if MARK[0] in old:
        start, end = old.index(MARK[0]), old.index(MARK[1]) + len(MARK[1])
        page.write_text(old[:start] + section + old[end:])
    else:
        page.write_text(f"{old.rstrip()}\n\n## Beside other engines\n\n{section}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lab", type=pathlib.Path, required=True)
    parser.add_argument("--tcc", required=True)
    parser.add_argument("--workloads", default="*", help="patterns, separated by commas")
    parser.add_argument("--peers", default=",".join([*OURS, *PEERS]))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    options.lab, options.tcc = options.lab.resolve(), pathlib.Path(options.tcc).resolve()
    names = sorted(p.name for p in (options.lab / "models").iterdir() if (p / "facts.json").exists())
    names = [n for n in names if any(fnmatch.fnmatch(n, p) for p in options.workloads.split(","))]
    if options.list:
        print("workloads:", *names, "\npeers:", *OURS, *PEERS)
        return
    unknown = [e for e in options.peers.split(",") if e not in OURS and e not in PEERS]
    if unknown or not names:
        parser.error(f"expected peers of {[*OURS, *PEERS]} and at least one workload, got {unknown or options.workloads}")
    facts = {n: json.loads((options.lab / "models" / n / "facts.json").read_text()) for n in names}
    results = {}
    for name in names:
        for threads in options.threads.split(","):
            figures = measure(options, name, int(threads), options.peers.split(","))
            results[f"{name}|{threads}"] = figures
            shown = (f"{e} {f['ms']:.3f}" if "ms" in f else f"{e}: {f['error'].splitlines()[0][:60]}" for e, f in figures.items())
            print(f"{name} {threads}t  " + "  ".join(shown), flush=True)
            (options.lab / "results.json").write_text(json.dumps(results, indent=1))
    text = table(results, facts)
    print(text)
    if options.write:
        write(options, text)


if __name__ == "__main__":
    main()
