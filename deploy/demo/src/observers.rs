//! Three pairs of eyes of the demo's own, none of them muster's: the engine's event stream, a watch on the store, and
//! the file on disk. They write down what they see in the journal and decide nothing.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use end_to_end::programs;
use etcd_client::{Client, EventType, GetOptions, WatchOptions};
use tokio::sync::oneshot;

use crate::journal::Journal;

/// 1 ms: the resolution of "file on disk" in the report.
const FILE_POLL: Duration = Duration::from_millis(1);
/// Where registrations stand.
const REGISTRY_PREFIX: &str = "/services/";

/// All three; they stop when dropped.
pub(crate) struct Observers {
    engine: Child,
    stop: Arc<AtomicBool>,
    stop_store: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Observers {
    /// Starts watching.
    ///
    /// # Errors
    /// When an observer cannot be started.
    pub(crate) fn start(journal: &Journal, endpoint: &str, file: PathBuf) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stop_store, stopped) = oneshot::channel();
        let (engine, engine_thread) = watch_engine(journal.clone())?;
        let store_thread = watch_store(journal.clone(), endpoint.to_owned(), stopped)?;
        let file_thread = watch_file(journal.clone(), file, Arc::clone(&stop));
        let threads = vec![engine_thread, store_thread, file_thread];
        Ok(Self {
            engine,
            stop,
            stop_store: Some(stop_store),
            threads,
        })
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.stop_store.take());
        let _ = self.engine.kill();
        let _ = self.engine.wait();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Reads `docker events`: a line per event, with the engine's own time.
fn watch_engine(journal: Journal) -> Result<(Child, JoinHandle<()>), String> {
    let mut command = Command::new(programs::system("docker"));
    command.args([
        "events",
        "--filter",
        "type=container",
        "--format",
        "{{.TimeNano}} {{.Action}} {{.Actor.ID}}",
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|cause| format!("run docker events: {cause}"))?;
    let pipe = child.stdout.take();
    let thread = std::thread::spawn(move || {
        for line in pipe
            .into_iter()
            .flat_map(|pipe| BufReader::new(pipe).lines())
            .map_while(Result::ok)
        {
            let mut words = line.split(' ');
            if let (Some(Ok(nanos)), Some(action), Some(id)) =
                (words.next().map(str::parse), words.next(), words.next())
            {
                let when = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
                journal.engine_said(&id[..id.len().min(12)], action, when);
            }
        }
    });
    Ok((child, thread))
}

/// Lists and watches the registry until `stopped`; gives up quietly when the store goes, as it does at the end.
fn watch_store(
    journal: Journal,
    endpoint: String,
    stopped: oneshot::Receiver<()>,
) -> Result<JoinHandle<()>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| format!("start the store's observer: {cause}"))?;
    Ok(std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                // Either ends the observer; what the other was doing need not be finished.
                outcome = follow(&journal, &endpoint) => if let Err(cause) = outcome {
                    eprintln!("the demo's own watch on the store ended: {cause}");
                },
                _ = stopped => {}
            }
        });
    }))
}

async fn follow(journal: &Journal, endpoint: &str) -> Result<(), etcd_client::Error> {
    let mut client = Client::connect([endpoint], None).await?;
    let listed = client
        .get(REGISTRY_PREFIX, Some(GetOptions::new().with_prefix()))
        .await?;
    let now = SystemTime::now();
    for kv in listed.kvs() {
        journal.store_said(&kv.key_lossy(), Some(&kv.value_lossy()), now);
    }
    let from = listed
        .header()
        .map_or(0, etcd_client::ResponseHeader::revision)
        + 1;
    let options = WatchOptions::new().with_prefix().with_start_revision(from);
    let mut stream = client.watch(REGISTRY_PREFIX, Some(options)).await?;
    while let Some(response) = stream.message().await? {
        let now = SystemTime::now();
        for event in response.events() {
            if let Some(kv) = event.kv() {
                let value = (event.event_type() == EventType::Put).then(|| kv.value_lossy());
                journal.store_said(&kv.key_lossy(), value.as_deref(), now);
            }
        }
    }
    Ok(())
}

/// Looks at the file every millisecond and keeps each new content.
fn watch_file(journal: Journal, file: PathBuf, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut last = String::new();
        while !stop.load(Ordering::Relaxed) {
            // It is replaced by a rename, so a read sees one whole version.
            if let Ok(text) = std::fs::read_to_string(&file)
                && text != last
            {
                journal.file_reads(text.clone(), SystemTime::now());
                last = text;
            }
            std::thread::sleep(FILE_POLL);
        }
    })
}

/// The key and value of an entry as text; the registry writes nothing else.
trait Lossy {
    fn key_lossy(&self) -> String;
    fn value_lossy(&self) -> String;
}

impl Lossy for etcd_client::KeyValue {
    fn key_lossy(&self) -> String {
        String::from_utf8_lossy(self.key()).into_owned()
    }

    fn value_lossy(&self) -> String {
        String::from_utf8_lossy(self.value()).into_owned()
    }
}
