//! One client stream: what waits to be handed to it, and how much it can take.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use store_machine::revision::Revision;

use crate::batch::{Batch, StreamId, WatchId};

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    /// Batches it can still be handed.
    pub(crate) credit: usize,
    /// What the next drain hands out, in order. Events and progress enter only while there are fewer batches
    /// than credit; answers to the client's own requests always enter.
    pub(crate) queue: VecDeque<Batch>,
    /// All its watchers, by id, with their places in the hub.
    pub(crate) watchers: BTreeMap<WatchId, u32>,
    /// Watchers a compaction ended. Until the client cancels them their ids stay taken, as in etcd, and the cancel is
    /// answered: client libraries wait for that answer.
    pub(crate) ended: BTreeSet<WatchId>,
    /// Its lagging watchers by the revision they need next.
    pub(crate) lagging: BTreeSet<(Revision, u32)>,
    /// Where its watchers asked to start; those that progress has passed are dropped when looked at.
    pub(crate) starts: BTreeSet<(Revision, u32)>,
    /// Progress requests not yet answered.
    pub(crate) asked: Option<Asked>,
    /// Which of its lagging watchers had the last turn; turns go from the front to the back.
    pub(crate) turn: Revision,
    /// Where it stands in the hub's set of hungry streams; see [`Stream::wanted`].
    pub(crate) hungry: Option<(Revision, Revision)>,
    /// The next drain looks at it.
    pub(crate) dirty: bool,
    /// Lowest id not yet given out.
    pub(crate) id_next: i64,
}

/// Current revisions at the time of the oldest and of the newest unanswered progress request. An answer that covers
/// the oldest is due; requests in between are covered with it, so that no number of them takes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) oldest: Revision,
    pub(crate) newest: Revision,
}

impl Stream {
    pub(crate) const fn new(id: StreamId, credit: usize) -> Self {
        Self {
            id,
            credit,
            queue: VecDeque::new(),
            watchers: BTreeMap::new(),
            ended: BTreeSet::new(),
            lagging: BTreeSet::new(),
            starts: BTreeSet::new(),
            asked: None,
            turn: Revision(0),
            hungry: None,
            dirty: false,
            id_next: 0,
        }
    }

    /// Another batch of events or progress may enter the queue.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < self.credit
    }

    /// The revisions needed next by its hindmost lagging watcher and by the one whose turn it is; `None` when
    /// nobody lags or nothing can be handed out. Two, so that on one stream, too, a watcher that is nearly there
    /// does not wait for one that is far behind.
    pub(crate) fn wanted(&self) -> Option<(Revision, Revision)> {
        let (hindmost, _) = *self.lagging.first().filter(|_| self.has_room())?;
        let (foremost, _) = *self.lagging.last()?;
        let turn = self
            .lagging
            .range(..(self.turn, 0))
            .next_back()
            .map_or(foremost, |(next, _)| *next);
        Some((hindmost, turn))
    }

    /// The id for a new watcher; `None` when the wanted one cannot be had.
    pub(crate) fn pick_id(&mut self, wanted: WatchId) -> Option<WatchId> {
        if wanted.0 != 0 {
            return (wanted != WatchId::NONE && !self.is_taken(wanted)).then_some(wanted);
        }
        while self.is_taken(WatchId(self.id_next)) {
            self.id_next += 1;
        }
        self.id_next += 1;
        Some(WatchId(self.id_next - 1))
    }

    fn is_taken(&self, id: WatchId) -> bool {
        self.watchers.contains_key(&id) || self.ended.contains(&id)
    }

    /// Answers a progress request if it is due: all watchers have everything up to the revision that was current
    /// when it was made, and none starts above what the answer says.
    ///
    /// etcd answers only if all are synced at the moment of the request, and else never: there one
    /// watcher that never quite catches up silences the stream (etcd issue 20242). Here it has to reach one
    /// fixed revision, which takes finite work. A watcher with a start in the future does hold the answer back,
    /// as it must not be told about revisions below its start (etcd issue 20221).
    pub(crate) fn answer_progress(&mut self, current: Revision) {
        let Some(asked) = self.asked else { return };
        if self.watchers.is_empty() {
            // Nobody to tell, as in etcd.
            self.asked = None;
            return;
        }
        if !self.has_room() {
            return;
        }
        let handed = self
            .lagging
            .first()
            .map_or(current, |(next, _)| Revision(next.0 - 1));
        while self
            .starts
            .first()
            .is_some_and(|(start, _)| *start <= handed)
        {
            self.starts.pop_first();
        }
        if handed < asked.oldest || !self.starts.is_empty() {
            return;
        }
        self.queue.push_back(Batch::Progress {
            id: WatchId::NONE,
            revision: handed,
        });
        self.asked = (handed < asked.newest).then_some(Asked {
            oldest: asked.newest,
            ..asked
        });
    }
}
