//! A program that runs with its output in a file; killed, by its id, when it is dropped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::StartError;

/// Bytes of the output that are shown when something goes wrong.
const WORDS_BYTES: u64 = 2000;

/// A program that was started, and may have ended since.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` with its output in the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Running, StartError> {
        let create = |source| StartError::Folder {
            operation: "create",
            path: log.to_owned(),
            source,
        };
        let output = File::create(log).map_err(create)?;
        let errors = output.try_clone().map_err(create)?;
        let program = PathBuf::from(command.get_program());
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|source| StartError::Run { program, source })?;
        Ok(Running {
            child,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal; nothing happens once it has been seen to end.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = kill_process(id, signal);
        }
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of its output.
    pub(crate) fn last_words(&self) -> String {
        let mut words = Vec::new();
        if let Ok(mut log) = File::open(&self.log) {
            let bytes = log.metadata().map_or(0, |metadata| metadata.len());
            let _ = log.seek(SeekFrom::Start(bytes.saturating_sub(WORDS_BYTES)));
            let _ = log.read_to_end(&mut words);
        }
        String::from_utf8_lossy(&words).trim().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing of the run is wanted any more, so it need not end gently.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
