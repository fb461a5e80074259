//! A file system of a few megabytes, in a file, that can be filled to the last byte and emptied again. Needs root, as
//! itself or through sudo.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::programs;

/// What the names of the folders start with; the process id of the owner follows.
const PREFIX: &str = "muster-disk-";

/// What takes all the room.
const BALLAST: &str = "ballast";

/// See the module. Unmounted when dropped; what a killed run left mounted, at the next start.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// An empty ext4 file system of so many mebibytes.
    ///
    /// # Panics
    /// When it cannot be made or mounted: who is not root, and may not use sudo without a password, cannot.
    #[track_caller]
    #[must_use]
    pub fn new(mebibytes: u64) -> Self {
        forget_the_dead();
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .tempdir()
            .expect("temporary folder");
        let image = folder.path().join("image");
        let file = std::fs::File::create(&image).expect("make the image");
        file.set_len(mebibytes << 20).expect("size the image");
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let owner = format!("root_owner={}:{}", user.as_raw(), group.as_raw());
        // No room kept for root: full is full for everybody.
        run(Command::new(programs::system("mkfs.ext4"))
            .args(["-q", "-F", "-m", "0", "-E", &owner])
            .arg(&image));
        let disk = Self { folder };
        std::fs::create_dir(disk.mount()).expect("make the mount point");
        run(programs::as_root("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(disk.mount()));
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    /// Takes all the room there is.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    pub fn fill(&self) {
        let mount = self.mount();
        let free = || {
            let state = rustix::fs::statvfs(&mount).expect("look at the disk");
            state.f_bavail * state.f_frsize
        };
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(mount.join(BALLAST))
            .expect("open the ballast");
        // Some of it goes into what describes the rest, so that it takes a few goes.
        let mut bytes = file.metadata().expect("look at the ballast").len();
        let mut more = free();
        while more > 0 {
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&file, flags, bytes, more) {
                Ok(()) => {
                    bytes += more;
                    more = free();
                }
                Err(_) => more /= 2,
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    pub fn empty(&self) {
        std::fs::remove_file(self.mount().join(BALLAST)).expect("remove the ballast");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.mount());
    }
}

/// Lazily: a process that is on its way out may still have files open there.
fn unmount(mount: &Path) {
    let _ = programs::as_root("umount")
        .arg("--lazy")
        .arg(mount)
        .status();
}

fn forget_the_dead() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        let owner = mount
            .split('/')
            .find_map(|part| part.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            unmount(Path::new(mount));
            if let Some(folder) = Path::new(mount).parent() {
                let _ = std::fs::remove_dir_all(folder);
            }
        }
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|cause| panic!("run {command:?}: {cause}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\nhint: mounting is root's; run as root, or allow sudo",
        String::from_utf8_lossy(&output.stderr).trim()
    );
}
