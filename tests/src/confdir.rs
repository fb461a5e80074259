//! A folder of resources and templates for confd, and the files they are rendered to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait;

/// `conf.d`, `templates` and an output folder, taken away when dropped.
pub struct Confdir {
    folder: tempfile::TempDir,
}

impl Default for Confdir {
    fn default() -> Self {
        Self::new()
    }
}

impl Confdir {
    /// An empty one.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("confd")
            .tempdir()
            .expect("temporary folder");
        for name in ["conf.d", "templates", "out"] {
            std::fs::create_dir(folder.path().join(name)).expect("make a folder");
        }
        Self { folder }
    }

    /// For `--confdir`.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Adds a resource that renders `template` from `keys` into `out/<name>` without a quiet period; `more` are further
    /// lines of the resource file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn add(&self, name: &str, keys: &str, template: &str, more: &str) {
        self.add_raw(name, keys, template, &format!("quiet_min: 0s\n{more}"));
    }

    /// [`Confdir::add`] with nothing said about quiet periods.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn add_raw(&self, name: &str, keys: &str, template: &str, more: &str) {
        let dest = self.output(name);
        let resource = format!(
            "src: {name}.tera\ndest: {}\nkeys: [{keys}]\n{more}\n",
            dest.display()
        );
        self.write(&format!("templates/{name}.tera"), template);
        self.write(&format!("conf.d/{name}.yaml"), &resource);
    }

    /// Writes a file in it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)
            .unwrap_or_else(|cause| panic!("write {}: {cause}", path.display()));
    }

    /// Where the resource `name` is rendered to.
    #[must_use]
    pub fn output(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    /// What stands in the file rendered for `name`, `None` without one.
    #[must_use]
    pub fn rendered(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.output(name)).ok()
    }

    /// Waits until the file rendered for `name` reads exactly so.
    ///
    /// # Panics
    /// When it does not come to that.
    #[track_caller]
    pub fn becomes(&self, name: &str, text: &str) {
        wait::until(
            &format!("{name} to be rendered"),
            wait::LONG,
            || match self.rendered(name) {
                Some(found) if found == text => Ok(()),
                found => Err(format!("{found:?}, expected {text:?}")),
            },
        );
    }

    /// Checks for a while that the file keeps reading so.
    ///
    /// # Panics
    /// When it changes.
    #[track_caller]
    pub fn stays(&self, name: &str, text: &str, span: Duration) {
        wait::stays(&format!("{name} unchanged"), span, || {
            match self.rendered(name) {
                Some(found) if found == text => Ok(()),
                found => Err(format!("{found:?}, expected {text:?}")),
            }
        });
    }
}
