//! From text to graph, through the same [`Graph::push_from`] that every builder uses.
//!
//! A line that is wrong is reported and skipped; lines that depend on it are skipped in silence, so that one
//! mistake gives one error.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::constant;
use crate::diag::{Diag, Diags, Span};
use crate::dim::{Range, Ranges, Symbol};
use crate::dtype::DType;
use crate::graph::attr::{Attr, AttrKind, Attrs};
use crate::graph::verify::{MAX_REGION_DEPTH, check_size};
use crate::graph::{Graph, Op, Value};
use crate::shape::{Shape, TensorType};
use crate::text::Cursor;

/// Extents and attributes of lists have a few entries; a text with more is refused before it fills the memory.
const MAX_LIST: usize = 4096;

/// Parses one graph; all errors are collected.
pub fn parse_graph(source: &str) -> Result<Graph, Diags> {
    let mut cursor = Cursor::new(source);
    let mut parser = Parser { cursor: &mut cursor, diags: Diags::default(), depth: 0 };
    let graph = parser.graph("graph", &Graph::default());
    let mut diags = parser.diags;
    match graph {
        Ok((graph, _)) => {
            if diags.0.is_empty() && !cursor.at_end() {
                diags.push(cursor.expected("the end of the text"));
            }
            diags.into_result().map(|()| graph)
        }
        Err(diag) => {
            diags.push(diag);
            Err(diags)
        }
    }
}

/// Parses a tensor type.
pub(crate) fn parse_type(cursor: &mut Cursor<'_>) -> Result<TensorType, Diag> {
    let dtype = parse_dtype(cursor)?;
    cursor.expect("[")?;
    let shape: Shape = cursor.short_list("]", MAX_LIST, |c| c.dim())?.into_iter().collect();
    Ok(TensorType { dtype, shape })
}

fn parse_dtype(cursor: &mut Cursor<'_>) -> Result<DType, Diag> {
    let start = cursor.here();
    let word = cursor.word("an element type")?;
    word.parse().map_err(|_| {
        Diag::at(cursor.since(start), "syntax", format!("expected an element type, got `{word}`"))
    })
}

/// Parses `N in 1..=8, M in 0..=4`.
pub(crate) fn parse_ranges(cursor: &mut Cursor<'_>, ranges: &mut Ranges) -> Result<(), Diag> {
    loop {
        let symbol = Symbol::new(cursor.word("the name of a symbol")?);
        cursor.expect("in")?;
        let start = cursor.here();
        let lo = cursor.bound("..=")?;
        cursor.expect("..=")?;
        let hi = cursor.int()?;
        if lo > hi {
            let message = format!("expected a range that is not empty, got {lo}..={hi}");
            return Err(Diag::at(cursor.since(start), "syntax", message));
        }
        ranges.set(symbol, Range { lo, hi });
        if !cursor.accept(",") {
            return Ok(());
        }
    }
}

struct Parser<'c, 's> {
    cursor: &'c mut Cursor<'s>,
    diags: Diags,
    depth: usize,
}

/// The values of one graph by name.
#[derive(Default)]
struct Names {
    values: FxHashMap<String, Value>,
    /// Results of lines that had errors.
    poisoned: FxHashSet<String>,
}

/// Why a line gave no node.
enum Failed {
    /// It is wrong.
    Wrong(Diag),
    /// It depends on one that is wrong.
    Poisoned,
}

impl From<Diag> for Failed {
    fn from(diag: Diag) -> Failed {
        Failed::Wrong(diag)
    }
}

impl Parser<'_, '_> {
    /// A graph or region with its name; `around` is what a region's symbols come from.
    fn graph(&mut self, keyword: &str, around: &Graph) -> Result<(Graph, String), Diag> {
        self.depth += 1;
        if self.depth > MAX_REGION_DEPTH {
            return Err(self.cursor.expected(&format!("at most {MAX_REGION_DEPTH} levels of regions")));
        }
        self.cursor.expect(keyword)?;
        let name = self.cursor.name("@", "`@` and a name")?;
        let mut graph = around.region_of();
        if keyword == "graph" {
            graph.name.clone_from(&name);
        }
        let mut names = Names::default();
        self.params(&mut graph, &mut names)?;
        self.cursor.expect("->")?;
        self.cursor.expect("(")?;
        let declared = self.cursor.list(")", |c| {
            let start = c.here();
            let name = c.name("", "the name of an output")?;
            c.expect(":")?;
            let ty = parse_type(c)?;
            Ok((name, ty, c.since(start)))
        })?;
        if self.cursor.accept("where") {
            parse_ranges(self.cursor, &mut graph.ranges)?;
        }
        self.cursor.expect("{")?;
        while !self.cursor.peek("return") && !self.cursor.at_end() && !self.diags.is_full() {
            self.line(&mut graph, &mut names);
        }
        if !self.diags.is_full() {
            self.outputs(&mut graph, &names, declared)?;
            self.cursor.expect("}")?;
        }
        self.depth -= 1;
        Ok((graph, name))
    }

    fn params(&mut self, graph: &mut Graph, names: &mut Names) -> Result<(), Diag> {
        self.cursor.expect("(")?;
        let params = self.cursor.list(")", |c| {
            let start = c.here();
            let name = c.name("%", "a parameter")?;
            c.expect(":")?;
            let ty = parse_type(c)?;
            Ok((name, ty, c.since(start)))
        })?;
        for (name, ty, span) in params {
            if let Err(message) = check_size(&ty, graph) {
                self.diags.push(Diag::at(span, "size", message));
            }
            let value = graph.add_param(&name, ty);
            if names.values.insert(name, value).is_some() {
                self.diags.push(Diag::at(span, "name", "expected distinct names of parameters"));
            }
        }
        Ok(())
    }

    /// One node; errors are recorded and its results poisoned.
    fn line(&mut self, graph: &mut Graph, names: &mut Names) {
        let mut results: Vec<(String, Span)> = Vec::new();
        let failed = match self.node(graph, names, &mut results) {
            Ok(()) => return,
            Err(failed) => failed,
        };
        if let Failed::Wrong(diag) = failed {
            self.diags.push(diag);
        }
        names.poisoned.extend(results.into_iter().map(|(name, _)| name));
        self.cursor.skip_line();
        self.skip_regions();
    }

    /// Regions of a line that is skipped are skipped with it.
    fn skip_regions(&mut self) {
        while self.cursor.peek("region") {
            let mut open = 0usize;
            loop {
                if self.cursor.accept("{") {
                    open += 1;
                } else if self.cursor.accept("}") {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        break;
                    }
                } else if !self.cursor.skip_token() {
                    return;
                }
            }
        }
    }

    fn node(
        &mut self,
        graph: &mut Graph,
        names: &mut Names,
        results: &mut Vec<(String, Span)>,
    ) -> Result<(), Failed> {
        if self.cursor.peek("%") {
            loop {
                let start = self.cursor.here();
                let name = self.cursor.name("%", "a result")?;
                let span = self.cursor.since(start);
                results.push((name, span));
                if !self.cursor.accept(",") {
                    break;
                }
            }
            self.cursor.expect("=")?;
        }
        let start = self.cursor.here();
        let word = self.cursor.word("a node or `return`")?;
        let op_span = self.cursor.since(start);
        let op = Op::from_name(word).ok_or_else(|| {
            let hint = nearest(word).map_or(String::new(), |n| format!("; is `{n}` meant?"));
            Diag::at(op_span, "op", format!("expected the name of an op, got `{word}`{hint}"))
        })?;
        let mut poisoned = false;
        let mut operands: SmallVec<[Value; 4]> = SmallVec::new();
        while self.cursor.peek("%") {
            let start = self.cursor.here();
            let name = self.cursor.name("%", "a value")?;
            match names.values.get(&name) {
                Some(value) => operands.push(*value),
                None if names.poisoned.contains(&name) => poisoned = true,
                None => {
                    let message = format!("expected a value defined before, got `%{name}`");
                    return Err(Diag::at(self.cursor.since(start), "name", message).into());
                }
            }
            if !self.cursor.accept(",") {
                break;
            }
        }
        let attrs = self.attrs(op, op_span)?;
        let mut declared = Vec::new();
        if !results.is_empty() {
            let start = self.cursor.here();
            self.cursor.expect(":")?;
            declared.push(parse_type(self.cursor)?);
            while self.cursor.accept(",") {
                declared.push(parse_type(self.cursor)?);
            }
            if declared.len() != results.len() {
                let message = format!("expected {} types, got {}", results.len(), declared.len());
                return Err(Diag::at(self.cursor.since(start), "type", message).into());
            }
        }
        let origin: Option<Arc<str>> =
            if self.cursor.accept("from") { Some(Arc::from(self.cursor.string()?)) } else { None };
        let mut regions = Vec::new();
        while self.cursor.peek("region") {
            let expected = op.def().regions.get(regions.len()).copied();
            let start = self.cursor.here();
            let (region, name) = self.graph("region", graph)?;
            if expected != Some(&*name) {
                let message = match expected {
                    Some(e) => format!("expected region @{e}, got @{name}"),
                    None => format!("expected no more regions of {word}, got @{name}"),
                };
                return Err(Diag::at(Span::new(start, start + 6), "regions", message).into());
            }
            regions.push(region);
        }
        if poisoned {
            return Err(Failed::Poisoned);
        }
        let id = graph.push_from(op, &operands, attrs, regions, origin).map_err(|violation| {
            Diag::at(op_span, violation.label, format!("{word}: {}", violation.message))
        })?;
        let values: SmallVec<[Value; 2]> = graph.node(id).results().collect();
        if values.len() != results.len() {
            let message = format!("{word}: expected {} results, got {}", values.len(), results.len());
            return Err(Diag::at(op_span, "type", message).into());
        }
        for ((value, declared), (name, span)) in values.iter().zip(&declared).zip(results.iter()) {
            if graph.ty(*value) != declared {
                let message =
                    format!("{word}: expected a result of type {}, got {declared}", graph.ty(*value));
                self.diags.push(Diag::at(op_span, "type", message));
            }
            if names.values.insert(name.clone(), *value).is_some() {
                self.diags.push(Diag::at(*span, "name", format!("expected a new name, got `%{name}`")));
            }
        }
        Ok(())
    }

    /// All attributes of an op, in any order.
    fn attrs(&mut self, op: Op, op_span: Span) -> Result<Attrs, Diag> {
        let declared = op.def().attrs;
        let mut found: SmallVec<[Option<Attr>; 4]> = declared.iter().map(|_| None).collect();
        while !self.cursor.peek(":") && !self.cursor.peek("from") && !self.cursor.at_line_end() {
            let start = self.cursor.here();
            let name = self.cursor.word("an attribute or `:`")?;
            let Some(at) = declared.iter().position(|d| d.name == name) else {
                let known: Vec<&str> = declared.iter().map(|d| d.name).collect();
                let known = if known.is_empty() { "no attributes".to_owned() } else { known.join(", ") };
                let message = format!("expected {known} of {}, got `{name}`", op.name());
                return Err(Diag::at(self.cursor.since(start), "attributes", message));
            };
            self.cursor.expect("=")?;
            found[at] = Some(self.attr(declared[at].kind)?);
        }
        let missing: Vec<&str> =
            declared.iter().zip(&found).filter(|(_, f)| f.is_none()).map(|(d, _)| d.name).collect();
        if !missing.is_empty() {
            let message = format!("{}: expected attributes {}", op.name(), missing.join(", "));
            return Err(Diag::at(op_span, "attributes", message));
        }
        Ok(found.into_iter().flatten().collect())
    }

    fn attr(&mut self, kind: AttrKind) -> Result<Attr, Diag> {
        let cursor = &mut *self.cursor;
        Ok(match kind {
            AttrKind::Bool => {
                if cursor.accept("true") {
                    Attr::Bool(true)
                } else if cursor.accept("false") {
                    Attr::Bool(false)
                } else {
                    return Err(cursor.expected("`true` or `false`"));
                }
            }
            AttrKind::Int => Attr::Int(cursor.int()?),
            AttrKind::Float => {
                let start = cursor.here();
                let text = cursor.number()?;
                let value =
                    text.parse().map_err(|_| Diag::at(cursor.since(start), "syntax", "expected a number"))?;
                Attr::Float(value)
            }
            AttrKind::Text => Attr::Text(Arc::from(cursor.string()?)),
            AttrKind::Ints => {
                cursor.expect("[")?;
                Attr::Ints(cursor.short_list("]", MAX_LIST, |c| c.int())?.into_iter().collect())
            }
            AttrKind::Dim => Attr::Dim(cursor.dim()?),
            AttrKind::Dims => {
                cursor.expect("[")?;
                Attr::Dims(cursor.short_list("]", MAX_LIST, |c| c.dim())?.into_iter().collect())
            }
            AttrKind::DType => Attr::DType(parse_dtype(cursor)?),
            AttrKind::Types => {
                cursor.expect("(")?;
                Attr::Types(cursor.list(")", parse_type)?.into())
            }
            AttrKind::Tensor => Attr::Tensor(constant::parse(cursor)?),
        })
    }

    fn outputs(
        &mut self,
        graph: &mut Graph,
        names: &Names,
        declared: Vec<(String, TensorType, Span)>,
    ) -> Result<(), Diag> {
        let start = self.cursor.here();
        self.cursor.expect("return")?;
        let mut count = 0;
        while self.cursor.peek("%") {
            let start = self.cursor.here();
            let name = self.cursor.name("%", "a value")?;
            let span = self.cursor.since(start);
            count += 1;
            match (names.values.get(&name), declared.get(count - 1)) {
                (Some(value), Some((output, ty, declared_at))) => {
                    if graph.ty(*value) != ty {
                        let message =
                            format!("expected output {output} of type {}, got {ty}", graph.ty(*value));
                        self.diags.push(Diag::at(*declared_at, "type", message));
                    }
                    if graph.outputs().iter().any(|(n, _)| **n == **output) {
                        self.diags.push(Diag::at(*declared_at, "name", "expected distinct names of outputs"));
                    }
                    graph.add_output(output, *value);
                }
                (None, _) if !names.poisoned.contains(&name) => {
                    let message = format!("expected a value defined before, got `%{name}`");
                    self.diags.push(Diag::at(span, "name", message));
                }
                _ => {}
            }
            if !self.cursor.accept(",") {
                break;
            }
        }
        if count != declared.len() {
            let message = format!("expected {} values to return, got {count}", declared.len());
            self.diags.push(Diag::at(self.cursor.since(start), "type", message));
        }
        Ok(())
    }
}

/// The op whose name is closest to a misspelt one.
fn nearest(word: &str) -> Option<&'static str> {
    let scored = Op::all().map(|op| (distance(word, op.name()), op.name()));
    scored.min().filter(|(d, _)| *d <= 2).map(|(_, name)| name)
}

/// The number of single-character edits between two short words.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> Graph {
        let graph = parse_graph(text).unwrap_or_else(|d| panic!("{}", d.render("test", text)));
        let printed = graph.to_string();
        assert_eq!(
            parse_graph(&printed).unwrap_or_else(|d| panic!("{}", d.render("printed", &printed))),
            graph
        );
        graph.verify().unwrap();
        graph
    }

    #[test]
    fn graphs_with_regions_and_symbols_round_trip() {
        let text = r#"graph @main(%x: f32[N, 4], %n: i64[]) -> (y: f32[N, 4], i: i64[2, c]) where N in 1..=64 {
  %0 = const value=f32[4] [1.0, -0.5, inf, nan] : f32[4]
  %1 = broadcast %0 shape=[N, 4] : f32[N, 4]
  %2 = add %x, %1 : f32[N, 4] from "model/add \"one\""
  %3 = const value=bool[] true : bool[]
  %4 = loop %n, %3, %2, %1 carried=1 types=(f32[N, 4]) : f32[N, 4]
    region @body(%i: i64[], %c: f32[N, 4], %d: f32[N, 4]) -> (go: bool[], next: f32[N, 4]) {
      %0 = mul %c, %d : f32[N, 4]
      %1 = const value=bool[] true : bool[]
      return %1, %0
    }
  %5 = nonzero %4 count=c : i64[2, c]
  return %4, %5
}
"#;
        assert_eq!(round_trip(text).to_string(), text);
    }

    #[test]
    fn large_and_repeated_constants_round_trip() {
        let graph = round_trip(
            "graph @c() -> (a: f32[9, 9], b: f32[100], d: f32[0, 3]) {
               %0 = const value=f32[9, 9] splat 0.5 : f32[9, 9]
               %1 = iota shape=[100] axis=0 dtype=f32 : f32[100]
               %2 = const value=f32[0, 3] [] : f32[0, 3]
               return %0, %1, %2
             }",
        );
        assert!(graph.to_string().contains("splat 0.5"));
    }

    #[test]
    fn several_errors_are_reported_together_and_once() {
        let text = "graph @e(%x: f32[2, 3]) -> (y: f32[3, 2]) {
  %0 = transpoze %x perm=[1, 0] : f32[3, 2]
  %1 = transpose %x perm=[1, 1] : f32[3, 2]
  %2 = add %0, %1 : f32[3, 2]
  %3 = add %x, %q : f32[2, 3]
  return %2
}";
        let diags = parse_graph(text).unwrap_err();
        let codes: Vec<&str> = diags.0.iter().map(|d| d.code).collect();
        assert_eq!(codes, ["op", "C1", "name"], "{}", diags.render("e", text));
        assert!(diags.0[0].message.contains("is `transpose` meant?"));
    }

    #[test]
    fn bombs_are_refused_quickly() {
        for text in [
            "(".repeat(1 << 20),
            "graph @f(".repeat(10_000),
            format!("graph @f() -> () {{ %0 = const value=f32[1] {} : f32[1] return }}", "[".repeat(1 << 20)),
            "graph @f() -> (y: f32[1000000000]) {\n %0 = const value=f32[1000000000] [1.0] : f32[1000000000]\n return %0 }".into(),
            format!("graph @f(%x: f32[{}1{}]) -> () {{ return }}", "(".repeat(1 << 20), ")".repeat(1 << 20)),
            format!("graph @f(%x: f32[]) -> () {{ {} ", "%0 = kernel : \nregion @body() -> () {".repeat(1 << 12)),
        ] {
            assert!(parse_graph(&text).is_err());
        }
    }
}
