//! What does not change in a loop is computed before it, and what stands between two loops between them.

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::Opcode;
use cranelift_frontend::FunctionBuilderContext;
use cranelift_module::Module;
use cranelift_object::{ObjectBuilder, ObjectModule};
use tcc_ir::mem::parse_program;

use super::{build_isa, program, signature};
use crate::CpuTarget;

/// How deep in loops the instructions of an opcode stand in the optimised function.
fn depths(text: &str, opcode: Opcode) -> Vec<usize> {
    let program = parse_program(text).unwrap_or_else(|d| panic!("{}", d.render("program", text)));
    let features = ["sse2", "sse4.1", "avx2"].map(str::to_owned).to_vec();
    let f32_tile = "tcc_mk_f32_sse".to_owned();
    let target =
        CpuTarget { arch: "x86_64", features, f32_tile, tile_rows: 4, tile_columns: 8, narrow: Vec::new() };
    let isa = build_isa(&target).unwrap();
    let builder = ObjectBuilder::new(isa, "test", cranelift_module::default_libcall_names()).unwrap();
    let mut module = ObjectModule::new(builder);
    let mut context = module.make_context();
    context.func.signature = signature(module.isa().default_call_conv());
    let mut frontend = FunctionBuilderContext::new();
    program::emit(&program, &target, &mut module, &mut context.func, &mut frontend).unwrap();
    context.optimize(module.isa(), &mut ControlPlane::default()).unwrap();
    context.compute_loop_analysis();
    let layout = &context.func.layout;
    let mut depths = Vec::new();
    for block in layout.blocks() {
        let depth = context.loop_analysis.loop_level(block).level();
        let found = layout.block_insts(block).filter(|i| context.func.dfg.insts[*i].opcode() == opcode);
        depths.extend(found.map(|_| depth));
    }
    depths
}

const ROWS: &str = "program @rows(x: f32[4096]) -> (y: f32[4096]) {
  for tile in 0..4 parallel {
    %0: f32 = 0.0
    for i in 0..1024 {
      %1: f32 = load x[i + 1000*tile]
      %2: f32 = add %0, %1
      %0: f32 = %2
    }
    %3: f32 = sqrt %0
    for j in 0..1024 {
      %4: f32 = load x[j + 1000*tile]
      %5: f32 = mul %4, %3
      store y[j + 1000*tile] = %5
    }
  }
}
";

#[test]
fn what_stands_between_loops_stays_there() {
    assert_eq!(depths(ROWS, Opcode::Sqrt), [1]);
}

#[test]
fn a_product_with_the_outer_index_is_computed_once() {
    assert_eq!(depths(ROWS, Opcode::Imul), [1]);
}
