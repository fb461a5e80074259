//! The model check of confd with real processes: three members, a confd and a service, while keys change, checks and reloads
//! fail, templates break, confd is killed at each step of its way, and the store loses its leader, its history and the
//! confd's token. Whenever all is well again, each file is what its template gives from the keys as they are, and the
//! service runs on it; and never has it been shown half a transaction, or what the check refuses.
//!
//! What happens in a round follows from the seed, which is printed: `FAULT_SEED=7` begins with it, `FAULT_MINUTES=10` goes
//! on with the seeds after it. When exactly a process is killed depends on the machine as well.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use end_to_end::agents::Agent;
use end_to_end::cluster::Cluster;
use end_to_end::confdir::Confdir;
use end_to_end::net::Net;
use end_to_end::process::{Process, Signal};
use end_to_end::{http, programs, wait};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::MUSTER;

/// Rounds of one seed, each a second or so.
const ROUNDS: usize = 12;
/// After so many of them all must be well.
const ROUNDS_UNTIL_PEACE: usize = 4;
/// Seed of the run in `make test`: any will do.
const SEED: u64 = 7;
/// How long confd is waited for to come to the step at which it is to be killed; then it is killed wherever it is.
const PATIENCE: Duration = Duration::from_millis(700);
/// Until all is well again: confd waits up to 30 s before it tries anything again.
const PEACE: Duration = Duration::from_secs(60);
/// 2 s: runs out several times in a run.
const TOKEN_SECONDS: &str = "2";
const USER: &str = "root:secret";

/// The service: reads its file at its start and when it is told, and says that it was told; what it does not like
/// (`poison`) it leaves, and tells nobody.
const SERVICE: &str = r#"#!/bin/sh
load() {
  cp out/web new 2>/dev/null || return
  grep -q poison new && return
  { tr '\n' ' ' <new; echo; } >>history
  mv new loaded
}
exec 3<>orders
load
: >ready
while read -r order <&3; do
  load
  : >"answers/$order"
done
"#;

/// Commands of the resource stand in the folder; each may be the end of the confd that runs it.
const CHECK: &str = r#"#!/bin/sh
cd "${0%/*}" || exit 1
[ "$(cat faults/kill 2>/dev/null)" = check ] && rm faults/kill && kill -9 $PPID
[ -e faults/check ] && exit 1
! grep -q bad "$1"
"#;
const RELOAD: &str = r#"#!/bin/sh
cd "${0%/*}" || exit 1
[ "$(cat faults/kill 2>/dev/null)" = reload ] && rm faults/kill && kill -9 $PPID
[ -e faults/reload ] && exit 1
[ -e faults/lie ] && exit 0
[ -e faults/dead ] && exit 1
echo $$ >orders
count=0
until [ -e answers/$$ ]; do
  [ -e faults/dead ] && exit 1
  count=$((count + 1))
  [ $count -lt 500 ] || exit 1
  sleep 0.02
done
rm -f answers/$$
[ "$(cat faults/kill 2>/dev/null)" = told ] && rm faults/kill && kill -9 $PPID
exit 0
"#;
const VERIFY: &str = r#"#!/bin/sh
cd "${0%/*}" || exit 1
[ "$(cat faults/kill 2>/dev/null)" = verify ] && rm faults/kill && kill -9 $PPID
cmp -s out/web loaded
"#;

const SITE: &str = "{{ getv(key='/text') }}\n";

/// The template of `web`, which tells its editions apart.
fn template(edition: u32) -> String {
    format!(
        "# {edition}\n{{% for pair in gets(pattern='/app/*') %}}{{{{ pair.key }}}}={{{{ pair.value }}}}\n{{% endfor %}}"
    )
}

/// The dumb twin of a render.
fn rendered(edition: u32, keys: &BTreeMap<String, String>) -> String {
    let lines = keys.iter().filter(|(key, _)| key.starts_with("/app/"));
    let lines: String = lines
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect();
    format!("# {edition}\n{lines}")
}

/// Something that somebody does to the keys.
#[derive(Clone, Debug)]
enum Write {
    Put(String, String),
    Delete(String),
    /// Both of a pair in one transaction.
    Pair(String),
}

/// When confd is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Never,
    /// Its book was saved, the file not yet replaced, or just so.
    Booked,
    /// A new file stands beside the old one.
    Staged,
    /// The file was replaced.
    Replaced,
    /// Within a command of that name.
    Command(&'static str),
    /// After so many milliseconds.
    Later(u64),
    /// It is away while all this happens.
    Before,
    /// It hangs while all this happens.
    Paused,
}

/// What happens to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    LeaderKilled,
    AllKilled,
    LeaderCutOff,
    /// Nobody reaches it.
    LeaderUnplugged,
    /// What was changed cannot be watched any more.
    Compacted,
    /// Longer than a token lives.
    Quiet,
}

/// What happens in a round.
#[derive(Clone, Debug)]
struct Round {
    writes: Vec<Write>,
    moment: Moment,
    trouble: Trouble,
    /// Files in the folder `faults` while it lasts.
    faults: Vec<&'static str>,
    edit: Option<Edit>,
}

#[derive(Clone, Copy, Debug)]
enum Edit {
    Good(u32),
    Broken,
}

/// Draws rounds.
struct Plan {
    random: SmallRng,
    number: u32,
}

impl Plan {
    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.random.random_range(0..of.len())].clone()
    }

    /// Values differ, so that a file tells which it was made of.
    fn value(&mut self) -> String {
        self.number += 1;
        let kind = self.one(&["good", "good", "good", "good", "good", "bad", "poison"]);
        format!("{kind}-{}", self.number)
    }

    fn write(&mut self) -> Write {
        let key = self.one(&["/app/a", "/app/b", "/app/c"]).to_owned();
        let site = format!("/sites/{}/text", self.one(&["x", "y", "z"]));
        match self.random.random_range(0..8) {
            0..3 => Write::Put(key, self.value()),
            3 => Write::Delete(key),
            4 | 5 => Write::Pair(self.value()),
            6 => Write::Put(site, self.value()),
            _ => Write::Delete(site),
        }
    }

    fn round(&mut self) -> Round {
        use Moment::{Before, Booked, Command, Later, Never, Paused, Replaced, Staged};
        let moments = [
            Never,
            Booked,
            Staged,
            Replaced,
            Command("check"),
            Command("reload"),
            Command("told"),
            Command("verify"),
            Later(self.random.random_range(0..400)),
            Before,
            Paused,
        ];
        let troubles = [
            Trouble::None,
            Trouble::None,
            Trouble::None,
            Trouble::LeaderKilled,
            Trouble::AllKilled,
            Trouble::LeaderCutOff,
            Trouble::LeaderUnplugged,
            Trouble::Compacted,
            Trouble::Compacted,
            Trouble::Quiet,
        ];
        let faults: [&[&str]; 8] = [
            &[],
            &[],
            &[],
            &[],
            &["check"],
            &["reload"],
            &["lie"],
            &["dead"],
        ];
        let edits = [
            None,
            None,
            None,
            Some(Edit::Good(self.number)),
            Some(Edit::Broken),
        ];
        let writes = (0..self.random.random_range(1..4)).map(|_| self.write());
        Round {
            writes: writes.collect(),
            moment: self.one(&moments),
            trouble: self.one(&troubles),
            faults: self.one(&faults).to_vec(),
            edit: self.one(&edits),
        }
    }
}

struct Scene {
    // In the order in which they go away.
    confd: Agent,
    service: Option<Process>,
    confdir: Confdir,
    cluster: Cluster,
    edition: u32,
}

impl Scene {
    fn start() -> Self {
        let mut cluster = Cluster::prepare_in(Net::new(3), Path::new(MUSTER))
            .with_option("--auth-token-ttl")
            .with_option(TOKEN_SECONDS)
            // Each login would cost what others do in a round.
            .with_option("--bcrypt-cost")
            .with_option("4");
        cluster.start_all();
        let client = cluster.client_of(&cluster.all());
        for words in [
            &["user", "add", USER][..],
            &["user", "grant-role", "root", "root"],
            &["auth", "enable"],
        ] {
            wait::until(&format!("{words:?}"), wait::LONG, || client.try_run(words));
        }
        let confdir = Confdir::new();
        for folder in ["faults", "answers"] {
            std::fs::create_dir(confdir.path().join(folder)).expect("make a folder");
        }
        for (name, script) in [
            ("service", SERVICE),
            ("check", CHECK),
            ("reload", RELOAD),
            ("verify", VERIFY),
        ] {
            confdir.write(name, script);
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(confdir.path().join(name), mode).expect("make it runnable");
        }
        let made = Command::new(programs::system("mkfifo"))
            .arg(confdir.path().join("orders"))
            .status();
        assert!(made.expect("mkfifo runs").success());
        let here = confdir.path().display().to_string();
        confdir.add(
            "web",
            "/app",
            &template(0),
            &format!(
                "check_cmd: exec {here}/check {{{{src}}}}\nreload_cmd: exec {here}/reload\nverify_cmd: exec {here}/verify\n\
                 reload_cmd_timeout: 20s"
            ),
        );
        confdir.add("plain", "/app", &template(0), "");
        confdir.write("templates/site.tera", SITE);
        confdir.write(
            "conf.d/site.yaml",
            &format!(
                "src: site.tera\ndest: {here}/out/site-{{{{name}}}}\nfor_each: /sites\nprefix: '/sites/{{{{name}}}}'\n\
                 keys: [/]\nquiet_min: 0s\n"
            ),
        );
        let endpoints: Vec<String> = cluster
            .all()
            .iter()
            .map(|&member| format!("http://{}", cluster.address(member)))
            .collect();
        let confd =
            Agent::confd(MUSTER, confdir.path(), &endpoints.join(",")).with(&["--user", USER]);
        let mut scene = Self {
            confd,
            service: None,
            confdir,
            cluster,
            edition: 0,
        };
        scene.start_service();
        scene.confd.start();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.confdir.path().join(name)
    }

    fn start_service(&mut self) {
        let _ = std::fs::remove_file(self.path("ready"));
        let mut command = Command::new(self.path("service"));
        command.current_dir(self.confdir.path());
        self.service = Some(Process::spawn("the service", &mut command));
        let ready = self.path("ready");
        wait::until("the service", wait::LONG, || match ready.exists() {
            true => Ok(()),
            false => Err("not ready".to_owned()),
        });
        let _ = std::fs::remove_file(self.path("faults/dead"));
    }

    /// What may be tried is tried; whether it came through is asked of the store at the end.
    fn write(cluster: &Cluster, members: &[usize], write: &Write) -> Result<(), String> {
        let client = cluster.client_of(members);
        let head = ["--user", USER, "--command-timeout", "3s"];
        match write {
            Write::Put(key, value) => client.try_run(&[&head[..], &["put", key, value]].concat()),
            Write::Delete(key) => client.try_run(&[&head[..], &["del", key]].concat()),
            Write::Pair(value) => {
                let input = format!("\nput /app/left {value}\nput /app/right {value}\n\n\n");
                let words = [&head[..], &["txn"]].concat();
                match client.output_with_input(&words, &input) {
                    (0, said, _) => Ok(said),
                    (_, _, said) => Err(said),
                }
            }
        }
        .map(drop)
    }

    fn run(&mut self, round: &Round) {
        for fault in &round.faults {
            self.confdir.write(&format!("faults/{fault}"), "");
        }
        if round.faults.contains(&"dead") {
            self.service = None;
        }
        match round.edit {
            Some(Edit::Good(number)) => {
                self.edition = number;
                self.edit(&template(number));
            }
            Some(Edit::Broken) => self.edit("{% for"),
            None => {}
        }
        let all = self.cluster.all();
        let leader = leader(&self.cluster);
        let members = match round.trouble {
            Trouble::LeaderKilled => {
                self.cluster.kill(leader);
                self.cluster.others(leader)
            }
            Trouble::LeaderCutOff => {
                self.cluster.net().isolate(leader);
                self.cluster.others(leader)
            }
            Trouble::LeaderUnplugged => {
                self.cluster.net().unplug(leader);
                self.cluster.others(leader)
            }
            Trouble::AllKilled => {
                for &member in &all {
                    self.cluster.kill(member);
                }
                self.cluster.start_all();
                all
            }
            Trouble::Quiet => {
                wait::stays("the quiet", Duration::from_secs(3), || Ok(()));
                all
            }
            Trouble::None | Trouble::Compacted => all,
        };
        match round.moment {
            Moment::Before => self.confd.kill(),
            Moment::Paused => self.confd.process().signal(Signal::STOP),
            Moment::Command(name) => self.confdir.write("faults/kill", name),
            _ => {}
        }
        let (cluster, confdir, confd) = (&self.cluster, &self.confdir, &mut self.confd);
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| kill_at(round.moment, confd, confdir));
            for write in &round.writes {
                let _ = Self::write(cluster, &members, write);
            }
            if round.trouble == Trouble::Compacted {
                compact(cluster, &members);
            }
            killer.join().expect("whoever kills");
        });
        let _ = std::fs::remove_file(self.path("faults/kill"));
        self.lift(round, leader);
    }

    /// An edit comes in one move, as editors and deployments do it.
    fn edit(&self, text: &str) {
        self.confdir.write("templates/.new", text);
        std::fs::rename(self.path("templates/.new"), self.path("templates/web.tera"))
            .expect("replace the template");
    }

    /// Everything that was broken is repaired.
    fn lift(&mut self, round: &Round, leader: usize) {
        match round.trouble {
            Trouble::LeaderKilled => self.cluster.restart(leader),
            Trouble::LeaderCutOff | Trouble::LeaderUnplugged => self.cluster.net().heal(),
            _ => {}
        }
        for fault in &round.faults {
            if *fault != "dead" {
                let _ = std::fs::remove_file(self.path(&format!("faults/{fault}")));
            }
        }
        if self.service.is_none() {
            self.start_service();
        }
        if let Some(Edit::Broken) = round.edit {
            self.edit(&template(self.edition));
        }
        self.confd.process().signal(Signal::CONT);
        if self.confd.process().exited().is_some() {
            self.confd.start();
        }
    }

    /// What the store holds.
    fn keys(&self) -> Result<BTreeMap<String, String>, String> {
        let client = self.cluster.client_of(&self.cluster.all());
        let text = client.try_run(&["--user", USER, "get", "--prefix", "/"])?;
        let mut lines = text.lines();
        let mut keys = BTreeMap::new();
        while let (Some(key), Some(value)) = (lines.next(), lines.next()) {
            keys.insert(key.to_owned(), value.to_owned());
        }
        Ok(keys)
    }

    /// Somebody writes what nobody objects to; then all is as it should be.
    fn is_at_peace(&self, number: u32) {
        let all = self.cluster.all();
        let good = format!("peace-{number}");
        let mut writes = vec![Write::Pair(good.clone())];
        writes.extend(["a", "b", "c"].map(|key| Write::Put(format!("/app/{key}"), good.clone())));
        for write in &writes {
            wait::until(&format!("{write:?}"), wait::LONG, || {
                Self::write(&self.cluster, &all, write)
            });
        }
        let keys = wait::until("the keys", wait::LONG, || self.keys());
        let fresh = rendered(self.edition, &keys);
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
        wait::until("files and service to be as the keys are", PEACE, || {
            let (web, loaded) = (read("out/web"), read("loaded"));
            if (web.as_str(), loaded.as_str()) != (&fresh, &fresh) {
                return Err(format!(
                    "expected {fresh:?}, the file is {web:?}, the service runs on {loaded:?}"
                ));
            }
            let plain = rendered(0, &keys);
            match read("out/plain") == plain && self.sites() == sites(&keys) {
                true => Ok(()),
                false => Err(format!("{:?} {:?}", read("out/plain"), self.sites())),
            }
        });
        // And as confd itself says when it is asked anew.
        let output = Command::new(MUSTER)
            .args(["confd", "render", "web", "--user", USER, "--confdir"])
            .arg(self.confdir.path())
            .args([
                "--endpoints",
                &format!("http://{}", self.cluster.address(all[0])),
            ])
            .output();
        let output = output.expect("muster runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), fresh, "{output:?}");
        for content in read("history").lines() {
            assert!(!content.contains("bad"), "past the check: {content}");
            let value = |key: &str| content.split(' ').find_map(|word| word.strip_prefix(key));
            assert_eq!(
                value("/app/left="),
                value("/app/right="),
                "half a transaction: {content}"
            );
        }
    }

    /// The files of the sites there are.
    fn sites(&self) -> BTreeMap<String, String> {
        let found = std::fs::read_dir(self.path("out")).expect("list the output");
        let files = found.filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path
                .file_name()?
                .to_str()?
                .strip_prefix("site-")?
                .to_owned();
            Some((name, std::fs::read_to_string(&path).ok()?))
        });
        files.collect()
    }
}

/// The dumb twin of the files of the sites.
fn sites(keys: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let texts = keys.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix("/sites/")?.strip_suffix("/text")?;
        Some((name.to_owned(), format!("{value}\n")))
    });
    texts.collect()
}

/// The member that leads: who has no token is not told in another way.
fn leader(cluster: &Cluster) -> usize {
    wait::until("a leader", wait::LONG, || {
        let leads = |member: &usize| {
            let metrics = http::get(cluster.address(*member), "/metrics");
            metrics.is_ok_and(|answer| {
                let mut lines = answer.body.lines();
                lines.any(|line| line == "etcd_server_is_leader 1")
            })
        };
        let all = cluster.all();
        all.into_iter()
            .find(leads)
            .ok_or_else(|| "nobody leads".to_owned())
    })
}

/// Forgets all history.
fn compact(cluster: &Cluster, members: &[usize]) {
    let client = cluster.client_of(members);
    let revision = client
        .try_run(&["--user", USER, "get", "/", "--write-out", "json"])
        .ok()
        .and_then(|text| {
            let (_, rest) = text.split_once("\"revision\":")?;
            rest.split([',', '}']).next().map(str::to_owned)
        });
    if let Some(revision) = revision {
        let _ = client.try_run(&["--user", USER, "compact", &revision]);
    }
}

/// Kills confd when the moment has come, or when it does not come.
fn kill_at(moment: Moment, confd: &mut Agent, confdir: &Confdir) {
    let here = confdir.path();
    let read = |name: &str| std::fs::read(here.join(name)).ok();
    let staged = here.join("out/.web.staged");
    let before = (read("state/state.json"), read("out/web"));
    let began = Instant::now();
    let has_come = |confd: &mut Agent| match moment {
        Moment::Booked => read("state/state.json") != before.0,
        Moment::Staged => staged.exists(),
        Moment::Replaced => read("out/web") != before.1,
        Moment::Command(_) => confd.process().exited().is_some(),
        Moment::Later(wait) => began.elapsed() >= Duration::from_millis(wait),
        Moment::Never | Moment::Before | Moment::Paused => true,
    };
    // It comes and goes within a millisecond: nothing is slept here.
    while began.elapsed() < PATIENCE && !has_come(confd) {
        std::thread::yield_now();
    }
    if !matches!(moment, Moment::Never | Moment::Before | Moment::Paused) {
        confd.kill();
    }
}

fn trial(seed: u64) {
    eprintln!("confd's model check: FAULT_SEED={seed}");
    let mut plan = Plan {
        random: SmallRng::seed_from_u64(seed),
        number: 0,
    };
    let mut scene = Scene::start();
    scene.is_at_peace(0);
    for number in 1..=ROUNDS {
        let round = plan.round();
        eprintln!("round {number}: {round:?}");
        scene.run(&round);
        if number % ROUNDS_UNTIL_PEACE == 0 {
            plan.number += 1;
            scene.is_at_peace(plan.number);
        }
    }
    scene.confd.stop();
}

#[test]
fn files_are_what_the_keys_give_whatever_happened() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let long = Duration::from_secs(60 * number("FAULT_MINUTES").unwrap_or_default());
    let began = Instant::now();
    let mut seed = number("FAULT_SEED").unwrap_or(SEED);
    loop {
        trial(seed);
        if began.elapsed() >= long {
            return;
        }
        seed += 1;
    }
}
