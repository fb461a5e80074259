//! A checksum of the kept versions, for comparing members.

use std::ops::ControlFlow;

use super::Keyspace;
use crate::revision::Revision;

impl Keyspace {
    /// CRC-32C over the packed form of every version up to `revision` that the last compaction
    /// keeps, by key and revision. What the scrub has yet to drop does not count.
    pub(crate) fn hash(&self, revision: Revision) -> u32 {
        let mut crc = 0;
        let mut head = Vec::new();
        self.index.walk(&[], |_, versions| {
            let kept = versions.iter().skip(versions.superseded(self.compacted));
            for version in kept.take_while(|version| version.modified <= revision.0) {
                let record = self.history.read(version.place);
                head.clear();
                record.pack_head(&mut head);
                crc = crc32c::crc32c_append(crc, &head);
                crc = crc32c::crc32c_append(crc, &record.value);
            }
            ControlFlow::Continue(())
        });
        crc
    }
}
