//! Reading models: where they come from and, by their content, what they are.

use std::io::Read;
use std::path::Path;

use tcc_ir::diag::{Diag, Diags, Span};
use tcc_ir::text::Cursor;
use tcc_lowering::pass::{Ir, Level};
use tcc_lowering::schedule::parse_schedules;

use super::Failure;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text of a level.
    Text(Level),
    /// A JSON object.
    Json,
    /// Neither, nor readable as text: a serialised ONNX model, as far as can be told.
    Binary,
    /// Text that begins like none of these.
    Unknown,
}

/// Bytes with the name they are known by.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path, or `<stdin>`.
    pub name: String,
    /// The content; of what is no text, only as much of it as tells what it is.
    pub bytes: Vec<u8>,
}

/// A source that is text.
#[derive(Clone, Debug)]
pub struct Text {
    /// The path, or `<stdin>`.
    pub name: String,
    /// The content.
    pub text: String,
}

/// Texts beyond this are refused, since all of a text is in memory while it is read.
const MAX_TEXT: u64 = 1 << 30;

/// So much of a file tells what it is.
const SNIFFED: usize = 1 << 16;

impl Source {
    /// Reads a file, or standard input for `-`.
    pub fn read(path: &str) -> Result<Source, Failure> {
        let io = |e: std::io::Error| Failure::io(path, &e);
        let mut bytes = Vec::new();
        let (name, reader): (&str, Box<dyn Read>) = match path {
            "-" => ("<stdin>", Box::new(std::io::stdin().lock())),
            path => (path, Box::new(std::fs::File::open(Path::new(path)).map_err(io)?)),
        };
        let mut reader = reader.take(MAX_TEXT + 1);
        reader.by_ref().take(SNIFFED as u64).read_to_end(&mut bytes).map_err(io)?;
        let mut source = Source { name: name.to_owned(), bytes };
        // Who reads binary models maps them, however large they are.
        if source.format() == Format::Binary && path != "-" {
            return Ok(source);
        }
        reader.read_to_end(&mut source.bytes).map_err(io)?;
        if source.bytes.len() as u64 > MAX_TEXT {
            return Err(Failure::Input(format!("{name}: expected at most {MAX_TEXT} bytes, got more")));
        }
        Ok(source)
    }

    /// What it holds, by its first bytes.
    pub fn format(&self) -> Format {
        let head = &self.bytes[..self.bytes.len().min(SNIFFED)];
        let text = match std::str::from_utf8(head) {
            Ok(text) => text,
            // A character may be cut by the end of the head.
            Err(e) if e.error_len().is_none() && e.valid_up_to() > 0 => {
                std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return Format::Binary,
        };
        if text.contains('\0') || text.starts_with('\u{8}') {
            return Format::Binary;
        }
        if text.trim_start().starts_with('{') {
            return Format::Json;
        }
        Level::of(text).map_or(Format::Unknown, Format::Text)
    }

    /// The content as text; bytes that are none are an error with their place.
    pub fn into_text(self) -> Result<Text, Failure> {
        match String::from_utf8(self.bytes) {
            Ok(text) => Ok(Text { name: self.name, text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let byte = error.as_bytes().get(at).copied().unwrap_or(0);
                let text = String::from_utf8_lossy(&error.as_bytes()[..at]).into_owned();
                let message = format!("expected UTF-8, got the byte 0x{byte:02x}");
                let diags = Diags::from(Diag::at(Span::new(at, at + 1), "encoding", message));
                Err(Failure::Text { file: self.name, text, diags })
            }
        }
    }
}

impl Text {
    /// Reads a text file, or standard input for `-`.
    pub fn read(path: &str) -> Result<Text, Failure> {
        Source::read(path)?.into_text()
    }

    /// A failure at places of this text.
    pub fn failure(&self, diags: Diags) -> Failure {
        Failure::Text { file: self.name.clone(), text: self.text.clone(), diags }
    }

    /// The programs that it is the text of, each begun on a line of its own. A schedule among them is applied to the
    /// nest of its name; the problems of all are reported together.
    pub fn parse(&self) -> Result<Vec<Ir>, Failure> {
        let (mut all, mut diags) = (Vec::new(), Diags::default());
        let mut schedules = Vec::new();
        for (start, text) in sections(&self.text) {
            let read = if Cursor::new(text).peek(SCHEDULE) {
                parse_schedules(text).map(|found| schedules.extend(found.into_iter().map(|s| (start, s))))
            } else {
                Ir::parse(text).map(|ir| all.push(ir))
            };
            if let Err(found) = read {
                diags.0.extend(found.0.into_iter().map(|diag| moved(diag, start)));
            }
        }
        for (start, schedule) in schedules {
            let same = |ir: &&mut Ir| ir.level() == Level::Nest && ir.name() == schedule.name;
            let place = Span::new(start, start + SCHEDULE.len());
            match all.iter_mut().find(same) {
                Some(Ir::Nest(nest)) => match schedule.apply(nest) {
                    Ok(next) => *nest = next,
                    Err(e) => diags.push(Diag::at(place, "schedule", e.to_string())),
                },
                _ if diags.0.is_empty() => {
                    let message = format!("expected a nest @{} to schedule, got none", schedule.name);
                    diags.push(Diag::at(place, "schedule", message));
                }
                _ => {}
            }
        }
        diags.into_result().map(|()| all).map_err(|diags| self.failure(diags))
    }

    /// The one program that it is the text of.
    pub fn parse_one(&self) -> Result<Ir, Failure> {
        let mut all = self.parse()?;
        match (all.pop(), all.len()) {
            (Some(ir), 0) => Ok(ir),
            (_, more) => {
                Err(Failure::Input(format!("{}: expected one program, got {}", self.name, more + 1)))
            }
        }
    }
}

/// The word that schedules begin with.
const SCHEDULE: &str = "schedule";

/// The parts of a text that begin with `graph @`, `nest @`, `program @` or `schedule @` at the start of a line, with
/// where they start; what stands before the first belongs to it.
fn sections(text: &str) -> Vec<(usize, &str)> {
    let begins = |line: &str| {
        let words = Level::ALL.iter().map(|l| l.keyword()).chain([SCHEDULE]);
        words.into_iter().any(|w| line.strip_prefix(w).is_some_and(|rest| rest.trim_start().starts_with('@')))
    };
    let (mut starts, mut at) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        if begins(line) {
            starts.push(at);
        }
        at += line.len();
    }
    match starts.first_mut() {
        Some(first) => *first = 0,
        None => starts.push(0),
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| (*start, &text[*start..end])).collect()
}

/// A problem of a section as one of the whole text.
fn moved(diag: Diag, by: usize) -> Diag {
    let span = diag.span.map(|s| Span::new(s.start as usize + by, s.end as usize + by));
    Diag { span, ..diag }
}
