//! Every kernel of a set of models is put through NVIDIA's assembler: no errors, no warnings, no spills.

use tcc::codegen::ptx::GpuTarget;
use tcc::compile::Compiler;
use tcc::compile::gpu::Ptxas;
use tcc::ir::graph::{Graph, parse_graph};
use tcc::ir::import::json::from_json;

use crate::support::{files, root};

/// Shapes large enough for every kind of schedule.
const LARGE: &str = "graph @large(%x: f32[4, 512, 768], %w: f32[768, 768], %h: f16[256, 512], %v: f16[512, 640], %b: f32[768], %q: f32[2, 8, 128, 64], %i: f32[2, 64, 56, 56], %f: f32[128, 64, 3, 3], %c: i8[96, 64], %d: i8[64, 96]) -> (a: f32[4, 512, 768], c: f16[256, 640], d: f32[4, 512, 768], e: f32[2, 8, 128, 64], g: f32[2, 128, 56, 56], j: f32[4, 512, 768], k: i32[96, 96], l: f32[2, 64, 28, 28]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[2] rhs_contract=[0] dtype=f32 : f32[4, 512, 768]
  %1 = gelu %0 : f32[4, 512, 768]
  %2 = dot %h, %v lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f16 : f16[256, 640]
  %3 = layer_norm %x, %b, %b axis=2 eps=0.00001 : f32[4, 512, 768]
  %4 = attention %q, %q, %q scale=0.125 causal=true softcap=0.0 : f32[2, 8, 128, 64]
  %5 = conv %i, %f strides=[1, 1] lo=[1, 1] hi=[1, 1] dilation=[1, 1] base=[1, 1] groups=1 dtype=f32 : f32[2, 128, 56, 56]
  %6 = softmax %x axis=2 : f32[4, 512, 768]
  %7 = dot %c, %d lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=i32 : i32[96, 96]
  %8 = pool_max %i window=[2, 2] strides=[2, 2] lo=[0, 0] hi=[0, 0] dilation=[1, 1] : f32[2, 64, 28, 28]
  return %1, %2, %3, %4, %5, %6, %7, %8
}";

fn graphs() -> Vec<(String, Graph)> {
    let mut graphs = Vec::new();
    for path in files(&root().join("tests/filetests/graph"), "tcc") {
        let text = std::fs::read_to_string(&path).unwrap();
        // Each graph of a file begins a line with its keyword and ends with a brace alone.
        let mut rest = text.as_str();
        while let Some(start) = rest.find("\ngraph @") {
            rest = &rest[start + 1..];
            let end = rest.find("\n}\n").map_or(rest.len(), |e| e + 3);
            if let Ok(graph) = parse_graph(&rest[..end])
                && graph.verify().is_ok()
            {
                graphs.push((path.display().to_string(), graph));
            }
            rest = &rest[end.min(rest.len())..];
        }
    }
    let folder = root().join("examples");
    let text = std::fs::read_to_string(folder.join("mlp.json")).unwrap();
    graphs.push(("mlp.json".to_owned(), from_json(&text, &folder).unwrap_or_else(|e| panic!("{e}"))));
    graphs.push((
        "large".to_owned(),
        parse_graph(LARGE).unwrap_or_else(|d| panic!("{}", d.render("large", LARGE))),
    ));
    graphs
}

#[test]
#[allow(clippy::print_stderr, reason = "what is skipped is said")]
fn every_kernel_assembles() {
    let Some(ptxas) = Ptxas::find() else {
        eprintln!("SKIPPED: expected ptxas; tests/install-ptxas puts it below .cache, or TCC_PTXAS names it");
        return;
    };
    let all = graphs();
    assert!(all.len() > 100, "expected the graphs of the file tests, got {}", all.len());
    let mut failures = Vec::new();
    for target in ["sm_80", "sm_90a"] {
        let target: GpuTarget = target.parse().unwrap();
        // Modules of many graphs, since the assembler's start takes longer than a kernel.
        let header = tcc::codegen::ptx::header(target);
        let mut text = header.clone();
        for (number, (name, graph)) in all.iter().enumerate() {
            let model =
                Compiler::new().compile_gpu(graph, &[target]).unwrap_or_else(|e| panic!("{name}: {e}"));
            let mut body = model.ptx()[0].1.strip_prefix(&header).unwrap().to_owned();
            for kernel in &model.manifest().kernels {
                body = body.replace(&kernel.name, &format!("g{number}_{}", kernel.name));
            }
            text += &body;
        }
        let assembled = match ptxas.assemble(&text, target) {
            Ok(assembled) => assembled,
            Err(message) => panic!("{}", message.chars().take(4000).collect::<String>()),
        };
        failures.extend(assembled.warnings.iter().map(|w| format!("{target}: {w}")));
        for (name, resources) in &assembled.resources {
            if resources.spill_bytes > 0 {
                failures.push(format!("{target}: {name} spills {} bytes", resources.spill_bytes));
            }
        }
        assert!(assembled.resources.len() > 100, "expected many kernels, got {}", assembled.resources.len());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
