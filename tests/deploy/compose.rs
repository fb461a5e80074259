//! The Compose files, each started for real on images made here: what is registered is found through both front ends, a
//! new version of a service takes over without a failed request, and three members survive the loss of any one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use end_to_end::docker::Engine;
use end_to_end::etcdctl::{Etcdctl, Release};
use end_to_end::process::Process;
use end_to_end::{http, port, programs, wait, web};

use crate::project::Project;
use crate::shipped;

/// Enough for a dozen containers on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// Clients of a front end, who ask all the time.
struct Crowd {
    end: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Crowd {
    fn start(front: SocketAddr) -> Self {
        let (end, asked): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let client = |_| {
            let (end, asked) = (Arc::clone(&end), Arc::clone(&asked));
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                while !end.load(Relaxed) {
                    match http::get(front, "/") {
                        Ok(answer) if answer.status == 200 => {}
                        other => failed.push(format!("{other:?}")),
                    }
                    asked.fetch_add(1, Relaxed);
                    std::thread::sleep(Duration::from_millis(2));
                }
                failed
            })
        };
        let clients = (0..2).map(client).collect();
        Self {
            end,
            asked,
            clients,
        }
    }

    /// Every request was answered, and there were some.
    fn was_served(self) {
        let asked = self.asked.load(Relaxed);
        wait::until("some more requests", PATIENCE, || {
            match self.asked.load(Relaxed) > asked + 100 {
                true => Ok(()),
                false => Err("none yet".to_owned()),
            }
        });
        self.end.store(true, Relaxed);
        let failed: Vec<String> = self
            .clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        let asked = self.asked.load(Relaxed);
        assert!(failed.is_empty(), "{} of {asked}: {failed:?}", failed.len());
    }
}

/// Waits until exactly these containers answer behind a front end.
#[track_caller]
fn answers(project: &Project, front: SocketAddr, containers: &[String]) {
    let expected: BTreeSet<String> = containers.iter().map(|id| id[..12].to_owned()).collect();
    wait::until("the containers of web to answer", PATIENCE, || {
        let seen = web::instances_behind(front, 8 * expected.len())
            .map_err(|reason| format!("{reason}\n{}", project.said()))?;
        match seen == expected {
            true => Ok(()),
            false => Err(format!("{seen:?} of {expected:?}\n{}", project.said())),
        }
    });
}

#[test]
fn a_host_with_its_front_ends_serves_through_a_rolling_update() {
    let (nginx, haproxy) = (port::free(), port::free());
    let fronts = [nginx, haproxy].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut project = Project::new(&["docker-compose.yml", "web.yml"])
        .with("STORE_PORT", &port::free().to_string())
        .with("HTTP_PORT", &nginx.to_string())
        .with("HAPROXY_PORT", &haproxy.to_string())
        .with("WEB_VERSION", "1");
    // The store and a registrator with the engine's socket, as the first page has it.
    project.compose(&["up", "-d", "--scale", "web=2"]);
    let first = project.containers("web");
    assert_eq!(first.len(), 2);
    wait::until("web is registered", PATIENCE, || {
        let words = ["exec", "-T", "store", "muster", "services", "web"];
        let told = project.try_compose(&words)?;
        match first.iter().all(|id| told.contains(&id[..12])) {
            true => Ok(()),
            false => Err(format!("{told}\n{}", project.said())),
        }
    });

    // The same with all that goes beside it, and a registrator that has the proxy's socket only.
    project.use_files(&[
        "docker-compose.yml",
        "socket-proxy.yml",
        "web.yml",
        "nginx.yml",
        "haproxy.yml",
    ]);
    project.compose(&["up", "-d", "--scale", "web=2"]);
    assert_eq!(project.containers("web"), first, "they stayed");
    for front in fronts {
        answers(&project, front, &first);
    }
    for part in ["store", "registrator", "nginx-confd", "nginx-pod"] {
        project.is_healthy(part);
    }

    let crowd = Crowd::start(fronts[0]);
    project.set("WEB_VERSION", "2");
    project.compose(&["up", "-d", "--no-recreate", "--scale", "web=4"]);
    let all = project.containers("web");
    assert_eq!(all.len(), 4);
    answers(&project, fronts[0], &all);
    for id in &first {
        project.engine.run(&["stop", id]).unwrap();
    }
    let second: Vec<String> = all.into_iter().filter(|id| !first.contains(id)).collect();
    for front in fronts {
        answers(&project, front, &second);
    }
    crowd.was_served();

    // Whoever sits in a pod ends alone and comes back into it.
    let [confd] = &project.containers("nginx-confd")[..] else {
        panic!("one confd");
    };
    let pid = project
        .engine
        .run(&["inspect", "--format", "{{.State.Pid}}", confd])
        .unwrap();
    let killed = programs::as_root("kill").args(["-KILL", &pid]).status();
    assert!(killed.unwrap().success());
    project.engine.run(&["stop", &second[0]]).unwrap();
    for front in fronts {
        answers(&project, front, &second[1..]);
    }
}

#[test]
fn three_hosts_survive_the_loss_of_any_one() {
    // Loopback addresses stand for the hosts'; each is its own for the members of this process.
    let third = std::process::id() % 250 + 1;
    let addresses = ["a", "b", "c"]
        .into_iter()
        .enumerate()
        .map(|(at, node)| (node, format!("127.77.{third}.{}", at + 1)));
    let addresses: Vec<(&str, String)> = addresses.collect();
    let (client, peer, registrator) = (port::free(), port::free(), port::free());
    let list = |form: &dyn Fn(&(&str, String)) -> String| {
        let all: Vec<String> = addresses.iter().map(form).collect();
        all.join(",")
    };
    let cluster = list(&|(node, address)| format!("{node}=http://{address}:{peer}"));
    let endpoints = list(&|(_, address)| format!("http://{address}:{client}"));
    let hosts: Vec<Project> = addresses
        .iter()
        .map(|(node, address)| {
            Project::new(&["host.yml"])
                .with("NODE", node)
                .with("ADDRESS", address)
                .with("CLUSTER", &cluster)
                .with("ENDPOINTS", &endpoints)
                .with("CLIENT_PORT", &client.to_string())
                .with("PEER_PORT", &peer.to_string())
                .with("REGISTRATOR_PORT", &registrator.to_string())
        })
        .collect();
    for host in &hosts {
        host.compose(&["up", "-d"]);
    }
    for host in &hosts {
        host.is_healthy("store");
        host.is_healthy("registrator");
    }
    let at = |host: usize| {
        let endpoint = format!("http://{}:{client}", addresses[host].1);
        Etcdctl::new(Release::V3_5, &endpoint)
    };
    for (lost, host) in hosts.iter().enumerate() {
        let [member] = &host.containers("store")[..] else {
            panic!("one store");
        };
        host.engine.run(&["kill", member]).unwrap();
        let (one, other) = ((lost + 1) % 3, (lost + 2) % 3);
        let value = format!("without {lost}");
        wait::until("the others to go on", PATIENCE, || {
            at(one).try_run(&["put", "/a", &value])
        });
        let told = wait::until("the others to go on", PATIENCE, || {
            at(other).try_run(&["get", "/a", "--print-value-only"])
        });
        assert_eq!(told, format!("{value}\n"));
        host.compose(&["up", "-d"]);
        wait::until("it is back with all there is", PATIENCE, || {
            let told = at(lost).try_run(&["get", "/a", "--print-value-only"])?;
            match told == format!("{value}\n") {
                true => Ok(()),
                false => Err(told),
            }
        });
    }
}

/// Docker's own client through the proxy of the registrator: it may look, and nothing else.
#[test]
fn the_socket_s_proxy_lets_through_what_only_looks() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock").display().to_string();
    let engine = Engine::of_machine().address().replace("unix://", "");
    let text = std::fs::read_to_string(shipped("compose/docker-proxy/haproxy.cfg")).unwrap();
    let text = text
        .replace("/var/run/docker.sock", &engine)
        .replace("/run/docker-proxy/docker.sock", &socket);
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(programs::system("haproxy"));
    let _proxy = Process::spawn("haproxy", command.arg("-db").arg("-f").arg(&file));
    let through = Engine::at(format!("unix://{socket}"));
    wait::until("the proxy answers", PATIENCE, || through.run(&["ps"]));
    through.run(&["info"]).unwrap();
    for refused in [
        &["images"][..],
        &["rm", "--force", "nobody"],
        &["stop", "nobody"],
        &["kill", "nobody"],
        &["commit", "nobody"],
        &["volume", "create"],
        &["run", "--rm", "nobody"],
    ] {
        let told = through.run(refused).unwrap_err();
        assert!(told.contains("403"), "{refused:?}: {told}");
    }
}
