//! Pure: What holds for every resource that does not say otherwise: the command line's word on prefix, waits and
//! time limits.

use std::time::Duration;

/// What a prefix for all resources does to a resource's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PrefixRule {
    /// It stands in its place, as in confd.
    #[default]
    Replace,
    /// It stands before it, as in confd's fork since 0.32.
    Join,
}

/// See the module text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Prefix for all resources; empty for none.
    pub prefix: String,
    /// What it does to their own.
    pub prefix_rule: PrefixRule,
    /// Time to wait for more changes after one.
    pub quiet_min: Duration,
    /// Longest a change waits while more keep coming; `None`: four times the minimum, a second at least.
    pub quiet_max: Option<Duration>,
    /// Longest `check_cmd` may run.
    pub check_cmd_timeout: Duration,
    /// Longest `reload_cmd` and `verify_cmd` may run.
    pub reload_cmd_timeout: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            prefix_rule: PrefixRule::Replace,
            // A deploy writes its keys in bursts with gaps of a few milliseconds, and nobody notices 50.
            quiet_min: Duration::from_millis(50),
            quiet_max: None,
            // A check parses a file; who needs longer hangs.
            check_cmd_timeout: Duration::from_secs(30),
            // A reload may start processes and wait for them, hence twice that.
            reload_cmd_timeout: Duration::from_secs(60),
        }
    }
}

impl Defaults {
    /// The prefix of a resource whose own one is `own`.
    pub fn prefix_of(&self, own: &str) -> String {
        match (self.prefix.as_str(), self.prefix_rule) {
            ("", _) => own.to_owned(),
            (all, PrefixRule::Replace) => all.to_owned(),
            (all, PrefixRule::Join) => {
                format!(
                    "{}/{}",
                    all.trim_end_matches('/'),
                    own.trim_start_matches('/')
                )
            }
        }
    }

    /// The longest wait that goes with a resource's own shortest. 1 s at least: nginx keeps the workers of each generation
    /// alive until their connections end, so under churn one reload per second is what it bears.
    pub fn quiet_max_for(&self, quiet_min: Duration) -> Duration {
        self.quiet_max
            .map_or(Duration::from_secs(1).max(quiet_min * 4), |max| {
                max.max(quiet_min)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let table = [
            ("", PrefixRule::Replace, "/own", "/own"),
            ("/all", PrefixRule::Replace, "/own", "/all"),
            ("/all", PrefixRule::Replace, "", "/all"),
            ("/all", PrefixRule::Join, "/own", "/all/own"),
            ("/all/", PrefixRule::Join, "own", "/all/own"),
            ("", PrefixRule::Join, "/own", "/own"),
        ];
        for (all, prefix_rule, own, expected) in table {
            let defaults = Defaults {
                prefix: all.to_owned(),
                prefix_rule,
                ..Defaults::default()
            };
            assert_eq!(defaults.prefix_of(own), expected);
        }
    }

    #[test]
    fn the_longest_wait_is_never_below_the_shortest() {
        let seconds = Duration::from_secs;
        let mut defaults = Defaults::default();
        assert_eq!(defaults.quiet_max_for(Duration::ZERO), seconds(1));
        assert_eq!(defaults.quiet_max_for(seconds(2)), seconds(8));
        defaults.quiet_max = Some(seconds(3));
        assert_eq!(defaults.quiet_max_for(seconds(1)), seconds(3));
        assert_eq!(defaults.quiet_max_for(seconds(5)), seconds(5));
    }
}
