//! Two servers that are asked the same, and where they first differ.

use std::fmt;
use std::time::{Duration, Instant};

use end_to_end::store::Maker;
use store_proto::etcdserverpb as pb;

use crate::excuse::{self, Series};
use crate::operation::{Act, Operation, Reached};
use crate::peer::{GUARD, Peer};

/// How long the streams of both may take to tell the same: etcd catches up watchers that lag ten times a second.
const AGREE_WITHIN: Duration = Duration::from_secs(6);
/// How long streams that agree are listened to for something that should not come; once per sequence.
const QUIET: Duration = Duration::from_millis(120);
/// The row of what is told to a whole stream.
const PROGRESS: i64 = -1;
const POLL: Duration = Duration::from_millis(2);

/// Root's password, in every sequence.
pub(crate) const ROOT_PASSWORD: &str = "root-secret";

/// Ours and a real one.
pub(crate) struct Pair {
    ours: Peer,
    theirs: Peer,
    reached: Reached,
}

/// Where they part.
pub(crate) struct Difference {
    /// Which step.
    pub(crate) at: usize,
    /// The step as it was sent.
    pub(crate) operation: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

impl Difference {
    /// What is the same in two differences of one kind: who was granted what, and the words of refusals.
    pub(crate) fn kind(&self) -> (String, String) {
        let words = |answer: &str| {
            if answer.starts_with('{') {
                return String::new();
            }
            answer.chars().filter(|c| c.is_alphabetic()).collect()
        };
        (words(&self.ours), words(&self.theirs))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "step {}: {}", self.at, cut(&self.operation))?;
        writeln!(out, "  theirs: {}", cut(&self.theirs))?;
        write!(out, "  ours:   {}", cut(&self.ours))
    }
}

/// Enough to see what it is about.
pub(crate) fn cut(text: &str) -> String {
    let shown: String = text.chars().take(1500).collect();
    if shown.len() < text.len() {
        shown + "…"
    } else {
        shown
    }
}

impl Pair {
    /// Both on new data.
    pub(crate) async fn start(muster: &Maker, series: Series) -> Self {
        let (ours, theirs) =
            futures::join!(Peer::start(muster.clone()), Peer::start(series.maker()));
        Self {
            ours,
            theirs,
            reached: Reached {
                current: 1,
                ..Reached::default()
            },
        }
    }

    /// Takes all steps.
    ///
    /// # Errors
    /// The first that had different outcomes.
    pub(crate) async fn run(&mut self, operations: &[Operation]) -> Result<(), Difference> {
        for (at, operation) in operations.iter().enumerate() {
            self.take(at, operation).await?;
        }
        self.agree(operations.len()).await
    }

    async fn take(&mut self, at: usize, operation: &Operation) -> Result<(), Difference> {
        let resolved = self.reached.resolve(operation);
        if self.disturbs_watchers(&resolved.act) {
            self.agree(at).await?;
        }
        let (ours, theirs) = futures::join!(
            self.ours.take(resolved.clone()),
            self.theirs.take(resolved.clone())
        );
        if let Some(revision) = theirs.revision() {
            self.reached.current = self.reached.current.max(revision);
        }
        if let (Act::Compact(compact), true) = (&resolved.act, theirs.granted()) {
            self.reached.compacted = compact.revision;
        }
        if let (Act::Campaign(_), Some(revision)) = (&resolved.act, theirs.elected()) {
            self.reached.elected = revision;
        }
        if ours == theirs || excuse::of(&resolved.act, &ours, &theirs).is_some() {
            return Ok(());
        }
        Err(Difference {
            at,
            operation: format!("{resolved:?}"),
            ours: ours.to_string(),
            theirs: theirs.to_string(),
        })
    }

    /// Must watchers have been told all before this step, for its outcome to be the same on both?
    fn disturbs_watchers(&self, act: &Act) -> bool {
        use pb::watch_request::RequestUnion;
        let watched = !self.theirs.streams().is_empty();
        watched
            && match act {
                Act::Compact(_) => true,
                Act::Watch { request, .. } => !matches!(request, RequestUnion::CreateRequest(_)),
                _ => false,
            }
    }

    /// Waits until the streams of both have told the same, the present included.
    async fn agree(&mut self, at: usize) -> Result<(), Difference> {
        if self.theirs.streams().is_empty() {
            return Ok(());
        }
        let guarded = self.guard().await;
        let start = Instant::now();
        let mut since = None;
        loop {
            let behind = guarded.and_then(|revision| self.behind(revision));
            match behind.or_else(|| self.streams_differ()) {
                None => {
                    let since = *since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= QUIET {
                        return Ok(());
                    }
                }
                Some((ours, theirs)) => {
                    since = None;
                    if start.elapsed() > AGREE_WITHIN {
                        return Err(Difference {
                            at,
                            operation: "what watchers were told".to_owned(),
                            ours,
                            theirs,
                        });
                    }
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Writes the key every stream watches, if the sequence's state lets it, and gives the revision.
    async fn guard(&mut self) -> Option<i64> {
        let put = Act::Put(pb::PutRequest {
            key: GUARD.into(),
            ..Default::default()
        });
        let put = Operation::new(Some("root"), put);
        let (ours, theirs) = futures::join!(self.ours.take(put.clone()), self.theirs.take(put));
        let revision = ours.revision().and(theirs.revision())?;
        self.reached.current = revision;
        Some(revision)
    }

    /// Which stream has not been told of the guard's last write.
    fn behind(&self, revision: i64) -> Option<(String, String)> {
        let lacks = |peer: &Peer| {
            let mut lacking = peer
                .streams()
                .iter()
                .filter(|(_, stream)| stream.lacks(revision));
            lacking.next().map(|(number, _)| *number)
        };
        let (ours, theirs) = (lacks(&self.ours), lacks(&self.theirs));
        let told = |lacking: Option<usize>| match lacking {
            None => format!("all streams reached revision {revision}"),
            Some(number) => format!("stream {number} was not told of revision {revision}"),
        };
        (ours.or(theirs).is_some()).then(|| (told(ours), told(theirs)))
    }

    fn streams_differ(&self) -> Option<(String, String)> {
        for (number, ours) in self.ours.streams() {
            let broken = ours.broken();
            if !broken.is_empty() {
                return Some((broken.join("; "), "no such promise broken".to_owned()));
            }
            let theirs = self.theirs.streams().get(number)?;
            let (ours, theirs) = (ours.told(), theirs.told());
            if ours.1 != theirs.1 {
                return Some((format!("{:?}", ours.1), format!("{:?}", theirs.1)));
            }
            let ids = ours.0.keys().chain(theirs.0.keys());
            for id in ids {
                let none = Vec::new();
                let ours = excuse::told(ours.0.get(id).unwrap_or(&none));
                let theirs = excuse::told(theirs.0.get(id).unwrap_or(&none));
                let excused = match *id {
                    PROGRESS => excuse::progress(&ours, &theirs),
                    _ => excuse::deletes_at_compaction(&ours, &theirs),
                };
                if ours != theirs && !excused {
                    let common = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
                    let show = |row: &[serde_json::Value]| {
                        let rest: Vec<_> = row[common..].iter().map(ToString::to_string).collect();
                        format!("stream {number} watcher {id} from its message {common}: {rest:?}")
                    };
                    return Some((show(&ours), show(&theirs)));
                }
            }
        }
        None
    }

    /// Makes both as good as new. False when they are no longer the same, or cannot be cleared.
    pub(crate) async fn clear(&mut self) -> bool {
        let (ours, theirs) = futures::join!(
            self.ours.clear(ROOT_PASSWORD),
            self.theirs.clear(ROOT_PASSWORD)
        );
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => {
                self.reached.current = theirs;
                true
            }
            _ => false,
        }
    }
}
