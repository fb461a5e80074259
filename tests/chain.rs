//! The whole chain on real parts: containers, store, registrator, confd, nginx. Whatever part is killed whenever, in the
//! end requests reach exactly the containers that run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use end_to_end::agents::Agent;
use end_to_end::confdir::Confdir;
use end_to_end::docker::{Container, Engine};
use end_to_end::nginx::Nginx;
use end_to_end::registry::Service;
use end_to_end::store::{Maker, Store};
use end_to_end::{http, port, programs, wait, web};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

struct Chain {
    // In the order in which they go away.
    confd: Agent,
    registrator: Agent,
    nginx: Nginx,
    containers: Vec<Container>,
    engine: Engine,
    service: Service,
    store: Store,
    confdir: Confdir,
    _prefix: tempfile::TempDir,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Store,
    Registrator,
    Confd,
}

impl Chain {
    fn new(maker: Maker) -> Self {
        let engine = Engine::of_machine();
        let store = Store::start(maker);
        let service = Service::new(store.client());
        let prefix = tempfile::tempdir().expect("temporary folder");
        let confdir = Confdir::new();
        let port = port::free();
        let template = source("deploy/demo/confd/templates/nginx.conf.tera")
            .replace("\"web\"", "vars.service");
        confdir.write("templates/nginx.tera", &template);
        let resource = format!(
            "src: nginx.tera\ndest: {}/nginx.conf\nkeys: [/services]\nvars: {{port: {port}, service: {}}}\n\
             check_cmd: \"{} -c {{{{.src}}}}\"\nreload_cmd: \"{}\"\nquiet_min: 0s\n",
            prefix.path().display(),
            service.name(),
            Nginx::check_command(prefix.path()),
            Nginx::reload_command(prefix.path()),
        );
        confdir.write("conf.d/nginx.yaml", &resource);
        let nginx = Nginx::start(
            prefix.path(),
            &source("deploy/demo/nginx-initial.conf"),
            port,
        );
        let endpoint = store.endpoint();
        Self {
            confd: Agent::confd(MUSTER, confdir.path(), &endpoint).started(),
            registrator: Agent::registrator(MUSTER, &engine, &endpoint).started(),
            nginx,
            containers: Vec::new(),
            engine,
            service,
            store,
            confdir,
            _prefix: prefix,
        }
    }

    fn kill(&mut self, part: Part) {
        match part {
            Part::Store => self.store.kill(),
            Part::Registrator => self.registrator.kill(),
            Part::Confd => self.confd.kill(),
        }
    }

    fn restart(&mut self, part: Part) {
        match part {
            Part::Store => self.store.restart(),
            Part::Registrator => drop(self.registrator.start()),
            Part::Confd => drop(self.confd.start()),
        }
    }

    fn add(&mut self) {
        self.containers
            .push(web::start(&self.engine, self.service.name()));
    }

    fn remove(&mut self) {
        self.containers.remove(0).does(&["kill"]);
    }

    /// Requests reach exactly the containers there are.
    #[track_caller]
    fn converges(&mut self, when: &str) {
        let expected: BTreeSet<String> = self
            .containers
            .iter()
            .map(|container| container.short_id().to_owned())
            .collect();
        let proxy = self.nginx.address();
        wait::until(
            &format!("nginx to serve exactly what runs, {when}"),
            wait::LONG,
            || {
                let seen = web::instances_behind(proxy, 4 * expected.len())?;
                if seen == expected {
                    Ok(())
                } else {
                    Err(format!("{seen:?}, expected {expected:?}"))
                }
            },
        );
        self.service
            .becomes(&self.containers.iter().collect::<Vec<_>>());
    }
}

fn source(path: &str) -> String {
    std::fs::read_to_string(programs::source().join(path))
        .unwrap_or_else(|cause| panic!("read {path}: {cause}"))
}

fn killed_at_every_stage(maker: Maker) {
    let mut chain = Chain::new(maker);
    chain.add();
    chain.converges("at the start");
    for part in [Part::Store, Part::Registrator, Part::Confd] {
        // While nothing changes.
        chain.kill(part);
        chain.restart(part);
        chain.add();
        chain.converges(&format!("{part:?} killed while nothing changed"));
        // While a change is on its way: the container has started, and who comes first knows.
        chain.add();
        chain.kill(part);
        chain.restart(part);
        chain.converges(&format!("{part:?} killed right after a start"));
        chain.remove();
        chain.kill(part);
        chain.restart(part);
        chain.converges(&format!("{part:?} killed right after an end"));
        // While it is away.
        chain.kill(part);
        chain.add();
        chain.remove();
        chain.restart(part);
        chain.converges(&format!("changes while {part:?} was away"));
        chain.remove();
        chain.converges("one less");
    }
}

#[test]
fn each_part_killed_at_each_stage_converges_on_our_store() {
    killed_at_every_stage(Maker::Muster(PathBuf::from(MUSTER)));
}

#[test]
fn each_part_killed_at_each_stage_converges_on_etcd() {
    killed_at_every_stage(Maker::Etcd);
}

#[test]
fn a_draining_container_is_taken_out_before_it_leaves() {
    let mut chain = Chain::new(Maker::Muster(PathBuf::from(MUSTER)));
    chain.add();
    chain.add();
    chain.converges("at the start");
    let proxy = chain.nginx.address();
    let stopping = chain.containers.remove(0);
    let stopped = AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        // Requests of all kinds for as long as it takes: quick ones, and some that are under way when it happens.
        let senders = ["/", "/", "/slow/100"].map(|path| {
            let stopped = &stopped;
            scope.spawn(move || {
                let mut failed = Vec::new();
                while !stopped.load(Ordering::Relaxed) {
                    match http::get(proxy, path) {
                        Ok(response) if response.status == 200 => {}
                        other => failed.push(format!("{path}: {other:?}")),
                    }
                }
                failed
            })
        });
        stopping.does(&["stop"]);
        stopped.store(true, Ordering::Relaxed);
        senders
            .map(|sender| sender.join().expect("a sender"))
            .concat()
    });
    assert!(
        failed.is_empty(),
        "{} requests failed: {:?}",
        failed.len(),
        failed.first()
    );
    assert_eq!(stopping.inspect("{{.State.ExitCode}}").as_deref(), Ok("0"));
    chain.converges("after the stop");
}

#[test]
fn a_configuration_nginx_refuses_never_reaches_it() {
    let mut chain = Chain::new(Maker::Muster(PathBuf::from(MUSTER)));
    chain.add();
    chain.converges("at the start");
    let template = chain.confdir.path().join("templates/nginx.tera");
    let good = std::fs::read_to_string(&template).expect("read");
    let rendered = std::fs::read_to_string(chain.nginx.prefix().join("nginx.conf")).expect("read");
    std::fs::write(&template, good.replace("proxy_pass", "proxy_pas")).expect("write");
    chain.confd.kill();
    chain.confd.start().wait_line("proxy_pas", wait::LONG);
    assert_eq!(
        std::fs::read_to_string(chain.nginx.prefix().join("nginx.conf")).expect("read"),
        rendered
    );
    assert!(!chain.nginx.exited());
    chain.converges("with the bad template refused");
    std::fs::write(&template, good).expect("write");
    chain.confd.kill();
    chain.confd.start();
    chain.add();
    chain.converges("with the good template back");
}
