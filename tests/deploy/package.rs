//! The Debian package comes, is replaced by a newer one and goes, in a root of its own: dpkg is the real one, what it
//! tells systemd is written down.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::programs;

use crate::{MUSTER, shipped};

const UNITS: [&str; 3] = [
    "muster-confd.service",
    "muster-registrator.service",
    "muster-store.service",
];

/// A machine's root folder, with nothing installed, on which systemd seems to run.
struct Root {
    folder: tempfile::TempDir,
}

impl Root {
    fn new() -> Self {
        let root = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for made in [
            "fake",
            "run/systemd/system",
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/log",
        ] {
            std::fs::create_dir_all(root.at(made)).unwrap();
        }
        std::fs::write(root.at("var/lib/dpkg/status"), "").unwrap();
        for name in ["systemctl", "deb-systemd-invoke"] {
            let log = root.at("fake/log").display().to_string();
            let text = format!("#!/bin/sh\necho {name} \"$@\" >>{log}\n");
            let file = root.at(&format!("fake/{name}"));
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        }
        root
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn dpkg(&self, words: &[&str]) {
        let _ = std::fs::remove_file(self.at("fake/log"));
        let path = std::env::var("PATH").unwrap();
        let fake = self.at("fake").display().to_string();
        let output = programs::as_root("env")
            .arg(format!("PATH={fake}:{path}:/usr/sbin:/sbin"))
            .arg("dpkg")
            .arg(format!("--root={}", self.folder.path().display()))
            // Nothing to run a script by is in that root: they run outside and are told where it is.
            .args(["--force-script-chrootless", "--force-confold"])
            .args(words)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "dpkg {words:?}: {said}");
    }

    /// What systemd was told by the last of these.
    fn told(&self) -> String {
        std::fs::read_to_string(self.at("fake/log")).unwrap_or_default()
    }

    /// Every file, but those of dpkg and of the test.
    fn files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(self.folder.path()).unwrap();
                let name = name.display().to_string();
                if ["fake", "var/lib/dpkg", "var/log"].contains(&&*name) {
                    continue;
                }
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(path),
                    false => drop(files.insert(name)),
                }
            }
        }
        files
    }
}

/// The package as the script makes it.
fn package(out: &Path) -> PathBuf {
    let output = Command::new(shipped("../scripts/package.sh"))
        .args(["--binary", MUSTER, "--fast", "--out"])
        .arg(out)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/package.sh: {said}");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// The same with a later version.
fn later(package: &Path, work: &Path) -> PathBuf {
    let (tree, file) = (work.join("tree"), work.join("later.deb"));
    let run = |words: &[&std::ffi::OsStr]| {
        let status = Command::new("dpkg-deb").args(words).status().unwrap();
        assert!(status.success(), "dpkg-deb {words:?}");
    };
    run(&["-R".as_ref(), package.as_ref(), tree.as_ref()]);
    let control = tree.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control).unwrap();
    let text = text.replace("Version: ", "Version: 9.");
    std::fs::write(control, text).unwrap();
    run(&[
        "-Znone".as_ref(),
        "--root-owner-group".as_ref(),
        "-b".as_ref(),
        tree.as_ref(),
        file.as_ref(),
    ]);
    file
}

#[test]
fn the_package_comes_is_replaced_and_goes() {
    let work = tempfile::tempdir().unwrap();
    let first = package(work.path());
    let root = Root::new();

    root.dpkg(&["--install", &first.display().to_string()]);
    for file in [
        "usr/bin/muster",
        "usr/share/man/man1/muster-store.1.gz",
        "usr/share/bash-completion/completions/muster",
        "usr/share/zsh/vendor-completions/_muster",
        "usr/share/fish/vendor_completions.d/muster.fish",
    ] {
        assert!(root.at(file).is_file(), "{file}: {:?}", root.files());
    }
    for unit in UNITS {
        let there = std::fs::read(root.at(&format!("usr/lib/systemd/system/{unit}"))).unwrap();
        let ours = std::fs::read(shipped(&format!("systemd/{unit}"))).unwrap();
        assert_eq!(there, ours, "{unit}");
    }
    let version = Command::new(root.at("usr/bin/muster"))
        .arg("version")
        .output();
    assert!(version.unwrap().status.success());
    // Nothing is switched on by itself.
    let links = |root: &Root| {
        let files = root.files();
        let links = files
            .into_iter()
            .filter(|file| file.starts_with("etc/systemd"));
        links.collect::<Vec<_>>()
    };
    assert_eq!(links(&root), Vec::<String>::new());
    assert_eq!(root.told(), "systemctl --system daemon-reload\n");

    // What a person has changed and what has been stored outlive the next version.
    let settings = root.at("etc/muster/store.yml");
    let mut text = std::fs::read_to_string(&settings).unwrap();
    text.push_str("# mine\n");
    std::fs::write(&settings, &text).unwrap();
    for kept in ["var/lib/muster-store/data", "var/lib/muster/confd/state"] {
        let file = root.at(kept);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "kept").unwrap();
    }
    let second = later(&first, work.path());
    root.dpkg(&["--install", &second.display().to_string()]);
    assert_eq!(std::fs::read_to_string(&settings).unwrap(), text);
    let told = root.told();
    assert!(
        told.contains("deb-systemd-invoke try-restart muster-store.service"),
        "{told}"
    );
    assert!(!told.contains("invoke stop"), "{told}");

    root.dpkg(&["--remove", "muster"]);
    assert!(!root.at("usr/bin/muster").exists());
    assert!(settings.exists() && root.at("var/lib/muster/confd/state").exists());
    let told = root.told();
    assert!(told.contains("deb-systemd-invoke stop"), "{told}");

    root.dpkg(&["--purge", "muster"]);
    let stored = "var/lib/muster-store/data".to_owned();
    assert_eq!(root.files(), BTreeSet::from([stored]));
}

/// The archive has what it is to have, under checksums that hold, and holds the same bytes when it is made again.
#[test]
fn the_archive_is_whole_and_always_the_same() {
    let work = tempfile::tempdir().unwrap();
    // Says what the program says and is quick to pack.
    let program = work.path().join("program");
    std::fs::write(&program, format!("#!/bin/sh\nexec {MUSTER} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let made = ["first", "second"].map(|name| {
        let out = work.path().join(name);
        let output = Command::new(shipped("../scripts/release.sh"))
            .arg("--binary")
            .arg(&program)
            .arg("--out")
            .arg(&out)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/release.sh: {said}");
        out
    });
    let sums = made
        .clone()
        .map(|out| std::fs::read_to_string(out.join("SHA256SUMS")));
    let [first, second] = sums.map(Result::unwrap);
    assert_eq!(first, second);
    let checked = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&made[0])
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let archive = first.split_whitespace().nth(1).unwrap();
    let listed = Command::new("tar")
        .args(["--list", "--file", archive])
        .current_dir(&made[0])
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for file in [
        "/muster",
        "/CHANGELOG.md",
        "/man/muster-store.1",
        "/man/etcdctl-get.1",
        "/completions/etcdctl.zsh",
        "/deploy/compose/docker-compose.yml",
        "/deploy/systemd/muster-store.service",
        "/templates/nginx/nginx.conf.tera",
    ] {
        let there = listed.lines().any(|line| line.ends_with(file));
        assert!(there, "{file} of {archive}: {listed}");
    }
}
