//! Pure: What haproxy's master says. Since 2.7 it answers `reload` when it is done; before, it hangs up, and its list of
//! processes tells whether new workers run. Source: haproxy's management guide, "Master CLI".

/// What an answer to `reload` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// New workers run on the new configuration.
    Taken,
    /// The old ones go on; the line that says why, if there is one.
    Refused(String),
    /// It did not say: its list of processes will.
    Unsaid,
}

/// Reads the answer to `reload`.
pub fn verdict(answer: &str) -> Verdict {
    let mut lines = answer.lines().map(str::trim);
    match lines.find(|line| line.starts_with("Success=")) {
        Some("Success=1") => Verdict::Taken,
        Some(_) => {
            let telling = |line: &&str| line.contains("[ALERT]") || line.contains("error");
            let first = lines.clone().find(telling);
            Verdict::Refused(first.or_else(|| lines.next()).unwrap_or("").to_owned())
        }
        None => Verdict::Unsaid,
    }
}

/// The processes of a master.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    /// Numbers of the workers that run on the newest configuration it took.
    pub workers: Vec<u32>,
    /// Reloads that failed since the last that did not.
    pub failed: u64,
}

/// Reads the answer to `show proc`.
pub fn processes(answer: &str) -> Processes {
    let mut found = Processes::default();
    let mut section = "";
    for line in answer.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix("# ") {
            section = title;
        }
        let mut words = line.split_whitespace();
        let Some(pid) = words.next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        match (words.next(), section) {
            (Some("worker"), "workers") => found.workers.push(pid),
            (Some("master"), _) => {
                let failed = line.split_once("[failed:").map(|(_, rest)| rest);
                let number = failed.and_then(|rest| rest.split(']').next());
                found.failed = number
                    .and_then(|text| text.trim().parse().ok())
                    .unwrap_or(0);
            }
            _ => {}
        }
    }
    found
}

/// What two looks at the processes, before and after, say about a reload between them.
pub fn judged(before: &Processes, now: &Processes) -> Verdict {
    let fresh = |pid: &u32| !before.workers.contains(pid);
    if now.failed > before.failed {
        return Verdict::Refused(String::new());
    }
    match !now.workers.is_empty() && now.workers.iter().all(fresh) {
        true => Verdict::Taken,
        false => Verdict::Unsaid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert_eq!(verdict("Success=1\n--\n[NOTICE] fine\n"), Verdict::Taken);
        assert_eq!(
            verdict("Success=0\n--\n[NOTICE] (1) : x\n[ALERT] (1) : config : unknown keyword\n"),
            Verdict::Refused("[ALERT] (1) : config : unknown keyword".to_owned())
        );
        assert_eq!(verdict("Success=0\n"), Verdict::Refused(String::new()));
        assert_eq!(verdict(""), Verdict::Unsaid);
    }

    const BEFORE: &str = "\
#<PID>          <type>          <reloads>       <uptime>        <version>
1162            master          5 [failed: 0]   0d00h02m07s     2.6
# workers
1271            worker          1               0d00h00m00s     2.6
# old workers
1233            worker          3               0d00h00m43s     2.6
# programs
";

    #[test]
    fn processes_tell_what_the_answer_did_not() {
        let before = processes(BEFORE);
        let expected = Processes {
            workers: vec![1271],
            failed: 0,
        };
        assert_eq!(before, expected);
        assert_eq!(judged(&before, &before), Verdict::Unsaid);
        let refused = processes(&BEFORE.replace("failed: 0", "failed: 1"));
        assert_eq!(judged(&before, &refused), Verdict::Refused(String::new()));
        let taken = processes(&BEFORE.replace("1271", "1300"));
        assert_eq!(judged(&refused, &taken), Verdict::Taken);
        assert_eq!(judged(&before, &Processes::default()), Verdict::Unsaid);
    }
}
