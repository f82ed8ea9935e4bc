//! Diagnostics: what is wrong with a text, where, and what was expected.
//!
//! Checks collect [`Diag`]s rather than stop at the first. A diagnostic knows its place as a byte range of the
//! text it came from; [`Diags::render`] draws the line with a caret under it.

use std::fmt;

/// A byte range of a source text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end`; offsets beyond 4 GiB are clamped.
    pub fn new(start: usize, end: usize) -> Span {
        let clamp = |v: usize| u32::try_from(v).unwrap_or(u32::MAX);
        Span { start: clamp(start), end: clamp(end) }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diag {
    /// Where, if it came from text.
    pub span: Option<Span>,
    /// What was being looked at when there is no text: a node, a value, a field.
    pub place: Option<String>,
    /// The violated constraint (`C1`) or the kind of problem (`syntax`).
    pub code: &'static str,
    /// In lower case, without a full stop: expected …, got ….
    pub message: String,
}

impl Diag {
    /// A problem at a place in the text.
    pub fn at(span: Span, code: &'static str, message: impl Into<String>) -> Diag {
        Diag { span: Some(span), place: None, code, message: message.into() }
    }

    /// A problem of a named thing.
    pub fn of(place: impl Into<String>, code: &'static str, message: impl Into<String>) -> Diag {
        Diag { span: None, place: Some(place.into()), code, message: message.into() }
    }
}

impl fmt::Display for Diag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: ", self.code)?;
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// All problems found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diags(pub Vec<Diag>);

/// After this many problems in one text a reader is better served by mending the first ones.
pub const MAX_DIAGS: usize = 100;

impl Diags {
    /// Adds a problem.
    pub fn push(&mut self, diag: Diag) {
        self.0.push(diag);
    }

    /// Whether there are so many that looking further helps nobody.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX_DIAGS
    }

    /// `Ok` if nothing was found.
    pub fn into_result(self) -> Result<(), Diags> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The problems with their source lines, ready for a terminal.
    pub fn render(&self, file: &str, source: &str) -> String {
        use fmt::Write;
        let mut out = String::new();
        for diag in &self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{diag}");
            match diag.span {
                Some(span) => render_line(&mut out, file, source, span),
                None => {
                    let _ = writeln!(out, " --> {file}");
                }
            }
        }
        if self.is_full() {
            let _ = writeln!(out, "stopped after {MAX_DIAGS} errors");
        }
        out
    }
}

/// A line longer than this is shown only around the problem.
const SHOWN_WIDTH: usize = 120;

fn render_line(out: &mut String, file: &str, source: &str, span: Span) {
    use fmt::Write;
    let (line, column, text) = locate(source, span.start as usize);
    let number = line.to_string();
    let (shown, offset) = excerpt(text, column - 1);
    let width = (span.end.saturating_sub(span.start) as usize)
        .clamp(1, shown.chars().count().saturating_sub(offset).max(1));
    let pad = " ".repeat(number.len());
    let _ = writeln!(out, "{pad}--> {file}:{line}:{column}");
    let _ = writeln!(out, "{number} | {shown}");
    let _ = writeln!(out, "{pad} | {}{}", " ".repeat(offset), "^".repeat(width));
}

/// Line and column, both from 1 and in characters, and the text of the line.
pub fn locate(source: &str, at: usize) -> (usize, usize, &str) {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    let before = &source[..at];
    let start = before.rfind('\n').map_or(0, |p| p + 1);
    let end = source[at..].find('\n').map_or(source.len(), |p| at + p);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    (line, before[start..].chars().count() + 1, source[start..end].trim_end())
}

/// The part of a line around a column, with control characters made visible as spaces.
fn excerpt(text: &str, column: usize) -> (String, usize) {
    let from = column.saturating_sub(SHOWN_WIDTH / 2);
    let shown = text.chars().skip(from).take(SHOWN_WIDTH);
    (shown.map(|c| if c.is_control() { ' ' } else { c }).collect(), column - from)
}

impl fmt::Display for Diags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diag) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diag}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diags {}

impl From<Diag> for Diags {
    fn from(diag: Diag) -> Diags {
        Diags(vec![diag])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_text() {
        let diags = Diags::from(Diag::at(Span::new(9, 12), "syntax", "expected `(`, got `bar`"));
        assert_eq!(
            diags.render("a.tcc", "foo\n  x = bar\n"),
            "error[syntax]: expected `(`, got `bar`\n --> a.tcc:2:6\n2 |   x = bar\n  |      ^^^\n"
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let source = "x".repeat(10_000);
        let text = Diags::from(Diag::at(Span::new(5_000, 5_001), "syntax", "m")).render("f", &source);
        assert!(text.len() < 400, "{text}");
    }
}
