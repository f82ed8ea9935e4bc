//! What no schedule makes today: loads and stores of the first lanes only, and strides of every kind.

use tcc_ir::dim::{Bindings, Symbol};
use tcc_ir::mem::{interpret, parse_program};
use tcc_ir::tensor::Tensor;
use tcc_runtime::cpu::Isa;
use tcc_runtime::loader::Image;

use super::Llvm;
use crate::{Backend, CpuTarget};

/// A program is run by the interpreter and as machine code, for each level of this processor.
fn agrees(text: &str, input: &Tensor, symbol: i64) {
    let mut program = parse_program(text).unwrap_or_else(|d| panic!("{}", d.render("program", text)));
    program.name = "test".to_owned();
    let bindings: Bindings = [(Symbol::new("N"), symbol)].into_iter().collect();
    let expected = interpret(&program, std::slice::from_ref(input), &bindings).unwrap();
    for features in [&["sse2"][..], &["sse2", "sse4.1", "avx2"], &["sse2", "sse4.1", "avx2", "avx512"]] {
        if !features.join("+").parse().is_ok_and(|isa: Isa| Isa::detect().contains(isa)) {
            continue;
        }
        let features = features.iter().map(ToString::to_string).collect();
        let f32_tile = "tcc_mk_f32_sse".to_owned();
        let target = CpuTarget {
            arch: "x86_64",
            features,
            f32_tile,
            tile_rows: 4,
            tile_columns: 8,
            narrow: Vec::new(),
        };
        let object = Llvm.emit(std::slice::from_ref(&program), &target).unwrap();
        let image = Image::load_with_runtime(&object).unwrap();
        let mut outputs: Vec<Vec<u8>> =
            expected.iter().map(|t| vec![0; t.to_bytes().unwrap().len()]).collect();
        let source = input.to_bytes().unwrap();
        let mut buffers = vec![source.as_ptr().cast_mut()];
        buffers.extend(outputs.iter_mut().map(|o| o.as_mut_ptr()));
        // SAFETY: every program is emitted with this signature, and the image outlives the call.
        let kernel: extern "C" fn(*const *mut u8, *const i64, i64, i64, *mut u8) =
            unsafe { std::mem::transmute(image.symbol("test").unwrap()) };
        kernel(buffers.as_ptr(), &raw const symbol, 0, 1, std::ptr::null_mut());
        for (want, got) in expected.iter().zip(&outputs) {
            let got = Tensor::from_byte_slice(want.dtype(), want.shape(), got).unwrap();
            assert_eq!(got.literal(), want.literal(), "{:?}", target.features);
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn partial_and_strided_accesses() {
    let text = "program @v(x: f32[N]) -> (y: f32[N], z: i64[4], s: f32[N], h: f16[N]) where N in 4..=64 {
        %0: f32 = 0.5
        %1: f32x8 = %0
        for r in 0..(N + 7) / 8 {
          %2: f32x8 = load x[8*r active N - 8*r]
          %3: f32x8 = mul %2, %1
          store y[8*r active N - 8*r] = %3
          %4: f16x8 = cast %3
          store h[8*r active N - 8*r] = %4
        }
        %5: i64x4 = index(N step -2)
        store z[3 stride -1] = %5
        for r in 0..(N + 7) / 8 {
          %6: f32x4 = load x[8*r stride 2 active N / 2 - 4*r]
          %7: f32x4 = load x[8*r + 1 stride 2 active N / 2 - 4*r]
          store s[8*r stride 2 active N / 2 - 4*r] = %7
          store s[8*r + 1 stride 2 active N / 2 - 4*r] = %6
        }
      }";
    for n in [4usize, 10, 64] {
        let ramp = Tensor::from_f64_iter(tcc_ir::dtype::DType::F32, &[n], (0..n).map(|i| i as f64 / 3.0));
        agrees(text, &ramp.unwrap(), n as i64);
    }
}
