//! How much arithmetic a kernel does, for profiles.

use tcc_ir::dim::Dim;
use tcc_ir::dtype::DType;
use tcc_ir::loops::{Combine, Expr, Nest, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_runtime::model::Arithmetic;

/// The arithmetic operations of a nest, each counted once per element whatever it costs; conditions are taken to
/// hold.
pub(super) fn operations(nest: &Nest) -> Dim {
    let per_nest: Vec<Dim> = nest.body.iter().map(of_stmt).collect();
    per_nest.iter().fold(Dim::ZERO, |sum, part| &sum + part)
}

fn of_stmt(stmt: &Stmt) -> Dim {
    let mut own = 0i64;
    stmt.each_expr(&mut |e| {
        e.each(&mut |inner| own += i64::from(matches!(inner, Expr::Op(..) | Expr::Cast { .. })));
    });
    if let Stmt::Store { combine: Combine::With(_), .. } = stmt {
        own += 1;
    }
    let inside = stmt.body().iter().map(of_stmt).fold(Dim::from(own), |sum, part| &sum + &part);
    match stmt {
        // Where an inner loop is as long as this one has come, what counts is how far it comes on average.
        Stmt::For { var, extent, .. } => &inside.replace(var, &extent.floor_div(&Dim::from(2i64))) * extent,
        _ => inside,
    }
}

/// What most of the operations are done in: products that are summed in a wider type tell.
pub(super) fn arithmetic(nest: &Nest) -> Arithmetic {
    let mut found = Arithmetic::F32;
    let dtype = |name: &tcc_ir::dim::Symbol| nest.params().find(|b| b.name == *name).map(|b| b.ty.dtype);
    let is_sum = |stmt: &Stmt| matches!(stmt, Stmt::Store { combine: Combine::With(ScalarOp::Add), .. });
    for stmt in &nest.body {
        stmt.each(&mut |inner| {
            if !is_sum(inner) {
                return;
            }
            inner.each_expr(&mut |e| {
                let Expr::Op(ScalarOp::Mul, factors) = e else { return };
                let of = |factor: &Expr| {
                    let mut read = None;
                    factor.each(&mut |leaf| {
                        if let Expr::Load(access) = leaf {
                            read = read.or(dtype(&access.buffer));
                        }
                    });
                    read
                };
                let all: Vec<Option<DType>> = factors.iter().map(of).collect();
                if all.iter().all(|d| *d == Some(DType::BF16)) {
                    found = Arithmetic::Bf16;
                } else if all.iter().all(|d| matches!(d, Some(DType::I8 | DType::U8))) {
                    found = Arithmetic::Int8;
                }
            });
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcc_ir::loops::{LoopKind, parse_nest};

    #[test]
    fn products_and_sums_are_counted() {
        let nest = parse_nest(
            "nest @f(x: f32[N, 8], w: f32[8, 4]) -> (y: f32[N, 4]) {
               for i in 0..N {
                 for j in 0..4 {
                   y[i, j] = f32(0.0)
                   for k in 0..8 {
                     y[i, j] += mul(x[i, k], w[k, j])
                   }
                 }
               }
             }",
        )
        .unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(operations(&nest).to_string(), "64*N");
        let triangle = parse_nest(
            "nest @t(x: f32[8]) -> (y: f32[8]) {
               for i in 0..8 {
                 y[i] = f32(0.0)
                 for k in 0..i {
                   y[i] += x[k]
                 }
               }
             }",
        )
        .unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(operations(&triangle).to_string(), "32");
        assert_eq!(arithmetic(&nest), Arithmetic::F32);
        assert!(matches!(&nest.body[0], Stmt::For { kind: LoopKind::Serial, .. }));
    }
}
