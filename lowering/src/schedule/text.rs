//! Schedules as text, which reads back to the same steps.
//!
//! ```text
//! schedule @scale {
//!   fuse([i, j]) -> e
//!   split(e, 4096, bound) -> [tile, e]
//! }
//! ```
//!
//! A step is a name, its arguments in parentheses and, behind an arrow, the names that it gives. How an argument
//! is written follows from its type alone, so that a new step has nothing to say about its text.

use std::fmt::{self, Display, Formatter, Write};

use tcc_ir::diag::{Diag, Diags};
use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::Space;
use tcc_ir::text::{Cursor, write_name};

use super::Schedule;
use super::steps::Step;

/// More steps than this are refused in a text, so that what is kept stays small.
const MAX_STEPS: usize = 10_000;

/// Parses the schedules that a text holds, each for the nest of its name.
pub fn parse_schedules(text: &str) -> Result<Vec<Schedule>, Diags> {
    let mut cursor = Cursor::new(text);
    let mut schedules = Vec::new();
    while !cursor.at_end() {
        schedules.push(schedule(&mut cursor)?);
    }
    Ok(schedules)
}

/// Parses the text of steps alone, without a name and braces.
pub fn parse_steps(text: &str) -> Result<Vec<Step>, Diags> {
    let mut cursor = Cursor::new(text);
    let mut steps = Vec::new();
    while !cursor.at_end() {
        next_step(&mut cursor, &mut steps)?;
    }
    Ok(steps)
}

fn schedule(cursor: &mut Cursor<'_>) -> Result<Schedule, Diag> {
    cursor.expect("schedule")?;
    let name = cursor.name("@", "`@` and the name of a nest")?;
    cursor.expect("{")?;
    let mut steps = Vec::new();
    while !cursor.accept("}") {
        next_step(cursor, &mut steps)?;
    }
    Ok(Schedule { name, steps })
}

fn next_step(cursor: &mut Cursor<'_>, steps: &mut Vec<Step>) -> Result<(), Diag> {
    if steps.len() == MAX_STEPS {
        return Err(cursor.expected(&format!("at most {MAX_STEPS} steps")));
    }
    steps.push(Step::parse(cursor)?);
    Ok(())
}

impl Display for Schedule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("schedule ")?;
        write_name(f, "@", &self.name)?;
        f.write_str(" {\n")?;
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        f.write_str("}\n")
    }
}

/// What can be an argument of a step.
pub(super) trait Argument: Sized {
    /// Reads it; `what` says its role in messages.
    fn read(cursor: &mut Cursor<'_>, what: &str) -> Result<Self, Diag>;

    /// Writes it so that it reads back.
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result;
}

impl Argument for Symbol {
    fn read(cursor: &mut Cursor<'_>, what: &str) -> Result<Self, Diag> {
        cursor.word(&format!("the name of `{what}`")).map(Symbol::new)
    }

    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Argument for i64 {
    fn read(cursor: &mut Cursor<'_>, _: &str) -> Result<Self, Diag> {
        cursor.int()
    }

    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Argument for Dim {
    fn read(cursor: &mut Cursor<'_>, _: &str) -> Result<Self, Diag> {
        cursor.dim()
    }

    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Lists in steps are short: of loops around each other, of axes.
const MAX_ITEMS: usize = 256;

impl<T: Argument> Argument for Vec<T> {
    fn read(cursor: &mut Cursor<'_>, what: &str) -> Result<Self, Diag> {
        cursor.expect("[")?;
        cursor.short_list("]", MAX_ITEMS, |c| T::read(c, what))
    }

    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (i, item) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            item.write(f)?;
        }
        f.write_char(']')
    }
}

/// Arguments that are one of a few words.
macro_rules! words {
    ($ty:ty: $($word:literal = $value:path),+) => {
        impl crate::schedule::text::Argument for $ty {
            fn read(
                cursor: &mut tcc_ir::text::Cursor<'_>,
                _: &str,
            ) -> Result<Self, tcc_ir::diag::Diag> {
                $(if cursor.accept($word) {
                    return Ok($value);
                })+
                Err(cursor.expected(&[$(concat!("`", $word, "`")),+].join(" or ")))
            }

            fn write(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $($value => $word),+ })
            }
        }
    };
}
pub(super) use words;

words!(Space: "global" = Space::Global, "shared" = Space::Shared, "stack" = Space::Stack,
    "register" = Space::Register);

/// Reads the arguments of a step one after the other.
pub(super) struct Arguments<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    count: usize,
}

impl<'c, 'a> Arguments<'c, 'a> {
    /// Takes the opening parenthesis.
    pub(super) fn open(cursor: &'c mut Cursor<'a>) -> Result<Self, Diag> {
        cursor.expect("(")?;
        Ok(Arguments { cursor, count: 0 })
    }

    /// The next argument.
    pub(super) fn next<T: Argument>(&mut self, what: &str) -> Result<T, Diag> {
        if self.count > 0 {
            self.cursor.expect(",").map_err(|_| self.cursor.expected(&format!("`,` and `{what}`")))?;
        }
        self.count += 1;
        T::read(self.cursor, what)
    }

    /// Takes the closing parenthesis.
    pub(super) fn close(&mut self) -> Result<(), Diag> {
        self.cursor.expect(")")
    }

    /// Takes the arrow before the names that the step gives.
    pub(super) fn arrow(&mut self) -> Result<(), Diag> {
        self.count = 0;
        self.cursor.expect("->")
    }
}

/// Writes arguments with commas between them.
pub(super) fn write_arguments(f: &mut Formatter<'_>, items: &[&dyn WriteArgument]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item.write_argument(f)?;
    }
    Ok(())
}

/// [`Argument::write`] for arguments of different types in one list.
pub(super) trait WriteArgument {
    /// Writes it.
    fn write_argument(&self, f: &mut Formatter<'_>) -> fmt::Result;
}

impl<T: Argument> WriteArgument for T {
    fn write_argument(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_reads_back() {
        let text = "schedule @\"a b\" {\n  fuse([i, j]) -> e\n  split(e, 4096, bound) -> [tile, e]\n  \
                    cut(k, [1, N - 1]) -> [k0, k1, k2]\n  vectorise(e)\n}\nschedule @f {\n}\n";
        let schedules = parse_schedules(text).unwrap_or_else(|d| panic!("{}", d.render("text", text)));
        assert_eq!(schedules.iter().map(ToString::to_string).collect::<String>(), text);
    }

    #[test]
    fn errors_say_what_was_expected_and_where() {
        for (text, expected, at) in [
            ("splat(i)", "expected the name of a step, got `splat`", 0),
            ("split(i)", "expected `,` and `factor`, got `)`", 7),
            ("split(i, x, peel)", "expected a number, got `x`", 9),
            ("split(i, 8, pool) -> [a]", "expected `bound` or `peel` or `guard`, got `pool`", 12),
            ("split(i, 8, peel)", "expected `->`, got the end of the text", 17),
            ("fuse(i) -> e", "expected `[`, got `i`", 5),
        ] {
            let diags = parse_steps(text).unwrap_err();
            let diag = &diags.0[0];
            assert!(diag.message.starts_with(expected), "{text}: {diag}");
            assert_eq!(diag.span.map(|s| s.start), Some(at), "{text}");
        }
    }
}
