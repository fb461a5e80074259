//! A log segment of our store as bytes to be damaged: knows where frames begin (`store/wal/src/format.rs`), nothing more.

use std::ops::Range;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"MWF";
const HEAD_BYTES: usize = 32;
const BODY_LENGTH_AT: usize = 20;

/// A segment file, read whole.
pub struct Segment {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Segment {
    /// The newest segment in a data folder.
    ///
    /// # Panics
    /// When there is none that can be read.
    #[track_caller]
    #[must_use]
    pub fn newest_in(data: &Path) -> Self {
        let entries = std::fs::read_dir(data)
            .unwrap_or_else(|cause| panic!("list {}: {cause}", data.display()));
        let numbered = |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "wal")
                && path.file_stem().is_some_and(|stem| stem.len() == 16)
        };
        let newest = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(numbered)
            .max();
        let path = newest.unwrap_or_else(|| panic!("no segment in {}", data.display()));
        let bytes =
            std::fs::read(&path).unwrap_or_else(|cause| panic!("read {}: {cause}", path.display()));
        Self { path, bytes }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its frames lie, from the front.
    ///
    /// # Panics
    /// When there is none: the format has changed and this reader has not.
    #[must_use]
    pub fn frames(&self) -> Vec<Range<usize>> {
        let mut frames = Vec::new();
        let mut at = 0;
        while self.bytes.get(at..at + MAGIC.len()) == Some(MAGIC) {
            let field = self.bytes[at + BODY_LENGTH_AT..]
                .first_chunk::<4>()
                .expect("a whole head");
            let body_bytes = usize::try_from(u32::from_le_bytes(*field)).expect("64 bits");
            let end = at + HEAD_BYTES + body_bytes.next_multiple_of(8);
            frames.push(at..end);
            at = end;
        }
        assert!(
            !frames.is_empty(),
            "{} has no frames as this test knows them",
            self.path.display()
        );
        frames
    }

    /// Inverts the byte at `offset` and writes the file back.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn flip(&mut self, offset: usize) {
        self.bytes[offset] ^= 0xff;
        self.write();
    }

    /// Zeroes from `offset` to the end of the file, as a write that never reached the disk reads.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn lose_from(&mut self, offset: usize) {
        self.bytes[offset..].fill(0);
        self.write();
    }

    fn write(&self) {
        std::fs::write(&self.path, &self.bytes)
            .unwrap_or_else(|cause| panic!("write {}: {cause}", self.path.display()));
    }
}
