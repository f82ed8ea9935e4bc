//! The table of a linked model, as `runtime/freestanding/plan.rs` reads it: words of 64 bits and addresses.

use std::borrow::Cow;

use tcc_codegen::CpuTarget;
use tcc_codegen::link::Data;
use tcc_runtime::model::{Expr, Model, Op, Place, Step};

use super::{constant_name, plan_name};

/// The features of processors in the order of their bits, which `runtime/freestanding/processor.rs` looks for.
pub(super) const FEATURES: [&str; 7] =
    ["sse4.1", "avx2", "avx512", "avx512vnni", "avxvnni", "avx512bf16", "avx512fp16"];

/// A word of the table.
#[derive(Clone)]
enum Word {
    Number(i64),
    /// The address of a symbol.
    Symbol(String),
    /// The address of a list: its number, to be placed behind the table's head.
    List(usize),
}

/// Lists of words that refer to each other.
#[derive(Default)]
struct Lists(Vec<Vec<Word>>);

impl Lists {
    /// A pointer to a list.
    fn add(&mut self, words: Vec<Word>) -> Word {
        self.0.push(words);
        Word::List(self.0.len() - 1)
    }

    fn numbers(&mut self, numbers: impl IntoIterator<Item = i64>) -> Word {
        let words = numbers.into_iter().map(Word::Number).collect();
        self.add(words)
    }

    /// A pointer to the words of an expression, and how many pairs there are.
    fn expression(&mut self, expr: &Expr) -> [Word; 2] {
        let pair = |op: &Op| match op {
            Op::Const(value) => [0, *value],
            Op::Symbol(index) => [1, i64::from(*index)],
            Op::Add => [2, 0],
            Op::Mul => [3, 0],
            Op::FloorDiv => [4, 0],
            Op::Mod => [5, 0],
            Op::Min => [6, 0],
            Op::Max => [7, 0],
        };
        let words = self.numbers(expr.0.iter().flat_map(pair));
        [words, count(expr.0.len())]
    }
}

fn count(len: usize) -> Word {
    Word::Number(len as i64)
}

/// The table under the symbol that the entries pass on.
pub(super) fn table(name: &str, model: &Model, target: &CpuTarget) -> Data<'static> {
    let mut lists = Lists::default();
    let mut head = Vec::new();
    let needs = FEATURES.iter().enumerate().filter(|(_, f)| target.has(f)).map(|(at, _)| 1i64 << at);
    head.push(Word::Number(needs.sum()));
    head.push(lists.numbers(model.ranges.iter().flatten().copied()));
    head.push(count(model.ranges.len()));
    for params in [&model.inputs, &model.outputs] {
        head.push(lists.numbers(params.iter().map(|p| i64::from(p.buffer))));
        head.push(count(params.len()));
    }
    let mut buffers = Vec::new();
    let nothing = Expr::constant(0);
    for buffer in &model.buffers {
        let (place, index, constant, offset) = match &buffer.place {
            Place::Input(i) => (0, *i, Word::Number(0), &nothing),
            Place::Output(i) => (1, *i, Word::Number(0), &nothing),
            Place::Constant(i) => (2, *i, Word::Symbol(constant_name(*i as usize)), &nothing),
            Place::Arena(offset) => (3, 0, Word::Number(0), offset),
            // Refused before a table is made.
            Place::Late => (3, 0, Word::Number(0), &nothing),
        };
        buffers.extend([Word::Number(place), Word::Number(i64::from(index)), constant]);
        buffers.extend(lists.expression(offset));
        buffers.extend(lists.expression(&buffer.bytes));
    }
    head.push(lists.add(buffers));
    head.push(count(model.buffers.len()));
    let (mut steps, mut most) = (Vec::new(), (0, 0));
    let mut calls = 0;
    for step in &model.steps {
        let Step::Kernel { function, buffers, symbols, tiles, scratch, .. } = step else { continue };
        calls += 1;
        most = (most.0.max(buffers.len()), most.1.max(symbols.len()));
        steps.push(Word::Symbol(model.functions[*function as usize].clone()));
        for list in [buffers, symbols] {
            steps.push(lists.numbers(list.iter().map(|n| i64::from(*n))));
            steps.push(count(list.len()));
        }
        steps.extend(lists.expression(tiles));
        steps.extend(lists.expression(scratch));
    }
    head.push(lists.add(steps));
    head.push(count(calls));
    head.extend(lists.expression(model.arena_bytes.as_ref().unwrap_or(&nothing)));
    head.extend([count(most.0), count(most.1)]);
    laid_out(plan_name(name), head, &lists)
}

/// The head with all lists behind it.
fn laid_out(name: String, head: Vec<Word>, lists: &Lists) -> Data<'static> {
    let mut starts = Vec::with_capacity(lists.0.len());
    let mut at = head.len();
    for list in &lists.0 {
        starts.push(at as i64 * 8);
        at += list.len();
    }
    let mut bytes = Vec::with_capacity(at * 8);
    let mut addresses = Vec::new();
    for word in head.iter().chain(lists.0.iter().flatten()) {
        let number = match word {
            Word::Number(number) => *number,
            Word::Symbol(symbol) => {
                addresses.push((bytes.len() as u64, symbol.clone(), 0));
                0
            }
            Word::List(list) => {
                addresses.push((bytes.len() as u64, name.clone(), starts[*list]));
                0
            }
        };
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    Data { name, bytes: Cow::Owned(bytes), alignment: 8, addresses }
}
