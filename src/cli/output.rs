//! What the command line says, and the files it leaves.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How much is said, and in which form.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Output {
    /// Print reports and errors as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more; may be repeated.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but errors and results.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

impl Output {
    /// Writes a result to standard output; a reader that has left is no error.
    pub fn print(&self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Says something about the work, unless told to be quiet.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// Says something that only the curious want to know.
    pub fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.error(text);
        }
    }

    /// Writes to standard error.
    pub fn error(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// A line on the terminal that says how far a long piece of work is.
    pub fn progress(&self) -> Progress {
        let shown = !self.quiet && io::stderr().is_terminal();
        Progress { start: Instant::now(), last: None, shown }
    }
}

/// See [`Output::progress`]. Nothing is shown of work that is done within a second, nor where nobody looks.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    last: Option<Instant>,
    shown: bool,
}

const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(100);

impl Progress {
    /// Shows where the work is.
    pub fn at(&mut self, what: &str) {
        let due = self.last.map_or(self.start.elapsed() > PATIENCE, |last| last.elapsed() > INTERVAL);
        if self.shown && due {
            self.last = Some(Instant::now());
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{what}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

/// Writes a whole file or leaves what was there: readers never see a part.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::other("expected the name of a file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let temporary = directory.join(hidden);
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
