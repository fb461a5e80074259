//! The member's side of the watch hub: stream events in, batches out.

use store_watch::batch::StreamId;

use crate::effects::Effects;
use crate::input::StreamEvent;
use crate::member::Member;
use crate::moment::Moment;

impl Member {
    pub(crate) fn watch(&mut self, stream: StreamId, event: StreamEvent) {
        self.watch_dirty = true;
        match event {
            StreamEvent::Opened { credit } => self.hub.open(stream, credit),
            StreamEvent::Create(spec) => self.hub.create(stream, spec, &self.machine),
            StreamEvent::Cancel(id) => self.hub.cancel(stream, id),
            StreamEvent::Progress => self.hub.progress(stream),
            StreamEvent::Credit(responses) => self.hub.credit(stream, responses),
            StreamEvent::Closed => self.hub.close(stream),
        }
    }

    /// Moves what streams with credit can be shown into `out`.
    pub(crate) fn feed_watchers(&mut self, now: Moment, out: &mut Effects) {
        if self.checks.apart() {
            out.end_streams |= std::mem::take(&mut self.watch_dirty);
            self.next_progress = now.plus_ms(self.config.progress_ms);
            return;
        }
        if now >= self.next_progress {
            self.next_progress = now.plus_ms(self.config.progress_ms);
            self.hub.progress_due();
            self.watch_dirty = true;
        }
        if self.watch_dirty {
            self.watch_dirty = self.hub.drain(&self.machine, &mut out.watch);
            self.more |= self.watch_dirty;
        }
    }
}
