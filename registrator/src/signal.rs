//! [pure] Signals as Docker writes them: `SIGTERM`, `term`, `15`, `SIGRTMIN+3`. Numbers are those of
//! Linux on x86, ARM and RISC-V, which is where containers run.

/// SIGTERM, what `docker stop` sends when the image says nothing else.
pub const TERM: i32 = 15;
/// SIGKILL, after which no process answers requests.
pub const KILL: i32 = 9;

/// Linux real-time signals as the C library counts them (it keeps two for itself).
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

const NAMES: [(&str, i32); 33] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
];

/// The number of a signal; `None` when there is no such signal.
#[must_use]
pub fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(&(_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(number);
    }
    if name == "SYS" {
        return Some(31);
    }
    let realtime = match name.strip_prefix("RTMIN") {
        Some("") => RTMIN,
        Some(rest) => RTMIN.checked_add(rest.strip_prefix('+')?.parse().ok()?)?,
        None => match name.strip_prefix("RTMAX")? {
            "" => RTMAX,
            rest => RTMAX.checked_sub(rest.strip_prefix('-')?.parse().ok()?)?,
        },
    };
    (RTMIN..=RTMAX).contains(&realtime).then_some(realtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (text, want) in [
            ("15", Some(15)),
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("SIGQUIT", Some(3)),
            ("SIGWINCH", Some(28)),
            ("SYS", Some(31)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMIN+99", None),
            ("RTMAX-2147483648", None),
            ("RTMIN3", None),
            ("0", None),
            ("65", None),
            ("-9", None),
            ("", None),
            ("SIG", None),
        ] {
            assert_eq!(number(text), want, "{text:?}");
        }
    }
}
