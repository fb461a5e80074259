//! `--feature-gates`: etcd's switches for what it does not do, or no longer does, by default.

use super::error::ConfigError;

/// What the gates ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gates {
    /// See `--initial-corrupt-check`.
    pub(super) initial_corrupt_check: Option<bool>,
    /// See `--compact-hash-check-enabled`.
    pub(super) compact_hash_check: Option<bool>,
}

/// Gates whose feature is there whatever they say, or that change nothing a user of this store could
/// notice.
const MOOT: [&str; 6] = [
    "LeaseCheckpoint",
    "LeaseCheckpointPersist",
    "StopGRPCServiceOnDefrag",
    "TxnModeWriteWithSharedBuffer",
    "FastLeaseKeepAlive",
    "PriorityRequest",
];

/// Gates for what this version does not do.
const NOT_YET: [&str; 1] = ["SetMemberLocalAddr"];

/// All of them, for a person who mistyped one.
const KNOWN: &str = "InitialCorruptCheck, CompactHashCheck, LeaseCheckpoint, LeaseCheckpointPersist, \
                     StopGRPCServiceOnDefrag, TxnModeWriteWithSharedBuffer, FastLeaseKeepAlive, \
                     PriorityRequest, SetMemberLocalAddr, each as name=true or name=false";

impl Gates {
    /// Reads `name=true,name=false,…`.
    pub(super) fn parse(gates: &str) -> Result<Self, ConfigError> {
        let mut parsed = Self::default();
        for gate in gates.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let unknown = || ConfigError::NotOneOf {
                flag: "feature-gates",
                value: gate.to_owned(),
                known: KNOWN,
            };
            let (name, on) = gate.split_once('=').ok_or_else(unknown)?;
            let on: bool = on.to_ascii_lowercase().parse().map_err(|_| unknown())?;
            match name {
                "InitialCorruptCheck" => parsed.initial_corrupt_check = Some(on),
                "CompactHashCheck" => parsed.compact_hash_check = Some(on),
                name if MOOT.contains(&name) => {}
                name if NOT_YET.contains(&name) && !on => {}
                name if NOT_YET.contains(&name) => {
                    return Err(ConfigError::NotYet {
                        setting: format!("--feature-gates={gate}"),
                        what: "this gate",
                        instead: "leave it out",
                    });
                }
                _ => return Err(unknown()),
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_switches_with_names() {
        let gates = |initial_corrupt_check, compact_hash_check| {
            Ok(Gates {
                initial_corrupt_check,
                compact_hash_check,
            })
        };
        for (text, expected) in [
            ("", gates(None, None)),
            ("InitialCorruptCheck=true", gates(Some(true), None)),
            (
                "CompactHashCheck=FALSE, InitialCorruptCheck=true,LeaseCheckpoint=true",
                gates(Some(true), Some(false)),
            ),
            ("SetMemberLocalAddr=false", gates(None, None)),
        ] {
            assert_eq!(Gates::parse(text), expected, "{text}");
        }
        for text in [
            "InitialCorruptCheck",
            "InitialCorruptCheck=1x",
            "NoSuchGate=true",
            "SetMemberLocalAddr=true",
        ] {
            let error = Gates::parse(text).unwrap_err().to_string();
            assert!(error.contains("feature-gates"), "{error}");
        }
    }
}
