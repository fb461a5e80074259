//! Many connections with little to do each: what a fleet of small programs is to a store.

use store_proto::etcdserverpb::RangeRequest;

use super::put::RandomPuts;
use super::range::RandomReads;
use super::{BOTH_MODES, Bout, Case, CaseError, Figures};
use crate::contender::Contender;
use crate::load::Asker;
use crate::sample::Sample;

/// Connections, with one client on each.
const CONNECTIONS: usize = 1000;

/// As many reads as puts.
pub(crate) const SMALL_REQUESTS: Case = Case {
    name: "connections-1000",
    about: "a linearizable read and a durable put of a random key in turn, 1,000 clients on a connection each; request sent to answer received",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster, Contender::Nothing],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout),
};

fn run(bout: &Bout<'_>) -> Result<Sample, CaseError> {
    let settings = bout.settings;
    bout.load()?;
    let reads = RandomReads::new(settings.key_bytes, settings.keys, bout.seed, |key| {
        RangeRequest {
            key,
            ..RangeRequest::default()
        }
    });
    let mut both = InTurn {
        reads,
        puts: RandomPuts::new(settings, bout.seed),
        put: false,
    };
    bout.measure(CONNECTIONS, CONNECTIONS, &mut both)
}

/// A read, a put, a read, …
struct InTurn {
    reads: RandomReads,
    puts: RandomPuts,
    /// Whether a put is next.
    put: bool,
}

impl Asker for InTurn {
    fn ask(&mut self, message: &mut Vec<u8>) -> Option<&'static str> {
        self.put = !self.put;
        if self.put {
            self.reads.ask(message)
        } else {
            self.puts.ask(message)
        }
    }
}
