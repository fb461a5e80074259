//! Where the programs stand that tests and demo run, and what to do when one is missing. Builds the demo's web server
//! where needed, because it must be static, which the rest of the workspace is not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// etcd's series used as peer; `scripts/deps.sh` fetches exactly this one.
const ETCD_VERSION: &str = "3.5.1";

/// A program of the official etcd 3.5 distribution: `etcd`, `etcdctl` or `etcdutl`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn etcd_3_5(program: &str) -> PathBuf {
    present(cache().join(format!("etcd-{ETCD_VERSION}")).join(program))
}

/// Packages that `scripts/deps.sh` has fetched for a client of another language.
///
/// # Panics
/// When they are not there.
#[must_use]
pub fn client_packages(name: &str) -> PathBuf {
    let folder = cache().join("clients").join(name);
    assert!(
        folder.is_dir(),
        "{} is missing\nhint: `make deps` installs it",
        folder.display()
    );
    folder
}

/// Where `scripts/deps.sh` puts what is no package of the distribution.
fn cache() -> PathBuf {
    std::env::var_os("MUSTER_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            std::env::var_os("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("muster"))
        })
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/muster")))
        .unwrap_or_default()
}

/// The Consul that Debian 11 carried, which `scripts/deps.sh` fetches: the last one with a free licence in a
/// distribution.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn consul() -> PathBuf {
    present(cache().join("consul-1.8.7/consul"))
}

/// Debian's or Ubuntu's ZooKeeper (3.8 in Debian 12), a Java archive that knows what else it needs.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn zookeeper() -> PathBuf {
    present(PathBuf::from("/usr/share/java/zookeeper.jar"))
}

/// Debian's or Ubuntu's `etcdctl` (3.4 in Debian 12).
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn etcdctl_of_distribution() -> PathBuf {
    present(PathBuf::from("/usr/bin/etcdctl"))
}

/// Debian's or Ubuntu's `etcd` (3.4 in Debian 12).
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn etcd_of_distribution() -> PathBuf {
    present(PathBuf::from("/usr/bin/etcd"))
}

/// A program of the distribution's PostgreSQL server, of the latest series that is there.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn postgres(program: &str) -> PathBuf {
    let all = Path::new("/usr/lib/postgresql");
    let series = std::fs::read_dir(all).into_iter().flatten().flatten();
    let series = series.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    let latest = series.max().unwrap_or_default().to_string();
    present(all.join(latest).join("bin").join(program))
}

/// The static busybox, a shell for images made from scratch.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn busybox() -> PathBuf {
    present(PathBuf::from("/bin/busybox"))
}

/// A program looked up on `PATH` and in the folders for system programs.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn system(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file());
    present(found.unwrap_or_else(|| PathBuf::from(program)))
}

/// A command that needs root: run by root as it is, by anybody else through sudo, which must not ask.
///
/// # Panics
/// When the program, or a needed sudo, is not there.
#[must_use]
pub fn as_root(program: &str) -> Command {
    let program = system(program);
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new(system("sudo"));
    command.arg("--non-interactive").arg(program);
    command
}

#[track_caller]
fn present(program: PathBuf) -> PathBuf {
    assert!(
        program.is_file(),
        "{} is missing\nhint: `make deps` installs it",
        program.display()
    );
    program
}

/// The root of the source tree.
///
/// # Panics
/// Never: this package stands in a folder of it.
#[must_use]
pub fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package stands in a folder of the tree")
}

/// The demo's web server as a static binary, built once per process (a no-op when it is up to date).
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn demo_web() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build_demo_web).clone()
}

fn build_demo_web() -> PathBuf {
    let target = host_target();
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| source().join("target"), PathBuf::from);
    let binary = folder.join(&target).join("release/demo-web");
    if is_newer(&binary, &source().join("deploy/demo/web")) {
        // Asking cargo would wait for whoever builds something else.
        return binary;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // An explicit target keeps the flag away from build scripts, and the artefacts in a folder of their own.
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "-p",
            "demo-web",
            "--target",
            &target,
        ])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(source())
        .output()
        .unwrap_or_else(|cause| panic!("run cargo to build demo-web: {cause}"));
    assert!(
        output.status.success(),
        "build demo-web:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    present(binary)
}

/// Was `built` made after every file below `sources` was changed last?
fn is_newer(built: &Path, sources: &Path) -> bool {
    let Ok(built) = std::fs::metadata(built).and_then(|metadata| metadata.modified()) else {
        return false;
    };
    let mut folders = vec![sources.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            return false;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) if metadata.modified().is_ok_and(|changed| changed < built) => {}
                _ => return false,
            }
        }
    }
    true
}

/// The target triple this machine compiles for by itself.
fn host_target() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .unwrap_or_else(|cause| panic!("run rustc -vV: {cause}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap_or_else(|| panic!("rustc -vV names no host: {text}"))
        .to_owned()
}
