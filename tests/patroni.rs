//! Patroni as the distribution ships it, keeping a PostgreSQL cluster of two nodes by a store of ours: over the keys API of
//! etcd 2 and over the JSON gateway, its two drivers for etcd. Real processes all, killed as a power cut would.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use end_to_end::http;
use end_to_end::process::{self, Process};
use end_to_end::store::{Maker, Store};
use end_to_end::{port, programs, wait};
use tempfile::TempDir;

/// Of the leader's key: the shortest that Patroni recommends.
const TTL_SECONDS: u32 = 20;

/// Two minutes: a takeover waits out the time to live, and all else is seconds on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where Patroni keeps what it knows.
const LEADER: &str = "/service/loop/leader";

/// The user whom the packages of PostgreSQL make: the server refuses to run as root.
const USER: &str = "postgres";

#[test]
fn over_the_keys_api_of_etcd_2() {
    let store = Store::start(Maker::Muster(env!("CARGO_BIN_EXE_muster").into()));
    let driver = format!("etcd: {{host: '127.0.0.1:{}'}}", store.port());
    takes_over_and_goes_on(store, &driver);
}

/// With a password, so that a store restarted still knows whom it let in.
#[test]
fn over_the_json_gateway() {
    let store = Store::start(Maker::Muster(env!("CARGO_BIN_EXE_muster").into()));
    let client = store.client();
    for command in [
        "role add patroni",
        "role grant-permission patroni --prefix=true readwrite /service/",
        "user add patroni:secret",
        "user grant-role patroni patroni",
        "user add root:secret",
        "user grant-role root root",
        "auth enable",
    ] {
        let _ = client.run(&command.split(' ').collect::<Vec<_>>());
    }
    // Told of a proxy it does not ask for the members before it has said who it is; strangers do not hear of them.
    let driver = format!(
        "etcd3: {{proxy: 'http://patroni:secret@127.0.0.1:{}'}}",
        store.port()
    );
    takes_over_and_goes_on(store, &driver);
}

/// A primary and a replica; the primary dies, comes back as a replica, and the store dies and comes back.
fn takes_over_and_goes_on(mut store: Store, driver: &str) {
    let mut first = Node::new("first", driver);
    first.start();
    first.is("primary");
    assert_eq!(leader(&store), "first");
    first.does("create table said (word text)");
    first.does("insert into said values ('one')");
    let mut second = Node::new("second", driver);
    second.start();
    second.is("replica");
    second.reads("one");

    first.kill();
    second.is("primary");
    assert_eq!(leader(&store), "second");
    second.does("insert into said values ('two')");
    first.start();
    first.is("replica");
    first.reads("one,two");

    store.kill();
    store.restart();
    // A change of all nodes' settings goes through the store to both of them.
    wait::until("a change of settings", PATIENCE, || {
        second.set_work_mem("7MB")
    });
    for node in [&first, &second] {
        node.has_setting("7MB");
        // Patroni tells its server of a change by itself, but not while that one is busy finding its primary again.
        node.reload();
        node.answers("show work_mem", "7MB");
    }
    second.is("primary");
    assert_eq!(leader(&store), "second");
    second.does("insert into said values ('three')");
    first.reads("one,two,three");
}

/// Whose name the key of the leader holds.
fn leader(store: &Store) -> String {
    let arguments = ["--user=root:secret", "get", "--print-value-only", LEADER];
    store.client().run(&arguments).trim_end().to_owned()
}

/// One Patroni with its PostgreSQL server and their files.
struct Node {
    name: &'static str,
    folder: TempDir,
    postgres_port: u16,
    rest_port: u16,
    patroni: Option<Process>,
}

impl Node {
    fn new(name: &'static str, driver: &str) -> Self {
        let node = Self {
            name,
            folder: tempfile::tempdir().expect("temporary folder"),
            postgres_port: port::free(),
            rest_port: port::free(),
            patroni: None,
        };
        // Another user is to get in.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(node.folder.path(), open).expect("open the folder");
        let mut install = programs::as_root("install");
        let installed = install.args(["-d", "-o", USER]).arg(node.home()).status();
        assert!(
            installed.is_ok_and(|status| status.success()),
            "{install:?}"
        );
        std::fs::write(node.settings(), node.yaml(driver)).expect("write settings");
        node
    }

    /// A folder of the database's user.
    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("patroni.yml")
    }

    fn yaml(&self, driver: &str) -> String {
        let Self {
            name,
            postgres_port,
            rest_port,
            ..
        } = self;
        format!(
            "scope: loop
name: {name}
restapi:
  listen: 127.0.0.1:{rest_port}
  connect_address: 127.0.0.1:{rest_port}
{driver}
bootstrap:
  dcs:
    ttl: {TTL_SECONDS}
    loop_wait: 1
    retry_timeout: 5
    postgresql:
      use_pg_rewind: true
      parameters:
        fsync: 'off'
        wal_log_hints: 'on'
        wal_retrieve_retry_interval: 200ms
  initdb: [no-sync, {{encoding: UTF8}}, {{locale: C}}]
  pg_hba:
    - host replication all 127.0.0.1/32 trust
    - host all all 127.0.0.1/32 trust
postgresql:
  listen: 127.0.0.1:{postgres_port}
  connect_address: 127.0.0.1:{postgres_port}
  data_dir: {data}
  bin_dir: {programs}
  basebackup: [no-sync, {{checkpoint: fast}}]
  pgpass: {home}/pgpass
  authentication:
    superuser: {{username: postgres}}
    replication: {{username: replicator}}
    rewind: {{username: rewinder}}
  parameters:
    unix_socket_directories: ''
    shared_buffers: 16MB
",
            data = self.data().display(),
            home = self.home().display(),
            programs = programs::postgres("postgres").with_file_name("").display(),
        )
    }

    fn start(&mut self) {
        let mut command = as_postgres(programs::system("patroni"));
        command.arg(self.settings()).current_dir(self.home());
        let name = format!("Patroni of the {} node", self.name);
        self.patroni = Some(Process::spawn(name, &mut command));
    }

    /// Kills Patroni, which would start the server again, and the server.
    fn kill(&mut self) {
        let pid = self.postmaster();
        self.patroni = None;
        process::kill_stranger(pid.expect("a server runs"));
    }

    /// The process of its server, if one runs.
    fn postmaster(&self) -> Option<u32> {
        let file = programs::as_root("cat")
            .arg(self.data().join("postmaster.pid"))
            .output()
            .expect("run cat");
        let file = String::from_utf8_lossy(&file.stdout);
        file.lines().next()?.parse().ok()
    }

    /// Waits until it has that role and serves in it.
    #[track_caller]
    fn is(&mut self, role: &str) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.rest_port));
        let what = format!("the {} node to be the {role}", self.name);
        let patroni = self.patroni.as_mut().expect("Patroni was started");
        wait::until(&what, PATIENCE, || {
            let end = patroni.exited();
            assert!(end.is_none(), "Patroni has ended: {end:?}");
            let answer = http::get(address, &format!("/{role}"))?;
            let said = || format!("{} {}\n{}", answer.status, answer.body, patroni.tail());
            (answer.status == 200).then_some(()).ok_or_else(said)
        });
    }

    /// Changes a setting of the whole cluster.
    fn set_work_mem(&self, size: &str) -> Result<(), String> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.rest_port));
        let body = format!(r#"{{"postgresql":{{"parameters":{{"work_mem":"{size}"}}}}}}"#);
        let text = format!(
            "PATCH /config HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = http::request(address, &text)?;
        (answer.status == 200).then_some(()).ok_or(answer.body)
    }

    /// Waits until it reads a setting from the store.
    #[track_caller]
    fn has_setting(&self, size: &str) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.rest_port));
        wait::until(
            &format!("{size} at the {} node", self.name),
            PATIENCE,
            || {
                let answer = http::get(address, "/config")?;
                answer.body.contains(size).then_some(()).ok_or(answer.body)
            },
        );
    }

    /// Has it write its settings and tell its server of them, as `patronictl reload` does.
    #[track_caller]
    fn reload(&self) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.rest_port));
        let text = format!(
            "POST /reload HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        wait::until(
            &format!("a reload of the {} node", self.name),
            PATIENCE,
            || {
                let answer = http::request(address, &text)?;
                (answer.status == 202).then_some(()).ok_or(answer.body)
            },
        );
    }

    fn query(&self, sql: &str) -> Result<String, String> {
        let output = Command::new(programs::postgres("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                USER,
                "-p",
                &self.postgres_port.to_string(),
            ])
            .args(["-d", "postgres", "--no-psqlrc", "-Atc", sql])
            .env("PGCONNECT_TIMEOUT", "10")
            .output()
            .map_err(|cause| format!("run psql: {cause}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    }

    /// A primary serves as one a moment before it takes writes.
    #[track_caller]
    fn does(&self, sql: &str) {
        let what = format!("the {} node to do `{sql}`", self.name);
        wait::until(&what, PATIENCE, || self.query(sql));
    }

    #[track_caller]
    fn answers(&self, sql: &str, wanted: &str) {
        let what = format!("`{wanted}` from the {} node", self.name);
        wait::until(&what, PATIENCE, || match self.query(sql)? {
            said if said == wanted => Ok(()),
            said => Err(said),
        });
    }

    #[track_caller]
    fn reads(&self, wanted: &str) {
        self.answers(
            "select string_agg(word, ',' order by ctid) from said",
            wanted,
        );
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.patroni = None;
        // Gives its shared memory back, which one that is killed does not.
        let mut stop = as_postgres(programs::postgres("pg_ctl"));
        let _ = stop
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.data())
            .output();
        let _ = programs::as_root("rm").arg("-r").arg(self.home()).output();
    }
}

/// A command of the database's user.
fn as_postgres(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let mut command = programs::as_root("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--init-groups"])
        .arg(program);
    command
}
