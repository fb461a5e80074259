//! Pure: What stands between a destination and what it should be: desired, applied, reloaded.
//!
//! A record per destination is kept over restarts. Its rule: `applied` is written, and `reloaded` cleared, *before* the
//! file is replaced; `reloaded` is written after the reload succeeded. So whatever step a crash falls between, the next
//! start sees either a file that is not the desired one (replace it) or a reload that is not proven (do it again; a
//! reload too many is harmless, one too few leaves a service on old configuration for good).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of some content.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02x}{:02x}{:02x}{:02x}…",
            self.0[0], self.0[1], self.0[2], self.0[3]
        )
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for ContentHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(format!("{text:?} is not a content hash"));
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16)
                .map_err(|error| error.to_string())?;
        }
        Ok(Self(bytes))
    }
}

/// What is known about one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Content that was, or was about to be, put in place last.
    pub applied: Option<ContentHash>,
    /// Content the service is proven to run on. `None` while that is unknown.
    pub reloaded: Option<ContentHash>,
    /// Revision the applied content was rendered at.
    pub revision: i64,
    /// Times content was put in place; numbers the generations.
    pub generation: u64,
    /// Content the service was proven to run on, the newest last; what can be gone back to.
    #[serde(default)]
    pub good: Vec<Generation>,
    /// Content that was taken back because the service did not take it; not applied again.
    #[serde(default)]
    pub bad: Option<ContentHash>,
    /// Which resource made the file, and for which name, if it makes one for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// A resource that makes a file for each name, and the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Name of the resource.
    pub resource: String,
    /// The name the file is for.
    pub name: String,
}

/// Content that once was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number; 0 for what was there before us.
    pub number: u64,
    /// The content.
    pub hash: ContentHash,
    /// Revision it was rendered at; 0 for what was there before us.
    pub revision: i64,
}

/// Generations that can be gone back to. 10: more than anybody goes back by hand, and a copy of each is kept.
const GENERATIONS_MAX: usize = 10;

/// What to do for one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// All is as it should be.
    Nothing,
    /// The file is right, but the service is not proven to run on it.
    Reload,
    /// Check, replace, reload.
    Replace,
}

/// Records of all destinations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// Moves with every change; a writer drops older versions.
    #[serde(default)]
    version: u64,
    #[serde(default)]
    records: BTreeMap<PathBuf, Record>,
}

impl Book {
    /// Reads a book; anything unreadable counts as an empty one, which costs at most a reload too few after the machine
    /// itself crashed (then the service started anew and read the file that is there).
    pub fn from_json(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The book as text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Version of this state of the book.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The record of a destination.
    pub fn record(&self, dest: &Path) -> Option<&Record> {
        self.records.get(dest)
    }

    /// The file is this resource's. Returns false if that was known already.
    pub fn own(&mut self, dest: &Path, owner: &Owner) -> bool {
        let record = self.records.entry(dest.to_owned()).or_default();
        if record.owner.as_ref() == Some(owner) {
            return false;
        }
        record.owner = Some(owner.clone());
        self.version += 1;
        true
    }

    /// The files of a resource that makes one for each name, and their names.
    pub fn owned_by<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = (&'a Path, &'a str)> {
        self.records.iter().filter_map(move |(dest, record)| {
            let owner = record.owner.as_ref()?;
            (owner.resource == resource).then_some((dest.as_path(), owner.name.as_str()))
        })
    }

    /// There is no such file any more.
    pub fn forget(&mut self, dest: &Path) {
        if self.records.remove(dest).is_some() {
            self.version += 1;
        }
    }

    /// What to do, given whether the file on disk is as desired.
    pub fn plan(
        &self,
        dest: &Path,
        desired: ContentHash,
        same_on_disk: bool,
        reloads: bool,
    ) -> Plan {
        match self.records.get(dest) {
            _ if !same_on_disk => Plan::Replace,
            Some(record) if reloads && record.reloaded != Some(desired) => Plan::Reload,
            _ => Plan::Nothing,
        }
    }

    /// The file is about to be replaced.
    pub fn begin(&mut self, dest: &Path, desired: ContentHash, revision: i64) {
        self.version += 1;
        let record = self.records.entry(dest.to_owned()).or_default();
        record.applied = Some(desired);
        record.reloaded = None;
        record.revision = revision;
        record.generation += 1;
    }

    /// What stood there before the first replacement counts as good: the service ran on it as far as anybody knows.
    pub fn found(&mut self, dest: &Path, content: ContentHash) {
        let record = self.records.entry(dest.to_owned()).or_default();
        if record.good.is_empty() {
            self.version += 1;
            record.good.push(Generation {
                number: 0,
                hash: content,
                revision: 0,
            });
        }
    }

    /// The service runs on this content, or there is no service to tell. Returns false if that was known already.
    pub fn settle(&mut self, dest: &Path, content: ContentHash, revision: i64) -> bool {
        let record = self.records.entry(dest.to_owned()).or_default();
        let settled = (Some(content), Some(content), None);
        if (record.applied, record.reloaded, record.bad) == settled {
            return false;
        }
        (record.applied, record.reloaded, record.bad) = settled;
        record.revision = revision;
        record.good.retain(|good| good.hash != content);
        record.good.push(Generation {
            number: record.generation,
            hash: content,
            revision,
        });
        let surplus = record.good.len().saturating_sub(GENERATIONS_MAX);
        record.good.drain(..surplus);
        self.version += 1;
        true
    }

    /// The newest content that the service was proven to run on, other than this.
    pub fn last_good(&self, dest: &Path, other_than: ContentHash) -> Option<Generation> {
        let good = &self.records.get(dest)?.good;
        good.iter()
            .rev()
            .find(|good| good.hash != other_than)
            .copied()
    }

    /// What is not wanted any more, and what to put in its place: the generation of this number, or the newest that does
    /// not stand there. What was taken back before stays unwanted, for it is what the keys give.
    ///
    /// # Errors
    /// Why there is none.
    pub fn way_back(
        &self,
        dest: &Path,
        to: Option<u64>,
    ) -> Result<(ContentHash, Generation), String> {
        let record = self.records.get(dest);
        let there = record.and_then(|record| Some((record, record.applied?)));
        let (record, there) = there.ok_or("nothing was put in place yet")?;
        let other = |good: &&Generation| good.hash != there;
        let mut good = record.good.iter().rev();
        let found = match to {
            None => good.find(other),
            Some(number) => good.find(|good| good.number == number),
        };
        match found {
            None => Err("there is no such generation".to_owned()),
            Some(good) if good.hash == there => Err("it is in place already".to_owned()),
            Some(good) => {
                let unwanted = record.bad.filter(|bad| *bad != good.hash);
                Ok((unwanted.unwrap_or(there), *good))
            }
        }
    }

    /// The service does not run on `bad`, which it did not take or which a person took back, but on `good` again. What a
    /// person took back can be gone back to.
    pub fn roll_back(&mut self, dest: &Path, bad: ContentHash, good: Generation, by_hand: bool) {
        let record = self.records.entry(dest.to_owned()).or_default();
        record.applied = Some(good.hash);
        record.reloaded = Some(good.hash);
        record.revision = good.revision;
        record.bad = Some(bad);
        // The last one is what is gone back to next.
        record
            .good
            .retain(|one| one.hash != good.hash && (by_hand || one.hash != bad));
        record.good.push(good);
        self.version += 1;
    }

    /// The service may run on something else than what is in place.
    pub fn doubt(&mut self, dest: &Path) {
        if let Some(record) = self.records.get_mut(dest)
            && record.reloaded.take().is_some()
        {
            self.version += 1;
        }
    }

    /// Whether this content was taken back and nothing has changed since.
    pub fn is_bad(&self, dest: &Path, content: ContentHash) -> bool {
        self.records
            .get(dest)
            .is_some_and(|record| record.bad == Some(content))
    }

    /// The template or the resource changed: what was bad may be good now.
    pub fn forgive(&mut self, dest: &Path) {
        if let Some(record) = self.records.get_mut(dest)
            && record.bad.take().is_some()
        {
            self.version += 1;
        }
    }

    /// Everything that may be gone back to.
    pub fn kept(&self) -> impl Iterator<Item = ContentHash> {
        self.records
            .values()
            .flat_map(|record| &record.good)
            .map(|good| good.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> ContentHash {
        ContentHash::of(text.as_bytes())
    }

    #[test]
    fn plans() {
        let dest = Path::new("/d");
        let (a, b) = (hash("a"), hash("b"));
        let mut book = Book::default();
        assert_eq!(
            book.plan(dest, a, true, true),
            Plan::Nothing,
            "a file that was right before we came"
        );
        assert_eq!(book.plan(dest, a, false, true), Plan::Replace);
        book.begin(dest, a, 5);
        assert_eq!(
            book.plan(dest, a, true, true),
            Plan::Reload,
            "crash between rename and reload"
        );
        assert_eq!(
            book.plan(dest, a, true, false),
            Plan::Nothing,
            "nobody to reload"
        );
        assert_eq!(
            book.plan(dest, a, false, true),
            Plan::Replace,
            "crash before rename"
        );
        assert!(book.settle(dest, a, 5));
        assert!(!book.settle(dest, a, 6));
        assert_eq!(book.plan(dest, a, true, true), Plan::Nothing);
        book.begin(dest, b, 7);
        assert_eq!(
            book.plan(dest, a, true, true),
            Plan::Reload,
            "back to a after a crash: nothing is proven"
        );
        assert_eq!(book.record(dest).map(|record| record.generation), Some(2));
    }

    #[test]
    fn the_way_back_keeps_what_the_keys_give_away() {
        let dest = Path::new("/d");
        let mut book = Book::default();
        assert!(book.way_back(dest, None).is_err());
        for (revision, text) in [(1, "one"), (2, "two"), (3, "three")] {
            book.begin(dest, hash(text), revision);
            book.settle(dest, hash(text), revision);
        }
        assert!(book.way_back(dest, Some(3)).is_err(), "it is there");
        assert!(book.way_back(dest, Some(4)).is_err(), "there is none");
        // By hand from number to number: expected to be bad then.
        for (to, bad, place) in [
            (None, "three", "two"),
            (Some(1), "three", "one"),
            (None, "three", "two"),
            (Some(3), "two", "three"),
        ] {
            let (unwanted, good) = book.way_back(dest, to).unwrap();
            assert_eq!((unwanted, good.hash), (hash(bad), hash(place)), "{to:?}");
            book.roll_back(dest, unwanted, good, true);
            assert!(book.is_bad(dest, hash(bad)));
            // The agent, looking again, finds the same.
            if place != "three" {
                let again = book.last_good(dest, hash(bad));
                assert_eq!(again.map(|good| good.hash), Some(hash(place)));
            }
        }
    }

    #[test]
    fn books_survive_as_text_and_damage_is_an_empty_book() {
        let mut book = Book::default();
        book.begin(Path::new("/d"), hash("a"), 5);
        book.settle(Path::new("/e"), hash("b"), 6);
        assert_eq!(Book::from_json(&book.to_json()), book);
        for damaged in ["", "{", "[]", r#"{"records":{"/d":{"applied":"zz"}}}"#] {
            assert_eq!(Book::from_json(damaged), Book::default(), "{damaged}");
        }
    }
}
