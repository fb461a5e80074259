//! How commands end: the exit statuses of `ctl` (in both API versions) and `utl`, which are those of etcdctl and etcdutl, so
//! that scripts go on telling failures apart. This is the one place they stand in; `docs/cli.md` shows them.

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what it was asked to do.
    Done = 0,
    /// It could not.
    Error = 1,
    /// Nobody is there, or is no more.
    BadConnection = 2,
    /// What was typed in makes no sense.
    InvalidInput = 3,
    /// Not supported.
    BadFeature = 4,
    /// What should have gone on has ended.
    Interrupted = 5,
    /// A file, stdin or stdout.
    Io = 6,
    /// Wrong arguments.
    BadArguments = 128,
}

impl Exit {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Error,
        Self::BadConnection,
        Self::InvalidInput,
        Self::BadFeature,
        Self::Interrupted,
        Self::Io,
        Self::BadArguments,
    ];

    /// The number.
    #[must_use]
    pub const fn status(self) -> u8 {
        self as u8
    }

    /// What it means for `ctl`, for `utl`, and for `ctl` with `ETCDCTL_API=2`; empty where none of their commands ends so.
    #[must_use]
    pub const fn meanings(self) -> [&'static str; 3] {
        match self {
            Self::Done => ["done", "done", "done; a family of commands alone: shown"],
            Self::Error => [
                "the store refused or did not answer in time, a condition did not hold, or no such command or flag",
                "a file or folder is none, is damaged, or is there already; no such command or flag",
                "wrong arguments or flags; a user, role or member was refused; `get` of a directory",
            ],
            Self::BadConnection => [
                "a stream to the store broke, the lease is unknown, or nobody answers a login",
                "",
                "nobody answers",
            ],
            Self::InvalidInput => [
                "what `txn` or `watch -i` read makes no sense; `check datascale` would go beyond the quota",
                "",
                "no such command",
            ],
            Self::BadFeature => [
                "an output format or a flag's value that is not supported",
                "an output format that is not supported",
                "the store refused a request about keys or did not answer in time; \
                 nobody answers `cluster-health`, or a command with `--no-sync`",
            ],
            Self::Interrupted => [
                "the server ended a watch; `snapshot save` was interrupted",
                "",
                "`cluster-health`: not every member is well",
            ],
            Self::Io => [
                "a file, stdin or stdout could not be read or written",
                "",
                "",
            ],
            Self::BadArguments => ["wrong arguments", "wrong arguments", ""],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_documentation_shows_them_as_they_are() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let text = std::fs::read_to_string(path).expect("docs/cli.md");
        let (_, table) = text.split_once("## Exit statuses").expect("its part");
        let rows: Vec<&str> = table
            .lines()
            .skip_while(|line| !line.starts_with("|---"))
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let wanted = Exit::ALL.map(|exit| {
            let [ctl, utl, v2] = exit.meanings().map(|text| match text {
                "" => "—",
                text => text,
            });
            format!("| {} | {ctl} | {utl} | {v2} |", exit.status())
        });
        assert_eq!(
            rows,
            wanted,
            "write into docs/cli.md:\n{}",
            wanted.join("\n")
        );
    }
}
