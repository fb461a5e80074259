//! A Redis server of the test's own, which writes what it holds to a folder that outlives its process.

use std::net::SocketAddr;
use std::process::Command;

use crate::process::Process;
use crate::{port, programs, wait};

/// The server.
pub struct Redis {
    port: u16,
    folder: tempfile::TempDir,
    flags: Vec<String>,
    password: Option<String>,
    process: Option<Process>,
}

impl Redis {
    /// A started server with these settings (as flags), which answers.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn start(flags: &[&str]) -> Self {
        let password = flags.iter().position(|flag| *flag == "--requirepass");
        let password = password.and_then(|at| flags.get(at + 1));
        let mut server = Self {
            port: port::free(),
            folder: tempfile::tempdir().expect("temporary folder"),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            password: password.map(|&password| password.to_owned()),
            process: None,
        };
        server.restart();
        server
    }

    /// Where its clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Ends it and starts it again on its data.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = None;
        let mut command = Command::new(programs::system("redis-server"));
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "always", "--port", &self.port.to_string()])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.flags);
        self.process = Some(Process::spawn("redis", &mut command));
        wait::until("Redis to answer", wait::LONG, || {
            match self.ask(&["PING"]).as_str() {
                "PONG" => Ok(()),
                other => Err(other.to_owned()),
            }
        });
    }

    /// Ends it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// What it answers to a command.
    ///
    /// # Panics
    /// When it is not asked.
    #[track_caller]
    #[must_use]
    pub fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new(programs::system("redis-cli"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if let Some(password) = &self.password {
            command.args(["--no-auth-warning", "-a", password]);
        }
        let output = command.args(words).output().expect("redis-cli runs");
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// Has it do something that it answers with `OK` or a number.
    ///
    /// # Panics
    /// When it refuses.
    #[track_caller]
    pub fn tell(&self, words: &[&str]) {
        let answer = self.ask(words);
        let number = answer.parse::<i64>().is_ok();
        assert!(answer == "OK" || number, "{words:?}: {answer}");
    }
}
