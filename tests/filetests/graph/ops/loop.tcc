test cat
test run

graph @f(%n: i64[], %c: bool[], %a: f32[], %d: f32[]) -> (a: f32[], b: f32[k]) {
  %0, %1 = loop %n, %c, %a, %d carried=1 types=(f32[], f32[k]) : f32[], f32[k]
    region @body(%i: i64[], %a: f32[], %d: f32[]) -> (go: bool[], next: f32[], each: f32[]) {
      %0 = add %a, %d : f32[]
      %1 = const value=bool[] true : bool[]
      return %1, %0, %0
    }
  return %0, %1
}
// run: @f(3, true, 1, 2) == 7, [3, 5, 7]
// run: @f(3, false, 1, 2) == 1, f32[0] []

graph @c1_1(%n: i32[], %c: bool[], %a: f32[], %d: f32[]) -> (a: f32[], b: f32[k]) {
  %0, %1 = loop %n, %c, %a, %d carried=1 types=(f32[], f32[k]) : f32[], f32[k] // error: (C1)
    region @body(%i: i64[], %a: f32[], %d: f32[]) -> (go: bool[], next: f32[], each: f32[]) {
      %0 = add %a, %d : f32[]
      %1 = const value=bool[] true : bool[]
      return %1, %0, %0
    }
  return %0, %1
}

graph @c2_2(%n: i64[], %c: bool[], %a: f32[], %d: f32[]) -> (a: f32[], b: f32[k]) {
  %0, %1 = loop %n, %c, %a, %d carried=3 types=(f32[], f32[k]) : f32[], f32[k] // error: (C2)
    region @body(%i: i64[], %a: f32[], %d: f32[]) -> (go: bool[], next: f32[], each: f32[]) {
      %0 = add %a, %d : f32[]
      %1 = const value=bool[] true : bool[]
      return %1, %0, %0
    }
  return %0, %1
}

graph @c3_3(%n: i64[], %c: bool[], %a: f32[], %d: f32[]) -> (y: f32[]) {
  %0 = loop %n, %c, %a, %d carried=1 types=(f32[]) : f32[] // error: (C3)
    region @body(%i: i64[], %a: f32[]) -> (go: bool[], next: f32[]) {
      %0 = const value=bool[] true : bool[]
      return %0, %a
    }
  return %0
}

graph @c4_4(%n: i64[], %c: bool[], %a: f32[], %d: f32[]) -> (y: f32[]) {
  %0 = loop %n, %c, %a, %d carried=1 types=(f32[]) : f32[] // error: (C4)
    region @body(%i: i64[], %a: f32[], %d: f32[]) -> (next: f32[]) {
      return %a
    }
  return %0
}

graph @c5_5(%n: i64[], %c: bool[], %a: f32[], %d: f32[]) -> (a: f32[], b: f32[]) {
  %0, %1 = loop %n, %c, %a, %d carried=1 types=(f32[], f32[]) : f32[], f32[] // error: (C5)
    region @body(%i: i64[], %a: f32[], %d: f32[]) -> (go: bool[], next: f32[], each: f32[]) {
      %0 = add %a, %d : f32[]
      %1 = const value=bool[] true : bool[]
      return %1, %0, %0
    }
  return %0, %1
}
