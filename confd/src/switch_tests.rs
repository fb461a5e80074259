use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::disk::OsDisk;
use crate::files::{Staging, stage};

/// A disk whose operations fail from the one of this number on, or only that one.
struct Failing {
    at: u32,
    only_once: bool,
    done: AtomicU32,
}

impl Failing {
    fn new(at: u32, only_once: bool) -> Self {
        let done = AtomicU32::new(0);
        Self {
            at,
            only_once,
            done,
        }
    }

    fn operate(&self) -> io::Result<()> {
        let number = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match number == self.at || number > self.at && !self.only_once {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    /// Whether nothing has failed yet.
    fn is_whole(&self) -> bool {
        self.done.load(Ordering::Relaxed) < self.at
    }
}

impl Disk for Failing {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.operate().and_then(|()| OsDisk.stat(path))
    }
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.operate().and_then(|()| OsDisk.resolve(path))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.operate().and_then(|()| OsDisk.read(path))
    }
    fn make_dirs(&self, path: &Path) -> io::Result<()> {
        self.operate().and_then(|()| OsDisk.make_dirs(path))
    }
    fn write_new(&self, path: &Path, content: &[u8], attributes: Attributes) -> io::Result<bool> {
        let whole = self.operate();
        // Half of it is there then.
        let content = &content[..content.len() / if whole.is_ok() { 1 } else { 2 }];
        let written = OsDisk.write_new(path, content, attributes);
        whole.and(written)
    }
    fn overwrite(&self, path: &Path, content: &[u8], attributes: Attributes) -> io::Result<bool> {
        self.operate()
            .and_then(|()| OsDisk.overwrite(path, content, attributes))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate().and_then(|()| OsDisk.rename(from, to))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.operate().and_then(|()| OsDisk.sync_dir(path))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate().and_then(|()| OsDisk.remove(path))
    }
}

/// A set of three files, of which the last does not exist yet, staged anew.
fn staged(home: &Path) -> (Resource, Vec<Staged>) {
    let dest = |name: &str| home.join(name).display().to_string();
    let text = format!(
        "keys: [/]\nfiles: [{{src: a, dest: {}}}, {{src: b, dest: {}}}, {{src: c, dest: {}}}]\n",
        dest("a"),
        dest("b"),
        dest("c")
    );
    let set = crate::resource::parse("web.yaml", &text, &crate::defaults::Defaults::default());
    let set = set.unwrap();
    for name in ["a", "b"] {
        std::fs::write(home.join(name), format!("old {name}")).unwrap();
    }
    let staged = set.files.iter().map(|part| {
        let name = part.dest.file_name().unwrap().to_str().unwrap();
        match stage(&OsDisk, part, format!("new {name}").as_bytes()).unwrap() {
            Staging::Staged(staged) => staged,
            Staging::Same => panic!("{name} is not new"),
        }
    });
    let staged = staged.collect();
    (set, staged)
}

/// Whether all are new; none is half, and none is new beside an old one.
fn is_new(home: &Path, when: u32) -> bool {
    let read = |name: &str| std::fs::read_to_string(home.join(name)).ok();
    let now = ["a", "b", "c"].map(read);
    let texts = now.each_ref().map(Option::as_deref);
    match texts {
        [Some("old a"), Some("old b"), None] => false,
        [Some("new a"), Some("new b"), Some("new c")] => true,
        other => panic!("after {when} operations: {other:?}"),
    }
}

#[test]
fn whenever_it_ends_all_are_new_or_all_are_old() {
    let mut seen = Vec::new();
    for operations in 1.. {
        let home = tempfile::tempdir().unwrap();
        let (set, staged) = staged(home.path());
        let failing = Failing::new(operations, false);
        let _ = all(&failing, &set, &staged);
        if failing.is_whole() {
            break;
        }
        // The next life ends within healing as well.
        for more in 1..6 {
            let _ = heal(&Failing::new(more, false), &set);
        }
        let found = heal(&OsDisk, &set).unwrap();
        let new = is_new(home.path(), operations);
        match found {
            Found::New => assert!(new, "{operations}"),
            Found::Old => assert!(!new, "{operations}"),
            Found::Nothing => {}
        }
        assert_eq!(heal(&OsDisk, &set).unwrap(), Found::Nothing);
        seen.push(new);
    }
    assert!(seen.contains(&true) && seen.contains(&false), "{seen:?}");
}

#[test]
fn one_failure_puts_all_back_at_once() {
    for operations in 1.. {
        let home = tempfile::tempdir().unwrap();
        let (set, staged) = staged(home.path());
        let failing = Failing::new(operations, true);
        let switched = all(&failing, &set, &staged);
        assert_eq!(
            is_new(home.path(), operations),
            switched.is_ok(),
            "{operations}: {switched:?}"
        );
        if failing.is_whole() {
            break;
        }
    }
}

#[test]
fn what_is_switched_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let (set, staged) = staged(home.path());
    assert_eq!(all(&OsDisk, &set, &staged).unwrap(), Vec::<String>::new());
    assert!(is_new(home.path(), 0));
    let left = std::fs::read_dir(home.path()).unwrap().count();
    assert_eq!(left, 3);
    // A journal that was torn says nothing.
    std::fs::write(journal(&set), "[{\"staged\"").unwrap();
    assert_eq!(heal(&OsDisk, &set).unwrap(), Found::Nothing);
    assert!(!journal(&set).exists());
}
