//! One resource on its way: its pass, its quiet period, its retries. What happens when its service does not take the
//! new content is in `refusal.rs`.

mod refusal;

use std::sync::Arc;
use std::time::Duration;

use store_client::backoff::Backoff;
use store_client::mirror::{Change, ChangeKind};

use super::report::{Counts, Phase, Report, Step};
use super::{Done, Effect, Fault, Loaded, Options, Output};
use crate::plan::{Book, ContentHash, Generation, Plan};
use crate::quiet::Quiet;
use crate::reads::ReadSet;
use crate::resource::Resource;
use crate::tree::Scope;

/// First wait after a failed pass. 500 ms: what heals by itself (a service that restarts) does so within seconds.
const RETRY_FLOOR: Duration = Duration::from_millis(500);
/// Longest wait: a fixed cause is noticed within half a minute without anybody telling us.
const RETRY_CEILING: Duration = Duration::from_secs(30);
/// Changes remembered while a render is under way; with more the resource is rendered again without looking.
const UNSEEN_MAX: usize = 1024;

/// What follows a step.
pub(super) enum Next {
    /// The unit has what it needs; nothing is to be done now.
    Nothing,
    /// The next step of this pass.
    Do(Box<dyn FnOnce(String, u64) -> Effect>),
    /// The pass ended well with this content, and the book changed.
    Settled(ContentHash),
    /// The pass ended and the book changed.
    Save,
    /// The pass failed with a file staged.
    Discard,
}

#[derive(Debug)]
pub(super) struct Unit {
    resource: Arc<Resource>,
    scope: Scope,
    version: ContentHash,
    /// The pass under way, or the last one.
    pass: u64,
    at: At,
    /// Revision of the snapshot of the pass under way or the last one.
    rendering_at: i64,
    quiet: Quiet,
    /// A pass is due now, whatever the quiet period says.
    urgent: Option<Duration>,
    /// What the last render read; `None` before the first.
    reads: Option<ReadSet>,
    /// Changes that came while a render was under way; its reads decide about them.
    unseen: Vec<(String, ChangeKind)>,
    /// Content known to be in place and running; a render with this hash is not even compared.
    settled: Option<ContentHash>,
    /// The next pass compares with the disk even if the content is settled.
    thorough: bool,
    backoff: Backoff,
    /// Content that the failed passes since the last good one tried to apply; other content starts the waits anew.
    attempted: Option<ContentHash>,
    retry_at: Option<Duration>,
    /// Content the service was proven to run on when the pass replaced it.
    running: Option<ContentHash>,
    /// Why the content under way is being taken back.
    refused: Option<(Step, Fault)>,
    /// It is a person who takes it back.
    by_hand: bool,
    /// The service took neither new nor old content last: going back helps nothing until it has taken one.
    in_vain: bool,
    /// No pass begins before: the reload of the last one is not long enough ago.
    gate: Option<Duration>,
    resync: Duration,
    resync_at: Option<Duration>,
    stale: Option<(Step, Fault, Duration)>,
    /// The change that began the quiet period: its path and revision.
    woken_by: Option<(String, i64)>,
    /// Why the last pass ran.
    because: String,
    load_fault: Option<Fault>,
    /// A newer version, loaded while a pass is under way; taken over when it ends.
    next: Option<Loaded>,
    /// The resource is gone; the unit goes too when its pass ends.
    pub(super) removed: bool,
    succeeded: Option<(Duration, i64)>,
    counts: Counts,
    notes: Vec<String>,
    would_change: bool,
    once: bool,
    noop: bool,
    sync_only: bool,
    outcome: Option<bool>,
}

/// The step a pass is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Idle,
    Render,
    Stage(ContentHash),
    Check(ContentHash),
    Replace(ContentHash),
    Reload(ContentHash),
    Verify(ContentHash),
    /// The first is taken back, the second put in its place.
    Restore(ContentHash, Generation),
    ReloadRestored(ContentHash, Generation),
    Compare,
}

impl Unit {
    pub(super) fn new(now: Duration, loaded: Loaded, options: &Options, seed: u64) -> Self {
        let resource = loaded.resource;
        Self {
            scope: resource.scope(),
            quiet: Quiet::new(resource.quiet_min, resource.quiet_max),
            resource,
            version: loaded.version,
            pass: 0,
            at: At::Idle,
            rendering_at: 0,
            urgent: Some(now),
            reads: None,
            unseen: Vec::new(),
            settled: None,
            thorough: true,
            backoff: Backoff::new(RETRY_FLOOR, RETRY_CEILING, seed),
            attempted: None,
            retry_at: None,
            running: None,
            refused: None,
            by_hand: false,
            in_vain: false,
            gate: None,
            resync: options.resync,
            resync_at: None,
            stale: None,
            woken_by: None,
            because: String::new(),
            load_fault: None,
            next: None,
            removed: false,
            succeeded: None,
            counts: Counts::default(),
            notes: Vec::new(),
            would_change: false,
            once: options.once,
            noop: options.noop,
            sync_only: options.sync_only,
            outcome: None,
        }
    }

    pub(super) fn pass(&self) -> u64 {
        self.pass
    }

    pub(super) fn is_busy(&self) -> bool {
        self.at != At::Idle
    }

    pub(super) fn outcome(&self) -> Option<bool> {
        (!self.is_busy() && self.urgent.is_none()).then_some(self.outcome?)
    }

    /// When the next pass is due; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.is_busy() || (self.once && self.outcome.is_some()) {
            return None;
        }
        let wishes = [self.urgent, self.quiet.due(), self.retry_at, self.resync_at];
        let due = wishes.into_iter().flatten().min()?;
        // Held back, never dropped: the wish stays until a pass begins.
        Some(self.gate.map_or(due, |gate| due.max(gate)))
    }

    /// A good version was loaded.
    pub(super) fn loaded(&mut self, now: Duration, loaded: Loaded, book: &mut Book) {
        self.removed = false;
        self.load_fault = None;
        if self.is_busy() {
            self.next = Some(loaded);
        } else if loaded.version != self.version {
            self.take_over(now, loaded, book);
        }
    }

    fn take_over(&mut self, now: Duration, loaded: Loaded, book: &mut Book) {
        let resource = loaded.resource;
        book.forgive(&resource.dest);
        self.scope = resource.scope();
        self.quiet = Quiet::new(resource.quiet_min, resource.quiet_max);
        self.version = loaded.version;
        self.resource = resource;
        self.settled = None;
        self.thorough = true;
        self.urgent = Some(now);
    }

    /// The pass ended, well or not.
    fn end(&mut self, now: Duration, book: &mut Book) {
        self.at = At::Idle;
        self.refused = None;
        self.by_hand = false;
        if let Some(next) = self.next.take().filter(|next| next.version != self.version) {
            self.take_over(now, next, book);
        }
    }

    /// A newer version cannot be used.
    pub(super) fn faulty(&mut self, fault: Fault) {
        self.load_fault = Some(fault);
    }

    /// Keys changed; wakes up if they matter.
    pub(super) fn changed(&mut self, now: Duration, changes: &[Change]) {
        let Self {
            scope,
            reads,
            unseen,
            woken_by,
            ..
        } = self;
        let Some(reads) = reads else { return };
        let rendering = self.at == At::Render;
        let mut matters = false;
        for change in changes {
            let kind = change.kind();
            let Some(path) = scope.path(&change.key) else {
                continue;
            };
            matters |= reads.matches(path, kind) || unseen.len() >= UNSEEN_MAX;
            if matters {
                let entry = change.after.as_ref().or(change.before.as_ref());
                let revision = entry.map_or(0, |entry| entry.mod_revision);
                woken_by.get_or_insert_with(|| (path.to_owned(), revision));
                break;
            }
            if rendering {
                unseen.push((path.to_owned(), kind));
            }
        }
        if matters {
            self.quiet.note(now);
        }
    }

    /// A pass begins with rendering.
    pub(super) fn begin(&mut self, now: Duration, pass: u64, revision: i64) {
        if self.resync_at.is_some_and(|at| at <= now) {
            self.thorough = true;
        }
        self.because = self.reason(now);
        self.pass = pass;
        self.running = None;
        self.at = At::Render;
        self.rendering_at = revision;
        self.quiet.fire(now);
        self.urgent = None;
        self.retry_at = None;
        self.resync_at = None;
        self.unseen.clear();
        // Until this render has told what it reads, every change is kept for its decision.
        self.reads.get_or_insert_default();
        self.counts.passes += 1;
    }

    /// Why a pass begins now.
    fn reason(&mut self, now: Duration) -> String {
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        match self.woken_by.take() {
            _ if self.urgent.is_some() => "the resource or its template was loaded".to_owned(),
            Some((path, revision)) => format!("{path} changed at revision {revision}"),
            None if due(self.retry_at) => "the pass before failed".to_owned(),
            None if due(self.quiet.due()) => "keys changed during the pass before".to_owned(),
            None => "file and keys are compared now and then".to_owned(),
        }
    }

    /// A step of the current pass ended.
    pub(super) fn done(&mut self, now: Duration, done: Done, book: &mut Book) -> Next {
        match (self.at, done) {
            (At::Render, Done::Rendered(output)) => self.rendered(now, output, book),
            (At::Stage(hash), Done::Staged(result)) => match result {
                Ok(same) => self.staged(now, hash, same, book),
                Err(fault) => self.failed(now, Step::Stage, fault, book),
            },
            (At::Check(hash), Done::Checked(result)) => match result {
                Ok(()) => self.replace(hash, book),
                Err(fault) => self.failed(now, Step::Check, fault, book),
            },
            (At::Replace(hash), Done::Replaced(result)) => match result {
                Ok(replaced) => {
                    self.notes.extend(replaced.notes);
                    self.counts.replaced += 1;
                    if let Some(found) = replaced.found {
                        book.found(&self.resource.dest, found);
                    }
                    self.reload(now, hash, book)
                }
                Err(fault) => self.failed(now, Step::Replace, fault, book),
            },
            (At::Reload(hash), Done::Reloaded(result)) => match result {
                Ok(()) => {
                    self.counts.reloaded += 1;
                    self.verify(now, hash, book)
                }
                Err(fault) => self.refused(now, hash, Step::Reload, fault, book),
            },
            (At::Verify(hash), Done::Verified(result)) => match result {
                Ok(()) => self.settle(now, hash, book),
                Err(fault) => self.refused(now, hash, Step::Verify, fault, book),
            },
            (At::Restore(bad, good), Done::Restored(result)) => match result {
                Ok(same) => self.put_back(now, bad, good, same, book),
                Err(fault) => {
                    // Nothing to go back to: on with the new one.
                    self.in_vain = true;
                    self.failed(now, Step::Restore, fault, book)
                }
            },
            (At::ReloadRestored(bad, good), Done::Reloaded(result)) => {
                self.restored(now, bad, good, result, book)
            }
            (At::Compare, Done::Compared(result)) => match result {
                Ok(changed) => {
                    self.would_change = changed;
                    self.succeed(now, book);
                    Next::Nothing
                }
                Err(fault) => self.failed(now, Step::Stage, fault, book),
            },
            // An answer to a step that is not under way.
            _ => Next::Nothing,
        }
    }

    fn rendered(&mut self, now: Duration, output: Output, book: &mut Book) -> Next {
        let unseen = std::mem::take(&mut self.unseen);
        if unseen
            .iter()
            .any(|(path, kind)| output.reads.matches(path, *kind))
        {
            self.quiet.note(now);
        }
        self.reads = Some(output.reads);
        self.notes = output.notes;
        if let Some(key) = output.waits_for {
            self.notes
                .push(format!("key {key} does not exist: the file stays as it is"));
            self.succeed(now, book);
            return Next::Nothing;
        }
        let rendered = output
            .result
            .map(|text| (ContentHash::of(text.as_bytes()), text));
        let attempt = rendered.as_ref().ok().map(|(hash, _)| *hash);
        if attempt != self.attempted {
            self.attempted = attempt;
            self.backoff.reset();
        }
        let (hash, text) = match rendered {
            Ok(rendered) => rendered,
            Err(fault) => return self.failed(now, Step::Render, fault, book),
        };
        if self.noop {
            self.at = At::Compare;
            return Next::Do(Box::new(|name, pass| Effect::Compare { name, pass, text }));
        }
        if book.is_bad(&self.resource.dest, hash) {
            return self.stays_back(now, hash, book);
        }
        if self.settled == Some(hash) && !self.thorough {
            self.succeed(now, book);
            return Next::Nothing;
        }
        self.at = At::Stage(hash);
        Next::Do(Box::new(|name, pass| Effect::Stage { name, pass, text }))
    }

    fn staged(&mut self, now: Duration, hash: ContentHash, same: bool, book: &mut Book) -> Next {
        match book.plan(&self.resource.dest, hash, same, self.reloads()) {
            Plan::Nothing => self.settle(now, hash, book),
            Plan::Reload => self.reload(now, hash, book),
            Plan::Replace if self.resource.is_checked() && !self.sync_only => {
                self.at = At::Check(hash);
                Next::Do(Box::new(|name, pass| Effect::Check { name, pass }))
            }
            Plan::Replace => self.replace(hash, book),
        }
    }

    /// Whether there is a service whose state must be proven.
    fn reloads(&self) -> bool {
        self.resource.is_served() && !self.sync_only
    }

    fn replace(&mut self, hash: ContentHash, book: &mut Book) -> Next {
        self.at = At::Replace(hash);
        self.settled = None;
        self.running = book
            .record(&self.resource.dest)
            .and_then(|record| record.reloaded);
        book.begin(&self.resource.dest, hash, self.rendering_at);
        let owner = self.resource.owner_of.as_ref();
        let owned = owner.is_some_and(|owner| book.own(&self.resource.dest, owner));
        // What a crash can leave undone is the reload, and what it can leave behind is a file that is nobody's; without
        // either there is nothing to remember before.
        let book = (self.reloads() || owned).then(|| Arc::new(book.clone()));
        Next::Do(Box::new(|name, pass| Effect::Replace { name, pass, book }))
    }

    fn reload(&mut self, now: Duration, hash: ContentHash, book: &mut Book) -> Next {
        if !self.reloads() {
            return self.settle(now, hash, book);
        }
        if !self.resource.is_told() {
            return self.verify(now, hash, book);
        }
        self.at = At::Reload(hash);
        let interval = self.resource.min_reload_interval;
        self.gate = (!interval.is_zero()).then(|| now + interval);
        let running = self.running;
        Next::Do(Box::new(move |name, pass| Effect::Reload {
            name,
            pass,
            running,
        }))
    }

    fn verify(&mut self, now: Duration, hash: ContentHash, book: &mut Book) -> Next {
        if !self.resource.is_verified() || self.sync_only {
            return self.settle(now, hash, book);
        }
        self.at = At::Verify(hash);
        Next::Do(Box::new(|name, pass| Effect::Verify { name, pass }))
    }

    fn settle(&mut self, now: Duration, hash: ContentHash, book: &mut Book) -> Next {
        self.settled = Some(hash);
        self.thorough = false;
        self.in_vain = false;
        let dest = &self.resource.dest;
        if self.resource.is_removed() {
            book.forget(dest);
            self.succeed(now, book);
            return Next::Save;
        }
        let settled = book.settle(dest, hash, self.rendering_at);
        let owner = self.resource.owner_of.as_ref();
        let owned = owner.is_some_and(|owner| book.own(dest, owner));
        self.succeed(now, book);
        match () {
            () if settled && self.reloads() => Next::Settled(hash),
            () if owned => Next::Save,
            () => Next::Nothing,
        }
    }

    fn succeed(&mut self, now: Duration, book: &mut Book) {
        self.end(now, book);
        self.stale = None;
        self.backoff.reset();
        self.outcome = Some(true);
        self.succeeded = Some((now, self.rendering_at));
        self.plan_resync(now);
    }

    fn failed(&mut self, now: Duration, step: Step, fault: Fault, book: &mut Book) -> Next {
        let staged = matches!(self.at, At::Check(_) | At::Replace(_));
        self.end(now, book);
        self.counts.failed += 1;
        self.outcome = Some(false);
        // Whatever is on disk now, the next pass looks at it.
        self.settled = None;
        let since = self.stale.as_ref().map_or(now, |(_, _, since)| *since);
        self.stale = Some((step, fault, since));
        if self.once {
            return if staged { Next::Discard } else { Next::Nothing };
        }
        if step == Step::Render {
            // The same keys give the same fault: only a change, a new template or the slow resync helps.
            let _ = self.backoff.delay();
            self.plan_resync(now);
        } else {
            self.retry_at = Some(now + self.backoff.delay());
        }
        if staged { Next::Discard } else { Next::Nothing }
    }

    fn plan_resync(&mut self, now: Duration) {
        self.resync_at = (!self.resync.is_zero() && !self.once).then(|| now + self.resync);
    }

    pub(super) fn report(&self, newest: Option<i64>, book: &Book) -> Report {
        let record = book.record(&self.resource.dest);
        let taken_back =
            record.is_some_and(|record| record.bad.is_some()) && self.retry_at.is_none();
        let phase = match () {
            () if self.is_busy() => Phase::Working,
            () if newest.is_none() => Phase::Waiting,
            () if self.quiet.due().is_some() || self.urgent.is_some() => Phase::Quiet,
            () if self.stale.is_some() && taken_back => Phase::RolledBack,
            () if self.stale.is_some() => Phase::Retrying,
            () => Phase::Current,
        };
        let revision = match (phase, self.succeeded) {
            (Phase::Current, _) => newest.unwrap_or_default(),
            (_, Some((_, revision))) => revision,
            _ => 0,
        };
        Report {
            phase,
            dest: Some(self.resource.dest.clone()),
            revision,
            stale: self.stale.clone(),
            load_fault: self.load_fault.clone(),
            because: self.because.clone(),
            attempts: self.backoff.failures(),
            due: self.due(),
            succeeded: self.succeeded.map(|(at, _)| at),
            applied: record
                .and_then(|record| record.applied)
                .map(|hash| hash.to_string()),
            reloaded: record
                .and_then(|record| record.reloaded)
                .map(|hash| hash.to_string()),
            generation: record.map_or(0, |record| record.generation),
            counts: self.counts,
            notes: self.notes.clone(),
            would_change: self.would_change,
        }
    }
}
