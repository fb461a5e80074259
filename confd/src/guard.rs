//! Pure: Refuses a file in which a group of servers would lose all, or too many, at once: what looks like a mass death is
//! nearly always a registry, a network or a key prefix that is gone for a moment, while the servers serve on.
//!
//! Groups are what nginx calls `upstream` and haproxy `backend` or `listen`; a server is a `server` line in one.

use std::collections::BTreeMap;

/// How much a group may lose at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// Largest share that may go at once, in percent. With 100 a group may lose all but its last.
    pub lose_max_percent: u8,
    /// A group that shrinks keeps at least so many. At least 1.
    pub keep_min: usize,
    /// Largest share of the groups that may go whole at once, in percent, but never all of them. `None`: a group that goes
    /// has lost all its servers, which is refused.
    pub gone_max_percent: Option<u8>,
}

impl Guard {
    /// What is in the way of the new text; `None` if nothing is.
    pub fn objection(&self, old: &str, new: &str) -> Option<String> {
        let (then, now) = (groups(old), groups(new));
        if let Some(share) = self.gone_max_percent {
            let (all, gone) = (
                then.len(),
                then.keys().filter(|name| !now.contains_key(*name)).count(),
            );
            if gone > 0 && (gone == all || gone * 100 > all * usize::from(share)) {
                return Some(format!("{gone} of its {all} upstreams would go at once"));
            }
        }
        then.into_iter().find_map(|(group, before)| {
            let after = now.get(&group).copied().unwrap_or_default();
            if after == 0 && self.gone_max_percent.is_some() {
                // Judged above.
                return None;
            }
            let lost = before.saturating_sub(after);
            let too_many = lost * 100 > before * usize::from(self.lose_max_percent);
            let too_few = lost > 0 && after < self.keep_min;
            (too_many || too_few)
                .then(|| format!("{group} would lose {lost} of its {before} servers at once"))
        })
    }
}

/// The number of servers in each group of a file.
fn groups(text: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut group: Option<String> = None;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        // nginx may have a whole group in one line.
        for piece in line.split_inclusive([';', '{', '}']) {
            let piece = piece.trim();
            let mut words = piece.split_whitespace();
            match words.next() {
                Some(word @ ("upstream" | "backend" | "listen")) => {
                    let name = words.next().unwrap_or_default().trim_end_matches('{');
                    // `listen 80;` is a directive of nginx.
                    if !name.is_empty() && !piece.ends_with(';') {
                        let name = format!("{word} {name}");
                        found.entry(name.clone()).or_insert(0);
                        group = Some(name);
                    }
                }
                Some("server") if words.next().is_some_and(|word| word != "{") => {
                    if let Some(count) = group.as_ref().and_then(|group| found.get_mut(group)) {
                        *count += 1;
                    }
                }
                Some("frontend" | "defaults" | "global" | "}") => group = None,
                _ => {}
            }
        }
    }
    found.retain(|_, count| *count > 0);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nginx(servers: usize) -> String {
        let servers: String = (0..servers)
            .map(|number| format!("  server 10.0.0.{number}:80; # one\n"))
            .collect();
        format!(
            "upstream shop {{\n{servers}}}\nserver {{\n  listen 80;\n  server_name x;\n  location / {{ proxy_pass http://shop; }}\n}}\n"
        )
    }

    fn haproxy(servers: usize) -> String {
        let servers: String = (0..servers)
            .map(|number| format!("  server s{number} 10.0.0.{number}:80 check\n"))
            .collect();
        format!(
            "frontend www\n  bind :80\nbackend shop\n  balance roundrobin\n{servers}frontend other\n  server nothing\n"
        )
    }

    #[test]
    fn losing_all_or_too_many_is_refused() {
        let half = Guard {
            lose_max_percent: 50,
            keep_min: 1,
            gone_max_percent: None,
        };
        for file in [nginx, haproxy] {
            for (before, after, refused) in [
                (4, 4, false),
                (4, 2, false),
                (4, 1, true),
                (4, 0, true),
                (1, 0, true),
                (0, 0, false),
                (0, 4, false),
                (2, 1, false),
                (4, 9, false),
            ] {
                let objection = half.objection(&file(before), &file(after));
                assert_eq!(objection.is_some(), refused, "{before} -> {after}");
            }
        }
        let last = Guard {
            lose_max_percent: 100,
            keep_min: 2,
            gone_max_percent: None,
        };
        assert_eq!(last.objection(&nginx(9), &nginx(2)), None);
        assert_eq!(
            last.objection(&nginx(9), &nginx(1)).as_deref(),
            Some("upstream shop would lose 8 of its 9 servers at once")
        );
        // What never had so many may stay so.
        assert_eq!(last.objection(&nginx(1), &nginx(1)), None);
    }

    #[test]
    fn some_groups_may_go_but_not_too_many_and_never_all() {
        let file = |names: &[&str], servers: usize| -> String {
            let server = |_| "  server x:1;\n".to_owned();
            let servers: String = (0..servers).map(server).collect();
            let group = |name: &&str| format!("upstream {name} {{\n{servers}}}\n");
            names.iter().map(group).collect()
        };
        let guard = |share| Guard {
            lose_max_percent: 50,
            keep_min: 1,
            gone_max_percent: Some(share),
        };
        let all = ["a", "b", "c", "d"];
        for (share, left, refused) in [
            (50, &all[..], false),
            (50, &all[..3], false),
            (50, &all[..2], false),
            (50, &all[..1], true),
            (100, &all[..1], false),
            (100, &[], true),
            (50, &["x", "y", "z"], true),
            (0, &all[..3], true),
        ] {
            let objection = guard(share).objection(&file(&all, 4), &file(left, 4));
            assert_eq!(objection.is_some(), refused, "{share}: {left:?}");
        }
        // The servers of those that stay are judged as ever.
        let objection = guard(50).objection(&file(&all, 4), &file(&all[..3], 1));
        assert_eq!(
            objection.as_deref(),
            Some("upstream a would lose 3 of its 4 servers at once")
        );
        let objection = guard(50).objection(&file(&all, 1), "");
        assert_eq!(
            objection.as_deref(),
            Some("4 of its 4 upstreams would go at once")
        );
        assert_eq!(guard(50).objection("", &file(&all, 1)), None);
    }

    #[test]
    fn a_group_that_is_gone_has_lost_all() {
        let guard = Guard {
            lose_max_percent: 100,
            keep_min: 1,
            gone_max_percent: None,
        };
        assert_eq!(
            guard.objection(&haproxy(3), "").as_deref(),
            Some("backend shop would lose 3 of its 3 servers at once")
        );
        let line = "upstream a { server x:1; server y:1; }";
        assert_eq!(groups(line).get("upstream a"), Some(&2));
        assert!(guard.objection("any\ntext\n", "").is_none());
    }
}
