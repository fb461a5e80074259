//! How one resource is doing, as status pages and metrics show it.

use std::path::PathBuf;
use std::time::Duration;

use super::Fault;

/// Where a resource is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its file cannot be used, and never could.
    Broken,
    /// No keys have been read yet.
    Waiting,
    /// Rendered, applied and reloaded.
    Current,
    /// Something changed; it waits for more changes to join.
    Quiet,
    /// A pass is under way.
    Working,
    /// The last pass failed; it waits to try again. The old file stays in force.
    Retrying,
    /// The service did not take the newest content and runs on older one; something must change before it is tried again.
    RolledBack,
}

/// A step of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading the resource file and its templates.
    Load,
    /// Rendering the template.
    Render,
    /// Comparing with the file and staging the new one.
    Stage,
    /// Running `check_cmd`.
    Check,
    /// Putting the new file in place.
    Replace,
    /// Running `reload_cmd`.
    Reload,
    /// Running `verify_cmd`.
    Verify,
    /// Putting older content back.
    Restore,
}

impl Step {
    /// The step as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Render => "render",
            Self::Stage => "stage",
            Self::Check => "check",
            Self::Replace => "replace",
            Self::Reload => "reload",
            Self::Verify => "verify",
            Self::Restore => "restore",
        }
    }
}

impl Phase {
    /// The phase as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Waiting => "waiting",
            Self::Current => "current",
            Self::Quiet => "quiet",
            Self::Working => "working",
            Self::Retrying => "retrying",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// How one resource is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Where it is.
    pub phase: Phase,
    /// Its file; `None` for a broken resource.
    pub dest: Option<PathBuf>,
    /// Revision up to which the file is known to be right. Equal to the newest revision while nothing it reads changes.
    pub revision: i64,
    /// Why the file may be stale: step, fault, and since when. Stays until a pass succeeds.
    pub stale: Option<(Step, Fault, Duration)>,
    /// A newer version of the resource or its templates that cannot be used; the older one is in force.
    pub load_fault: Option<Fault>,
    /// Why the last pass ran.
    pub because: String,
    /// Failed passes since the last good one.
    pub attempts: u32,
    /// When the next pass is due.
    pub due: Option<Duration>,
    /// When the last pass succeeded.
    pub succeeded: Option<Duration>,
    /// Content in place, as a hash; `None` if never applied.
    pub applied: Option<String>,
    /// Content the service is proven to run on.
    pub reloaded: Option<String>,
    /// Times content was put in place, over all lives.
    pub generation: u64,
    /// Passes, replaced files, reloads and failed passes since the start.
    pub counts: Counts,
    /// What the last pass left out or did not do as wished.
    pub notes: Vec<String>,
    /// True in `noop` mode if the file would change.
    pub would_change: bool,
}

/// Counters of one resource since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passes begun.
    pub passes: u64,
    /// Files put in place.
    pub replaced: u64,
    /// Successful reloads.
    pub reloaded: u64,
    /// Passes that failed.
    pub failed: u64,
    /// Times older content was put back.
    pub rolled_back: u64,
}

impl Report {
    pub(super) fn broken(fault: Fault) -> Self {
        Self {
            phase: Phase::Broken,
            dest: None,
            revision: 0,
            stale: None,
            load_fault: Some(fault),
            because: String::new(),
            attempts: 0,
            due: None,
            succeeded: None,
            applied: None,
            reloaded: None,
            generation: 0,
            counts: Counts::default(),
            notes: Vec::new(),
            would_change: false,
        }
    }
}
