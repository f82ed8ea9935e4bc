//! The C header of a linked model: its functions and everything a caller must keep to.

use std::fmt::Write;

use tcc_runtime::model::{Expr, Param};

use super::super::{Translated, dim_of};

/// The text of the header.
pub(super) fn header(name: &str, translated: &Translated, mathematics: &[&str]) -> String {
    let model = &translated.model;
    let upper = name.to_uppercase();
    let dim = |e: &Expr| dim_of(e, &model.symbols).map_or_else(|| e.to_string(), |d| d.to_string());
    let shape = |param: &Param| {
        let dims: Vec<String> = param.shape.iter().map(dim).collect();
        format!("{}[{}]", param.dtype, dims.join(", "))
    };
    let mut text = String::new();
    let target = &translated.target;
    let libraries = if mathematics.is_empty() {
        "nothing but the C library".to_owned()
    } else {
        format!("the C library and its mathematics (-lm): {}", mathematics.join(", "))
    };
    let _ = writeln!(
        text,
        "/* Made by tcc {}. The model `{name}`, for {} with {}; it needs {libraries}.\n *",
        env!("CARGO_PKG_VERSION"),
        target.arch,
        target.features.join(", ")
    );
    text.push_str(
        " * Tensors are contiguous, the last extent running fastest; f16 and bf16 are their bits, bool is a byte of\n\
         \x20* 0 or 1. A run writes nothing but the outputs and the workspace, allocates nothing and keeps nothing, so\n\
         \x20* that any number of threads may run the model at once, each with a workspace of its own.\n */\n",
    );
    let _ =
        writeln!(text, "#ifndef {upper}_H\n#define {upper}_H\n\n#include <stddef.h>\n#include <stdint.h>\n");
    text.push_str("#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    let _ = writeln!(
        text,
        "/* Inputs and outputs are aligned to {upper}_ALIGNMENT bytes, the workspace to {upper}_WORKSPACE_ALIGNMENT. */\n\
         #define {upper}_ALIGNMENT 16\n#define {upper}_WORKSPACE_ALIGNMENT 64\n"
    );
    text.push_str(
        "/* What a run or a size of a workspace can fail with; sizes are the number below zero. */\nenum {\n",
    );
    for (failure, number, doc) in FAILURES {
        let _ = writeln!(text, "  {upper}_{failure} = {number}, /* {doc} */");
    }
    text.push_str("};\n\n");
    listed(&mut text, &upper, "INPUT", &model.inputs, &shape);
    listed(&mut text, &upper, "OUTPUT", &model.outputs, &shape);
    symbols(&mut text, &upper, &model.symbols, &model.ranges);
    let _ = write!(text, "{}", threads(name));
    let _ = writeln!(
        text,
        "/* The bytes of workspace that a run with these extents needs on so many workers (1 without threads). */\n\
         int64_t {name}_workspace_bytes(const int64_t *extents, int64_t workers);\n"
    );
    let _ = writeln!(
        text,
        "/* Runs the model. `extents` may be null if there are none, `threads` if the caller's thread does it all. */\n\
         int32_t {name}_run(const void *const *inputs, void *const *outputs, const int64_t *extents, void *workspace,\n\
         \x20   size_t workspace_bytes, const {name}_threads *threads);\n"
    );
    let _ = writeln!(text, "#ifdef __cplusplus\n}}\n#endif\n\n#endif");
    text
}

const FAILURES: [(&str, i32, &str); 8] = [
    ("OK", 0, "done"),
    ("NULL", 1, "a pointer that must not be null is"),
    ("MISALIGNED", 2, "an input, an output or the workspace is not aligned"),
    ("EXTENT", 3, "an extent is outside of its range"),
    ("WORKSPACE", 4, "there is no workspace, or it is too small"),
    ("OVERLAP", 5, "an output overlaps an input, another output or the workspace"),
    ("PROCESSOR", 6, "the processor lacks instructions that the code was made of"),
    ("SIZE", 7, "a size does not fit an integer"),
];

/// The places of inputs or outputs in their list.
fn listed(text: &mut String, upper: &str, what: &str, params: &[Param], shape: &impl Fn(&Param) -> String) {
    let _ = writeln!(text, "/* The {}s, as they stand in their list. */\nenum {{", what.to_lowercase());
    for (i, param) in params.iter().enumerate() {
        let constant = macro_name(&param.name);
        let (kind, shape) = (c_type(&param.dtype), shape(param));
        let _ = writeln!(text, "  {upper}_{what}_{constant} = {i}, /* {kind}: {shape} */");
    }
    let _ = writeln!(text, "  {upper}_{what}S = {}\n}};\n", params.len());
}

/// The extents that a caller gives.
fn symbols(text: &mut String, upper: &str, symbols: &[String], ranges: &[[i64; 2]]) {
    text.push_str("/* The extents that are not fixed, as they stand in their list. */\nenum {\n");
    for (i, (symbol, [lo, hi])) in symbols.iter().zip(ranges).enumerate() {
        let _ = writeln!(text, "  {upper}_EXTENT_{} = {i}, /* {lo} to {hi} */", macro_name(symbol));
    }
    let _ = writeln!(text, "  {upper}_EXTENTS = {}\n}};\n", symbols.len());
}

fn threads(name: &str) -> String {
    format!(
        "/* The caller's threads. `run` calls `body(task, worker, begin, end)` for ranges of tiles that cover 0 to tiles\n\
         \x20* once, with `worker` from 0 to workers - 1 and never two calls with one worker at a time, and comes back when\n\
         \x20* all are done. Results do not depend on how the tiles are shared out. */\n\
         typedef struct {name}_threads {{\n\
         \x20 int64_t workers;\n\
         \x20 void (*run)(void *context, int64_t tiles,\n\
         \x20     void (*body)(const void *task, int64_t worker, int64_t begin, int64_t end), const void *task);\n\
         \x20 void *context;\n\
         }} {name}_threads;\n\n"
    )
}

/// A name as a part of a macro's.
fn macro_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// The type of an element in C.
fn c_type(dtype: &str) -> &'static str {
    match dtype {
        "f64" => "double",
        "f32" => "float",
        "f16" | "bf16" | "u16" => "uint16_t",
        "i64" => "int64_t",
        "i32" => "int32_t",
        "i16" => "int16_t",
        "i8" => "int8_t",
        "u64" => "uint64_t",
        "u32" => "uint32_t",
        _ => "uint8_t",
    }
}
