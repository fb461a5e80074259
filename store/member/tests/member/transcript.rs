//! Lives of a member as text: each file in `transcripts/` holds commands, a line of dashes, and
//! what the member ordered. `UPDATE_TRANSCRIPTS=1` rewrites what follows the dashes; review the
//! difference like code.
//!
//! Commands: `start`, `crash <appends kept>`, `sync`, `turn`, `pass <ms>`, `put <key> <value>`,
//! `get <key>`, `get-local <key>`, `grant <lease> <seconds>`, `keep-alive <lease>`,
//! `watch <key>`. One member; nothing happens that is not commanded.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use store_machine::reply::Reply;
use store_machine::request::{KeyRange, RangeEnd};
use store_machine::revision::{LeaseId, Revision};
use store_member::Effects;
use store_member::answer::{Body, Consistency};
use store_member::input::{Input, Read, StreamEvent};
use store_member::record::EntryKind;
use store_watch::batch::{Batch, StreamId, WatchId};
use store_watch::watcher::WatchSpec;

use crate::world::{World, put, range};

#[test]
fn transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/member/transcripts");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut updated = String::new();
        for block in text.split("\n\n") {
            let (commands, expected) = block.split_once("\n----").unwrap_or((block, ""));
            if updated.is_empty() {
                WORLD.with_borrow_mut(|world| *world = World::new(1, |_| {}));
            } else {
                updated.push_str("\n\n");
            }
            let actual = run(commands);
            if std::env::var_os("UPDATE_TRANSCRIPTS").is_none() {
                assert_eq!(
                    expected.trim(),
                    actual.trim_end(),
                    "{}, after:\n{commands}",
                    path.display()
                );
            }
            write!(
                updated,
                "{}\n----\n{}",
                commands.trim_end(),
                actual.trim_end()
            )
            .unwrap();
        }
        updated.push('\n');
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, updated).unwrap();
        }
        seen += 1;
    }
    assert!(seen >= 3, "{seen} transcripts");
}

thread_local! {
    static WORLD: std::cell::RefCell<World> = std::cell::RefCell::new(World::new(1, |_| {}));
}

fn run(commands: &str) -> String {
    WORLD.with_borrow_mut(|world| {
        let mut out = String::new();
        for command in commands.lines().filter(|line| !line.starts_with('#')) {
            let replies = world.node(1).replies.len();
            let effects = perform(world, command);
            describe(&effects, &mut out);
            for reply in &world.node(1).replies[replies..] {
                let outcome = match &reply.outcome {
                    Ok(body) => describe_body(body),
                    Err(failure) => format!("{failure:?}"),
                };
                let revision = reply.header.revision;
                writeln!(
                    out,
                    "reply {}: {outcome} at revision {revision}",
                    reply.token.0
                )
                .unwrap();
            }
            if world.node(1).member.is_some() {
                let now = world.now;
                let next = world.member(1).next_deadline(now);
                if next <= now {
                    writeln!(out, "wants another turn").unwrap();
                }
            }
        }
        if out.is_empty() {
            out.push_str("nothing\n");
        }
        out
    })
}

fn perform(world: &mut World, command: &str) -> Effects {
    let words: Vec<&str> = command.split_whitespace().collect();
    let number = |place: usize| words[place].parse::<i64>().unwrap();
    match words[0] {
        "start" => world.start(1),
        "crash" => {
            world.crash(1, usize::try_from(number(1)).unwrap());
            Effects::default()
        }
        "sync" => {
            let node = world.node(1);
            let appends = std::mem::take(&mut node.disk.unsynced);
            let number = appends.last().expect("nothing to sync").number;
            node.disk
                .entries
                .extend(appends.iter().flat_map(|append| append.entries.clone()));
            node.disk.vote = appends.last().and_then(|append| append.vote).unwrap();
            world.say(1, Input::Synced { number })
        }
        "turn" => world.turn(1),
        "pass" => {
            world.now = world.now.plus_ms(number(1).cast_unsigned());
            world.turn(1)
        }
        "put" => {
            let token = world.token();
            let command = put(words[1], words[2]);
            world.say(1, Input::Propose { token, command })
        }
        "get" | "get-local" => {
            let consistency = if words[0] == "get" {
                Consistency::Linearizable
            } else {
                Consistency::Serializable
            };
            read(world, Read::Range(range(words[1])), consistency)
        }
        "grant" => {
            let token = world.token();
            let input = Input::LeaseGrant {
                token,
                id: LeaseId(number(1)),
                ttl_seconds: number(2),
                actor: None,
            };
            world.say(1, input)
        }
        "keep-alive" => read(
            world,
            Read::KeepAlive(LeaseId(number(1))),
            Consistency::Linearizable,
        ),
        "watch" => {
            let stream = StreamId(1);
            let opened = StreamEvent::Opened { credit: 10 };
            let create = StreamEvent::Create(WatchSpec {
                keys: KeyRange {
                    start: Bytes::copy_from_slice(words[1].as_bytes()),
                    end: RangeEnd::Single,
                },
                start: Revision(0),
                id: WatchId(0),
                no_put: false,
                no_delete: false,
                prev_kv: false,
                progress_notify: false,
                fragment: false,
            });
            let mut effects = Effects::default();
            for event in [opened, create] {
                world.tell(1, Input::Watch { stream, event }, &mut effects);
            }
            world.settle(1, effects)
        }
        other => panic!("unknown command {other}"),
    }
}

fn read(world: &mut World, read: Read, consistency: Consistency) -> Effects {
    let token = world.token();
    let input = Input::Read {
        token,
        read,
        consistency,
    };
    world.say(1, input)
}

fn describe(effects: &Effects, out: &mut String) {
    for notice in &effects.notices {
        writeln!(out, "notice {notice:?}").unwrap();
    }
    for append in &effects.appends {
        let mut line = format!("append {}:", append.number);
        for entry in &append.entries {
            let kind = match entry.kind {
                EntryKind::Normal if entry.body.is_empty() => "empty".to_owned(),
                EntryKind::Normal => format!("{} bytes", entry.body.len()),
                kind => format!("{kind:?}"),
            };
            write!(line, " {}@{} {kind},", entry.index, entry.term).unwrap();
        }
        if let Some(vote) = append.vote {
            let (term, voted_for, commit) = (vote.term, vote.voted_for, vote.commit);
            write!(line, " vote term {term} for {voted_for} commit {commit}").unwrap();
        }
        writeln!(out, "{line}").unwrap();
    }
    for (stream, batch) in &effects.watch {
        let batch = match batch {
            Batch::Events { events, .. } => {
                let mut keys = Vec::new();
                for shared in events {
                    let kv = &shared.event.kv;
                    keys.push(format!(
                        "{:?} {:?}@{}",
                        shared.event.kind, kv.key, kv.mod_revision
                    ));
                }
                keys.join(", ")
            }
            other => format!("{other:?}"),
        };
        writeln!(out, "stream {}: {batch}", stream.0).unwrap();
    }
}

fn describe_body(body: &Body) -> String {
    match body {
        Body::Applied(Reply::Put(_)) => "put".to_owned(),
        Body::Range(reply) => match reply.kvs.first() {
            Some(kv) => format!("{:?}", kv.value),
            None => "no such key".to_owned(),
        },
        other => format!("{other:?}"),
    }
}
