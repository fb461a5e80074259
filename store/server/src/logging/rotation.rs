//! A log file that is put aside when it has grown, as etcd's `--enable-log-rotation` does: the part put
//! aside carries the time in its name, and only so many parts stay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime as _;

/// What `--log-rotation-config-json` says.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// Mebibytes after which a file is put aside; not 0.
    pub maxsize: u64,
    /// Days parts stay; 0 = for ever.
    pub maxage: u64,
    /// Parts that stay; 0 = all.
    pub maxbackups: usize,
    /// Names have the local time. Not done here.
    pub localtime: bool,
    /// Parts are compressed. Not done here.
    pub compress: bool,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            maxsize: 100,
            maxage: 0,
            maxbackups: 0,
            localtime: false,
            compress: false,
        }
    }
}

/// The file.
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotation: Option<Rotation>,
}

impl RotatingFile {
    pub(super) fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let file = append_to(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            rotation,
        })
    }

    /// Puts the file aside and begins another.
    fn put_aside(&mut self, rotation: &Rotation) -> io::Result<()> {
        let mut time = String::new();
        // Writing to a string does not fail.
        let _ = tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut time));
        let time = time.replace(':', "-");
        fs::rename(&self.path, self.part(&time))?;
        self.file = append_to(&self.path)?;
        self.bytes = 0;
        self.forget(rotation)
    }

    /// The name of a part: `etcd.log` put aside is `etcd-<time>.log`.
    fn part(&self, time: &str) -> PathBuf {
        let (stem, end) = self.name();
        self.path.with_file_name(format!("{stem}-{time}{end}"))
    }

    fn name(&self) -> (String, String) {
        let stem = self.path.file_stem().unwrap_or_default();
        let end = self.path.extension();
        let end = end.map_or_else(String::new, |end| format!(".{}", end.to_string_lossy()));
        (stem.to_string_lossy().into_owned(), end)
    }

    /// Removes parts that are too old or too many.
    fn forget(&self, rotation: &Rotation) -> io::Result<()> {
        let (stem, end) = self.name();
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        let mut parts: Vec<PathBuf> = fs::read_dir(folder.unwrap_or(Path::new(".")))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.strip_prefix(&format!("{stem}-"))
                    .and_then(|rest| rest.strip_suffix(&end))
                    .is_some_and(|time| time.starts_with("20") && time.ends_with('Z'))
            })
            .collect();
        // By time: the newest first.
        parts.sort_unstable_by(|a, b| b.cmp(a));
        let kept = match rotation.maxbackups {
            0 => usize::MAX,
            parts => parts,
        };
        let days = Duration::from_hours(24 * rotation.maxage);
        for (place, part) in parts.iter().enumerate() {
            let age = fs::metadata(part).and_then(|data| data.modified());
            let age = age
                .ok()
                .and_then(|then| SystemTime::now().duration_since(then).ok());
            let old = rotation.maxage > 0 && age.is_some_and(|age| age > days);
            if place >= kept || old {
                fs::remove_file(part)?;
            }
        }
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(rotation) = self.rotation.clone()
            && self.bytes > 0
            && self.bytes + line.len() as u64 > rotation.maxsize << 20
        {
            // What cannot be put aside goes on being written to.
            let _ = self.put_aside(&rotation);
        }
        let bytes = self.file.write(line)?;
        self.bytes += bytes as u64;
        Ok(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grown_file_is_put_aside_and_only_so_many_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etcd.log");
        fs::write(folder.path().join("etcd-notes.log"), "somebody's").unwrap();
        let rotation = Rotation {
            maxsize: 1,
            maxbackups: 2,
            ..Rotation::default()
        };
        let mut file = RotatingFile::open(&path, Some(rotation)).unwrap();
        let line = vec![b'x'; 700 << 10];
        for _ in 0..5 {
            file.write_all(&line).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 700 << 10);
        let names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.contains(&"etcd-notes.log".to_owned()));
        // Without a rule it grows.
        let mut file = RotatingFile::open(&path, None).unwrap();
        file.write_all(&line).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 1400 << 10);
    }
}
