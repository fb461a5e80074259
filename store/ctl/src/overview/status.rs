//! Pure: `muster status`, the store at a glance: members, room, history, alarms, and leases that end soon unless somebody
//! renews them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::table::{Cell, Style, Tone, drawn, span};
use crate::doctor::bytes;

/// Percent of the quota from which on it is told in yellow; the store itself warns from there on, too.
const QUOTA_WARNING: u64 = 80;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) cluster: u64,
    pub(super) revision: i64,
    pub(super) term: u64,
    /// Id of the member that leads; 0 for none.
    pub(super) leader: u64,
    /// Revisions up to this one are forgotten; an error in words where it is not known.
    pub(super) compacted: Result<i64, String>,
    /// By name, unstarted ones last.
    pub(super) members: Vec<Member>,
    /// Kind, and the member it is about.
    pub(super) alarms: Result<Vec<(String, u64)>, String>,
    pub(super) leases: Result<Leases, String>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: u64,
    /// Empty for one that never started.
    pub(crate) name: String,
    pub(crate) endpoint: String,
    pub(crate) learner: bool,
    /// What it says, or why it says nothing.
    pub(crate) said: Result<Said, String>,
}

/// What a member says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) version: String,
    pub(crate) size: u64,
    /// 0 where it does not say (etcd before 3.6).
    pub(crate) quota: u64,
    pub(crate) applied: u64,
    pub(crate) errors: Vec<String>,
}

/// The leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leases {
    pub(super) count: usize,
    /// How many of them were looked at.
    pub(super) looked_at: usize,
    /// Those with less than half of their time left: whoever keeps one renews it when a third is over.
    pub(super) ending: Vec<Lease>,
}

/// A lease near its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) id: i64,
    pub(super) left: i64,
    pub(super) granted: i64,
    pub(super) keys: usize,
    /// One of its keys, as text.
    pub(super) key: String,
}

impl Member {
    fn shown(&self) -> String {
        match self.name.as_str() {
            "" => format!("{:x}", self.id),
            name => name.to_owned(),
        }
    }

    fn role(&self, leader: u64) -> (&'static str, Tone) {
        match (&self.said, self.learner) {
            (Err(_), _) if self.name.is_empty() => ("unstarted", Tone::Warn),
            (Err(_), _) => ("away", Tone::Bad),
            (Ok(_), _) if self.id == leader => ("leader", Tone::Good),
            (Ok(_), true) => ("learner", Tone::Plain),
            (Ok(_), false) => ("follower", Tone::Plain),
        }
    }
}

impl Picture {
    /// Whether there is a leader, every member answers, and no alarm is on.
    pub(super) fn is_well(&self) -> bool {
        let answer = |member: &Member| {
            member
                .said
                .as_ref()
                .is_ok_and(|said| said.errors.is_empty())
        };
        self.leader != 0
            && self.members.iter().all(answer)
            && self.alarms.as_ref().is_ok_and(Vec::is_empty)
    }

    fn name(&self, id: u64) -> String {
        let member = self.members.iter().find(|member| member.id == id);
        member.map_or_else(|| format!("{id:x}"), Member::shown)
    }

    fn fullest(&self) -> Option<&Said> {
        let said = self
            .members
            .iter()
            .filter_map(|member| member.said.as_ref().ok());
        said.max_by_key(|said| said.size)
    }

    fn alarms_in_words(&self) -> Result<String, String> {
        let alarms = self.alarms.as_ref().map_err(Clone::clone)?;
        let words = alarms
            .iter()
            .map(|(kind, member)| format!("{kind} on {}", self.name(*member)));
        let words: Vec<String> = words.collect();
        Ok(words.join(", "))
    }

    /// For people.
    pub(super) fn page(&self, style: Style) -> String {
        let mut lines: Vec<Vec<Cell>> = Vec::new();
        let mut line = |what: &str, text: String, tone| {
            lines.push(vec![what.into(), Cell::new(&text, tone)]);
        };
        let answering = self
            .members
            .iter()
            .filter(|member| member.said.is_ok())
            .count();
        let (leader, tone) = match self.leader {
            0 => ("NO LEADER".to_owned(), Tone::Bad),
            id => (format!("leader {}", self.name(id)), Tone::Plain),
        };
        let cluster = format!(
            "{:x}, {answering} of {} members answer, {leader}, term {}",
            self.cluster,
            self.members.len(),
            self.term
        );
        line("cluster", cluster, tone);
        match &self.compacted {
            Ok(compacted) => line(
                "history",
                format!(
                    "revision {}, kept from {} on ({} revisions)",
                    self.revision,
                    compacted + 1,
                    self.revision - compacted
                ),
                Tone::Plain,
            ),
            Err(why) => line(
                "history",
                format!("revision {}, kept since: {why}", self.revision),
                Tone::Plain,
            ),
        }
        if let Some(said) = self.fullest() {
            let (text, tone) = match (said.size * 100).checked_div(said.quota) {
                Some(percent) => (
                    format!(
                        "{} of {} ({percent} %)",
                        bytes(said.size),
                        bytes(said.quota)
                    ),
                    if percent < QUOTA_WARNING {
                        Tone::Plain
                    } else {
                        Tone::Warn
                    },
                ),
                None => (format!("{}, quota not told", bytes(said.size)), Tone::Plain),
            };
            line("size", text, tone);
        }
        match self.alarms_in_words() {
            Ok(words) if words.is_empty() => line("alarms", "none".to_owned(), Tone::Plain),
            Ok(words) => line("alarms", words, Tone::Bad),
            Err(why) => line("alarms", format!("not known: {why}"), Tone::Warn),
        }
        match &self.leases {
            Ok(leases) => {
                let mut text = format!("{}, {} near their end", leases.count, leases.ending.len());
                if leases.looked_at < leases.count {
                    text = format!("{text} (of {} looked at)", leases.looked_at);
                }
                line("leases", text, Tone::Plain);
            }
            Err(why) => line("leases", format!("not known: {why}"), Tone::Warn),
        }
        // Without a head.
        let mut text = drawn(&["", ""], &lines, style).split_off(1);
        text.push('\n');
        text.push_str(&self.members_table(style));
        if let Ok(leases) = &self.leases
            && !leases.ending.is_empty()
        {
            text.push('\n');
            text.push_str(&leases.table(style));
        }
        text
    }

    fn members_table(&self, style: Style) -> String {
        let first = self
            .members
            .iter()
            .filter_map(|member| member.said.as_ref().ok());
        let first = first.map(|said| said.applied).max().unwrap_or(0);
        let rows: Vec<Vec<Cell>> = self
            .members
            .iter()
            .map(|member| {
                let (role, tone) = member.role(self.leader);
                let mut row = vec![
                    member.shown().into(),
                    format!("{:x}", member.id).into(),
                    Cell::new(role, tone),
                ];
                match &member.said {
                    Ok(said) => row.extend([
                        said.version.as_str().into(),
                        bytes(said.size).into(),
                        said.applied.to_string().into(),
                        (first - said.applied).to_string().into(),
                        member.endpoint.as_str().into(),
                        Cell::new(&said.errors.join(", "), Tone::Bad),
                    ]),
                    Err(why) => row.extend([
                        Cell::default(),
                        Cell::default(),
                        Cell::default(),
                        Cell::default(),
                        member.endpoint.as_str().into(),
                        Cell::new(why, Tone::Bad),
                    ]),
                }
                row
            })
            .collect();
        let head = [
            "MEMBER", "ID", "ROLE", "VERSION", "SIZE", "APPLIED", "BEHIND", "ENDPOINT", "ERROR",
        ];
        drawn(&head, &rows, style)
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let members: Vec<Value> = self
            .members
            .iter()
            .map(|member| {
                let mut value = json!({
                    "id": format!("{:x}", member.id),
                    "name": member.name,
                    "endpoint": member.endpoint,
                    "role": member.role(self.leader).0,
                });
                let more = match &member.said {
                    Ok(said) => json!({
                        "version": said.version,
                        "size_bytes": said.size,
                        "quota_bytes": said.quota,
                        "applied_index": said.applied,
                        "errors": said.errors,
                    }),
                    Err(why) => json!({ "error": why }),
                };
                if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
                    value.extend(more);
                }
                value
            })
            .collect();
        let alarms = self.alarms.as_ref().map(|alarms| {
            let one = |(kind, member): &(String, u64)| json!({ "alarm": kind, "member": self.name(*member) });
            alarms.iter().map(one).collect::<Vec<_>>()
        });
        let leases = self.leases.as_ref().map(|leases| {
            let ending = leases.ending.iter().map(|lease| {
                json!({
                    "id": format!("{:x}", lease.id),
                    "left_seconds": lease.left,
                    "granted_seconds": lease.granted,
                    "keys": lease.keys,
                    "key": lease.key,
                })
            });
            json!({
                "count": leases.count,
                "looked_at": leases.looked_at,
                "ending": ending.collect::<Vec<_>>(),
            })
        });
        json!({
            "cluster": format!("{:x}", self.cluster),
            "well": self.is_well(),
            "revision": self.revision,
            "compacted_revision": self.compacted.as_ref().ok(),
            "term": self.term,
            "leader": (self.leader != 0).then(|| self.name(self.leader)),
            "members": members,
            "alarms": alarms.unwrap_or_default(),
            "leases": leases.unwrap_or(Value::Null),
        })
    }

    /// What is news when it changes: a word for each thing.
    pub(super) fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::new();
        for member in &self.members {
            let role = member.role(self.leader).0;
            let word = match &member.said {
                Ok(said) => format!("{role} {}", said.version),
                Err(_) => role.to_owned(),
            };
            facts.insert(format!("member {}", member.shown()), word);
        }
        let alarms = self.alarms_in_words().unwrap_or_default();
        if !alarms.is_empty() {
            facts.insert("alarms".to_owned(), alarms);
        }
        if self.leader == 0 {
            facts.insert("leader".to_owned(), "none".to_owned());
        }
        for lease in self.leases.iter().flat_map(|leases| &leases.ending) {
            let word = format!("near its end ({})", lease.key);
            facts.insert(format!("lease {:x}", lease.id), word);
        }
        facts
    }
}

impl Leases {
    fn table(&self, style: Style) -> String {
        let row = |lease: &Lease| {
            vec![
                Cell::from(format!("{:x}", lease.id)),
                Cell::new(&span(lease.left), Tone::Warn),
                span(lease.granted).into(),
                lease.keys.to_string().into(),
                lease.key.as_str().into(),
            ]
        };
        let rows: Vec<Vec<Cell>> = self.ending.iter().map(row).collect();
        drawn(&["LEASE", "LEFT", "OF", "KEYS", "FIRST KEY"], &rows, style)
    }
}

/// A thing whose word changed, with what it was and what it is.
pub(super) type News = (String, Option<String>, Option<String>);

/// What differs between two pictures.
pub(super) fn news(was: &BTreeMap<String, String>, is: &BTreeMap<String, String>) -> Vec<News> {
    let mut names: Vec<&String> = was.keys().chain(is.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| was.get(*name) != is.get(*name))
        .map(|name| (name.clone(), was.get(name).cloned(), is.get(name).cloned()))
        .collect()
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
