//! What can go wrong with a log, and what a person can do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::wal::Identity;

/// Why a data folder was not opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the folder.
    #[error("data folder {} is in use by another process", .dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// Written by a program with another format.
    #[error("data folder {} has format version {found}, this program reads version {supported}", .dir.display())]
    Version {
        /// The folder.
        dir: PathBuf,
        /// What it says.
        found: u32,
        /// What we know.
        supported: u32,
    },
    /// The folder belongs to another member or cluster.
    #[error(
        "data folder {} belongs to member {:016x} of cluster {:016x}, not to member {:016x} of cluster {:016x}",
        .dir.display(), .found.member, .found.cluster, .expected.member, .expected.cluster
    )]
    OtherIdentity {
        /// The folder.
        dir: PathBuf,
        /// What it says.
        found: Identity,
        /// What was asked for.
        expected: Identity,
    },
    /// A restore into the folder began and did not end.
    #[error("data folder {} holds a restore that was interrupted", .dir.display())]
    HalfRestored {
        /// The folder.
        dir: PathBuf,
    },
    /// A file of the folder, or a stretch of it, is missing.
    #[error("data folder {}: {what} is missing", .dir.display())]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// What is not there.
        what: String,
    },
    /// There is a member, and no log of it.
    #[error("log folder {}: every log file is missing", .dir.display())]
    NoLog {
        /// Where they should be.
        dir: PathBuf,
    },
    /// Bytes that were once durable are not what was written.
    #[error("{}: record {record} at offset {offset} is damaged: {reason}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Number of the record in the file, from 0.
        record: u64,
        /// Where it starts.
        offset: u64,
        /// What does not fit.
        reason: &'static str,
    },
    /// The operating system refused.
    #[error("{operation} {}", .file.display())]
    Io {
        /// A verb.
        operation: &'static str,
        /// On what.
        file: PathBuf,
        /// Its reason.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(operation: &'static str, file: &Path, source: io::Error) -> Self {
        Self::Io {
            operation,
            file: file.to_owned(),
            source,
        }
    }

    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Locked { .. } => "stop the other process, or give each its own data folder".to_owned(),
            Self::Version { found, supported, .. } if found > supported => {
                "start the newer program that wrote it, or restore a snapshot into an empty folder".to_owned()
            }
            Self::Version { .. } => {
                "start the older program that wrote it and move over with a snapshot".to_owned()
            }
            Self::OtherIdentity { .. } => {
                "point this member at its own data folder, or start it with the name and cluster the folder \
                 was made with"
                    .to_owned()
            }
            Self::HalfRestored { .. } => {
                "restore again into the same folder, which clears it first; or remove the folder".to_owned()
            }
            Self::NoLog { .. } => {
                "if the log has a folder of its own, --wal-dir names it; one that moves takes all *.wal files along; if \
                 they are lost: in a cluster, remove this member and add it again with an empty folder; a single member \
                 is restored from a snapshot or backup"
                    .to_owned()
            }
            Self::Missing { .. } | Self::Damaged { .. } => {
                "keep a copy of the folder; then, in a cluster, remove this member and add it again with an \
                 empty folder; a single member is restored from a snapshot or backup"
                    .to_owned()
            }
            Self::Io { source, .. } => return io_hint(source),
        })
    }
}

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// No room for another segment. Nothing was written and nothing is broken: call
    /// [`crate::Wal::prepare_reserve`] until it succeeds, then again.
    #[error("allocate {}: no space left", .file.display())]
    NoSpace {
        /// What was to be made.
        file: PathBuf,
    },
    /// One record does not fit into a segment. Nothing was written.
    #[error("append a record of {bytes} bytes: more than the {bytes_max} a segment can hold")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// A write or sync failed. What is on disk is unknown: the process must end.
    #[error("{operation} {}", .file.display())]
    Io {
        /// A verb.
        operation: &'static str,
        /// On what.
        file: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// An earlier write or sync failed.
    #[error("the log refuses after an earlier write or sync failed")]
    Poisoned,
}

impl WalError {
    /// `NoSpace` where the system says so, else `Io`.
    pub(crate) fn io(operation: &'static str, file: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace {
                file: file.to_owned(),
            },
            _ => Self::Io {
                operation,
                file: file.to_owned(),
                source,
            },
        }
    }

    /// The process must end: what is on disk is unknown until the folder is opened anew.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Poisoned)
    }

    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSpace { .. } => {
                Some("free some disk space; writes resume by themselves".to_owned())
            }
            Self::TooLarge { .. } => {
                Some("lower the largest request or raise the segment size".to_owned())
            }
            Self::Io { source, .. } => io_hint(source),
            Self::Poisoned => Some("start again; the log is checked then".to_owned()),
        }
    }
}

/// The part of a hint that depends on the system's reason alone.
pub(crate) fn io_hint(source: &io::Error) -> Option<String> {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            Some(format!(
                "run as the user the folder belongs to, or give it to this one (chown -R {user})"
            ))
        }
        io::ErrorKind::NotADirectory => {
            Some("a file stands where a folder should; name another folder".to_owned())
        }
        io::ErrorKind::NotFound => {
            Some("no folder can be made there; name another one, or make it by hand".to_owned())
        }
        io::ErrorKind::StorageFull => Some("free some disk space".to_owned()),
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("mount it for writing, or a volume there".to_owned())
        }
        _ => None,
    }
}
