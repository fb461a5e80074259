//! The only member of a cluster, with a disk that is always done.

use store_machine::Machine;
use store_member::effects::Effects;
use store_member::input::{Input, Token};
use store_member::record::{Entry, Recovered};
use store_member::{Config, Member, Moment};

/// See the module.
pub(crate) struct Lone {
    member: Member,
    effects: Effects,
    now: Moment,
    tokens: u64,
    /// What it has logged, if that is of interest.
    log: Option<Vec<Entry>>,
}

impl Lone {
    /// It leads and has applied what it recovered.
    pub(crate) fn on(recovered: Recovered) -> Self {
        Self::open(recovered, None)
    }

    /// One with nothing.
    pub(crate) fn new() -> Self {
        Self::on(Recovered::default())
    }

    /// One with nothing that remembers what it logs.
    pub(crate) fn recording() -> Self {
        Self::open(Recovered::default(), Some(Vec::new()))
    }

    fn open(recovered: Recovered, log: Option<Vec<Entry>>) -> Self {
        let config = Config {
            // None meanwhile: it would be the work of a disk.
            snapshot_count: u64::MAX,
            ..Config::new(1, 1, 1)
        };
        let now = Moment(1_000);
        let machine = Machine::new(config.limits);
        let member = Member::open(config, machine, recovered, now).expect("it is sound");
        let mut lone = Self {
            member,
            effects: Effects::default(),
            now,
            tokens: 0,
            log,
        };
        while !lone.member.ready() {
            lone.turn([]);
        }
        lone
    }

    /// What it has logged since it was opened; nothing unless it was told to remember.
    pub(crate) fn into_log(self) -> Vec<Entry> {
        self.log.unwrap_or_default()
    }

    /// A name for a request.
    pub(crate) fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    /// A turn with these facts, and those that follow from it until all is answered; returns how many answers and how
    /// many batches for watchers there were.
    pub(crate) fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> (usize, usize) {
        self.now = self.now.plus_ms(1);
        for input in inputs {
            self.member.step(self.now, input, &mut self.effects);
        }
        let (mut replies, mut batches) = (0, 0);
        loop {
            self.member.settle(self.now, &mut self.effects);
            assert_eq!(self.effects.fatal, None);
            replies += self.effects.replies.drain(..).count();
            batches += self.effects.watch.drain(..).count();
            let mut durable = None;
            for append in self.effects.appends.drain(..) {
                durable = Some(append.number);
                if let Some(log) = &mut self.log {
                    log.extend(append.entries);
                }
            }
            self.effects.notices.clear();
            let Some(number) = durable else {
                return (replies, batches);
            };
            self.member
                .step(self.now, Input::Synced { number }, &mut self.effects);
        }
    }
}
