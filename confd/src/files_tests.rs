use std::cell::Cell;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::disk::OsDisk;

fn resource(dest: &Path, extra: &str) -> Resource {
    let text = format!("src: a\ndest: {}\nkeys: [/]\n{extra}", dest.display());
    crate::resource::parse("web.yaml", &text, &crate::defaults::Defaults::default()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Stages and replaces; returns the notes, or `None` if nothing was to do.
fn apply(
    disk: &dyn Disk,
    resource: &Resource,
    content: &str,
) -> Result<Option<Vec<String>>, FileError> {
    match stage(disk, resource, content.as_bytes())? {
        Staging::Same => Ok(None),
        Staging::Staged(staged) => replace(disk, &staged).map(Some),
    }
}

#[test]
fn a_new_file_has_default_mode_and_nothing_is_left_beside_it() {
    let home = tempfile::tempdir().unwrap();
    let dest = home.path().join("a.conf");
    assert_eq!(
        apply(&OsDisk, &resource(&dest, ""), "one").unwrap(),
        Some(vec![])
    );
    assert_eq!(std::fs::read_to_string(&dest).unwrap(), "one");
    assert_eq!(mode(&dest), 0o644);
    assert_eq!(names(home.path()), ["a.conf"]);
    assert_eq!(
        apply(&OsDisk, &resource(&dest, ""), "one").unwrap(),
        None,
        "the same again is nothing"
    );
}

#[test]
fn mode_and_owner_are_kept_unless_set() {
    let home = tempfile::tempdir().unwrap();
    let dest = home.path().join("a.conf");
    std::fs::write(&dest, "old").unwrap();
    std::fs::set_permissions(&dest, PermissionsExt::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&dest, Some(33), Some(34)).unwrap();
    apply(&OsDisk, &resource(&dest, ""), "new").unwrap();
    let stat = OsDisk.stat(&dest).unwrap().unwrap();
    assert_eq!((stat.mode, stat.uid, stat.gid), (0o640, 33, 34));
    apply(&OsDisk, &resource(&dest, "mode: \"0600\"\nuid: 0\n"), "new").unwrap();
    let stat = OsDisk.stat(&dest).unwrap().unwrap();
    assert_eq!(
        (stat.mode, stat.uid, stat.gid),
        (0o600, 0, 34),
        "only what is set changes, even with the same content"
    );
    let error = apply(
        &OsDisk,
        &resource(&dest, "owner: nobody-of-that-name\n"),
        "x",
    )
    .unwrap_err();
    let shown = crate::faults::chain(&error);
    assert!(
        shown.starts_with("set owner: user \"nobody-of-that-name\" does not exist"),
        "{shown}"
    );
}

#[test]
fn extended_attributes_are_kept() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    let home = tempfile::tempdir().unwrap();
    let dest = home.path().join("a.conf");
    std::fs::write(&dest, "old").unwrap();
    for (name, value) in [("user.muster", "kept"), ("user.none", "")] {
        setxattr(&dest, name, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
    let notes = apply(&OsDisk, &resource(&dest, ""), "new").unwrap();
    assert_eq!(notes, Some(vec![]));
    for (name, value) in [("user.muster", "kept"), ("user.none", "")] {
        let mut found = [0; 16];
        let len = getxattr(&dest, name, &mut found[..]).unwrap();
        assert_eq!(&found[..len], value.as_bytes(), "{name}");
    }
}

#[test]
fn missing_directories_are_created_with_a_note() {
    let home = tempfile::tempdir().unwrap();
    let dest = home.path().join("x/y/a.conf");
    let notes = apply(&OsDisk, &resource(&dest, ""), "one")
        .unwrap()
        .unwrap();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].ends_with("x/y was created"), "{notes:?}");
}

#[test]
fn links_are_followed_with_care() {
    let home = tempfile::tempdir().unwrap();
    let (real, link) = (home.path().join("real.conf"), home.path().join("link.conf"));
    std::fs::write(&real, "old").unwrap();
    symlink(&real, &link).unwrap();
    apply(&OsDisk, &resource(&link, ""), "new").unwrap();
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "new");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());

    let broken = home.path().join("broken.conf");
    symlink("nowhere", &broken).unwrap();
    let error = apply(&OsDisk, &resource(&broken, ""), "x").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("broken.conf is a link that leads nowhere"),
        "{error}"
    );

    let open = home.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::write(open.join("trap"), "").unwrap();
    let trap = home.path().join("trap.conf");
    symlink(open.join("trap"), &trap).unwrap();
    let error = apply(&OsDisk, &resource(&trap, ""), "x").unwrap_err();
    assert!(
        error.to_string().ends_with("everybody may write to"),
        "{error}"
    );
}

#[test]
fn unfit_destinations_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let error = apply(&OsDisk, &resource(home.path(), ""), "x").unwrap_err();
    assert!(error.to_string().ends_with("is a directory"), "{error}");
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(apply(&OsDisk, &resource(&file.join("below"), ""), "x").is_err());
}

#[test]
fn leftovers_of_another_life_are_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let dest = home.path().join("a.conf");
    std::fs::write(home.path().join(".a.conf.staged"), "half").unwrap();
    apply(&OsDisk, &resource(&dest, ""), "one").unwrap();
    assert_eq!(names(home.path()), ["a.conf"]);
    assert_eq!(std::fs::read_to_string(&dest).unwrap(), "one");
}

#[test]
fn differences_are_shown_and_nothing_is_written() {
    let home = tempfile::tempdir().unwrap();
    let dest = home.path().join("a.conf");
    std::fs::write(&dest, "a\nb\nc\n").unwrap();
    let text = difference(&OsDisk, &resource(&dest, "mode: \"0600\"\n"), "a\nB\nc\n")
        .unwrap()
        .unwrap();
    assert!(
        text.contains("-b\n+B\n") && text.ends_with("mode 0644 -> 0600\n"),
        "{text}"
    );
    assert_eq!(
        difference(&OsDisk, &resource(&dest, ""), "a\nb\nc\n").unwrap(),
        None
    );
    assert_eq!(names(home.path()), ["a.conf"]);
}

/// The real disk, but the n-th writing operation and all later ones fail, as if the process had been killed there.
struct Dying {
    left: Cell<usize>,
    busy: bool,
}

// One thread only; the trait asks for more than a test needs.
struct Shared(std::sync::Mutex<Dying>);

impl Shared {
    fn new(left: usize, busy: bool) -> Self {
        Self(std::sync::Mutex::new(Dying {
            left: Cell::new(left),
            busy,
        }))
    }

    fn write<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let dying = self.0.lock().unwrap();
        match dying.left.get() {
            0 => Err(io::Error::other("killed")),
            left => {
                dying.left.set(left - 1);
                operation()
            }
        }
    }
}

impl Disk for Shared {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        OsDisk.stat(path)
    }
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        OsDisk.resolve(path)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        OsDisk.read(path)
    }
    fn make_dirs(&self, path: &Path) -> io::Result<()> {
        self.write(|| OsDisk.make_dirs(path))
    }
    fn write_new(&self, path: &Path, content: &[u8], attributes: Attributes) -> io::Result<bool> {
        // A kill in the middle leaves half a file.
        let result = self.write(|| OsDisk.write_new(path, content, attributes));
        if result
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::Other)
            && !path.exists()
        {
            OsDisk.write_new(path, &content[..content.len() / 2], attributes)?;
        }
        result
    }
    fn overwrite(&self, path: &Path, content: &[u8], attributes: Attributes) -> io::Result<bool> {
        self.write(|| OsDisk.overwrite(path, content, attributes))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let busy = self.0.lock().unwrap().busy;
        self.write(|| {
            if busy {
                Err(io::ErrorKind::ResourceBusy.into())
            } else {
                OsDisk.rename(from, to)
            }
        })
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.write(|| OsDisk.sync_dir(path))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.write(|| OsDisk.remove(path))
    }
}

#[test]
fn killed_at_any_operation_the_file_is_old_or_new_and_the_next_life_heals() {
    let mut reached = 0;
    for left in 0..10 {
        let home = tempfile::tempdir().unwrap();
        let dest = home.path().join("a.conf");
        std::fs::write(&dest, "old").unwrap();
        let outcome = apply(
            &Shared::new(left, false),
            &resource(&dest, ""),
            "new content",
        );
        let found = std::fs::read_to_string(&dest).unwrap();
        assert!(
            found == "old" || found == "new content",
            "{left}: {found:?}"
        );
        reached += usize::from(outcome.is_err());
        apply(&OsDisk, &resource(&dest, ""), "new content").unwrap();
        assert_eq!(std::fs::read_to_string(&dest).unwrap(), "new content");
        assert_eq!(names(home.path()), ["a.conf"], "killed at operation {left}");
    }
    assert_eq!(reached, 3, "write, rename and sync each failed once");
}

#[test]
fn a_mount_point_is_written_in_place_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let dest = home.path().join("a.conf");
    std::fs::write(&dest, "old and longer").unwrap();
    let notes = apply(&Shared::new(100, true), &resource(&dest, ""), "new")
        .unwrap()
        .unwrap();
    assert!(
        notes[0].contains("is a mount point: written in place"),
        "{notes:?}"
    );
    assert_eq!(std::fs::read_to_string(&dest).unwrap(), "new");
    assert_eq!(names(home.path()), ["a.conf"]);
}
