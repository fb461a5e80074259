//! A gibibyte of values: what it takes in memory, and what reads and puts of one key take with it.

use store_proto::etcdserverpb::RangeRequest;

use super::put::{EveryPut, RandomPuts};
use super::range::RandomReads;
use super::{Bout, Case, CaseError, Figures, Settings};
use crate::contender::Contender;
use crate::cores::Mode;
use crate::load::{self, Asker};
use crate::sample::{Meter, Sample};

/// Keys, of [`KEY_BYTES`] with [`VALUE_BYTES`]: 1 GiB of values, and 16 MiB of keys.
const KEYS: u64 = 1 << 20;

/// Bytes of a key.
const KEY_BYTES: usize = 16;

/// Bytes of a value: a small document, such as a service's registration.
const VALUE_BYTES: usize = 1 << 10;

/// Reads of a large state, and its memory.
pub(crate) const READS: Case = Case {
    name: "gibibyte-range",
    about: "linearizable read of one random key out of a million with values of 1 KiB, many clients; request sent to answer received",
    modes: &[Mode::Free],
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::Named,
    run: |bout| {
        let settings = filled(bout)?;
        let mut reads = RandomReads::new(settings.key_bytes, settings.keys, bout.seed, |key| {
            RangeRequest {
                key,
                ..RangeRequest::default()
            }
        });
        measure(bout, &mut reads)
    },
};

/// Puts into it.
pub(crate) const PUTS: Case = Case {
    name: "gibibyte-put",
    about: "durable put of one random key out of a million with values of 1 KiB, many clients; request sent to answer received",
    run: |bout| {
        let settings = filled(bout)?;
        measure(bout, &mut RandomPuts::new(&settings, bout.seed))
    },
    ..READS
};

/// Puts every key; with which settings.
fn filled(bout: &Bout<'_>) -> Result<Settings, CaseError> {
    let settings = Settings {
        keys: KEYS,
        key_bytes: KEY_BYTES,
        value_bytes: VALUE_BYTES,
        ..bout.settings.clone()
    };
    load::exhaust(
        &bout.addresses(),
        settings.connections,
        settings.clients,
        &mut EveryPut::new(&settings),
        &mut Meter::idle(),
    )?;
    Ok(settings)
}

fn measure(bout: &Bout<'_>, asker: &mut dyn Asker) -> Result<Sample, CaseError> {
    bout.measure(bout.settings.connections, bout.settings.clients, asker)
}
