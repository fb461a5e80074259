//! The recipes with real processes: holders that are killed, stores that restart or lose their leader in the middle,
//! several that want the same. Each runs against our store and against a real etcd, as they are to work with either.

mod coordination;
mod holding;
mod layouts;
mod queues;
mod rust;
mod services;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::process::{Process, Signal};
use end_to_end::store::{Maker, Store};
use end_to_end::wait;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A command that runs for as long as the program that started it, and says its token first.
const WHILE_HELD: &str =
    "echo holding $MUSTER_FENCING_TOKEN; while kill -0 $PPID 2>/dev/null; do sleep 0.05; done";

/// Seconds that the lease of those lives that are killed: long enough for a machine that is busy with other things to keep
/// it, short enough to wait for its end.
const MORTAL: &str = "4";

/// A store and a folder for what commands write.
struct Scene {
    store: Store,
    folder: tempfile::TempDir,
}

/// Plays `act` on a store of ours and on a real etcd, side by side: most of it is waiting.
fn on_both(act: impl Fn(&mut Scene) + Sync) {
    std::thread::scope(|scope| {
        for maker in [Maker::Muster(PathBuf::from(MUSTER)), Maker::Etcd] {
            scope.spawn(|| {
                act(&mut Scene {
                    store: Store::start(maker),
                    folder: tempfile::tempdir().expect("temporary folder"),
                });
            });
        }
    });
}

/// `muster ctl` with these endpoints and words.
fn ctl_at(endpoints: &str, words: &[&str]) -> Command {
    let mut command = Command::new(MUSTER);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .args(["ctl", "--endpoints", endpoints])
        .args(words);
    command
}

/// Exit status, stdout and stderr.
type Said = (i32, String, String);

impl Scene {
    fn ctl(&self, words: &[&str]) -> Command {
        ctl_at(&self.store.endpoint(), words)
    }

    /// Runs it to its end.
    fn said(&self, words: &[&str]) -> Said {
        let output = self
            .ctl(words)
            .stdin(Stdio::null())
            .output()
            .expect("muster runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let (out, err) = (text(output.stdout), text(output.stderr));
        (output.status.code().unwrap_or(-1), out, err)
    }

    /// What it prints when it goes well.
    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        let (status, out, err) = self.said(words);
        assert_eq!(status, 0, "{words:?}: {out}{err}");
        out
    }

    /// Leaves it running.
    fn spawn(&self, words: &[&str]) -> Process {
        Process::spawn(words.join(" "), &mut self.ctl(words))
    }

    /// Waits until a command prints exactly that.
    #[track_caller]
    fn becomes(&self, words: &[&str], wanted: &str) {
        wait::until(&format!("{words:?} to say {wanted:?}"), wait::LONG, || {
            let (_, out, err) = self.said(words);
            if out == wanted {
                Ok(())
            } else {
                Err(format!("{out}{err}"))
            }
        });
    }

    /// Kills the store and starts it again on its data.
    fn restart(&mut self) {
        self.store.kill();
        self.store.restart();
    }

    /// Ends every lease there is.
    fn end_leases(&self) {
        for lease in self.run(&["lease", "list"]).lines().skip(1) {
            self.run(&["lease", "revoke", lease]);
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The lines of a file that a command writes; none while there is no file.
fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The number behind a word that a process says.
#[track_caller]
fn number(process: &mut Process, word: &str) -> i64 {
    let line = process.wait_line(word, wait::LONG);
    let text = line.rsplit(' ').next().unwrap_or_default();
    text.parse().unwrap_or_else(|_| panic!("no number: {line}"))
}

/// Tells it to end, and checks that it does so well.
#[track_caller]
fn ends_well(process: &mut Process) {
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit(wait::LONG).code(), Some(0));
}
