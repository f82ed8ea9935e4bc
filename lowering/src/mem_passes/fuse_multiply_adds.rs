//! `fuse-multiply-adds`: makes one instruction of a product and the sum that alone uses it, as every backend then does
//! alike.
//!
//! ```tcc
//! program @f(x: f32[8]) -> (y: f32[8]) {
//!   %0: f32x8 = load x[0]
//!   %1: f32x8 = mul %0, %0
//!   %2: f32x8 = add %0, %1
//!   store y[0] = %2
//! }
//! ```
//! ->
//! ```tcc
//! program @f(x: f32[8]) -> (y: f32[8]) {
//!   unused %1: f32x8
//!   %0: f32x8 = load x[0]
//!   %2: f32x8 = fma %0, %0, %0
//!   store y[0] = %2
//! }
//! ```
//!
//! The product is then not rounded by itself, so that results are never less exact.

use rustc_hash::FxHashMap;
use smallvec::smallvec;
use tcc_ir::dtype::DType;
use tcc_ir::mem::{Inst, Program, Reg, Rhs, each};
use tcc_ir::numerics::Numerics;
use tcc_ir::scalar::ScalarOp::{Add, Fma, Mul};

use crate::pass::{Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "fuse-multiply-adds",
    summary: "makes one instruction of a product and the sum that uses it",
    source: include_str!("fuse_multiply_adds.rs"),
    options: &[],
    numerics: Numerics::Reassociates,
    run: PassFn::Program(run),
};

fn run(program: &Program, cx: &mut PassCx<'_>) -> Result<Outcome<Program>, PassError> {
    let mut next = program.clone();
    fuse(&mut next, &mut || cx.rewrite());
    Ok(Outcome::of(next != *program, next))
}

/// Fuses every product that only one sum of the same block uses.
pub fn fuse_multiply_adds(program: &mut Program) {
    fuse(program, &mut || true);
}

fn fuse(program: &mut Program, allowed: &mut dyn FnMut() -> bool) {
    let mut uses = vec![Uses::default(); program.regs.len()];
    each(&program.body, &mut |inst| {
        if let Inst::Set { reg, .. } = inst {
            uses[reg.0 as usize].written += 1;
        }
        each_read(inst, &mut |reg| uses[reg.0 as usize].read += 1);
    });
    let mut body = std::mem::take(&mut program.body);
    fuse_block(program, &uses, &mut body, allowed);
    program.body = body;
}

/// How often a register is written and read in the whole program.
#[derive(Clone, Copy, Default)]
struct Uses {
    written: u32,
    read: u32,
}

fn each_read(inst: &Inst, visit: &mut dyn FnMut(Reg)) {
    match inst {
        Inst::Set { value, .. } => match value {
            Rhs::Copy(r) | Rhs::Bitcast(r) | Rhs::Extract(r, _) | Rhs::Lanes(r, _) => visit(*r),
            Rhs::Cast { value, .. } => visit(*value),
            Rhs::Op(_, args) => args.iter().for_each(|r| visit(*r)),
            Rhs::Const(_) | Rhs::Index { .. } | Rhs::Load { .. } => {}
        },
        Inst::Bind { reg, .. } => visit(*reg),
        Inst::Store { value, .. } => visit(*value),
        _ => {}
    }
}

fn fuse_block(program: &Program, uses: &[Uses], body: &mut Vec<Inst>, allowed: &mut dyn FnMut() -> bool) {
    // The products so far whose factors still hold what was multiplied, by register, with their places.
    let mut products: FxHashMap<Reg, (usize, [Reg; 2])> = FxHashMap::default();
    let mut gone = Vec::new();
    for (at, inst) in body.iter_mut().enumerate() {
        match inst {
            Inst::Set { reg, value } => {
                if let Rhs::Op(Add, args) = value
                    && let Some(side) = args.iter().position(|arg| products.contains_key(arg))
                    && allowed()
                    && let Some((place, [x, y])) = products.remove(&args[side])
                {
                    *value = Rhs::Op(Fma, smallvec![x, y, args[1 - side]]);
                    gone.push(place);
                }
                let written = *reg;
                products.retain(|_, (_, factors)| !factors.contains(&written));
                let once = uses[written.0 as usize];
                let float = matches!(program.ty(written).dtype, DType::F32 | DType::F64);
                if let Rhs::Op(Mul, args) = value
                    && float
                    && (once.written, once.read) == (1, 1)
                    && !args.contains(&written)
                {
                    products.insert(written, (at, [args[0], args[1]]));
                }
            }
            Inst::For { body, .. } => {
                fuse_block(program, uses, body, allowed);
                products.clear();
            }
            Inst::If { then, otherwise, .. } => {
                fuse_block(program, uses, then, allowed);
                fuse_block(program, uses, otherwise, allowed);
                products.clear();
            }
            Inst::Bind { .. }
            | Inst::Store { .. }
            | Inst::Alloc { .. }
            | Inst::Tile(_)
            | Inst::Copy(_)
            | Inst::Commit
            | Inst::Wait { .. }
            | Inst::Barrier => {}
        }
    }
    gone.sort_unstable();
    for place in gone.into_iter().rev() {
        body.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use tcc_ir::mem::parse_program;

    use super::*;

    #[test]
    fn only_products_of_one_use_whose_factors_stay_are_fused() {
        let program = |body: &str| {
            let text = format!("program @f(x: f32[4]) -> (y: f32[4]) {{\n  %0: f32 = load x[0]\n{body}}}\n");
            parse_program(&text).unwrap_or_else(|d| panic!("{}", d.render("f", &text)))
        };
        let cases = [
            ("  %1: f32 = mul %0, %0\n  %2: f32 = add %1, %0\n  store y[0] = %2\n", true),
            ("  %1: f32 = mul %0, %0\n  %2: f32 = add %1, %1\n  store y[0] = %2\n", false),
            (
                "  %1: f32 = mul %0, %0\n  %0: f32 = load x[1]\n  %2: f32 = add %1, %0\n  store y[0] = %2\n",
                false,
            ),
            (
                "  %1: f32 = mul %0, %0\n  for i in 0..2 {\n    %2: f32 = add %1, %0\n    store y[i] = %2\n  }\n",
                false,
            ),
        ];
        for (body, fuses) in cases {
            let mut fused = program(body);
            fuse_multiply_adds(&mut fused);
            let text = fused.to_string();
            assert_eq!(text.contains("fma"), fuses, "{text}");
            assert_eq!(text.contains("mul"), !fuses, "{text}");
        }
    }
}
