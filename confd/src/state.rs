//! Keeps the book of applied files over restarts, in one small JSON file.
//!
//! Written by a move, without forcing it to disk: it has to survive a crash of this process. After a crash of the machine
//! the services start anew and read the files that are there, so what the book would say no longer matters.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::plan::Book;

/// The file with the book.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: Option<PathBuf>,
    /// Version of the book written last. Held while writing: an older book must not overwrite a newer one.
    written: Mutex<u64>,
}

impl StateFile {
    /// In this directory, created if missing; `None` keeps nothing.
    pub(crate) fn open(directory: Option<PathBuf>) -> io::Result<(Self, Book)> {
        let nowhere = Self {
            path: None,
            written: Mutex::new(0),
        };
        let Some(directory) = directory else {
            return Ok((nowhere, Book::default()));
        };
        std::fs::create_dir_all(&directory)?;
        let path = directory.join("state.json");
        let book = match std::fs::read_to_string(&path) {
            Ok(text) => Book::from_json(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Book::default(),
            Err(error) => return Err(error),
        };
        let file = Self {
            path: Some(path),
            written: Mutex::new(book.version()),
        };
        Ok((file, book))
    }

    /// Writes the book unless a newer one was written already.
    pub(crate) fn save(&self, book: &Book) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if book.version() <= *written {
            return Ok(());
        }
        let staged = path.with_extension("json.new");
        std::fs::write(&staged, book.to_json())?;
        std::fs::rename(&staged, path)?;
        *written = book.version();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan::ContentHash;

    #[test]
    fn the_newest_book_stays() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("a/b");
        let (file, mut book) = StateFile::open(Some(directory.clone())).unwrap();
        book.begin(Path::new("/d"), ContentHash::of(b"1"), 1);
        let older = book.clone();
        book.begin(Path::new("/d"), ContentHash::of(b"2"), 2);
        file.save(&book).unwrap();
        file.save(&older).unwrap();
        assert_eq!(StateFile::open(Some(directory)).unwrap().1, book);
    }

    #[test]
    fn nowhere_is_fine_and_no_directory_is_not() {
        let (file, book) = StateFile::open(None).unwrap();
        file.save(&book).unwrap();
        assert!(StateFile::open(Some("/dev/null/x".into())).is_err());
    }
}
