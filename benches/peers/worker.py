"""One engine with one model in a process of its own, timed on request so that engines can take turns.

    python worker.py ENGINE WORKLOAD_FOLDER THREADS OUTPUT.npz [TCC]

Says one JSON line when ready (after one checked call, whose result it saves), then answers each line `SECONDS` with
the median of as many calls as fit."""
import json, os, pathlib, resource, statistics, subprocess, sys, tempfile, time

ENGINE, FOLDER, THREADS, OUTPUT = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(THREADS)
import numpy as np  # noqa: E402  (the variables above must be set first)

MODEL = str(FOLDER / "model.onnx")
INPUTS = dict(np.load(FOLDER / "inputs.npz"))
# Engines print what they like; the protocol keeps the descriptor to itself.
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def say(**what):
    answer.write(json.dumps(what) + "\n")
    answer.flush()


class Calls:
    """An engine in this process: a function to time, and one that gives the output."""

    def __init__(self, call, output):
        self.call, self.output = call, output

    def time(self, seconds):
        times, end = [], time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            start = time.perf_counter_ns()
            self.call()
            times.append(time.perf_counter_ns() - start)
        return statistics.median(times), len(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Tcc:
    """Our own command line: an artifact once, then `bench` on it."""

    def __init__(self, binary, backend):
        self.binary = binary
        self.folder = tempfile.TemporaryDirectory()
        self.artifact = os.path.join(self.folder.name, "model.tcc")
        self.tcc("compile", MODEL, "--backend", backend, "-o", self.artifact)

    def tcc(self, *arguments):
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-300:])
        return done.stdout

    def on_inputs(self, command, *more):
        return self.tcc(command, self.artifact, "--threads", str(THREADS), "--inputs", str(FOLDER / "inputs.npz"), *more)

    def output(self):
        self.on_inputs("run", "--output", OUTPUT)
        return np.load(OUTPUT)["y"]

    def time(self, seconds):
        report = json.loads(self.on_inputs("bench", "--seconds", str(seconds), "--json"))
        return report["median_ns"], report["runs"], report["peak_rss_bytes"]


def onnxruntime():
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, value in INPUTS.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value))
    binding.bind_output("y", "cpu")
    call = lambda: session.run_with_iobinding(binding)
    return Calls(call, lambda: (call(), binding.copy_outputs_to_cpu()[0])[1])


def openvino():
    import openvino as ov
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(MODEL, "CPU", settings).create_infer_request()
    for name, value in INPUTS.items():
        request.set_tensor(name, ov.Tensor(value, shared_memory=True))
    return Calls(request.infer, lambda: (request.infer(), np.array(request.get_output_tensor(0).data))[1])


def torch(compiled):
    import torch
    import workloads
    torch.set_num_threads(THREADS)
    torch.manual_seed(sum(FOLDER.name.encode()))
    module, inputs = workloads.WORKLOADS[FOLDER.name][0]()
    module.eval()
    if compiled:
        import torch._inductor.config
        torch._inductor.config.freezing = True
        module = torch.compile(module)

    def call():
        with torch.no_grad():
            return module(*inputs)

    for _ in range(3):
        call()
    return Calls(call, lambda: call().numpy())


def iree():
    import iree.runtime as runtime
    tools, folder = os.path.dirname(sys.executable), tempfile.mkdtemp()
    mlir, code = os.path.join(folder, "model.mlir"), os.path.join(folder, "model.vmfb")
    run = lambda *command: subprocess.run(command, check=True, capture_output=True)
    run(tools + "/iree-import-onnx", MODEL, "-o", mlir, "--opset-version", "17")
    run(tools + "/iree-compile", mlir, "-o", code, "--iree-hal-target-device=local", "--iree-opt-level=O3",
        "--iree-hal-local-target-device-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host", "--iree-opt-data-tiling")
    if THREADS > 1:
        runtime.flags.parse_flags(f"--task_topology_group_count={THREADS}")
    config = runtime.Config("local-sync" if THREADS == 1 else "local-task")
    context = runtime.SystemContext(config=config, vm_modules=[runtime.VmModule.mmap(config.vm_instance, code)])
    module = context.modules.module
    names = [n for n in module.vm_module.function_names if not n.startswith("__") and not n.endswith("$async")]
    function, inputs = module[names[0]], [runtime.asdevicearray(config.device, x) for x in INPUTS.values()]
    return Calls(lambda: function(*inputs), lambda: function(*inputs).to_host())


ENGINES = {
    "tcc-cranelift": lambda: Tcc(sys.argv[5], "cranelift"),
    "tcc-llvm": lambda: Tcc(sys.argv[5], "llvm"),
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "torch": lambda: torch(False),
    "inductor": lambda: torch(True),
    "iree": iree,
}


def main():
    try:
        start = time.perf_counter()
        engine = ENGINES[ENGINE]()
        np.savez(OUTPUT, y=engine.output())
        say(ready=True, compile_s=time.perf_counter() - start)
    except BaseException as error:  # whatever an engine throws is its answer
        say(ready=False, error=f"{type(error).__name__}: {error}"[:400])
        return
    for line in sys.stdin:
        median, calls, memory = engine.time(float(line))
        say(ms=median / 1e6, calls=calls, memory=memory)


if __name__ == "__main__":
    main()
