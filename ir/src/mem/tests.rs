//! Programs print what parses back to them, and what means nothing is refused.

use super::*;
use crate::dim::Range;

fn parse(text: &str) -> Program {
    parse_program(text).unwrap_or_else(|d| panic!("{}", d.render("program", text)))
}

#[test]
fn what_is_printed_parses_back() {
    for text in [
        "program @empty() -> () {}",
        "program @\"a b\"(x: f32[8*N], i: i32[N]) -> (y: f32[8*N], z: bool[N]) where N in 1..=64 {
           unused %9: u8x3, %11: f16
           %0: f32 = -1.5e-3
           %1: f32x8 = nan
           %2: i64x8 = index(N step N % 3)
           %3: i64 = index(N - 1)
           %4: bool = true
           %10: f32x8 = -inf
           for r in 0..N parallel {
             %5: f32x8 = load x[8*r]
             %6: f32x8 = load x[r stride N active N % 8]
             %7: f32x8 = fma %5, %6, %1
             %8: i32 = load i[r stride 0]
             bind at = %8
             %12: i32x8 = bitcast %7
             %13: f32 = lane 7 of %7
             %14: bf16x8 = cast_overflowing %7
             %15: f32x8 = cast %14
             %16: bool = lt %0, %13
             alloc t: f32[N * 64] in stack
             if at < 3 && -1 < at {
               store y[8*r active 4] = %15
               %17: f32x8 = %0
             } else {
               %17: f32x8 = %15
               if {
                 store y[8*r stride N] = %17
               }
             }
             tile 4x16 m=min(4, N) n=8 k=N : t[0; 8, 1] += x[0; 1, N] * x[N; 8, 1]
             tile 4x16 m=1 n=8 k=N : t[8*N % 64; 8, 1] = x[0; 1, N] * x[N; 8, 1]
             store z[r] = %16
           }
         }",
        "program @grid(x: i8[64]) -> (y: i8[64]) {
           for b in 0..2 block.x { for c in 0..2 block.z {
             alloc s: i8[32] in shared
             for t in 0..4 thread.y { for u in 0..4 thread.x {
               %0: i8 = load x[32*b + 16*c + 4*t + u]
               copy 2 s[16 + 8*t + 2*u] = x[2*u active 3 - t]
               commit
               wait 0
               barrier // all have read
               store s[4*t + u] = %0
             } }
           } }
         }",
    ] {
        let program = parse(text);
        let printed = program.to_string();
        assert_eq!(parse(&printed), program, "{printed}");
    }
}

#[test]
fn each_problem_is_found() {
    let wrap = |body: &str| {
        format!("program @n(x: f32[8], i: i32[8]) -> (y: f32[8*N]) where N in 0..=4 {{ {body} }}")
    };
    for (body, code) in [
        ("%0: f32 = load z[0]", "name"),
        ("%0: f32 = load N[0]", "type"),
        ("%0: f32 = load x[j]", "name"),
        ("%0: f32 = load x[i]", "type"),
        ("for x in 0..2 { }", "name"),
        ("for a in 0..2 { for a in 0..2 { } }", "name"),
        ("alloc t: f32[2] in stack %0: i32 = load i[0] bind t = %0", "name"),
        ("for a in 0..2 { alloc t: f32[2] in stack } %0: f32 = load t[0]", "name"),
        ("%0: f32 = load i[0]", "type"),
        ("%0: f32 = %1", "register"),
        ("unused %1: f32 %0: f32 = %1", "unassigned"),
        ("if N < 2 { %0: f32 = 1.0 } else { } store y[0] = %0", "unassigned"),
        ("for a in 0..N { %0: f32 = 1.0 } store y[0] = %0", "unassigned"),
        ("for a in 0..2 parallel { if 0 < a { %1: f32 = %0 } %0: f32 = 1.0 }", "unassigned"),
        ("%0: f32 = 0.0 for a in 0..2 thread.x { store y[a] = %0 %0: f32 = 1.0 }", "unassigned"),
        ("for a in 0..2 block.x { %0: f32 = 1.0 } store y[0] = %0", "unassigned"),
        ("%0: f32 = 1.0 %0: i32 = 1", "type"),
        ("%0: f32 = 1.0 %1: i32 = %0", "type"),
        ("%0: f32 = 1.0 %1: i32 = sqrt %0", "type"),
        ("%0: f32 = 1.0 %1: i32 = 1 %2: f32 = add %0, %1", "type"),
        ("%0: i32 = 1 %1: i32 = sqrt %0", "type"),
        ("%0: i32 = index(3)", "type"),
        ("%0: f32x4 = 1.0 %1: f32x8 = %0", "lanes"),
        ("%0: f32x4 = 1.0 %1: f32 = 1.0 %2: f32x4 = add %0, %1", "lanes"),
        ("%0: f32x4 = 1.0 %1: i32x8 = cast %0", "lanes"),
        ("%0: f32x4 = 1.0 %1: f32 = lane 4 of %0", "lanes"),
        ("%0: f32x0 = 1.0", "lanes"),
        ("%0: f32x4000000000 = 1.0", "lanes"),
        ("%0: f32 = 1.0 %1: i64 = bitcast %0", "type"),
        ("%0: f32 = 1.0 bind j = %0", "type"),
        ("%0: f32 = 1.0 store x[0] = %0", "store"),
        ("%0: i32 = 1 store y[0] = %0", "type"),
        ("%0: f32x4 = 1.0 store y[0 stride 0] = %0", "stride"),
        ("for a in 0..2 parallel { } for b in 0..2 { }", "loop"),
        ("for b in 0..2 { for a in 0..2 parallel { } }", "loop"),
        ("for a in 0..2 parallel { barrier }", "barrier"),
        ("%0: f32 = 1.0 store y[0] = %0 for a in 0..2 parallel { }", "store"),
        ("for a in 0..2 thread.x { for b in 0..2 thread.x { } }", "loop"),
        ("for a in 0..2 thread.x { for b in 0..2 block.x { } }", "loop"),
        ("for a in 0..2 thread.x { alloc s: f32[2] in shared }", "space"),
        ("alloc s: f32[2] in stack %0: f32 = 1.0 for a in 0..2 thread.x { store s[a] = %0 }", "store"),
        ("tile 2x2 m=2 n=2 k=2 : y[0; 2, 1] = y[0; 2, 1] * x[0; 2, 1]", "tile"),
        ("tile 2x2 m=2 n=2 k=2 : y[0; 1, 2] = x[0; 2, 1] * x[0; 2, 1]", "tile"),
        ("tile 2x2 m=2 n=2 k=2 : y[0; 2, 1] = i[0; 2, 1] * x[0; 2, 1]", "type"),
        ("%4000000000: f32 = 1.0", "register"),
        ("%0: u8 = 256", "constant"),
        ("%0: f32 = lode x[0]", "syntax"),
        ("%0: f32 = ", "syntax"),
        ("tile 2y2", "syntax"),
    ] {
        let text = wrap(body);
        let diags = parse_program(&text).expect_err(&text);
        assert!(diags.0.iter().any(|d| d.code == code), "{body}: {diags}");
    }
    let all = wrap("%0: f32 = load z[0] store x[k] = %0 bind j = %0");
    assert_eq!(parse_program(&all).unwrap_err().0.len(), 4);
}

#[test]
fn copies_of_an_unrolled_body_may_name_things_again() {
    parse(
        "program @u(i: i32[2]) -> (y: i32[9]) {
           %0: i32 = load i[0] bind a = %0 alloc t: i32[1] in stack store y[a] = %0
           %1: i32 = load i[1] bind a = %1 alloc t: i32[1] in stack store y[a] = %1
         }",
    );
}

#[test]
fn deep_nesting_is_refused() {
    let text = format!("program @d() -> () {{ {}", "if 0 < 1 { ".repeat(100_000));
    assert_eq!(parse_program(&text).unwrap_err().0[0].code, "syntax");
}

#[test]
fn a_constant_of_another_type_is_found() {
    let mut program = Program::default();
    program.ranges.set("N".into(), Range { lo: 0, hi: 3 });
    let reg = program.reg(DType::F32, 4);
    program.body = vec![Inst::Set { reg, value: Rhs::Const(Scalar::Float(0.1)) }];
    assert_eq!(program.verify().unwrap_err().0[0].code, "constant");
    program.body = vec![Inst::Set { reg: Reg(7), value: Rhs::Copy(Reg(8)) }];
    assert_eq!(program.verify().unwrap_err().0[0].code, "register");
}

#[test]
fn damaged_text_is_an_error_or_another_program() {
    let text = "program @d(x: f32[4*N], e: f32[1]) -> (y: f32[4*N]) where N in 0..=4 {
        unused %3: u8x2
        for r in 0..N parallel { %0: f32x4 = load x[4*r stride 1 active 4] %1: f32x4 = -1.5 %2: f32x4 = add %0, %1
        if r < 2 { store y[4*r] = %2 } else { tile 4x4 m=1 n=4 k=N : y[4*r; 0, 1] += x[0; 4, 1] * x[0; 1, 1] } } }";
    for at in 0..text.len() {
        for with in ["", "%", "é", "9", "(", "}", " "] {
            let damaged = format!("{}{with}{}", &text[..at], &text[at + 1..]);
            if let Ok(program) = parse_program(&damaged) {
                assert_eq!(parse(&program.to_string()), program, "{damaged}");
            }
            let _ = parse_program(&damaged[..damaged.floor_char_boundary(at)]);
        }
    }
}
