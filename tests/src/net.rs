//! A network of this machine's own for the members of a cluster: a namespace for each, joined by a bridge in one
//! more, and a cable to it from where tests run. Links can be cut one way or both, unplugged, made lossy or slow.
//!
//! Delays need the kernel's netem, which not every kernel has; what every one has are rules that drop packets by chance
//! and a token bucket (tbf), which delays as a full cable does. Needs root, as itself or through sudo.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::programs;

/// What the names of everything made here start with; the process id of the owner follows.
const PREFIX: &str = "muster";

/// 198.18.0.0/15 is set aside for trials of networks (RFC 2544, appendix C.2.2): no machine reaches anybody there.
const NETWORK: [u8; 2] = [198, 18];

/// The end of the cable where tests run.
const OUTSIDE: u8 = 254;

/// See the module. Taken away when dropped; what a killed run left behind, at the next start.
pub struct Net {
    /// Names of namespaces, the bridge's last.
    spaces: Vec<String>,
    /// Third byte of all addresses.
    third: u8,
    members: usize,
}

impl Net {
    /// A network in which all reach each other.
    ///
    /// # Panics
    /// When it cannot be made: who is not root, and may not use sudo without a password, cannot.
    #[track_caller]
    #[must_use]
    pub fn new(members: usize) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        /// Held until an address is taken, so that nobody else finds it free.
        static MAKING: Mutex<()> = Mutex::new(());
        let making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        forget_the_dead();
        let (owner, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let name = |part: &str| format!("{PREFIX}-{owner}-{number}-{part}");
        let mut spaces: Vec<String> = (0..members)
            .map(|member| name(&format!("m{member}")))
            .collect();
        spaces.push(name("bridge"));
        // From here on dropping it takes away whatever has been made.
        let net = Self {
            spaces,
            third: free_network(),
            members,
        };
        for space in &net.spaces {
            ip(&["netns", "add", space]);
            ip(&["-n", space, "link", "set", "lo", "up"]);
        }
        let bridge = net.bridge();
        ip(&["-n", bridge, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", bridge, "link", "set", "bridge", "up"]);
        for member in 0..members {
            let (space, port) = (net.space(member), port(member));
            net.cable(&port, &["name", "eth0", "netns", space]);
            let address = format!("{}/24", net.address(member));
            ip(&["-n", space, "address", "add", &address, "dev", "eth0"]);
            ip(&["-n", space, "link", "set", "eth0", "up"]);
        }
        // Names of links have at most 15 characters.
        let outside = format!("{PREFIX}{number}.{}", net.third);
        net.cable("outside", &["name", &outside, "netns", &owner.to_string()]);
        let [first, second] = NETWORK;
        let address = format!("{first}.{second}.{}.{OUTSIDE}/24", net.third);
        ip(&["address", "add", &address, "dev", &outside]);
        ip(&["link", "set", &outside, "up"]);
        drop(making);
        net
    }

    /// A cable from the bridge to the other end, which is given as `ip link` wants it.
    fn cable(&self, port: &str, other: &[&str]) {
        let bridge = self.bridge();
        let make = ["-n", bridge, "link", "add", port, "type", "veth", "peer"];
        ip(&[&make[..], other].concat());
        ip(&[
            "-n", bridge, "link", "set", "dev", port, "master", "bridge", "up",
        ]);
    }

    /// How many members it has room for.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members
    }

    /// Where a member is reached, by the others and from here.
    ///
    /// # Panics
    /// With more than 200 members.
    #[must_use]
    pub fn address(&self, member: usize) -> Ipv4Addr {
        let last = u8::try_from(member + 1).expect("few members");
        Ipv4Addr::new(NETWORK[0], NETWORK[1], self.third, last)
    }

    /// Runs a program where a member is, under the id of whoever runs the tests.
    #[must_use]
    pub fn command(&self, member: usize, program: &Path) -> Command {
        let mut command = programs::as_root("ip");
        command.args(["netns", "exec", self.space(member)]);
        let user = rustix::process::geteuid();
        if !user.is_root() {
            let group = rustix::process::getegid();
            command.arg(programs::system("setpriv")).args([
                format!("--reuid={}", user.as_raw()),
                format!("--regid={}", group.as_raw()),
                "--clear-groups".to_owned(),
            ]);
        }
        command.arg(program);
        command
    }

    /// What one member sends to another does not arrive any more.
    ///
    /// # Panics
    /// When the rule cannot be made.
    #[track_caller]
    pub fn cut(&self, from: usize, to: usize) {
        let from = self.address(from).to_string();
        self.filter(
            to,
            &["--append", "INPUT", "--source", &from, "--jump", "DROP"],
        );
    }

    /// A member and the others hear nothing of each other; clients reach all of them.
    ///
    /// # Panics
    /// As [`Net::cut`].
    #[track_caller]
    pub fn isolate(&self, member: usize) {
        for other in (0..self.members).filter(|other| *other != member) {
            self.cut(member, other);
            self.cut(other, member);
        }
    }

    /// Nobody reaches a member, clients neither.
    ///
    /// # Panics
    /// When the link cannot be taken down.
    #[track_caller]
    pub fn unplug(&self, member: usize) {
        ip(&["-n", self.bridge(), "link", "set", &port(member), "down"]);
    }

    /// So many of a hundred packets are lost, whoever sends them to a member.
    ///
    /// # Panics
    /// As [`Net::cut`].
    #[track_caller]
    pub fn lose(&self, percent: u8) {
        let share = format!("0.{percent:02}");
        for member in 0..self.members {
            self.filter(
                member,
                &[
                    "--append",
                    "INPUT",
                    "--match",
                    "statistic",
                    "--mode",
                    "random",
                    "--probability",
                    &share,
                    "--jump",
                    "DROP",
                ],
            );
        }
    }

    /// A member sends no more than so many kilobits in a second; what waits longer than 400 ms is lost.
    ///
    /// # Panics
    /// When the bucket cannot be made.
    #[track_caller]
    pub fn slow(&self, member: usize, kilobits: u32) {
        let rate = format!("{kilobits}kbit");
        let bucket = ["tbf", "rate", &rate, "burst", "8kb", "latency", "400ms"];
        let place = [
            "-n",
            self.space(member),
            "qdisc",
            "add",
            "dev",
            "eth0",
            "root",
        ];
        root("tc", &[&place[..], &bucket].concat());
    }

    /// All is well again.
    ///
    /// # Panics
    /// When a rule cannot be taken away.
    #[track_caller]
    pub fn heal(&self) {
        for member in 0..self.members {
            self.filter(member, &["--flush", "INPUT"]);
            ip(&["-n", self.bridge(), "link", "set", &port(member), "up"]);
            let place = [
                "-n",
                self.space(member),
                "qdisc",
                "delete",
                "dev",
                "eth0",
                "root",
            ];
            // Most have none.
            let _ = try_root("tc", &place);
        }
    }

    #[track_caller]
    fn filter(&self, member: usize, rule: &[&str]) {
        // --wait: another run may be making rules.
        let place = ["netns", "exec", self.space(member), "iptables", "--wait"];
        ip(&[&place[..], rule].concat());
    }

    fn space(&self, member: usize) -> &str {
        &self.spaces[member]
    }

    fn bridge(&self) -> &str {
        &self.spaces[self.members]
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Cables go with either end.
        for space in &self.spaces {
            let _ = try_root("ip", &["netns", "delete", space]);
        }
    }
}

/// The bridge's end of a member's cable.
fn port(member: usize) -> String {
    format!("m{member}")
}

/// A third byte nobody uses.
#[track_caller]
fn free_network() -> u8 {
    let taken = root("ip", &["-oneline", "-4", "address", "show"]);
    let [first, second] = NETWORK;
    // Runs side by side begin at different places.
    let start = (std::process::id() % 256).to_le_bytes()[0];
    let free = (0..=u8::MAX)
        .map(|offset| start.wrapping_add(offset))
        .find(|third| !taken.contains(&format!("{first}.{second}.{third}.")));
    free.expect("one of 256 networks is free")
}

/// Takes away what runs left behind whose process is gone.
#[track_caller]
fn forget_the_dead() {
    for line in root("ip", &["netns", "list"]).lines() {
        let space = line.split(' ').next().unwrap_or_default();
        let owner = space
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').nth(1));
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = try_root("ip", &["netns", "delete", space]);
        }
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    root("ip", arguments);
}

#[track_caller]
fn root(program: &str, arguments: &[&str]) -> String {
    match try_root(program, arguments) {
        Ok(text) => text,
        Err(reason) => panic!(
            "{reason}\nhint: namespaces and their links are root's; run as root, or allow sudo"
        ),
    }
}

fn try_root(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = programs::as_root(program).args(arguments).output();
    let output = output.map_err(|cause| format!("run {program} {arguments:?}: {cause}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program} {arguments:?}: {}", said.trim()))
    }
}
