test cat
test run

graph @f(%c: bool[], %x: f32[2]) -> (y: f32[2]) {
  %0 = if %c, %x types=(f32[2]) : f32[2]
    region @then_branch(%a: f32[2]) -> (o: f32[2]) {
      %0 = neg %a : f32[2]
      return %0
    }
    region @else_branch(%a: f32[2]) -> (o: f32[2]) {
      %0 = abs %a : f32[2]
      return %0
    }
  return %0
}
// run: @f(true, [1, -2]) == [-1, 2]
// run: @f(false, [1, -2]) == [1, 2]

graph @c1_1(%c: bool[1], %x: f32[2]) -> (y: f32[2]) {
  %0 = if %c, %x types=(f32[2]) : f32[2] // error: (C1)
    region @then_branch(%a: f32[2]) -> (o: f32[2]) {
      %0 = neg %a : f32[2]
      return %0
    }
    region @else_branch(%a: f32[2]) -> (o: f32[2]) {
      %0 = abs %a : f32[2]
      return %0
    }
  return %0
}

graph @c2_2(%c: bool[], %x: f32[2]) -> (y: f32[2]) {
  %0 = if %c, %x types=(f32[2]) : f32[2] // error: (C2)
    region @then_branch(%a: f32[2]) -> (o: f32[2]) {
      %0 = neg %a : f32[2]
      return %0
    }
    region @else_branch(%a: f32[3]) -> (o: f32[3]) {
      return %a
    }
  return %0
}

graph @c3_3(%c: bool[], %x: f32[2]) -> (y: f32[2]) {
  %0 = if %c, %x types=(f32[2]) : f32[2] // error: (C3)
    region @then_branch(%a: f32[2]) -> (o: f32[2]) {
      %0 = neg %a : f32[2]
      return %0
    }
    region @else_branch(%a: f32[2]) -> (o: i32[2]) {
      %0 = cast %a dtype=i32 saturate=true : i32[2]
      return %0
    }
  return %0
}
