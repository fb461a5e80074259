//! From a put to the changed file: confd on top of a store.

use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use store_proto::etcdserverpb::PutRequest;

use super::{Bout, Case, CaseError, Figures, PUT};
use crate::contender::{Contender, Running};
use crate::cores::Mode;
use crate::lines::Lines;
use crate::sample::{Meter, Sample};
use crate::wire::Heard;

/// Longest wait for a file to follow its key.
const FILE_WAIT_MAX: Duration = Duration::from_secs(10);

/// The key that the file is rendered from.
const KEY: &str = "/bench/value";

/// One file, one key, nothing to check or reload: the way itself.
pub(crate) const KEY_TO_FILE: Case = Case {
    name: "key-to-file",
    about: "put sent to file replaced by `muster confd`, one at a time, quiet period 0; \
            the row names the store below, CPU and memory are confd's",
    modes: &[Mode::Free],
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout),
};

fn run(bout: &Bout<'_>) -> Result<Sample, CaseError> {
    let folder = bout
        .server
        .folder()
        .canonicalize()
        .map_err(failed("find the folder of the run"))?;
    let destination = prepare(&folder).map_err(failed("write the resource and its template"))?;
    let mut rendering = Rendering {
        lines: Lines::connect(&bout.addresses(), 1)?,
        changes: watch(&folder.join("out")).map_err(failed("watch the folder of the file"))?,
        destination,
        number: 0,
        value_bytes: bout.settings.value_bytes,
    };
    rendering.put()?;
    let confdir = folder.display().to_string();
    let confd = bout.agent("confd", &["--confdir", &confdir, "--watch"])?;
    rendering.wait(&confd)?;
    let mut meter = Meter::of_part(confd.id(), bout.server);
    rendering.run_for(bout.settings.warm_up(), &confd, &mut meter)?;
    meter.begin()?;
    rendering.run_for(bout.settings.measured(), &confd, &mut meter)?;
    Ok(meter.finish()?)
}

/// Writes resource and template, and says where the file will be.
fn prepare(folder: &Path) -> std::io::Result<PathBuf> {
    for name in ["conf.d", "templates", "out"] {
        std::fs::create_dir_all(folder.join(name))?;
    }
    let destination = folder.join("out/file");
    let resource = format!(
        "src: bench.tera\ndest: \"{}\"\nkeys: [\"{KEY}\"]\nquiet_min: 0s\nquiet_max: 0s\n",
        destination.display()
    );
    std::fs::write(folder.join("conf.d/bench.yaml"), resource)?;
    let template = format!("value {{{{ getv(key=\"{KEY}\") }}}}\n");
    std::fs::write(folder.join("templates/bench.tera"), template)?;
    Ok(destination)
}

/// Something that becomes readable when a file in `folder` is written or moved there.
fn watch(folder: &Path) -> std::io::Result<OwnedFd> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(
        &changes,
        folder,
        WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE,
    )?;
    Ok(changes)
}

struct Rendering {
    lines: Lines,
    changes: OwnedFd,
    destination: PathBuf,
    /// The value that was put last.
    number: u64,
    value_bytes: usize,
}

impl Rendering {
    fn run_for(
        &mut self,
        duration: Duration,
        confd: &Running,
        meter: &mut Meter,
    ) -> Result<(), CaseError> {
        let start = Instant::now();
        while start.elapsed() < duration {
            let sent = Instant::now();
            self.put()?;
            self.wait(confd)?;
            meter.count(sent.elapsed());
            self.answer()?;
        }
        Ok(())
    }

    /// Sends a put with the next value.
    fn put(&mut self) -> Result<(), CaseError> {
        self.number += 1;
        let request = PutRequest {
            key: KEY.into(),
            value: self.value().into(),
            ..PutRequest::default()
        };
        self.lines
            .get(0)
            .call(self.number, PUT, &request.encode_to_vec(), false);
        self.lines.flush(0)?;
        Ok(())
    }

    fn value(&self) -> String {
        format!("{:0width$}", self.number, width = self.value_bytes)
    }

    /// Waits until the file holds the value put last.
    fn wait(&self, confd: &Running) -> Result<(), CaseError> {
        let deadline = Instant::now() + FILE_WAIT_MAX;
        let expected = format!("value {}\n", self.value());
        let mut content = String::new();
        loop {
            content.clear();
            let read = File::open(&self.destination)
                .and_then(|mut file| file.read_to_string(&mut content));
            if read.is_ok() && content == expected {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CaseError::Idle {
                    what: "wait for the file to follow its key",
                    log: confd.last_words(),
                });
            }
            self.changed(left)
                .map_err(|error| failed("wait for the file")(error.into()))?;
        }
    }

    /// Waits until something in the folder changes.
    fn changed(&self, longest: Duration) -> rustix::io::Result<()> {
        let longest = Timespec {
            tv_sec: longest.as_secs() as i64,
            tv_nsec: i64::from(longest.subsec_nanos()),
        };
        let mut waits = [PollFd::from_borrowed_fd(
            self.changes.as_fd(),
            PollFlags::IN,
        )];
        rustix::event::poll(&mut waits, Some(&longest))?;
        // What changed does not matter, the file is looked at anyway.
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.changes, &mut buffer);
        loop {
            match events.next() {
                Ok(_) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the put's answer, which may well have come before the file.
    fn answer(&mut self) -> Result<(), CaseError> {
        let (mut ready, mut heard) = (Vec::new(), Vec::new());
        let deadline = Instant::now() + FILE_WAIT_MAX;
        while Instant::now() < deadline {
            self.lines.wait(FILE_WAIT_MAX, &mut ready)?;
            self.lines.get(0).receive(&mut heard)?;
            self.lines.flush(0)?;
            if heard.iter().any(|said| {
                *said
                    == Heard::Ended {
                        tag: self.number,
                        messages: 1,
                    }
            }) {
                return Ok(());
            }
        }
        Err(CaseError::Unexpected {
            what: "did not answer a put".to_owned(),
        })
    }
}

fn failed(operation: &'static str) -> impl FnOnce(std::io::Error) -> CaseError {
    move |source| CaseError::File { operation, source }
}
