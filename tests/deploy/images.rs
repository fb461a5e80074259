//! Images made of what is here: the muster under test by the script that ships, nginx and haproxy out of this machine's
//! programs and their libraries. They go with the last test that uses them.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use end_to_end::docker::Engine;
use end_to_end::programs;

use crate::{MUSTER, shipped};

/// Names of images that are made here; the tag is the pid of whoever made them.
const NAMES: [&str; 3] = ["muster-test", "muster-test-nginx", "muster-test-haproxy"];

/// The images, by their tags.
pub(crate) struct Images {
    pub(crate) muster: String,
    pub(crate) nginx: String,
    pub(crate) haproxy: String,
    /// The demo's web server.
    pub(crate) web: String,
}

impl Images {
    /// Made once for all tests that run at the same time.
    pub(crate) fn made() -> Arc<Self> {
        static MADE: Mutex<Weak<Images>> = Mutex::new(Weak::new());
        // A test that failed in here has left nothing half made behind.
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(images) = made.upgrade() {
            return images;
        }
        let engine = Engine::of_machine();
        sweep(&engine);
        let [muster, nginx, haproxy] = NAMES.map(|name| format!("{name}:{}", std::process::id()));
        let output = Command::new(shipped("../scripts/image.sh"))
            .args(["--binary", MUSTER, "--tag", &muster])
            .output()
            .unwrap_or_else(|error| panic!("scripts/image.sh: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/image.sh: {said}");
        of_program(&engine, "nginx", &nginx);
        of_program(&engine, "haproxy", &haproxy);
        let web = engine.build_web_image().unwrap();
        let images = Arc::new(Self {
            muster,
            nginx,
            haproxy,
            web,
        });
        *made = Arc::downgrade(&images);
        images
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let engine = Engine::of_machine();
        for image in [&self.muster, &self.nginx, &self.haproxy] {
            let _ = engine.run(&["rmi", "--force", image]);
        }
    }
}

/// Takes away what runs have left whose process no longer lives.
fn sweep(engine: &Engine) {
    for name in NAMES {
        let listed = engine.run(&["images", "--format", "{{.Tag}}", name]);
        for tag in listed.unwrap_or_default().lines() {
            if !Path::new("/proc").join(tag).exists() {
                let _ = engine.run(&["rmi", "--force", &format!("{name}:{tag}")]);
            }
        }
    }
}

/// An image with one program of this machine, and the libraries it is linked to.
fn of_program(engine: &Engine, name: &str, tag: &str) {
    let program = programs::system(name);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let place = |from: &Path, to: &Path| {
        let to = root.join(to.strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    place(&program, &Path::new("/usr/sbin").join(name));
    let output = Command::new("ldd").arg(&program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
        place(Path::new(library), Path::new(library));
    }
    for made in ["etc", "tmp", "run"] {
        std::fs::create_dir_all(root.join(made)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "nobody:x:65534:65534::/:/none\n").unwrap();
    std::fs::write(root.join("etc/group"), "nogroup:x:65534:\n").unwrap();
    let dockerfile = folder.path().join("Dockerfile");
    std::fs::write(dockerfile, "FROM scratch\nCOPY root/ /\n").unwrap();
    let folder = folder.path().display().to_string();
    engine
        .run(&["build", "--quiet", "--tag", tag, &folder])
        .unwrap();
}
