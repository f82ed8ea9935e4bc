//! Why a command did not do what was asked, and how that is said.

use std::path::PathBuf;

use serde_json::{Value, json};
use tcc_ir::diag::{Diags, locate};
use tcc_lowering::pass::RunError;

use super::output::{Output, write_file};

/// The end of a command that failed.
#[derive(Debug)]
pub enum Failure {
    /// A text is wrong, at places in it.
    Text {
        /// The name of the file.
        file: String,
        /// What it holds.
        text: String,
        /// What is wrong.
        diags: Diags,
    },
    /// An input is wrong or unsupported as a whole.
    Input(String),
    /// The command was asked for something that cannot be.
    Usage(String),
    /// The compiler is wrong.
    Bug {
        /// What happened.
        what: String,
        /// A file that shows it.
        reproducer: Option<PathBuf>,
    },
}

impl Failure {
    /// A file could not be read or written.
    pub fn io(path: &str, error: &std::io::Error) -> Failure {
        Failure::Input(format!("{path}: {error}"))
    }

    /// A pipeline came to no end; a mistake in a pass leaves a reproducer.
    pub fn from_run(error: RunError) -> Failure {
        match error {
            RunError::Broken(broken) => {
                let text = broken.reproducer();
                let places = [PathBuf::new(), std::env::temp_dir()];
                let paths = places.iter().map(|place| place.join(broken.file_name()));
                let written = paths.into_iter().find(|path| write_file(path, text.as_bytes()).is_ok());
                Failure::Bug { what: broken.to_string(), reproducer: written }
            }
            other => Failure::Input(other.to_string()),
        }
    }

    /// 1 for a wrong input or compiler, 2 for wrong usage.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Text { .. } | Failure::Input(_) | Failure::Bug { .. } => 1,
        }
    }

    /// Says it on standard error, or as JSON on standard output.
    pub fn report(&self, output: &Output) {
        if output.json {
            output.print(&format!("{}\n", json!({ "errors": self.json() })));
        } else {
            output.error(&self.render());
        }
    }

    fn render(&self) -> String {
        match self {
            Failure::Text { file, text, diags } => diags.render(file, text),
            Failure::Input(message) | Failure::Usage(message) => format!("error: {message}\n"),
            Failure::Bug { what, reproducer } => {
                let at = reproducer.as_ref().map(|p| format!("a reproducer is in {}\n", p.display()));
                format!("{what}\nthis is a bug in tcc; please report it\n{}", at.unwrap_or_default())
            }
        }
    }

    fn json(&self) -> Vec<Value> {
        match self {
            Failure::Text { file, text, diags } => {
                let one = |diag: &tcc_ir::diag::Diag| {
                    let place = diag.span.map(|span| locate(text, span.start as usize));
                    json!({
                        "code": diag.code, "message": diag.message, "file": file, "at": diag.place,
                        "line": place.map(|p| p.0), "column": place.map(|p| p.1),
                    })
                };
                diags.0.iter().map(one).collect()
            }
            Failure::Input(message) => vec![json!({ "code": "input", "message": message })],
            Failure::Usage(message) => vec![json!({ "code": "usage", "message": message })],
            Failure::Bug { what, reproducer } => {
                let path = reproducer.as_ref().map(|p| p.display().to_string());
                vec![json!({ "code": "bug", "message": what, "reproducer": path })]
            }
        }
    }
}
