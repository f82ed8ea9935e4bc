//! Reading models: where they come from and, by their content, what they are.

use std::io::Read;
use std::path::Path;

use tcc_ir::diag::{Diag, Diags, Span};
use tcc_lowering::pass::{Ir, Level};

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

    /// The program that it is the text of.
    pub fn parse(&self) -> Result<Ir, Failure> {
        Ir::parse(&self.text).map_err(|diags| self.failure(diags))
    }
}
