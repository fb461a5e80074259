//! The agent with a real ZooKeeper: ephemeral nodes that outlive a restart of the agent and of the server, and no more.

#![allow(clippy::unwrap_used, reason = "a test's own harness")]

use end_to_end::wait;
use end_to_end::zookeeper::ZooKeeper;
use registrator::{Args, Config, StopPolicy};
use registrator_catalog::layout::{Kind, Layout};
use tokio::runtime::Runtime;
use zookeeper_client::{Client, Error};

use crate::scene::{GENTLE, Running, Scene};

/// What the server has of the scene.
struct Nodes {
    runtime: Runtime,
    client: Client,
    service: String,
}

/// A node: path, value, session.
type Node = (String, String, i64);

impl Nodes {
    fn new(server: &ZooKeeper, scene: &Scene) -> Self {
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(Client::connect(&server.address().to_string()));
        Self {
            client: client.unwrap(),
            runtime,
            service: format!("/base/{}", scene.service),
        }
    }

    fn now(&self) -> Result<Vec<Node>, Error> {
        self.runtime.block_on(async {
            let names = match self.client.list_children(&self.service).await {
                Err(Error::NoNode) => return Ok(Vec::new()),
                other => other?,
            };
            let mut found = Vec::new();
            for name in names {
                let path = format!("{}/{name}", self.service);
                match self.client.get_data(&path).await {
                    Ok((value, stat)) => {
                        let value = String::from_utf8(value).unwrap();
                        found.push((path, value, stat.ephemeral_owner));
                    }
                    Err(Error::NoNode) => {}
                    Err(error) => return Err(error),
                }
            }
            found.sort();
            Ok(found)
        })
    }

    #[track_caller]
    fn become_such(&self, what: &str, right: impl Fn(&[Node]) -> bool) -> Vec<Node> {
        wait::until(what, wait::LONG * 2, || match self.now() {
            Ok(found) if right(&found) => Ok(found),
            other => Err(format!("{other:?}")),
        })
    }
}

fn config(scene: &Scene, server: &ZooKeeper) -> Config {
    scene.config_for(&format!("zookeeper://{}/base", server.address()))
}

#[test]
fn nodes_come_and_go_with_containers_and_stay_with_their_server() {
    let scene = Scene::new();
    let mut server = ZooKeeper::start();
    let nodes = Nodes::new(&server, &scene);
    let agent = Running::start(config(&scene, &server)).ready();
    let labels = ["--label=SERVICE_TAGS=a,b", "--label=SERVICE_REGION=us2"];
    let first = scene.container(&labels, GENTLE);
    let second = scene.container(&[], GENTLE);
    let found = nodes.become_such("two nodes", |found| found.len() == 2);
    let layout = Layout::new(Kind::ZooKeeper, "base");
    let at = first.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    let at = format!("{}:80", at.trim());
    let (path, value, session) = found.iter().find(|(path, ..)| path.ends_with(&at)).unwrap();
    let read = layout.read(path, value.as_bytes()).unwrap();
    assert_eq!(
        (read.name.as_str(), read.port),
        (scene.service.as_str(), 80)
    );
    let ending = format!(
        r#""PrivatePort":80,"ContainerID":"{}","Tags":["a","b"],"Attrs":{{"region":"us2"}}}}"#,
        &first.id[..12]
    );
    assert!(value.ends_with(&ending), "{value}");
    assert_ne!(*session, 0, "it is of no session");

    first.does(&["stop"]);
    nodes.become_such("one node", |found| found.len() == 1);
    // A session outlives its server's restart, and what changes meanwhile is written afterwards.
    server.restart();
    first.does(&["start"]);
    let again = nodes.become_such("both nodes", |found| found.len() == 2);
    assert!(again.iter().all(|(.., now)| now == session), "{again:?}");
    second.does(&["stop"]);
    first.does(&["stop"]);
    nodes.become_such("no node", <[Node]>::is_empty);
    let parent = nodes
        .runtime
        .block_on(nodes.client.check_stat(&nodes.service));
    assert_eq!(parent, Ok(None), "the service without instances stayed");
    agent.stop(StopPolicy::Keep);
}

#[test]
fn a_restarted_agent_takes_its_nodes_over_and_a_dead_one_loses_them() {
    let scene = Scene::new();
    let server = ZooKeeper::start();
    let nodes = Nodes::new(&server, &scene);
    let agent = Running::start(config(&scene, &server)).ready();
    let _stays = scene.container(&[], GENTLE);
    let goes = scene.container(&[], GENTLE);
    let before = nodes.become_such("two nodes", |found| found.len() == 2);
    agent.kill();
    goes.does(&["stop"]);
    let agent = Running::start(config(&scene, &server)).ready();
    let (_, _, earlier) = before[0];
    let after = nodes.become_such("the one that stays under the new session", |found| {
        assert!(!found.is_empty(), "it was missing for a moment");
        found.len() == 1 && found[0].2 != earlier
    });
    assert!(before.iter().any(|(path, ..)| *path == after[0].0));

    // Somebody writes over a node, and removes one.
    let path = after[0].0.clone();
    nodes.runtime.block_on(async {
        nodes.client.delete(&path, None).await.unwrap();
    });
    agent.stop(StopPolicy::Keep);
    let agent = Running::start(config(&scene, &server)).ready();
    nodes.become_such("the removed node", |found| found.len() == 1);
    agent.stop(StopPolicy::Revoke);
    nodes.become_such("no node after a farewell", <[Node]>::is_empty);

    let agent = Running::start(config(&scene, &server)).ready();
    nodes.become_such("the node again", |found| found.len() == 1);
    agent.kill();
    nodes.become_such("no node of a dead agent", <[Node]>::is_empty);
}

#[test]
fn nodes_of_an_agent_with_a_password_are_its_own() {
    let scene = Scene::new();
    let server = ZooKeeper::start();
    let nodes = Nodes::new(&server, &scene);
    let registry = format!("zookeeper://{}/base", server.address());
    let with = |user: &str, node: &str| {
        let args = Args {
            user: Some(user.to_owned()),
            node: Some(format!("{}-{node}", scene.service)),
            ..scene.args_for(&registry)
        };
        Config::resolve(&args).unwrap()
    };
    let config = with("agent:a:secret", "own");
    assert!(!format!("{config:?}").contains("secret"), "{config:?}");
    let agent = Running::start(config).ready();
    let _container = scene.container(&[], GENTLE);
    let found = nodes.become_such("the node", |found| found.len() == 1);
    // Whoever has not shown the same may read, and change nothing.
    let changed = nodes
        .runtime
        .block_on(nodes.client.set_data(&found[0].0, b"mine", None));
    assert_eq!(changed, Err(Error::NoAuth));
    let stranger = Running::start(with("stranger:secret", "stranger"));
    wait::until("the stranger to be refused", wait::LONG, || {
        let status = stranger.status();
        let told = |text: &str| text.contains("ZooKeeper: not authorized");
        let refused = told(&status.store.detail) || status.faults.iter().any(|f| told(&f.text));
        if refused {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    });
    stranger.kill();
    agent.stop(StopPolicy::Revoke);
    nodes.become_such("no node", <[Node]>::is_empty);
}
