//! Several `muster store` processes that are one cluster: each can be killed, paused and started again on its data, and,
//! where each has a network namespace of its own ([`Net`]), cut off from the others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::etcdctl::{Etcdctl, Release};
use crate::net::Net;
use crate::process::Process;
use crate::{http, port, wait};

/// What a member prints once it serves linearizable requests.
const READY: &str = "ready to serve client requests";

/// What it prints before that, once it has its data.
const RECOVERED: &str = "recovered";

/// One member.
struct Member {
    name: String,
    ip: IpAddr,
    port: u16,
    peer_port: u16,
    /// Where it keeps its data, if not in the cluster's folder.
    data: Option<PathBuf>,
    process: Option<Process>,
    /// It stands in the list that members are started with.
    listed: bool,
}

impl Member {
    fn new(number: usize) -> Self {
        Self {
            name: format!("m{number}"),
            ip: Ipv4Addr::LOCALHOST.into(),
            port: port::free(),
            peer_port: port::free(),
            data: None,
            process: None,
            listed: true,
        }
    }

    fn peer_url(&self, scheme: &str) -> String {
        format!("{scheme}://{}:{}", self.ip, self.peer_port)
    }
}

/// The members and their data; indexes are places in the list of members.
pub struct Cluster {
    binary: PathBuf,
    folder: TempDir,
    members: Vec<Member>,
    /// How members speak with each other: `http` or `https`.
    peer_scheme: &'static str,
    /// Flags of every start.
    options: Vec<String>,
    /// Last: taken away when the processes are gone.
    net: Option<Net>,
}

/// What a member says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its id.
    pub member: u64,
    /// Whom it follows; 0 = nobody.
    pub leader: u64,
}

impl Cluster {
    /// A started cluster that serves on all members.
    ///
    /// # Panics
    /// When one does not get ready.
    #[track_caller]
    #[must_use]
    pub fn start(binary: &Path, members: usize) -> Self {
        let mut cluster = Self::prepare(binary, members);
        cluster.start_all();
        cluster
    }

    /// Members yet to be started, without data.
    ///
    /// # Panics
    /// When there is no temporary folder or port to be had.
    #[track_caller]
    #[must_use]
    pub fn prepare(binary: &Path, members: usize) -> Self {
        Self {
            binary: binary.to_owned(),
            folder: tempfile::tempdir().expect("temporary folder"),
            members: (0..members).map(Member::new).collect(),
            peer_scheme: "http",
            options: Vec::new(),
            net: None,
        }
    }

    /// Members yet to be started, one in each place of a network.
    ///
    /// # Panics
    /// As [`Cluster::prepare`].
    #[track_caller]
    #[must_use]
    pub fn prepare_in(net: Net, binary: &Path) -> Self {
        let mut cluster = Self::prepare(binary, net.members());
        for (number, member) in cluster.members.iter_mut().enumerate() {
            member.ip = net.address(number).into();
        }
        cluster.net = Some(net);
        cluster
    }

    /// The network its members are in.
    ///
    /// # Panics
    /// When they are not in one of their own.
    #[track_caller]
    #[must_use]
    pub fn net(&self) -> &Net {
        self.net.as_ref().expect("the cluster has a network")
    }

    /// Puts a member's data elsewhere, before its first start.
    pub fn put_data(&mut self, member: usize, folder: PathBuf) {
        self.members[member].data = Some(folder);
    }

    /// Members speak TLS with each other.
    #[must_use]
    pub fn over_tls(mut self) -> Self {
        self.peer_scheme = "https";
        self
    }

    /// Adds a flag to every start.
    #[must_use]
    pub fn with_option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// A folder for what the members are to find.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts all members and waits until they serve.
    ///
    /// # Panics
    /// When one does not.
    #[track_caller]
    pub fn start_all(&mut self) {
        self.start_some(&self.all());
    }

    /// Starts members and waits until they serve.
    ///
    /// # Panics
    /// When one does not.
    #[track_caller]
    pub fn start_some(&mut self, members: &[usize]) {
        for &member in members {
            self.spawn(member);
        }
        for &member in members {
            self.wait_ready(member);
        }
    }

    /// The flags all members agree on: `name=url,…`.
    #[must_use]
    pub fn initial_cluster(&self) -> String {
        let members = self.members.iter().filter(|member| member.listed);
        let entries: Vec<String> = members
            .map(|member| format!("{}={}", member.name, member.peer_url(self.peer_scheme)))
            .collect();
        entries.join(",")
    }

    /// How a member is started.
    #[must_use]
    pub fn command(&self, member: usize) -> Command {
        let data = self.data(member);
        let mut command = match &self.net {
            Some(net) => net.command(member, &self.binary),
            None => Command::new(&self.binary),
        };
        let client_url = format!("http://{}", self.address(member));
        let member = &self.members[member];
        let peer_url = member.peer_url(self.peer_scheme);
        command
            .args(["store", "--name", &member.name, "--data-dir"])
            .arg(data)
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url])
            .args(["--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &self.initial_cluster()])
            .args(&self.options)
            .current_dir(self.folder.path());
        command
    }

    /// Sets whether a member stands in the list that members are started with.
    pub fn list(&mut self, member: usize, listed: bool) {
        self.members[member].listed = listed;
    }

    /// Where other members reach a member.
    #[must_use]
    pub fn peer_url(&self, member: usize) -> String {
        self.members[member].peer_url(self.peer_scheme)
    }

    /// The id of a member, as `at` knows it.
    ///
    /// # Errors
    /// When `at` does not answer, or knows no such member.
    pub fn id_of(&self, member: usize, at: usize) -> Result<String, String> {
        let list = self.client(at).try_run(&["member", "list"])?;
        let url = self.peer_url(member);
        let line = list.lines().find(|line| line.contains(&url));
        let id = line.and_then(|line| line.split(',').next());
        id.map(str::to_owned).ok_or(list)
    }

    /// Asks `at` to add a member and starts that without waiting; more arguments are for the asking.
    ///
    /// # Panics
    /// When it is not added.
    #[track_caller]
    pub fn join(&mut self, member: usize, at: usize, more: &[&str]) {
        let url = format!("--peer-urls={}", self.peer_url(member));
        let name = self.members[member].name.clone();
        let words = [&["member", "add", &name, &url][..], more].concat();
        wait::until("the member to be added", wait::LONG, || {
            self.client(at).try_run(&words)
        });
        self.list(member, true);
        self.spawn_with(member, &["--initial-cluster-state", "existing"]);
    }

    /// Starts a member without waiting.
    pub fn spawn(&mut self, member: usize) -> &mut Process {
        self.spawn_with(member, &[])
    }

    /// As [`Cluster::spawn`], with more flags.
    pub fn spawn_with(&mut self, member: usize, flags: &[&str]) -> &mut Process {
        let mut command = self.command(member);
        command.args(flags);
        let name = format!("member {}", self.members[member].name);
        let process = Process::spawn(name, &mut command);
        self.members[member].process.insert(process)
    }

    /// Waits until a member serves.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait_ready(&mut self, member: usize) {
        self.process(member).wait_line(READY, wait::LONG);
    }

    /// Waits until a member has its data and looks for the others.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait_ready_to_elect(&mut self, member: usize) {
        self.process(member).wait_line(RECOVERED, wait::LONG);
    }

    /// Starts a member (again) on its data and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn restart(&mut self, member: usize) {
        self.spawn(member);
        self.wait_ready(member);
    }

    /// Kills a member as `kill -9` does.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut process) = self.members[member].process.take() {
            process.kill();
        }
    }

    /// The process of a member.
    ///
    /// # Panics
    /// When it was not started, or was killed.
    #[track_caller]
    pub fn process(&mut self, member: usize) -> &mut Process {
        let process = self.members[member].process.as_mut();
        process.expect("the member was started")
    }

    /// The data folder of a member.
    #[must_use]
    pub fn data(&self, member: usize) -> PathBuf {
        let member = &self.members[member];
        let default = || self.folder.path().join(&member.name);
        member.data.clone().unwrap_or_else(default)
    }

    /// The client address of a member.
    #[must_use]
    pub fn address(&self, member: usize) -> SocketAddr {
        let member = &self.members[member];
        (member.ip, member.port).into()
    }

    /// Where a member listens for the others.
    #[must_use]
    pub fn peer_address(&self, member: usize) -> SocketAddr {
        let member = &self.members[member];
        (member.ip, member.peer_port).into()
    }

    /// A client of several members.
    #[must_use]
    pub fn client_of(&self, members: &[usize]) -> Etcdctl {
        let urls = members
            .iter()
            .map(|&member| format!("http://{}", self.address(member)));
        let urls: Vec<String> = urls.collect();
        Etcdctl::new(Release::V3_5, &urls.join(","))
    }

    /// A client of one member.
    #[must_use]
    pub fn client(&self, member: usize) -> Etcdctl {
        self.client_of(&[member])
    }

    /// What a member says about itself.
    ///
    /// # Errors
    /// When it does not say.
    pub fn status(&self, member: usize) -> Result<Status, String> {
        let address = self.address(member);
        let request = format!(
            "POST /v3/maintenance/status HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n\
             Connection: close\r\n\r\n{{}}"
        );
        let response = http::request(address, &request)?;
        let answer: Value = serde_json::from_str(&response.body).map_err(|e| e.to_string())?;
        // 64-bit numbers are texts there; a field that is 0 is left out.
        let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let member = number(&answer["header"]["member_id"]).ok_or(response.body)?;
        let leader = number(&answer["leader"]).unwrap_or(0);
        Ok(Status { member, leader })
    }

    /// Waits until these members follow the same leader, one of them, and gives its place.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    #[must_use]
    pub fn leader_among(&self, members: &[usize]) -> usize {
        wait::until("a leader that all follow", wait::LONG, || {
            let said: Result<Vec<Status>, String> =
                members.iter().map(|&member| self.status(member)).collect();
            let said = said?;
            let leader = said[0].leader;
            let place = said.iter().position(|status| status.member == leader);
            match place {
                Some(place) if said.iter().all(|status| status.leader == leader) => {
                    Ok(members[place])
                }
                _ => Err(format!("{said:?}")),
            }
        })
    }

    /// All members.
    #[must_use]
    pub fn all(&self) -> Vec<usize> {
        (0..self.members.len()).collect()
    }

    /// All members but one.
    #[must_use]
    pub fn others(&self, member: usize) -> Vec<usize> {
        let all = 0..self.members.len();
        all.filter(|other| *other != member).collect()
    }
}
