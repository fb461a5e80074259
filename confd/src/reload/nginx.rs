//! Pure: Whether nginx took its configuration: the master starts workers of a new generation and tells the old ones to
//! leave. When it refuses, it writes a line into its log, keeps the old workers and tells nobody.

/// A child of the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks: numbers are used again.
    pub started: u64,
    /// What it calls itself.
    pub title: String,
}

impl Child {
    fn is_worker(&self) -> bool {
        self.title.contains("worker process")
    }

    fn is_leaving(&self) -> bool {
        self.title.contains("shutting down")
    }

    fn is(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }
}

/// Whether a new generation has taken over: a new worker is there, and each of the old ones is gone or on its way. A
/// worker that replaces one that crashed is no such thing while others of its generation stay.
pub fn took_over(before: &[Child], now: &[Child]) -> bool {
    let mut workers = now.iter().filter(|child| child.is_worker());
    let old = |child: &Child| before.iter().any(|one| one.is(child));
    let fresh = now
        .iter()
        .any(|child| child.is_worker() && !child.is_leaving() && !old(child));
    fresh && workers.all(|child| child.is_leaving() || !old(child))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children(text: &str) -> Vec<Child> {
        text.split_whitespace()
            .map(|word| {
                let (pid, kind) = word.split_at(word.len() - 1);
                Child {
                    pid: pid.parse().unwrap(),
                    started: 7,
                    title: match kind {
                        "w" => "nginx: worker process",
                        "x" => "nginx: worker process is shutting down",
                        _ => "nginx: cache manager process",
                    }
                    .to_owned(),
                }
            })
            .collect()
    }

    #[test]
    fn only_a_whole_new_generation_counts() {
        for (before, now, expected) in [
            ("1w 2w", "1w 2w", false),
            ("1w 2w", "1w 2w 3w 4w", false),
            ("1w 2w", "1x 2w 3w 4w", false),
            ("1w 2w", "1x 2x 3w 4w", true),
            ("1w 2w", "3w", true),
            ("1w 2w", "1x 2x", false),
            // A crash, made up for.
            ("1w 2w", "1w 3w", false),
            // Workers that were leaving before may stay for as long as they like.
            ("1x 2w", "1x 2x 3w", true),
            ("1w 2m", "1x 3m 4w", true),
            ("1w 2m", "1w 3m", false),
            ("", "1w", true),
            ("", "", false),
        ] {
            assert_eq!(
                took_over(&children(before), &children(now)),
                expected,
                "{before} -> {now}"
            );
        }
        let mut again = children("1w");
        again[0].started = 8;
        assert!(took_over(&children("1w"), &again), "a number used again");
    }
}
