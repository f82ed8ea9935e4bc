//! Models for GPUs on a driver that writes down what it is asked: the runtime's calls and those of `model.c`, carried
//! out in the emulator afterwards, give what the interpreter gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tcc::codegen::ptx::emulate::{Arg, GlobalMemory, Options, launch};
use tcc::codegen::ptx::{GpuTarget, Module};
use tcc::compile::Compiler;
use tcc::compile::gpu::{GpuModel, Ptxas};
use tcc::ir::dim::{Bindings, Symbol};
use tcc::ir::graph::eval::evaluate;
use tcc::ir::graph::{Graph, parse_graph};
use tcc::ir::tensor::{Tensor, Tolerance};
use tcc::runtime::cuda::{Context, CudaModel, CudaSession, Driver};

use crate::support::root;

/// A layer with weights, a reduction, tensor cores where there are some, and an open extent.
const MODEL: &str = "graph @m(%x: f32[N, 40], %h: f16[N, 32], %w: f16[32, 48]) -> (y: f32[N, 24], z: f16[N, 48], s: f32[N]) where N in 1..=64 {
  %0 = const value=f32[24] [WEIGHTS] : f32[24]
  %1 = broadcast %0 shape=[N, 24] : f32[N, 24]
  %2 = slice %x starts=[0, 0] sizes=[N, 24] steps=[1, 1] : f32[N, 24]
  %3 = add %1, %2 : f32[N, 24]
  %4 = softmax %3 axis=1 : f32[N, 24]
  %5 = dot %h, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f16 : f16[N, 48]
  %6 = reduce_sum %x axes=[1] : f32[N]
  return %4, %5, %6
}";

fn target(name: &str) -> GpuTarget {
    name.parse().unwrap()
}

fn graph() -> Graph {
    let weights: Vec<String> = (0..24).map(|i| format!("{}.5", i - 12)).collect();
    let text = MODEL.replace("WEIGHTS", &weights.join(", "));
    parse_graph(&text).unwrap_or_else(|d| panic!("{}", d.render("model", &text)))
}

fn inputs(graph: &Graph, rows: i64) -> Vec<Tensor> {
    let bindings: Bindings = [(Symbol::new("N"), rows)].into_iter().collect();
    let tensor = |(i, (_, v)): (usize, &(Arc<str>, tcc::ir::graph::Value))| {
        let ty = graph.ty(*v);
        Tensor::random(ty.dtype, &ty.shape.eval(&bindings).unwrap(), i as u64 + 1).unwrap()
    };
    graph.params().iter().enumerate().map(tensor).collect()
}

/// A driver in a library of its own, if there is a compiler of C, and the file that it writes to.
fn driver(folder: &Path, capability: u32) -> Option<(PathBuf, PathBuf)> {
    let (library, log) = (folder.join("libcuda.so"), folder.join("log"));
    let built = Command::new("cc")
        .args(["-std=gnu11", "-shared", "-fPIC"])
        .arg(format!("-DLOG_PATH=\"{}\"", log.display()))
        .arg(format!("-DCAPABILITY={capability}"))
        .arg(root().join("runtime/src/cuda/tests/fake_driver.c"))
        .arg("-o")
        .arg(&library)
        .status();
    built.ok().filter(std::process::ExitStatus::success).map(|_| (library, log))
}

/// Carries out what a driver wrote down, and gives what was read from the GPU, in order.
fn replay(log: &str, ptx: &str) -> Vec<Vec<u8>> {
    let module = Module::parse(ptx).unwrap();
    let mut memory = GlobalMemory::new();
    let mut ranges: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut read = Vec::new();
    let find = |ranges: &BTreeMap<u64, (u64, u64)>, address: u64| {
        let (start, (to, bytes)) = ranges.range(..=address).next_back()?;
        (address < start + bytes).then(|| to + (address - start))
    };
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words[i].parse::<u64>().unwrap();
        match words[0] {
            "alloc" => {
                let to = memory.reserve("allocation", number(2) as usize);
                ranges.insert(number(1), (to, number(2)));
            }
            "free" => {
                ranges.remove(&number(1));
            }
            "write" => {
                let bytes: Vec<u8> = (0..words[2].len() / 2)
                    .map(|i| u8::from_str_radix(&words[2][2 * i..2 * i + 2], 16).unwrap())
                    .collect();
                assert!(memory.write(find(&ranges, number(1)).unwrap(), &bytes), "{line:.40}");
            }
            "read" => {
                let from = find(&ranges, number(1)).unwrap();
                read.push(memory.read(from, number(2) as usize).expect("all of it is written").to_vec());
            }
            "launch" => {
                let n = |i: usize| number(i) as u32;
                let (grid, block) = ([n(2), n(3), n(4)], [n(5), n(6), n(7)]);
                let args: Vec<Arg> = (9..words.len())
                    .map(|i| Arg::U64(find(&ranges, number(i)).unwrap_or(number(i))))
                    .collect();
                launch(&module, words[1], grid, block, n(8), &args, &mut memory, Options::default())
                    .unwrap_or_else(|fault| panic!("{fault}"));
            }
            _ => {}
        }
    }
    read
}

fn agree(read: &[Vec<u8>], wanted: &[Tensor]) {
    assert_eq!(read.len(), wanted.len());
    for (bytes, wanted) in read.iter().zip(wanted) {
        let got = Tensor::from_byte_slice(wanted.dtype(), wanted.shape(), bytes).unwrap();
        got.compare(wanted, Tolerance::relative(2e-3, 1e-3)).unwrap_or_else(|m| panic!("{m}"));
    }
}

#[test]
fn the_runtime_launches_what_the_emulator_runs() {
    let graph = graph();
    for (capability, chosen) in [(75, "sm_70"), (86, "sm_80"), (90, "sm_90a")] {
        let folder = tempfile::tempdir().unwrap();
        let Some((library, log)) = driver(folder.path(), capability) else { return };
        let out = folder.path().join("model");
        let model = Compiler::new().compile_gpu(&graph, &["sm_70", "sm_80", "sm_90a"].map(target)).unwrap();
        model.write(&out).unwrap();
        let context = Context::new(Driver::open_at(&library).unwrap(), 0).unwrap();
        let loaded = Arc::new(CudaModel::open(context, &out).unwrap());
        assert_eq!(loaded.target(), chosen);
        let mut session = CudaSession::new(loaded).unwrap();
        let mut wanted = Vec::new();
        for rows in [19, 19, 33] {
            let inputs = inputs(&graph, rows);
            model.run(&mut session, &inputs).unwrap();
            wanted.extend(evaluate(&graph, &inputs).unwrap());
        }
        let ptx = std::fs::read_to_string(out.join(format!("kernels/{chosen}.ptx"))).unwrap();
        assert_eq!(ptx.contains("mma.sync"), capability >= 80, "each target has its own schedule");
        agree(&replay(&std::fs::read_to_string(&log).unwrap(), &ptx), &wanted);
    }
}

#[test]
fn what_the_host_does_runs_between_launches() {
    let text = "graph @h(%x: f32[3, 8]) -> (y: f32[3, 2], i: i64[3, 2]) {
      %0, %1 = top_k %x k=2 axis=1 largest=true : f32[3, 2], i64[3, 2]
      return %0, %1
    }";
    let graph = parse_graph(text).unwrap();
    let model = Compiler::new().compile_gpu(&graph, &[target("sm_80")]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let Some((library, _)) = driver(folder.path(), 80) else { return };
    let context = Context::new(Driver::open_at(&library).unwrap(), 0).unwrap();
    let mut session = CudaSession::new(Arc::new(model.load(context).unwrap())).unwrap();
    let x = Tensor::random(tcc::ir::dtype::DType::F32, &[3, 8], 5).unwrap();
    let wanted = evaluate(&graph, std::slice::from_ref(&x)).unwrap();
    let (run, _) = model.run(&mut session, &[x]).unwrap();
    if run.host_ops > 0 && run.launches == 0 {
        for (got, wanted) in run.outputs.iter().zip(&wanted) {
            got.compare(wanted, Tolerance::for_dtype(wanted.dtype())).unwrap();
        }
        assert!(model.without_c_source().is_some_and(|why| why.contains("host")));
    }
}

#[test]
fn c_programs_run_models() {
    let graph = graph();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let Some((library, log)) = driver(folder.path(), 86) else { return };
    let model = Compiler::new().compile_gpu(&graph, &["sm_70", "sm_80"].map(target)).unwrap();
    let out = path("model");
    model.write(&out).unwrap();
    let program = path("program");
    let built = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fsanitize=undefined"])
        .arg("-I")
        .arg(&out)
        .arg(root().join("tests/cuda/caller.c"))
        .arg(out.join("model.c"))
        .arg("-o")
        .arg(&program)
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let inputs = inputs(&graph, 21);
    let mut command = Command::new(&program);
    command.env("TCC_CUDA_DRIVER", &library).arg(&out).arg("21").arg("--");
    for (i, tensor) in inputs.iter().enumerate() {
        let file = path(&format!("in{i}"));
        std::fs::write(&file, tensor.to_bytes().unwrap()).unwrap();
        command.arg(file);
    }
    command.arg("--").args((0..3).map(|i| path(&format!("out{i}"))));
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "sm_80\n");
    let ptx = std::fs::read_to_string(out.join("kernels/sm_80.ptx")).unwrap();
    let read = replay(&std::fs::read_to_string(&log).unwrap(), &ptx);
    agree(&read, &evaluate(&graph, &inputs).unwrap());

    let absent = Command::new(&program).env("TCC_CUDA_DRIVER", "/nowhere.so").arg(&out).output().unwrap();
    let said = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(said.starts_with("expected a driver for NVIDIA GPUs, found none"), "{said}");
}

#[test]
fn artifacts_are_the_same_bytes() {
    let targets = ["sm_75", "sm_80", "sm_90a"].map(target);
    let write = || {
        let folder = tempfile::tempdir().unwrap();
        let mut model: GpuModel = Compiler::new().compile_gpu(&graph(), &targets).unwrap();
        if let Some(ptxas) = Ptxas::find() {
            assert!(model.assemble(&ptxas).unwrap().is_empty());
            let resources = model.manifest().targets[1].resources.values();
            assert!(resources.clone().all(|r| r.registers > 0 && r.occupancy > 0 && r.spill_bytes == 0));
            assert_eq!(resources.len(), model.manifest().kernels.len());
        }
        model.write(folder.path()).unwrap();
        let mut files = BTreeMap::new();
        for place in [folder.path().to_owned(), folder.path().join("kernels")] {
            for entry in std::fs::read_dir(place).unwrap().map(Result::unwrap) {
                if entry.path().is_file() {
                    files.insert(entry.file_name(), std::fs::read(entry.path()).unwrap());
                }
            }
        }
        files
    };
    let (first, second) = (write(), write());
    for name in ["manifest.json", "model.c", "model.h", "weights.bin", "sm_75.ptx", "sm_90a.ptx"] {
        assert!(first.contains_key(std::ffi::OsStr::new(name)), "{name}");
    }
    for (name, bytes) in &first {
        assert!(second.get(name) == Some(bytes), "{} differs", name.display());
    }
}
