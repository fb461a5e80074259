//! One look at engine and store with the agent's own settings and rules.

use std::collections::BTreeMap;

use etcd_client::Client;
use registrator_catalog::layout::Layout;
use registrator_catalog::timestamp;
use store_client::connect::Connector;

use crate::config::{Config, Registry};
use crate::container::{Container, NetworkMode, Run};
use crate::desired::{Evaluation, Rules, evaluate, labelled_ports};
use crate::docker::{Engine, wall_nanos};
use crate::registry::words::now;
use crate::registry::{Backend, Words};
use crate::run::{backend, rules};

/// The engine, answering.
pub(super) struct Look {
    pub(super) engine: Engine,
    pub(super) rules: Rules,
}

impl Look {
    /// Connects to the engine.
    pub(super) async fn new(config: &Config) -> Result<Self, String> {
        let (facts, _) = tokio::sync::mpsc::unbounded_channel();
        let engine = Engine::new(config, facts);
        let name = engine
            .once()
            .await
            .map_err(|why| format!("ask the engine at {}: {why}", config.docker_host))?;
        let node = config
            .node
            .clone()
            .or(name)
            .ok_or("the engine does not know its host's name: set --node")?;
        Ok(Self {
            engine,
            rules: rules(config, &node),
        })
    }

    /// The first engine that has the container a person calls `name`, and the container.
    pub(super) async fn of(config: &Config, name: &str) -> Result<(Self, Container), String> {
        let mut whys = Vec::new();
        for engine in config.per_engine() {
            let found = match Self::new(&engine).await {
                Ok(look) => look
                    .container(name)
                    .await
                    .map(|container| (look, container)),
                Err(why) => Err(why),
            };
            match found {
                Ok(found) => return Ok(found),
                Err(why) if !whys.contains(&why) => whys.push(why),
                Err(_) => {}
            }
        }
        Err(whys.join("; "))
    }

    /// The container a person calls `name`, with the network it may share.
    async fn container(&self, name: &str) -> Result<Container, String> {
        let found = self.engine.inspect_now(name).await?;
        let container = found.ok_or_else(|| format!("there is no container {name}"))?;
        self.attached(container).await
    }

    /// All that run.
    pub(super) async fn containers(&self) -> Result<Vec<Container>, String> {
        let mut found = Vec::new();
        for summary in self.engine.list_now().await? {
            // One that ended meanwhile is not there.
            if let Some(container) = self.engine.inspect_now(&summary.id).await? {
                found.push(self.attached(container).await?);
            }
        }
        Ok(found)
    }

    async fn attached(&self, container: Container) -> Result<Container, String> {
        let NetworkMode::Container(owner) = &container.network_mode else {
            return Ok(container);
        };
        match self.engine.inspect_now(owner).await? {
            Some(owner) if owner.run == Run::Running => {
                Ok(container.on_network_of(&owner, &labelled_ports(&container)))
            }
            _ => Ok(container),
        }
    }

    /// What an agent would decide, crash loops aside.
    pub(super) fn decide(&self, container: &Container) -> Evaluation {
        let now = wall_nanos();
        let stamp = timestamp::format_millis(u64::try_from(now / 1_000_000).unwrap_or(0));
        let passage = self.rules.gate.ask(container, now);
        let mut evaluation = evaluate(container, &self.rules, passage.state, &stamp);
        if let (Some(why), None) = (passage.closed, &evaluation.skipped) {
            evaluation = Evaluation {
                skipped: Some(why.to_owned()),
                ..Evaluation::default()
            };
        }
        evaluation.warnings.extend(passage.warnings);
        evaluation
    }

    /// Takes what people said over all rules from the registry, where it keeps that.
    pub(super) async fn read_overrides(&mut self, config: &Config) -> Result<(), String> {
        self.rules.overrides = now(&words(config).await?.read().await?).0;
        Ok(())
    }

    /// What the registry holds of this node, and of what it should hold.
    pub(super) async fn held(
        &self,
        config: &Config,
        wanted: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Vec<u8>>, String> {
        held(config, &self.rules.node, wanted).await
    }
}

/// What the registry holds of `node`, and of what it should hold.
pub(super) async fn held(
    config: &Config,
    node: &str,
    wanted: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let own = config.own_layouts.iter().map(|own| own.root().to_owned());
    let roots: Vec<String> = config.layouts.iter().map(Layout::root).chain(own).collect();
    let id = config.node_id.as_deref().unwrap_or(node);
    let mut registry: Box<dyn Backend> = backend(config, id, node);
    registry.look(&roots, wanted).await
}

/// Where the registry keeps what people say over all rules.
pub(super) async fn words(config: &Config) -> Result<Box<dyn Words>, String> {
    // The node matters to nobody there.
    let mut registry: Box<dyn Backend> = backend(config, "", "");
    registry.words().await
}

/// A connection to the store.
pub(super) async fn store(config: &Config) -> Result<Client, String> {
    if config.registry != Registry::Etcd {
        return Err("the registry does not speak etcd's protocol".to_owned());
    }
    let mut connector = Connector::new(config.store.clone());
    let connection = connector
        .connect()
        .await
        .map_err(|error| error.to_string())?;
    Ok(connection.client)
}

/// Values of these keys, as far as they are there.
pub(super) async fn values(
    client: &Client,
    keys: impl IntoIterator<Item = &String>,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    for key in keys {
        let answer = client.kv_client().get(key.as_str(), None).await;
        let answer = answer.map_err(|error| format!("read {key}: {error}"))?;
        if let Some(kv) = answer.kvs().first() {
            found.insert(key.clone(), kv.value().to_vec());
        }
    }
    Ok(found)
}
