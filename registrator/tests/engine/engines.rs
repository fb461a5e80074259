//! Several engines under one agent: each with a node and a lease of its own, one of them over TLS.

#![allow(clippy::unwrap_used, reason = "a test's own harness")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use end_to_end::authority::{Authority, Holder};
use end_to_end::sshd::Sshd;
use end_to_end::wait;
use registrator::config::{EngineAt, EngineTls};
use registrator_catalog::record::Record;
use store_transport::tls::{CertificateFiles, Material, Settings};
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::scene::{GENTLE, Running, Scene, faults_of};

/// The machine's engine behind a port that speaks TLS and lets in who shows a certificate, as dockerd's own does.
struct Secured {
    at: SocketAddr,
    /// Ends with the value.
    _runtime: Runtime,
}

impl Secured {
    fn new(socket: &Path, folder: &Path) -> Self {
        let mut authority = Authority::new(folder, "ca");
        let server = authority.issue("server", Holder::default());
        let own = authority.issue("client", Holder::default());
        std::fs::copy(own.certificate, folder.join("cert.pem")).unwrap();
        std::fs::copy(own.key, folder.join("key.pem")).unwrap();
        let settings = Settings {
            own: Some(CertificateFiles {
                certificate: server.certificate,
                key: server.key,
            }),
            authorities: Some(folder.join("ca.pem")),
            ..Settings::default()
        };
        let config = Material::load(&settings).unwrap().server.unwrap();
        let acceptor = TlsAcceptor::from(config);
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let at = listener.local_addr().unwrap();
        let socket: Arc<Path> = socket.into();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, socket) = (acceptor.clone(), Arc::clone(&socket));
                tokio::spawn(async move {
                    // Whoever shows no certificate is gone again.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut engine = UnixStream::connect(&socket).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut engine).await;
                });
            }
        });
        Self {
            at,
            _runtime: runtime,
        }
    }
}

#[test]
fn each_engine_has_its_own_node_and_lease() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let address = scene.engine.address();
    let socket = address.strip_prefix("unix://").unwrap();
    let secured = Secured::new(Path::new(socket), folder.path());
    let far = format!("{}-far", scene.service);
    let mut config = scene.config();
    config.docker_tls = Some(EngineTls::in_folder(folder.path()));
    config.listen = Some(([127, 0, 0, 1], 0).into());
    config.further = vec![EngineAt {
        host: format!("tcp://{}", secured.at),
        node: Some(far.clone()),
    }];
    let agent = Running::start(config.clone()).ready();
    let container = scene.container(&["--label=muster.check.exec=true"], GENTLE);
    let nodes = || -> Vec<String> {
        let records = scene.keys();
        let mut nodes: Vec<String> = records
            .iter()
            .map(|(_, value)| Record::from_json(value.as_bytes()).unwrap().node)
            .collect();
        nodes.sort();
        nodes
    };
    let both = [scene.service.clone(), far.clone()];
    wait::until("the container under both nodes", wait::LONG, || {
        if nodes() == both {
            Ok(())
        } else {
            Err(format!("{:?}", nodes()))
        }
    });
    let status = agent.status();
    assert_eq!(status.node, format!("{} {far}", scene.service));
    assert_eq!(status.services[&scene.service].len(), 2);
    let leases = scene.leases();
    assert_eq!(leases.len(), 2, "{leases:?}");
    let name = container.inspect("{{.Name}}");
    let path = format!("/explain/{}", name.trim().trim_start_matches('/'));
    let told = end_to_end::http::get(agent.listening(), &path).unwrap();
    assert_eq!(told.status, 200, "{}", told.body);

    // An engine that is not there keeps nobody else from being served.
    drop(secured);
    wait::until("one engine to be missed", wait::LONG, || {
        if agent.status().engine.up {
            Err("both are up".to_owned())
        } else {
            Ok(())
        }
    });
    container.does(&["stop"]);
    wait::until("the near node's key to go", wait::LONG, || {
        if nodes() == [far.clone()] {
            Ok(())
        } else {
            Err(format!("{:?}", nodes()))
        }
    });

    // Without certificates it is not let in, and says so.
    let folder = tempfile::tempdir().unwrap();
    let secured = Secured::new(Path::new(socket), folder.path());
    let stranger = Running::start(registrator::Config {
        docker_host: format!("tcp://{}", secured.at),
        node: Some(format!("{}-stranger", scene.service)),
        further: Vec::new(),
        listen: None,
        docker_tls: Some(EngineTls {
            authorities: Some(folder.path().join("ca.pem")),
            identity: None,
        }),
        ..config
    });
    wait::until("the engine to refuse", wait::LONG, || {
        let status = stranger.status();
        match status.faults.iter().find(|fault| fault.subject == "engine") {
            Some(_) if !status.engine.up => Ok(()),
            _ => Err(format!("{status:?}")),
        }
    });
}

#[test]
fn an_engine_behind_a_shell_on_another_host() {
    let scene = Scene::new();
    let shells = Sshd::start(&scene.engine.address());
    let mut config = scene.config();
    config.docker_host = shells.url();
    config.docker_ssh_config = Some(shells.client_settings());
    let agent = Running::start(config.clone()).ready();
    // More at once than the server of shells lets in of those it does not know yet.
    let containers: Vec<_> = (0..12)
        .map(|_| scene.container(&["--label=muster.check.exec=true"], GENTLE))
        .collect();
    scene.becomes(&containers.iter().collect::<Vec<_>>());
    agent.kill();
    let agent = Running::start(config.clone()).ready();
    containers[0].does(&["kill"]);
    scene.becomes(&containers[1..].iter().collect::<Vec<_>>());
    let rest: Vec<_> = containers[1..].iter().collect();
    assert_eq!(faults_of(&agent.status(), &rest), []);

    // Who is not let in says so, in the words of the shell.
    config.docker_ssh_config = Some(shells.stranger_s_settings());
    config.node = Some(format!("{}-stranger", scene.service));
    let stranger = Running::start(config);
    wait::until("the server to refuse", wait::LONG, || {
        let status = stranger.status();
        match status.faults.iter().find(|fault| fault.subject == "engine") {
            Some(fault) if fault.text.contains("Permission denied") => Ok(()),
            _ => Err(format!("{status:?}")),
        }
    });
}
