//! Registers of narrow floats that are only moved from memory to memory: they stay bits, and need no conversion.

use tcc_ir::dtype::DType;
use tcc_ir::mem::{Inst, Program, Reg, Rhs, each};

/// For every register whether it is only loaded, copied and stored.
pub(super) fn registers(program: &Program) -> Vec<bool> {
    let narrow = |reg: &tcc_ir::mem::RegType| matches!(reg.dtype, DType::F16 | DType::BF16);
    let mut raw: Vec<bool> = program.regs.iter().map(narrow).collect();
    // A copy needs both of its ends to be alike, so what one loses, the other one loses.
    let mut changed = true;
    while changed {
        changed = false;
        each(&program.body, &mut |inst| match inst {
            Inst::Set { reg, value } => {
                let to = reg.0 as usize;
                match value {
                    Rhs::Load { .. } | Rhs::Const(_) => {}
                    Rhs::Copy(from) | Rhs::Extract(from, _) | Rhs::Lanes(from, _) => {
                        let from = from.0 as usize;
                        if raw[to] != raw[from] {
                            (raw[to], raw[from], changed) = (false, false, true);
                        }
                    }
                    Rhs::Op(_, args) => {
                        args.iter().chain([reg]).for_each(|r| lose(&mut raw, *r, &mut changed))
                    }
                    Rhs::Cast { value, .. } | Rhs::Bitcast(value) => {
                        [value, reg].into_iter().for_each(|r| lose(&mut raw, *r, &mut changed));
                    }
                    Rhs::Index { .. } => lose(&mut raw, *reg, &mut changed),
                }
            }
            Inst::Bind { reg, .. } => lose(&mut raw, *reg, &mut changed),
            _ => {}
        });
    }
    raw
}

fn lose(raw: &mut [bool], reg: Reg, changed: &mut bool) {
    *changed |= std::mem::replace(&mut raw[reg.0 as usize], false);
}
