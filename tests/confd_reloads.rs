//! confd's reload drivers on a real nginx and a real haproxy: what they serve under load while it changes, that a reload
//! which was refused silently is noticed and taken back, and that server lines change without a reload.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use end_to_end::agents::Agent;
use end_to_end::authority::{Authority, Holder};
use end_to_end::confdir::Confdir;
use end_to_end::etcdctl::Etcdctl;
use end_to_end::haproxy::Haproxy;
use end_to_end::nginx::Nginx;
use end_to_end::process::{Process, Signal};
use end_to_end::store::{Maker, Store};
use end_to_end::{http, port, wait};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// Clients that ask all the time.
const ASKERS: usize = 2;
/// Requests that must come through after the last change.
const AFTER: usize = 20;

/// A store, a folder, and an agent that renders one file of it.
struct Scene {
    confdir: Confdir,
    client: Etcdctl,
    store: Store,
}

impl Scene {
    fn new() -> Self {
        let store = Store::start(Maker::Muster(PathBuf::from(MUSTER)));
        Self {
            client: store.client(),
            store,
            confdir: Confdir::new(),
        }
    }

    fn agent(&self) -> Agent {
        Agent::confd(MUSTER, self.confdir.path(), &self.store.endpoint())
    }

    fn put(&self, key: &str, value: &str) {
        assert_eq!(self.client.run(&["put", "--", key, value]), "OK\n");
    }

    fn delete(&self, key: &str) {
        assert_eq!(self.client.run(&["del", "--", key]), "1\n");
    }
}

/// Asks all the time, each time over a new connection, while `change` runs and for a little longer.
///
/// # Panics
/// When a request fails.
#[track_caller]
fn under_load(proxy: SocketAddr, change: impl FnOnce()) {
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..ASKERS)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        match http::get(proxy, "/") {
                            Ok(answer) if answer.status == 200 => {}
                            other => return Err(format!("{other:?}")),
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let changed = catch_unwind(AssertUnwindSafe(change));
        let enough = answered.load(Ordering::Relaxed) + AFTER;
        let after = wait::try_until("more answers", wait::LONG, || {
            match answered.load(Ordering::Relaxed) {
                count if count >= enough => Ok(()),
                count => Err(format!("{count} of {enough}")),
            }
        });
        stop.store(true, Ordering::Relaxed);
        for asker in askers {
            let outcome = asker.join().expect("an asker");
            assert_eq!(outcome, Ok(()), "a request failed");
        }
        if let Err(panic) = changed {
            resume_unwind(panic);
        }
        after.expect("answers after the change");
    });
}

const NGINX: &str = "worker_processes 2;\npid nginx.pid;\nevents {}\nhttp {\n  access_log off;\n  server {\n    \
    listen 127.0.0.1:PORT;\n";
const NGINX_TEMPLATE: &str = "    {% if exists(key='/extra') %}listen 127.0.0.1:{{ getv(key='/extra') }};{% endif %}\n    \
    location / { return 200 {{ getv(key='/name') | nginx_quote }}; }\n  }\n}\n";

/// nginx, and a resource that is its whole configuration.
fn nginx(scene: &Scene, prefix: &std::path::Path) -> Nginx {
    let port = port::free();
    let head = NGINX.replace("PORT", &port.to_string());
    scene
        .confdir
        .write("templates/nginx.tera", &format!("{head}{NGINX_TEMPLATE}"));
    let resource = format!(
        "src: nginx.tera\ndest: {0}/nginx.conf\nkeys: [/name, /extra]\nquiet_min: 0s\nreload:\n  driver: nginx\n  \
         pid_file: {0}/nginx.pid\n  command: \"{1}\"\n  proof_timeout: 8s\n",
        prefix.display(),
        Nginx::call(prefix),
    );
    scene.confdir.write("conf.d/nginx.yaml", &resource);
    Nginx::start(
        prefix,
        &format!("{head}    return 200 first;\n  }}\n}}\n"),
        port,
    )
}

#[track_caller]
fn serves(proxy: SocketAddr, text: &str) {
    wait::until(
        "nginx to serve what is new",
        wait::LONG,
        || match http::get(proxy, "/")? {
            answer if answer.body == text => Ok(()),
            answer => Err(answer.body),
        },
    );
}

#[test]
fn nginx_is_reloaded_under_load_without_a_failed_request() {
    let scene = Scene::new();
    let prefix = tempfile::tempdir().expect("a folder");
    let nginx = nginx(&scene, prefix.path());
    scene.put("/name", "0");
    let mut agent = scene.agent().started();
    serves(nginx.address(), "0");
    under_load(nginx.address(), || {
        for number in 1..=10 {
            scene.put("/name", &format!("number {number}"));
            serves(nginx.address(), &format!("number {number}"));
        }
    });
    agent.stop();
}

/// nginx over TLS, and a resource that has only a signal to reload it, and what the service says of itself to prove it.
#[test]
fn nginx_says_over_tls_which_configuration_it_runs_on() {
    let scene = Scene::new();
    let prefix = tempfile::tempdir().expect("a folder");
    let here = prefix.path().display();
    let mut authority = Authority::new(prefix.path(), "ca");
    let pair = authority.issue("nginx", Holder::default());
    let (port, plain) = (port::free(), port::free());
    let head = format!(
        "worker_processes 1;\npid nginx.pid;\nevents {{}}\nhttp {{\n  access_log off;\n  server {{\n    \
         listen 127.0.0.1:{port} ssl;\n    listen 127.0.0.1:{plain};\n    ssl_certificate {};\n    ssl_certificate_key {};\n",
        pair.certificate.display(),
        pair.key.display(),
    );
    let template = "    location /hash { return 200 {{ config_hash() }}; }\n    \
        location / { return 200 {{ getv(key='/name') | nginx_quote }}; }\n  }\n}\n";
    scene
        .confdir
        .write("templates/nginx.tera", &format!("{head}{template}"));
    let resource = format!(
        "src: nginx.tera\ndest: {here}/nginx.conf\nkeys: [/name]\nquiet_min: 0s\nreload_cmd_timeout: 8s\n\
         reload_cmd: \"test -e {here}/asleep || {}\"\nverify_url: https://127.0.0.1:{port}/up\n\
         verify_hash: https://127.0.0.1:{port}/hash\n",
        Nginx::reload_command(prefix.path()),
    );
    scene.confdir.write("conf.d/nginx.yaml", &resource);
    let _nginx = Nginx::start(prefix.path(), &format!("{head}  }}\n}}\n"), plain);
    scene.put("/name", "one");
    let mut command = scene.agent().command();
    command.env("SSL_CERT_FILE", prefix.path().join("ca.pem"));
    let mut agent = Process::spawn("confd", &mut command);
    let address = SocketAddr::from(([127, 0, 0, 1], plain));
    serves(address, "one");
    agent.wait_line("verified", wait::LONG);
    // The command says that all is well, and nginx was never told.
    let conf = || std::fs::read_to_string(prefix.path().join("nginx.conf")).expect("a file");
    let good = conf();
    std::fs::write(prefix.path().join("asleep"), "").expect("a file");
    scene.put("/name", "two");
    let line = agent.wait_line("does not stand in the file", wait::LONG);
    assert!(line.contains("/hash"), "{line}");
    wait::until("the old file to be back", wait::LONG, || match conf() {
        text if text == good => Ok(()),
        text => Err(text),
    });
    std::fs::remove_file(prefix.path().join("asleep")).expect("remove it");
    scene.put("/name", "three");
    serves(address, "three");
    agent.signal(Signal::TERM);
    assert!(agent.wait_exit(wait::LONG).success());
}

#[test]
fn what_nginx_refuses_silently_is_noticed_and_taken_back() {
    let scene = Scene::new();
    let prefix = tempfile::tempdir().expect("a folder");
    let nginx = nginx(&scene, prefix.path());
    scene.put("/name", "good");
    let mut agent = scene.agent().started();
    serves(nginx.address(), "good");
    agent.process().wait_line("reloaded", wait::LONG);
    let conf = || std::fs::read_to_string(prefix.path().join("nginx.conf")).expect("a file");
    let good = conf();
    // Its own check says nothing about a port that somebody else has, and its reload fails without a word.
    let taken = TcpListener::bind(("127.0.0.1", port::free())).expect("a port");
    let port = taken.local_addr().expect("an address").port();
    scene.put("/extra", &port.to_string());
    let line = agent
        .process()
        .wait_line("nginx started no new workers", wait::LONG);
    assert!(
        line.contains("goes on with its old configuration"),
        "{line}"
    );
    wait::until("the old file to be back", wait::LONG, || match conf() {
        text if text == good => Ok(()),
        text => Err(text),
    });
    serves(nginx.address(), "good");
    // What is right again is applied at once.
    scene.put("/extra", &port::free().to_string());
    wait::until("the new port", wait::LONG, || match conf() {
        text if text != good => Ok(()),
        text => Err(text),
    });
    scene.put("/name", "better");
    serves(nginx.address(), "better");
    agent.stop();
}

/// A web server that says its name, for as long as the test runs.
fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut head = [0; 4096];
            // haproxy sends a small head in one piece.
            let _ = stream.read(&mut head);
            let length = name.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}"
            );
        }
    });
    address
}

const HAPROXY: &str = "global\n  stats socket DIR/admin.sock level admin\ndefaults\n  mode http\n  timeout connect 10s\n  \
    timeout client 30s\n  timeout server 30s\nfrontend www\n  bind 127.0.0.1:PORT\n  default_backend shop\n\
    backend shop\n  balance roundrobin\n  default-server inter 2s\n  retries RETRIES\n";
const SERVERS: &str = "{% for pair in gets(pattern='/servers/*') %}  server {{ pair.key | base }} {{ pair.value }} check\n{% endfor %}";

struct Balanced {
    agent: Agent,
    haproxy: Haproxy,
    proxy: SocketAddr,
    scene: Scene,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Balanced {
    /// haproxy before one server, and an agent with this driver.
    fn new(driver: &str) -> Self {
        let scene = Scene::new();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("haproxy.cfg");
        let port = port::free();
        let head = HAPROXY
            .replace("DIR", &folder.path().display().to_string())
            .replace("PORT", &port.to_string());
        let template = head.replace("RETRIES", "{{ getv(key='/retries') }}") + SERVERS;
        scene.confdir.write("templates/haproxy.tera", &template);
        let master = Haproxy::master_socket(&file);
        let resource = format!(
            "src: haproxy.tera\ndest: {}\nkeys: [/servers, /retries]\nquiet_min: 0s\nreload: {{{}}}\n",
            file.display(),
            driver
                .replace("MASTER", &master.display().to_string())
                .replace("DIR", &folder.path().display().to_string()),
        );
        scene.confdir.write("conf.d/haproxy.yaml", &resource);
        std::fs::write(&file, head.replace("RETRIES", "1")).expect("a file");
        let haproxy = Haproxy::start(&file);
        scene.put("/retries", "3");
        scene.put("/servers/a", &backend("a").to_string());
        let mut agent = scene.agent().started();
        agent.process().wait_line("reloaded", wait::LONG);
        let balanced = Self {
            agent,
            haproxy,
            proxy: SocketAddr::from(([127, 0, 0, 1], port)),
            scene,
            file,
            _folder: folder,
        };
        balanced.serve(&["a"]);
        balanced
    }

    /// Waits until exactly these answer.
    #[track_caller]
    fn serve(&self, names: &[&str]) {
        let expected: BTreeSet<String> = names.iter().map(|&name| name.to_owned()).collect();
        wait::until("exactly these servers to answer", wait::LONG, || {
            let mut seen = BTreeSet::new();
            for _ in 0..3 * names.len() {
                seen.insert(http::get(self.proxy, "/")?.body);
            }
            match seen == expected {
                true => Ok(()),
                false => Err(format!("{seen:?}, expected {expected:?}")),
            }
        });
    }
}

#[test]
fn haproxy_scales_out_and_in_without_a_reload() {
    let mut balanced =
        Balanced::new("driver: haproxy_runtime, socket: DIR/admin.sock, master: MASTER");
    let worker = balanced.haproxy.worker();
    let scene = &balanced.scene;
    under_load(balanced.proxy, || {
        scene.put("/servers/b", &backend("b").to_string());
        balanced.serve(&["a", "b"]);
        scene.put("/servers/c", &backend("c").to_string());
        scene.put("/servers/d", &backend("d").to_string());
        balanced.serve(&["a", "b", "c", "d"]);
        scene.delete("/servers/a");
        scene.delete("/servers/c");
        balanced.serve(&["b", "d"]);
        // Another address under the same name.
        scene.put("/servers/b", &backend("e").to_string());
        balanced.serve(&["d", "e"]);
    });
    assert_eq!(balanced.haproxy.worker(), worker, "it was reloaded");
    // The file says the same, for whoever starts on it.
    let text = std::fs::read_to_string(&balanced.file).expect("a file");
    assert_eq!(text.matches("  server ").count(), 2, "{text}");
    // Anything else is a reload.
    scene.put("/retries", "5");
    wait::until("a new worker", wait::LONG, || {
        match balanced.haproxy.worker() {
            now if now != worker => Ok(()),
            now => Err(now.to_string()),
        }
    });
    balanced.serve(&["d", "e"]);
    balanced.agent.stop();
}

#[test]
fn what_haproxy_refuses_is_taken_back() {
    let mut balanced = Balanced::new("driver: haproxy_master, socket: MASTER");
    let good = std::fs::read_to_string(&balanced.file).expect("a file");
    balanced.scene.put("/retries", "3\n  no such word");
    balanced
        .agent
        .process()
        .wait_line("haproxy refused the reload", wait::LONG);
    wait::until(
        "the old file to be back",
        wait::LONG,
        || match std::fs::read_to_string(&balanced.file).unwrap_or_default() {
            text if text == good => Ok(()),
            text => Err(text),
        },
    );
    balanced.serve(&["a"]);
    balanced.scene.put("/retries", "4");
    balanced.scene.put("/servers/b", &backend("b").to_string());
    balanced.serve(&["a", "b"]);
    balanced.agent.stop();
}
