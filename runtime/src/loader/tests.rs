//! C compiled on the spot and run, objects of both machines linked, and mutants that must not crash anything.

use std::process::Command;

use super::*;

/// Compiles a text with the command given; says so and yields nothing where the compiler is absent.
fn compile(command: &str, arguments: &[&str], suffix: &str, text: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (source, output) = (folder.path().join(format!("source.{suffix}")), folder.path().join("object.o"));
    std::fs::write(&source, text).unwrap();
    let run = Command::new(command).args(arguments).arg("-o").arg(&output).arg(&source).output();
    let Ok(run) = run else {
        use std::io::Write;
        writeln!(std::io::stderr(), "SKIPPED: {command} is not installed").unwrap();
        return None;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some(std::fs::read(output).unwrap())
}

const C: &str = r#"
    #include <stddef.h>
    float expf(float);
    void *memset(void *, int, size_t);
    extern int seven(int);
    extern int far_value;
    static const float table[4] = {1, 2, 4, 8};
    static int zeros[1000];
    int counter = 5;
    const char *text = "constant";
    int call(int x) { return seven(x) + counter; }
    int outside(void) { return far_value; }
    float weigh(int i) { return expf(table[i & 3]); }
    int count(void) { zeros[999] += 1; return ++counter + zeros[999]; }
    char letter(int i) { return text[i]; }
    static int twice(int x) { return 2 * x; }
    int (*chosen)(int) = twice;
    int indirect(int x) { return chosen(x); }
    void kernel(unsigned char *const *args, const long *dims, long begin, long end, unsigned char *scratch) {
        float *out = (float *)args[1];
        const float *in = (const float *)args[0];
        for (long i = begin; i < end; i++) out[i] = in[i] * (float)dims[0];
        memset(scratch, 1, 64);
    }
"#;

extern "C" fn seven(x: i32) -> i32 {
    x + 7
}

static FAR_VALUE: i32 = 42;

fn test_symbols(name: &str) -> Option<*const u8> {
    match name {
        "seven" => Some(seven as *const u8),
        "far_value" => Some((&raw const FAR_VALUE).cast()),
        _ => runtime_symbol(name),
    }
}

#[test]
fn compiled_c_runs() {
    // Position-independent code reaches far symbols by stubs and the table of addresses, the large model by itself.
    for options in [["-O2", "-fPIC"], ["-O0", "-fPIC"], ["-fno-pic", "-mcmodel=large"]] {
        let arguments = [&options[..], &["-c", "-std=c99", "-fno-builtin"]].concat();
        let Some(object) = compile("gcc", &arguments, "c", C) else { return };
        let image = Image::load(&object, &test_symbols).unwrap();
        let function = |name: &str| image.symbol(name).unwrap();
        // SAFETY: the C text above defines these functions with these types.
        unsafe {
            let call: extern "C" fn(i32) -> i32 = std::mem::transmute(function("call"));
            let outside: extern "C" fn() -> i32 = std::mem::transmute(function("outside"));
            let weigh: extern "C" fn(i32) -> f32 = std::mem::transmute(function("weigh"));
            let count: extern "C" fn() -> i32 = std::mem::transmute(function("count"));
            let letter: extern "C" fn(i32) -> i8 = std::mem::transmute(function("letter"));
            let indirect: extern "C" fn(i32) -> i32 = std::mem::transmute(function("indirect"));
            let kernel: crate::CompiledKernel = std::mem::transmute(function("kernel"));
            assert_eq!((call(1), outside(), weigh(1)), (13, 42, 2f32.exp()));
            assert_eq!((count(), count(), letter(3), indirect(21)), (7, 9, b's' as i8, 42));
            let (mut input, mut output, mut scratch) = ([1f32, 2.0, 3.0], [0f32; 3], [0u8; 64]);
            let buffers = [input.as_mut_ptr().cast::<u8>(), output.as_mut_ptr().cast()];
            kernel(buffers.as_ptr(), [3i64].as_ptr(), 1, 3, scratch.as_mut_ptr());
            assert_eq!((output, scratch), ([0.0, 6.0, 9.0], [1; 64]));
        }
        assert!(image.names().any(|name| name == "counter") && image.symbol("twice").is_none());
    }
}

#[test]
fn missing_symbols_are_named() {
    let Some(object) =
        compile("gcc", &["-c", "-O1"], "c", "int nowhere(void); int f(void) { return nowhere(); }")
    else {
        return;
    };
    let error = Image::load_with_runtime(&object).unwrap_err();
    assert_eq!(error.to_string(), "expected a definition of symbol nowhere, found none");
    let Some(object) = compile("gcc", &["-c", "-ftls-model=global-dynamic"], "c", "__thread int local = 1;")
    else {
        return;
    };
    assert!(matches!(Image::load_with_runtime(&object), Err(LoadError::Section { .. })));
}

#[test]
fn images_may_be_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Image>();
}

const ARM: &str = r#"
    @table = internal constant [4 x i64] [i64 1, i64 2, i64 3, i64 4]
    @cell = external global i32
    declare i64 @seven(i64)
    define i64 @call(i64 %x) {
        %y = call i64 @seven(i64 %x)
        %p = getelementptr [4 x i64], [4 x i64]* @table, i64 0, i64 %x
        %z = load i64, i64* %p
        %c = load i32, i32* @cell
        %w = sext i32 %c to i64
        %s = add i64 %y, %z
        %t = add i64 %s, %w
        ret i64 %t
    }
"#;

/// AArch64 code cannot run here, but it can be linked, which checks every range and looks at every field.
#[test]
fn code_for_the_other_machine_links() {
    let arguments = ["-mtriple=aarch64-linux-gnu", "-filetype=obj", "-relocation-model=pic"];
    let Some(bytes) = compile("llc", &arguments, "ll", ARM) else { return };
    let object = ObjectFile::parse(&bytes).unwrap();
    assert_eq!(object.machine, Machine::Aarch64);
    let image = Image::link(&object, &|name| match name {
        "seven" => Some(std::ptr::without_provenance(0x7000_0000_0000)),
        "cell" => Some(std::ptr::without_provenance(0x7000_0000_1000)),
        _ => None,
    })
    .unwrap();
    let layout = Layout::new(&object, mapping::page_size()).unwrap();
    let seven = object.symbols.iter().position(|symbol| symbol.name == "seven").unwrap();
    let stub = image.mapping.start().wrapping_add(layout.slots[&Target::Stub(seven)]);
    let call = object.relocations.iter().find(|r| r.symbol == seven).unwrap();
    let place = image.symbol("call").unwrap().wrapping_add(call.offset as usize).cast::<u32>();
    // SAFETY: both lie in the image, which is readable.
    let (branch, target) = unsafe { (place.read(), stub.add(8).cast::<u64>().read_unaligned()) };
    assert_eq!(target, 0x7000_0000_0000);
    assert_eq!(branch >> 26, 0b100101, "still a call");
    let distance = (branch << 6) as i32 >> 4;
    assert_eq!(place.addr().wrapping_add_signed(distance as isize), stub.addr());
    if cfg!(target_arch = "x86_64") {
        let error = Image::load_with_runtime(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "expected code for X86_64, found Aarch64");
    }
}

#[test]
fn fields_of_aarch64_instructions() {
    let apply = |kind, word: u32, value: u64, place: u64| {
        let mut field = word.to_le_bytes();
        let mut patch = Patch {
            kind,
            value,
            addend: 0,
            place,
            table_entry: None,
            stub: None,
            field: &mut field,
            before: [0; 2],
        };
        aarch64::apply(&mut patch).map_err(|_| ()).map(|()| u32::from_le_bytes(field))
    };
    // adrp x0, 2 pages on; add x0, x0, #0x123; ldr x0, [x0, #0x128]; bl back by 8; movk x0, #0x1234, lsl #16.
    assert_eq!(apply(275, 0x9000_0000, 0x12_3123, 0x12_1ff0), Ok(0xd000_0000));
    assert_eq!(apply(277, 0x9100_0000, 0x123, 0), Ok(0x9104_8c00));
    assert_eq!(apply(286, 0xf940_0000, 0x5128, 0), Ok(0xf940_9400));
    assert_eq!(apply(286, 0xf940_0000, 0x5129, 0), Err(()));
    assert_eq!(apply(283, 0x9400_0000, 0x1000, 0x1008), Ok(0x97ff_fffe));
    assert_eq!(apply(283, 0x9400_0000, 0x1000_0000, 0), Err(()));
    assert_eq!(apply(266, 0xf2a0_0000, 0x1234_5678, 0), Ok(0xf2a2_4680));
    assert_eq!(apply(99, 0, 0, 0), Err(()));
}

/// Damaged objects give an image or an error; their code is not run.
#[test]
fn mutants_never_crash() {
    let Some(object) = compile("gcc", &["-c", "-O1", "-fPIC", "-std=c99", "-g0"], "c", C) else { return };
    let arm = compile("llc", &["-mtriple=aarch64-linux-gnu", "-filetype=obj"], "ll", ARM);
    let mut state = 12345u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for original in [Some(object), arm].into_iter().flatten() {
        // Section headers come last, and what they say is what most depends on.
        let headers = original.len() - original.len() / 3;
        for round in 0..2000 {
            let mut mutant = original.clone();
            for _ in 0..1 + random(6) {
                let at = match round % 3 {
                    0 => random(mutant.len()),
                    1 => random(64),
                    _ => headers + random(mutant.len() - headers),
                };
                mutant[at] = [0, 0xff, 0x7f, random(256) as u8][random(4)];
            }
            if round % 10 == 0 {
                mutant.truncate(random(original.len()));
            }
            let linked = ObjectFile::parse(&mutant).and_then(|object| Image::link(&object, &test_symbols));
            refused += usize::from(linked.is_err());
        }
    }
    assert!(refused > 500, "only {refused} mutants were refused");
    for length in 0..200 {
        assert!(Image::load_with_runtime(&vec![0x7f; length]).is_err());
    }
}
