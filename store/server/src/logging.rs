//! What the store says while it runs: to where, in which form, and how much.
//!
//! `json.rs` is the form machines read, `rotation.rs` a file that does not grow for ever, `pace.rs` how often strangers
//! are told of.

mod json;
pub(crate) mod pace;
mod rotation;

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use self::rotation::RotatingFile;
pub use self::rotation::Rotation;

/// What libraries say below a warning helps nobody who did not ask for them by name.
const LIBRARIES: &str =
    "h2=warn,hyper=warn,hyper_util=warn,tower=warn,tonic=warn,rustls=warn,tokio_rustls=warn";

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

/// How the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// Never empty.
    pub outputs: Vec<Output>,
    /// Lines of JSON instead of lines for people.
    pub json: bool,
    /// A level, or pairs such as `info,raft=debug`.
    pub level: String,
    /// When files are begun anew; `None` = never.
    pub rotation: Option<Rotation>,
}

impl Logging {
    /// Sets the log up for the life of the process, unless the program that calls has its own.
    ///
    /// # Errors
    /// When a file cannot be opened; its name stands in the error.
    pub fn start(&self) -> io::Result<()> {
        let directives = if self.level.contains('=') {
            self.level.clone()
        } else {
            format!("{},{LIBRARIES}", self.level)
        };
        let sinks = self.outputs.iter().map(|output| self.sink(output));
        let sinks = Sinks(sinks.collect::<io::Result<_>>()?);
        let to_person = self.outputs == [Output::Stderr] && io::stderr().is_terminal();
        let colours = to_person && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let lines = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(directives))
            .with_writer(Mutex::new(sinks));
        // An error means that there is a log already.
        let _ = if self.json {
            lines.event_format(json::AsEtcd).try_init()
        } else {
            lines.with_target(false).with_ansi(colours).try_init()
        };
        Ok(())
    }

    fn sink(&self, output: &Output) -> io::Result<Box<dyn Write + Send>> {
        Ok(match output {
            Output::Stderr => Box::new(io::stderr()),
            Output::Stdout => Box::new(io::stdout()),
            Output::File(path) => {
                let opened = RotatingFile::open(path, self.rotation.clone());
                Box::new(opened.map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?)
            }
        })
    }
}

/// All outputs at once.
struct Sinks(Vec<Box<dyn Write + Send>>);

impl Write for Sinks {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for sink in &mut self.0 {
            // One that is full does not silence the others.
            let _ = sink.write_all(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(Write::flush)
    }
}
