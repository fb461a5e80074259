//! The agent as transcripts (`agent/transcripts/*.txt`) and in a small world with failures and crashes.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use store_client::mirror::{ChangeKind, Entry};

use super::*;

/// A snapshot and its changes against the one before.
fn event(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    revision: i64,
) -> Event {
    let entry = |value: &String| Entry {
        value: Bytes::from(value.clone()),
        create_revision: 1,
        mod_revision: revision,
    };
    let entries = after
        .iter()
        .map(|(key, value)| (Bytes::from(key.clone()), entry(value)))
        .collect();
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changes = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| Change {
            key: Bytes::from(key.clone()),
            before: before.get(key).map(entry),
            after: after.get(key).map(entry),
        })
        .collect();
    Event::Advanced {
        snapshot: Snapshot::from_entries(revision, entries),
        changes,
    }
}

fn loaded(name: &str, words: &[&str]) -> Loaded {
    let mut text = format!("src: {name}.tera\ndest: /dest/{name}\nkeys: [/]\n");
    for word in words {
        match *word {
            "check" => text.push_str("check_cmd: check\n"),
            "reload" => text.push_str("reload_cmd: reload\n"),
            "verify" => text.push_str("verify_cmd: verify\n"),
            "forward" => text.push_str("rollback: false\n"),
            "hasty" => text.push_str("quiet_min: 0\n"),
            "spaced" => text.push_str("min_reload_interval: 10s\n"),
            _ => {}
        }
    }
    let resource = crate::resource::parse(
        &format!("{name}.yaml"),
        &text,
        &crate::defaults::Defaults::default(),
    )
    .unwrap();
    Loaded {
        resource: Arc::new(resource),
        version: ContentHash::of(words.concat().as_bytes()),
    }
}

fn fault(message: &str) -> Fault {
    Fault {
        message: message.to_owned(),
        hint: None,
    }
}

fn options() -> Options {
    Options {
        fail_fast: false,
        once: false,
        noop: false,
        sync_only: false,
        resync: Duration::from_secs(600),
        seed: 1,
    }
}

struct Script {
    agent: Machine,
    now: Duration,
    keys: BTreeMap<String, String>,
    revision: i64,
    passes: BTreeMap<String, u64>,
}

impl Script {
    fn new() -> Self {
        Self {
            agent: Machine::new(options(), Book::default()),
            now: Duration::ZERO,
            keys: BTreeMap::new(),
            revision: 0,
            passes: BTreeMap::new(),
        }
    }

    fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, rest) = words.split_first().unwrap();
        match *verb {
            "options" => {
                let mut options = options();
                for word in rest {
                    match *word {
                        "once" => options.once = true,
                        "fail-fast" => options.fail_fast = true,
                        "noop" => options.noop = true,
                        "sync-only" => options.sync_only = true,
                        other => panic!("option {other}"),
                    }
                }
                self.agent = Machine::new(options, Book::default());
                String::new()
            }
            "crash" => {
                // What a new life knows is the book.
                let book = Book::from_json(&self.agent.book.to_json());
                self.agent = Machine::new(options(), book);
                self.keys.clear();
                String::new()
            }
            "resources" => {
                let resources = rest.iter().map(|word| {
                    let mut parts = word.split(',');
                    let name = parts.next().unwrap();
                    let words: Vec<&str> = parts.collect();
                    let result = match words.first() {
                        Some(&"bad") => Err(fault("does not parse")),
                        _ => Ok(loaded(name, &words)),
                    };
                    (name.to_owned(), result)
                });
                self.step(Input::Resources(resources.collect()))
            }
            "store" => {
                let before = self.keys.clone();
                for word in rest {
                    match word.split_once('=') {
                        Some((key, value)) => self.keys.insert(key.to_owned(), value.to_owned()),
                        None => self.keys.remove(*word),
                    };
                }
                self.revision += 1;
                let event = event(&before, &self.keys, self.revision);
                self.step(Input::Store(event))
            }
            "wait" => {
                self.now += crate::duration::parse(rest[0]).unwrap();
                self.step(Input::Tick)
            }
            "report" => {
                let mut out = String::new();
                for (name, report) in self.agent.reports() {
                    write!(out, "{name} {}", report.phase.word()).unwrap();
                    if report.phase != Phase::Broken {
                        write!(
                            out,
                            " revision={} attempts={}",
                            report.revision, report.attempts
                        )
                        .unwrap();
                    }
                    if let Some((step, fault, since)) = &report.stale {
                        write!(
                            out,
                            " stale={}({}) since={since:?}",
                            step.word(),
                            fault.message
                        )
                        .unwrap();
                    }
                    if let Some(fault) = &report.load_fault {
                        write!(out, " load({})", fault.message).unwrap();
                    }
                    if report.would_change {
                        out.push_str(" would-change");
                    }
                    out.push('\n');
                }
                if let Some(finished) = self.agent.finished() {
                    writeln!(out, "finished {finished}").unwrap();
                }
                out
            }
            step => {
                let name = rest[0].to_owned();
                let word = rest[1];
                let result = |word: &str| match word {
                    "ok" => Ok(()),
                    _ => Err(fault("boom")),
                };
                let done = match step {
                    "rendered" => {
                        let mut reads = ReadSet::default();
                        rest[2..].iter().for_each(|path| reads.exact(path));
                        let result = match word {
                            "fault" | "waits" => Err(fault("boom")),
                            text => Ok(Arc::from(text)),
                        };
                        Done::Rendered(Output {
                            result,
                            reads,
                            notes: Vec::new(),
                            waits_for: (word == "waits").then(|| rest[2].to_owned()),
                        })
                    }
                    "staged" => Done::Staged(match word {
                        "fault" => Err(fault("boom")),
                        word => Ok(word == "same"),
                    }),
                    "compared" => Done::Compared(Ok(word == "differs")),
                    "checked" => Done::Checked(result(word)),
                    "replaced" => Done::Replaced(result(word).map(|()| Replaced {
                        notes: Vec::new(),
                        found: rest.get(2).map(|found| ContentHash::of(found.as_bytes())),
                    })),
                    "reloaded" => Done::Reloaded(result(word)),
                    "verified" => Done::Verified(result(word)),
                    "restored" => Done::Restored(match word {
                        "fault" => Err(fault("boom")),
                        word => Ok(word == "same"),
                    }),
                    other => panic!("command {other}"),
                };
                let pass = self.passes[&name];
                self.step(Input::Done { name, pass, done })
            }
        }
    }

    fn step(&mut self, input: Input) -> String {
        let mut effects = Vec::new();
        self.agent.step(self.now, input, &mut effects);
        let mut out = String::new();
        for effect in effects {
            match effect {
                Effect::Render {
                    name,
                    pass,
                    snapshot,
                } => {
                    writeln!(out, "render {name} at revision {}", snapshot.revision()).unwrap();
                    self.passes.insert(name, pass);
                }
                Effect::Stage { name, text, .. } => writeln!(out, "stage {name} {text}").unwrap(),
                Effect::Check { name, .. } => writeln!(out, "check {name}").unwrap(),
                Effect::Replace { name, book, .. } => {
                    let save = if book.is_some() { "save, " } else { "" };
                    writeln!(out, "{save}replace {name}").unwrap();
                }
                Effect::Reload { name, .. } => writeln!(out, "reload {name}").unwrap(),
                Effect::Verify { name, .. } => writeln!(out, "verify {name}").unwrap(),
                Effect::Restore { name, content, .. } => {
                    writeln!(out, "restore {name} {content:?}").unwrap();
                }
                Effect::Keep {
                    name,
                    content,
                    kept,
                } => {
                    writeln!(out, "keep {name} {content:?} of {}", kept.len()).unwrap();
                }
                Effect::Compare { name, text, .. } => {
                    writeln!(out, "compare {name} {text}").unwrap();
                }
                Effect::Discard { name } => writeln!(out, "discard {name}").unwrap(),
                Effect::Save { .. } => writeln!(out, "save").unwrap(),
            }
        }
        if let Some(due) = self.agent.next_deadline() {
            writeln!(out, "due in {:?}", due.saturating_sub(self.now)).unwrap();
        }
        out
    }
}

/// Runs every transcript. `REWRITE=1` writes what comes out; the difference is reviewed like code.
#[test]
fn transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/agent/transcripts");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut script = Script::new();
        let mut now = String::new();
        for block in text.trim_end().split("\n\n") {
            let mut out = String::new();
            for line in block.lines().take_while(|line| !line.starts_with("----")) {
                writeln!(now, "{line}").unwrap();
                if !line.starts_with('#') {
                    out.push_str(&script.command(line));
                }
            }
            if !block.lines().all(|line| line.starts_with('#')) {
                now.push_str("----\n");
                now.push_str(&out);
            }
            now.push('\n');
        }
        let now = format!("{}\n", now.trim_end());
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(&path, &now).unwrap();
        } else {
            assert_eq!(now, text, "{}", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 5, "transcripts are missing");
}

/// A machine with one key, one file and one service, that may fail at every step and crash between any two.
struct World {
    agent: Machine,
    now: Duration,
    value: u8,
    revision: i64,
    keys: BTreeMap<String, String>,
    effects: Vec<Effect>,
    staged: Option<Arc<str>>,
    // What survives a crash:
    disk: Option<Arc<str>>,
    service: Option<Arc<str>>,
    saved: Book,
    kept: BTreeMap<ContentHash, Arc<str>>,
    /// Content the service refuses though it is well.
    poison: Option<u8>,
    // What is broken just now:
    broken: [bool; 5],
}

#[derive(Debug, Clone)]
enum Move {
    Write(u8),
    /// Performs the oldest effect.
    Perform,
    Wait(u64),
    /// Step 0 render, 1 stage, 2 check, 3 replace, 4 reload.
    Break(usize, bool),
    Crash,
    /// Somebody edits the file.
    Edit,
    /// From now on the service refuses this content, well as it may be.
    Poison(u8),
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            agent: Machine::new(options(), Book::default()),
            now: Duration::ZERO,
            value: 0,
            revision: 1,
            keys: BTreeMap::new(),
            effects: Vec::new(),
            staged: None,
            disk: None,
            service: None,
            saved: Book::default(),
            kept: BTreeMap::new(),
            poison: None,
            broken: [false; 5],
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.effects.clear();
        self.staged = None;
        self.agent = Machine::new(options(), Book::from_json(&self.saved.to_json()));
        let resources = BTreeMap::from([(
            "web".to_owned(),
            Ok(loaded("web", &["check", "reload", "verify"])),
        )]);
        self.step(Input::Resources(resources));
        self.keys.clear();
        self.store();
    }

    fn store(&mut self) {
        let after = BTreeMap::from([("/a".to_owned(), self.value.to_string())]);
        let event = event(&self.keys, &after, self.revision);
        self.keys = after;
        self.step(Input::Store(event));
    }

    fn step(&mut self, input: Input) {
        self.agent.step(self.now, input, &mut self.effects);
    }

    fn save(&mut self, book: &Book) {
        if book.version() > self.saved.version() {
            self.saved = book.clone();
        }
    }

    fn perform(&mut self) {
        if self.effects.is_empty() {
            return;
        }
        let broken = self.broken;
        let result = |step: usize| {
            if broken[step] {
                Err(fault("broken"))
            } else {
                Ok(())
            }
        };
        let (name, pass, done) = match self.effects.remove(0) {
            Effect::Render {
                name,
                pass,
                snapshot,
            } => {
                let mut reads = ReadSet::default();
                reads.exact("/a");
                let value = snapshot
                    .get(b"/a")
                    .map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
                let result =
                    result(0).map(|()| Arc::from(format!("value {}", value.unwrap_or_default())));
                (
                    name,
                    pass,
                    Done::Rendered(Output {
                        result,
                        reads,
                        notes: Vec::new(),
                        waits_for: None,
                    }),
                )
            }
            Effect::Stage { name, pass, text } => {
                let same = self.disk.as_ref() == Some(&text);
                self.staged = Some(text);
                (name, pass, Done::Staged(result(1).map(|()| same)))
            }
            Effect::Check { name, pass } => (name, pass, Done::Checked(result(2))),
            Effect::Replace { name, pass, book } => {
                if let Some(book) = book {
                    self.save(&book);
                }
                let found = self.disk.clone().map(|text| {
                    let hash = ContentHash::of(text.as_bytes());
                    self.kept.entry(hash).or_insert(text);
                    hash
                });
                if !broken[3] {
                    self.disk = self.staged.take();
                }
                let notes = Vec::new();
                let replaced = result(3).map(|()| Replaced { notes, found });
                (name, pass, Done::Replaced(replaced))
            }
            Effect::Reload { name, pass, .. } => {
                let poison = self.poison.map(|value| format!("value {value}"));
                let refused = poison.is_some() && self.disk.as_deref() == poison.as_deref();
                if !broken[4] && !refused {
                    self.service = self.disk.clone();
                }
                let done = match refused {
                    true => Err(fault("refused")),
                    false => result(4),
                };
                (name, pass, Done::Reloaded(done))
            }
            Effect::Verify { name, pass } => {
                let runs = self.service == self.disk;
                (
                    name,
                    pass,
                    Done::Verified(if runs {
                        Ok(())
                    } else {
                        Err(fault("not running"))
                    }),
                )
            }
            Effect::Restore {
                name,
                pass,
                content,
                book,
            } => {
                // Somebody edited the file before it could be copied.
                let copy = self.kept.get(&content).cloned();
                let restored = result(3).and_then(|()| copy.ok_or_else(|| fault("no copy")));
                let restored = restored.map(|copy| {
                    let same = self.disk.as_ref() == Some(&copy);
                    if let Some(book) = book.filter(|_| !same) {
                        self.save(&book);
                    }
                    self.disk = Some(copy);
                    same
                });
                (name, pass, Done::Restored(restored))
            }
            Effect::Keep { content, kept, .. } => {
                if let Some(text) = self
                    .disk
                    .clone()
                    .filter(|text| ContentHash::of(text.as_bytes()) == content)
                {
                    self.kept.insert(content, text);
                }
                self.kept.retain(|hash, _| kept.contains(hash));
                return;
            }
            Effect::Save { book } => return self.save(&book),
            Effect::Discard { .. } => return self.staged = None,
            Effect::Compare { .. } => panic!("not in noop mode"),
        };
        self.step(Input::Done { name, pass, done });
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.step(Input::Tick);
    }

    /// Without failures the file and the service get there within two resyncs.
    fn settle(&mut self) {
        self.broken = [false; 5];
        let end = self.now + Duration::from_secs(1300);
        while self.now < end {
            while !self.effects.is_empty() {
                self.perform();
            }
            self.wait(10_000);
        }
        let wanted: Arc<str> = Arc::from(format!("value {}", self.value));
        let refused = self
            .agent
            .book()
            .is_bad(Path::new("/dest/web"), ContentHash::of(wanted.as_bytes()));
        if refused {
            assert_ne!(self.disk.as_ref(), Some(&wanted));
            assert!(self.agent.reports()["web"].stale.is_some(), "which is told");
            // The service may have come to refuse the old content as well.
            let poison = self.poison.map(|value| format!("value {value}"));
            if self.disk.as_deref() != poison.as_deref() {
                assert_eq!(
                    self.disk, self.service,
                    "gone back, and the service runs on what is there"
                );
            }
            return;
        }
        let report = &self.agent.reports()["web"];
        if self.poison == Some(self.value) && report.phase != Phase::Current {
            assert!(
                report.stale.is_some(),
                "nothing to go back to: it is told and tried for ever"
            );
            return;
        }
        assert_eq!(
            self.disk.as_ref(),
            Some(&wanted),
            "the file equals a fresh render"
        );
        assert_eq!(self.service.as_ref(), Some(&wanted), "the service runs it");
        assert_eq!(self.agent.reports()["web"].phase, Phase::Current);
    }
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0u8..3).prop_map(Move::Write),
        12 => Just(Move::Perform),
        4 => (1u64..3000).prop_map(Move::Wait),
        3 => (0usize..5, any::<bool>()).prop_map(|(step, on)| Move::Break(step, on)),
        2 => Just(Move::Crash),
        1 => Just(Move::Edit),
        1 => (0u8..3).prop_map(Move::Poison),
    ];
    proptest::collection::vec(one, 1..80)
}

/// Found by the test below: content that was taken back, edited and put back again, and the reload after that failed.
#[test]
fn what_was_put_back_after_an_edit_is_reloaded_until_it_holds() {
    use Move::{Break, Crash, Edit, Perform, Poison, Write};
    let perform = |times| vec![Perform; times];
    let moves = [
        vec![Perform, Write(2)],
        perform(3),
        vec![Crash, Poison(2)],
        perform(6),
        vec![Edit, Perform, Perform, Crash, Perform, Break(4, true)],
        perform(2),
    ];
    live(moves.concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_fails_or_crashes_it_converges(moves in moves()) {
        live(moves);
    }
}

/// A life of these moves, and then peace.
fn live(moves: Vec<Move>) {
    let mut world = World::new();
    for one in moves {
        match one {
            Move::Write(value) => {
                world.value = value;
                world.revision += 1;
                world.store();
            }
            Move::Perform => world.perform(),
            Move::Wait(millis) => world.wait(millis),
            Move::Break(step, on) => world.broken[step] = on,
            Move::Crash => world.start(),
            Move::Poison(value) => world.poison = Some(value),
            // A crash in between would hide that the service never saw the edit, as it may.
            Move::Edit => world.disk = Some(Arc::from("edited")),
        }
    }
    world.settle();
}

#[test]
fn only_what_was_read_wakes_a_resource() {
    let mut reads = ReadSet::default();
    reads.exact("/a");
    assert!(
        reads.matches("/a", ChangeKind::Modified) && !reads.matches("/b", ChangeKind::Modified)
    );
    let mut script = Script::new();
    script.command("resources web");
    script.command("store /a=1 /b=1");
    script.command("rendered web x /a");
    script.command("staged web same");
    let before = script.agent.reports()["web"].counts.passes;
    script.command("store /b=2");
    script.command("wait 5s");
    assert_eq!(script.agent.reports()["web"].counts.passes, before);
    assert_eq!(
        script.agent.reports()["web"].revision,
        2,
        "current up to the newest revision all the same"
    );
}

#[test]
fn a_first_start_with_many_resources_is_bounded() {
    let mut agent = Machine::new(options(), Book::default());
    let resources = (0..50)
        .map(|n| (format!("r{n:02}"), Ok(loaded(&format!("r{n:02}"), &[]))))
        .collect();
    let mut effects = Vec::new();
    agent.step(Duration::ZERO, Input::Resources(resources), &mut effects);
    agent.step(
        Duration::ZERO,
        Input::Store(event(&BTreeMap::new(), &BTreeMap::new(), 1)),
        &mut effects,
    );
    assert_eq!(effects.len(), PASSES_MAX);
    let mut rounds = 0;
    while let Some(effect) = effects.pop() {
        rounds += 1;
        let (name, pass, done) = match effect {
            Effect::Render { name, pass, .. } => {
                let output = Output {
                    result: Ok(Arc::from("x")),
                    reads: ReadSet::default(),
                    notes: Vec::new(),
                    waits_for: None,
                };
                (name, pass, Done::Rendered(output))
            }
            Effect::Stage { name, pass, .. } => (name, pass, Done::Staged(Ok(true))),
            _ => continue,
        };
        agent.step(
            Duration::ZERO,
            Input::Done { name, pass, done },
            &mut effects,
        );
    }
    assert_eq!(rounds, 50 * 2, "render and stage for each");
    assert!(
        agent
            .reports()
            .values()
            .all(|report| report.phase == Phase::Current)
    );
}
