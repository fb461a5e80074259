//! Which cores a thread and the processes it starts may use.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How server and generator share the machine.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Every server process on the first core, the generator on the second: measures the server.
    Pinned,
    /// All on all cores: what a small machine sees.
    Free,
}

impl Mode {
    /// As written in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Pinned => "pinned",
            Mode::Free => "free",
        }
    }
}

/// Why cores could not be assigned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CoreError {
    /// Fewer than two cores.
    #[error("pin server and generator to a core each: this process may use only {cores}")]
    TooFew {
        /// Cores there are.
        cores: u32,
    },
    /// The kernel refused.
    #[error("choose the cores of this thread")]
    Refused(#[from] rustix::io::Errno),
}

/// The cores this process may use, as found at the start.
#[derive(Clone)]
pub(crate) struct Cores {
    all: CpuSet,
}

impl Cores {
    /// Asks the kernel.
    pub(crate) fn found() -> Result<Cores, CoreError> {
        Ok(Cores {
            all: sched_getaffinity(None)?,
        })
    }

    /// Runs `start` so that every process and thread it starts is a server's.
    pub(crate) fn as_server<T>(
        &self,
        mode: Mode,
        start: impl FnOnce() -> T,
    ) -> Result<T, CoreError> {
        self.with(self.nth(mode, 0)?, start)
    }

    /// Runs `generate` where the generator belongs.
    pub(crate) fn as_generator<T>(
        &self,
        mode: Mode,
        generate: impl FnOnce() -> T,
    ) -> Result<T, CoreError> {
        self.with(self.nth(mode, 1)?, generate)
    }

    fn with<T>(&self, cores: CpuSet, run: impl FnOnce() -> T) -> Result<T, CoreError> {
        sched_setaffinity(None, &cores)?;
        let result = run();
        sched_setaffinity(None, &self.all)?;
        Ok(result)
    }

    fn nth(&self, mode: Mode, number: usize) -> Result<CpuSet, CoreError> {
        if mode == Mode::Free {
            return Ok(self.all);
        }
        let mut used = (0..CpuSet::MAX_CPU).filter(|core| self.all.is_set(*core));
        let core = used.nth(number).ok_or(CoreError::TooFew {
            cores: self.all.count(),
        })?;
        let mut one = CpuSet::new();
        one.set(core);
        Ok(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinning_lasts_as_long_as_its_closure() {
        let cores = Cores::found().unwrap();
        let inside = cores
            .as_server(Mode::Pinned, || sched_getaffinity(None).unwrap().count())
            .unwrap();
        assert_eq!(inside, 1);
        assert_eq!(sched_getaffinity(None).unwrap().count(), cores.all.count());
    }

    #[test]
    fn one_core_is_too_few() {
        let mut one = CpuSet::new();
        one.set(0);
        let cores = Cores { all: one };
        assert!(matches!(
            cores.nth(Mode::Pinned, 1),
            Err(CoreError::TooFew { cores: 1 })
        ));
        assert!(cores.nth(Mode::Free, 1).is_ok());
    }
}
