//! Programs give what they should, and faults are found.

use super::*;
use crate::dtype::DType;
use crate::mem::parse_program;

fn run(text: &str, inputs: &[Tensor], symbols: &[(&str, i64)]) -> Result<Vec<Tensor>, InterpError> {
    let program = parse_program(text).unwrap_or_else(|d| panic!("{}", d.render("program", text)));
    let bindings = symbols.iter().map(|(name, value)| (Symbol::new(name), *value)).collect();
    interpret(&program, inputs, &bindings)
}

fn ramp(shape: &[usize]) -> Tensor {
    Tensor::from_f64_iter(DType::F32, shape, (0..shape.iter().product()).map(|i| i as f64)).unwrap()
}

#[test]
fn vectors_run_lane_by_lane() {
    let text = "program @v(x: f32[N]) -> (y: f32[N], z: i64[4], w: i32[2]) where N in 1..=64 {
        %0: f32 = 0.5
        %1: f32x8 = %0
        for r in 0..(N + 7) / 8 {
          %2: f32x8 = load x[8*r active N - 8*r]
          %3: f32x8 = mul %2, %1
          store y[8*r active N - 8*r] = %3
        }
        %4: i64x4 = index(N step -2)
        store z[3 stride -1] = %4
        %5: f32x2 = load x[1 stride 2]
        %6: i32x2 = bitcast %5
        %7: i32x2 = cast %5
        %8: i32 = lane 1 of %7
        %9: i32x2 = %8
        %10: i32x2 = sub %6, %9
        store w[0] = %10
      }";
    let out = run(text, &[ramp(&[2, 5])], &[("N", 10)]).unwrap();
    assert_eq!(out[0].literal(), "[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]");
    assert_eq!(out[1].literal(), "[4, 6, 8, 10]");
    assert_eq!(out[2].literal(), format!("[{}, {}]", 0x3f80_0000 - 3, 0x4040_0000 - 3));
}

#[test]
fn accumulators_and_gathers() {
    let text = "program @g(x: f32[6], i: u8[3]) -> (y: f32[1]) {
        %0: f32 = 0.0
        for k in 0..3 {
          %1: u8 = load i[k]
          bind at = %1
          %2: f32 = load x[at]
          if k < 1 { %3: f32 = neg %2 } else { %3: f32 = %2 }
          %0: f32 = add %0, %3
        }
        store y[0] = %0
      }";
    let i = Tensor::from_slice(&[3], &[2u8, 5, 1]).unwrap();
    assert_eq!(run(text, &[ramp(&[6]), i], &[]).unwrap()[0].literal(), "[4.0]");
}

#[test]
fn tiles_are_sums_of_products() {
    let text = "program @t(a: f32[6], b: f32[6]) -> (c: f32[4]) {
        tile 4x4 m=2 n=2 k=3 : c[0; 2, 1] = a[0; 3, 1] * b[0; 2, 1]
        tile 4x4 m=1 n=2 k=1 : c[0; 2, 1] += a[1; 0, 0] * b[4; 2, 1]
      }";
    let out = run(text, &[ramp(&[2, 3]), ramp(&[3, 2])], &[]).unwrap();
    assert_eq!(out[0].literal(), "[14.0, 18.0, 28.0, 40.0]");
    let mixed = "program @t(a: i8[2], b: u8[2]) -> (c: i32[1]) {
        tile 1x1 m=1 n=1 k=2 : c[0; 1, 1] = a[0; 2, 1] * b[0; 1, 1] }";
    let a = Tensor::from_slice(&[2], &[-128i8, 3]).unwrap();
    let b = Tensor::from_slice(&[2], &[255u8, 2]).unwrap();
    assert_eq!(run(mixed, &[a, b], &[]).unwrap()[0].literal(), "[-32634]");
    let large = text.replace("4x4 m=2", "1x4 m=2");
    assert!(matches!(run(&large, &[ramp(&[6]), ramp(&[6])], &[]), Err(InterpError::Size(_))));
}

/// Reverses 8 elements in two blocks of 2 × 2 threads, by way of shared memory.
const REVERSE: &str = "program @rev(x: f32[8]) -> (y: f32[8]) {
    for b in 0..2 block.x {
      alloc s: f32[4] in shared
      for t in 0..2 thread.y { for u in 0..2 thread.x {
        %0: f32 = load x[4*b + 2*t + u]
        store s[2*t + u] = %0
        barrier
        %1: f32 = load s[3 - 2*t - u]
        store y[4 - 4*b + 2*t + u] = %1
      } }
    }
  }";

#[test]
fn threads_run_from_barrier_to_barrier() {
    let out = run(REVERSE, &[ramp(&[8])], &[]).unwrap();
    assert_eq!(out[0].literal(), "[7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]");
    // A sum over all threads, halving from step to step.
    let tree = "program @sum(x: f32[16]) -> (y: f32[2]) {
        for b in 0..2 block.x {
          alloc s: f32[8] in shared
          for t in 0..8 thread.x {
            %0: f32 = load x[8*b + t]
            store s[t] = %0
            barrier
            for h in 0..3 {
              if t < 4 / (h + 1) {
                %1: f32 = load s[t]
                %2: f32 = load s[t + 4 / (h + 1)]
                %3: f32 = add %1, %2
                store s[t] = %3
              }
              barrier
            }
          }
          %4: f32 = load s[0]
          store y[b] = %4
        }
      }";
    assert_eq!(run(tree, &[ramp(&[16])], &[]).unwrap()[0].literal(), "[28.0, 92.0]");
    let alloc = "alloc s: f32[8] in shared";
    let outside = tree.replace(alloc, "").replace("for b", &format!("{alloc} for b"));
    let race = run(&outside, &[ramp(&[16])], &[]).unwrap_err();
    assert!(matches!(race, InterpError::Race { first: 0, second: 1, .. }), "{race}");
}

#[test]
fn missing_and_divergent_barriers_are_found() {
    let missing = REVERSE.replace("barrier", "");
    let error = run(&missing, &[ramp(&[8])], &[]).unwrap_err();
    assert!(matches!(error, InterpError::Uninitialised { .. }), "{error}");
    let initialised = missing.replace("for t in", "%2: f32x4 = 0.0 store s[0] = %2 barrier for t in");
    let error = run(&initialised, &[ramp(&[8])], &[]).unwrap_err();
    assert!(matches!(error, InterpError::ThreadRace { .. }), "{error}");
    for barriers in
        ["if u < 1 { barrier }", "if t < 1 { barrier } else { barrier }", "for i in 0..t { barrier }"]
    {
        let text = format!(
            "program @d() -> () {{ for t in 0..2 thread.y {{ for u in 0..2 thread.x {{ {barriers} }} }} }}"
        );
        let error = run(&text, &[], &[]).unwrap_err();
        assert!(matches!(error, InterpError::Diverged { first: 0, second: 1, .. }), "{barriers}: {error}");
    }
}

#[test]
fn sibling_thread_loops_need_a_barrier_between_them() {
    let text = |between: &str| {
        format!(
            "program @s(x: f32[4]) -> (y: f32[4]) {{
               alloc s: f32[4] in shared
               for t in 0..4 thread.x {{ %0: f32 = load x[t] store s[t] = %0 }}
               {between}
               for u in 0..4 thread.x {{ %1: f32 = load s[3 - u] store y[u] = %1 }}
             }}"
        )
    };
    let error = run(&text(""), &[ramp(&[4])], &[]).unwrap_err();
    assert!(matches!(error, InterpError::ThreadRace { .. }), "{error}");
    assert_eq!(run(&text("barrier"), &[ramp(&[4])], &[]).unwrap()[0].literal(), "[3.0, 2.0, 1.0, 0.0]");
}

#[test]
fn faults_are_found() {
    let fault = |body: &str| {
        let text = format!("program @f(x: f32[4]) -> (y: f32[4]) {{ {body} }}");
        run(&text, &[ramp(&[4])], &[]).unwrap_err()
    };
    let name = Symbol::new;
    assert_eq!(
        fault("%0: f32x2 = load x[3]"),
        InterpError::OutOfBounds { buffer: name("x"), elements: 4, element: 4 }
    );
    assert_eq!(
        fault("%0: f32x2 = load x[0] store y[0 stride -1] = %0"),
        InterpError::OutOfBounds { buffer: name("y"), elements: 4, element: -1 }
    );
    assert_eq!(
        fault("alloc t: f32[9] in stack %0: f32 = load t[7]"),
        InterpError::Uninitialised { buffer: name("t"), element: 7 }
    );
    assert_eq!(
        fault("%0: f32x2 = load x[0] store y[0] = %0"),
        InterpError::Uninitialised { buffer: name("y"), element: 2 }
    );
    assert_eq!(
        fault("for i in 0..4 parallel { %0: f32x2 = 1.0 store y[i] = %0 }"),
        InterpError::Race { var: name("i"), first: 0, second: 1, buffer: name("y"), element: 1 }
    );
    assert!(matches!(
        fault(
            "for i in 0..4 block.y { if 0 < i { %0: f32 = load y[0] } else { %0: f32 = 1.0 } store y[i] = %0 }"
        ),
        InterpError::Race { first: 0, second: 1, element: 0, .. }
    ));
    // A buffer of each iteration's own is new, and not what the one before left.
    assert!(matches!(
        fault(
            "for i in 0..2 { alloc t: f32[1] in stack if 0 < i { %0: f32 = load t[0] } %1: f32 = 1.0 store t[0] = %1 }"
        ),
        InterpError::Uninitialised { element: 0, .. }
    ));
    let private = "for i in 0..4 parallel { alloc t: f32[1] in stack %0: f32 = load x[i] store t[0] = %0
        %1: f32 = load t[0] store y[i] = %1 }";
    let text = format!("program @p(x: f32[4]) -> (y: f32[4]) {{ {private} }}");
    assert_eq!(run(&text, &[ramp(&[4])], &[]).unwrap()[0].literal(), "[0.0, 1.0, 2.0, 3.0]");
}

#[test]
fn inputs_and_symbols_are_checked() {
    let text = "program @i(x: f32[2*N]) -> () where N in 1..=4 { }";
    assert!(run(text, &[ramp(&[2, 4])], &[("N", 4), ("unknown", 1)]).unwrap().is_empty());
    assert!(matches!(run(text, &[ramp(&[7])], &[("N", 4)]), Err(InterpError::Input { .. })));
    assert!(matches!(run(text, &[ramp(&[10])], &[("N", 5)]), Err(InterpError::Symbol { .. })));
    assert!(matches!(run(text, &[ramp(&[8])], &[]), Err(InterpError::Symbol { .. })));
    assert!(matches!(run(text, &[], &[("N", 4)]), Err(InterpError::Size(_))));
}

#[test]
fn bombs_are_refused() {
    let huge = 1i64 << 60;
    for body in [
        format!("for i in 0..{huge} {{ }}"),
        format!("for i in 0..{huge} parallel {{ }}"),
        format!("for i in 0..{huge} thread.x {{ }}"),
        format!("for i in 0..{huge} thread.x {{ barrier }}"),
        "for i in 0..10000000 thread.x { %0: f32x65536 = 1.0 barrier store y[0] = %0 }".to_owned(),
        format!("for i in 0..{huge} {{ alloc t: f32[{huge}] in stack }}"),
        format!("alloc t: f32[{huge}] in stack"),
        "alloc t: f32[-1] in stack".to_owned(),
        format!("tile 4x4 m=4 n=4 k={huge} : y[0; 0, 1] = x[0; 0, 0] * x[0; 0, 1]"),
        (0..100).map(|i| format!("%{i}: f32x65536 = 1.0 ")).collect(),
    ] {
        let text = format!("program @b(x: f32[4]) -> (y: f32[4]) {{ {body} }}");
        let error = run(&text, &[ramp(&[4])], &[]).unwrap_err();
        assert!(matches!(error, InterpError::Size(_)), "{body}: {error}");
    }
}

/// Two threads copy two halves each and read each other's; `before` stands behind the first group, `after` behind
/// the second.
fn copied(before: &str, after: &str) -> Result<Vec<Tensor>, InterpError> {
    let text = format!(
        "program @c(x: f32[8]) -> (y: f32[8]) {{
           for b in 0..1 block.x {{
             alloc s: f32[8] in shared
             for t in 0..2 thread.x {{
               copy 2 s[2*t] = x[2*t]
               commit
               {before}
               copy 2 s[4 + 2*t] = x[4 + 2*t active 1]
               commit
               {after}
               %0: f32x4 = load s[4 - 4*t]
               store y[4*t] = %0
             }}
           }}
         }}"
    );
    run(&text, &[ramp(&[8])], &[])
}

#[test]
fn copies_arrive_when_they_are_waited_for() {
    let done = copied("", "wait 0 barrier").unwrap();
    assert_eq!(done[0].literal(), "[4.0, 0.0, 6.0, 0.0, 0.0, 1.0, 2.0, 3.0]");
    // The newest group may still be under way.
    let early = copied("", "wait 1 barrier").unwrap_err();
    assert!(matches!(early, InterpError::InFlight { element: 4, .. }), "{early}");
    let never = copied("", "barrier").unwrap_err();
    assert!(matches!(never, InterpError::InFlight { element: 4, .. }), "{never}");
    // Without a barrier the other thread's part may be missing.
    let alone = copied("", "wait 0").unwrap_err();
    assert!(matches!(alone, InterpError::Uninitialised { element: 6, .. }), "{alone}");
    // The first group has been waited for, and each thread sees its own part.
    assert!(copied("wait 0 %1: f32 = load s[2*t]", "wait 0 barrier").is_ok());
    assert!(copied("wait 1 %1: f32 = load s[2*t]", "wait 0 barrier").is_err());
}

#[test]
fn copies_are_not_left_behind_nor_disturbed() {
    let text = |inner: &str| {
        format!(
            "program @c(x: f32[4]) -> (y: f32[4]) {{
               alloc g: f32[4] in global
               for b in 0..1 block.x {{
                 alloc s: f32[4] in shared
                 for t in 0..1 thread.x {{
                   %0: f32x4 = load x[0]
                   store g[0] = %0
                   {inner}
                   store y[0] = %0
                 }}
               }}
             }}"
        )
    };
    let go = |inner: &str| run(&text(inner), &[ramp(&[4])], &[]);
    assert!(go("copy 4 s[0] = g[0] commit wait 0 %0: f32x4 = load s[0]").is_ok());
    assert!(matches!(go("copy 4 s[0] = g[0] commit"), Err(InterpError::LeftInFlight { groups: 1 })));
    // A wait does not end what was not committed.
    assert!(matches!(go("copy 4 s[0] = g[0] wait 0"), Err(InterpError::LeftInFlight { .. })));
    let written = go("copy 4 s[0] = g[0] commit store g[2] = %0 wait 0").unwrap_err();
    assert!(matches!(written, InterpError::InFlight { .. } | InterpError::OutOfBounds { .. }), "{written}");
    assert!(matches!(go("copy 4 s[2] = g[0] commit wait 0"), Err(InterpError::OutOfBounds { .. })));
    for wrong in ["copy 4 g[0] = x[0]", "copy 0 s[0] = x[0]", "copy 1 s[0] = s[1]", "copy 1 x[0] = g[0]"] {
        assert!(parse_program(&text(wrong)).is_err(), "{wrong}");
    }
}
