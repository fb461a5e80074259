//! Verbs that look and change nothing.

use std::collections::{BTreeMap, BTreeSet};

use registrator_catalog::record::same_apart_from_time;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::look::{Look, held, store, values, words};
use super::{DONE, Done, FAILED, WOULD_CHANGE};
use crate::agent::Input;
use crate::config::{Config, Registry};
use crate::docker::Engine;
use crate::explain::Explanation;

/// One container, decision by decision.
pub(super) async fn explain(config: &Config, name: &str, json: bool) -> Done {
    let (mut look, container) = Look::of(config, name).await?;
    let ready = look.read_overrides(config).await;
    let evaluation = look.decide(&container);
    let stored = match ready {
        Ok(()) => look.held(config, &evaluation.wanted).await,
        Err(why) => Err(why),
    };
    let held = stored.as_ref().cloned().unwrap_or_default();
    let mut explanation = Explanation::new(&container.name, &container.id, &evaluation, &held);
    explanation.last_error = stored.err();
    print(json, &explanation, &explanation.to_text());
    Ok(DONE)
}

/// The difference between what the store holds on the nodes' leases and what an agent would write.
pub(super) async fn plan(config: &Config, json: bool) -> Done {
    let mut wanted = BTreeMap::new();
    let mut held = BTreeMap::new();
    for config in config.per_engine() {
        let mut look = Look::new(&config).await?;
        look.read_overrides(&config).await?;
        let mut of_node = BTreeMap::new();
        for container in look.containers().await? {
            of_node.extend(look.decide(&container).wanted);
        }
        held.extend(look.held(&config, &of_node).await?);
        wanted.extend(of_node);
    }
    let keys: BTreeSet<String> = wanted.keys().chain(held.keys()).cloned().collect();
    let mut changes = Vec::new();
    let mut text = String::new();
    for key in keys {
        let (sign, what) = match (wanted.get(&key), held.get(&key)) {
            (Some(new), Some(old)) if same_apart_from_time(old, new.as_bytes()) => continue,
            (Some(_), Some(_)) => ('~', "change"),
            (Some(_), None) => ('+', "put"),
            (None, Some(_)) => ('-', "delete"),
            (None, None) => continue,
        };
        let new = wanted.get(&key);
        text.push_str(&format!(
            "{sign} {key}{}\n",
            new.map(|new| format!(" = {new}")).unwrap_or_default()
        ));
        let old = held
            .get(&key)
            .map(|old| String::from_utf8_lossy(old).into_owned());
        changes.push(json!({"change": what, "key": key, "old": old, "new": new}));
    }
    let status = if changes.is_empty() {
        DONE
    } else {
        WOULD_CHANGE
    };
    if changes.is_empty() {
        text.push_str("nothing would change\n");
    }
    print(json, &changes, &text);
    Ok(status)
}

/// What the layouts hold, this node's first where the layout tells.
pub(super) async fn list(config: &Config, json: bool) -> Done {
    let engines = config.per_engine();
    // Where all engines' nodes are known by name, theirs alone.
    let nodes: Option<Vec<String>> = engines.iter().map(|part| part.node.clone()).collect();
    let mut rows = Vec::new();
    let mut text = String::new();
    for layout in &config.layouts {
        let mut all = BTreeMap::new();
        if config.registry == Registry::Etcd {
            all = words(config).await?.below(&layout.root()).await?;
        } else {
            // These tell what one node has.
            for config in &engines {
                let node = Look::new(config).await?.rules.node;
                all.extend(held(config, &node, &BTreeMap::new()).await?);
            }
        }
        for (key, value) in all {
            let Ok(found) = layout.read(&key, &value) else {
                continue;
            };
            let record = found.record.as_ref();
            if let (Some(nodes), Some(record)) = (&nodes, record)
                && !nodes.contains(&record.node)
            {
                continue;
            }
            let state = record.map_or_else(|| "up".to_owned(), |record| record.state.to_string());
            let at = std::net::SocketAddr::new(found.address, found.port);
            text.push_str(&format!(
                "{:<24} {:<24} {state:<12} {key}\n",
                found.name,
                at.to_string()
            ));
            rows.push(json!({"service": found.name, "id": found.id, "address": at, "state": state, "key": key,
                "layout": layout.name()}));
        }
    }
    print(json, &rows, &text);
    Ok(DONE)
}

/// Every event of every engine, until interrupted.
pub(super) async fn events(config: &Config, json: bool) -> Done {
    let engines = config.per_engine();
    let several = engines.len() > 1;
    let follow = engines.iter().map(|config| {
        let (facts, inbox) = tokio::sync::mpsc::unbounded_channel();
        let engine = Engine::new(config, facts);
        let host = config.docker_host.as_str();
        let show = show_events(inbox, several.then_some(host), json);
        async move {
            tokio::select! {
                // Safe to cancel: the process ends right after.
                () = engine.follow() => {}
                () = show => {}
            }
        }
    });
    tokio::select! {
        // Safe to cancel: the process ends right after.
        _ = futures::future::join_all(follow) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(DONE)
}

/// Shows what an engine says; names the engine where there are several.
async fn show_events(mut inbox: UnboundedReceiver<Input>, host: Option<&str>, json: bool) {
    let behind = host.map(|host| format!(" {host}")).unwrap_or_default();
    while let Some(fact) = inbox.recv().await {
        match fact {
            Input::EngineUp => eprintln!("the event stream is open{behind}"),
            Input::EngineDown { why } => {
                eprintln!("not reachable, trying again{behind}: {why}");
            }
            Input::Happened(event) => {
                let action = event.action.name();
                let ms = u64::try_from(event.time_nanos / 1_000_000).unwrap_or(0);
                let at = registrator_catalog::timestamp::format_millis(ms);
                let id = event.id.get(..12).unwrap_or(&event.id);
                let mut told = json!({"at": at, "container": event.id, "action": action});
                if let Some(host) = host {
                    told["engine"] = json!(host);
                }
                print(json, &told, &format!("{at} {id} {action}{behind}\n"));
            }
            _ => {}
        }
    }
}

/// What `doctor` looked at, and what it found or what is wrong.
type Line = (&'static str, Result<String, String>);

/// One line per thing that has to work.
pub(super) async fn doctor(config: &Config, json: bool) -> Done {
    let mut lines: Vec<Line> = Vec::new();
    let mut nodes = Vec::new();
    for config in config.per_engine() {
        nodes.extend(doctor_of_engine(&config, &mut lines).await);
    }
    let begun = Instant::now();
    if config.registry != Registry::Etcd {
        for node in &nodes {
            let found = held(config, node, &BTreeMap::new()).await;
            let took = begun.elapsed().as_millis();
            let found = found.map(|all| format!("{} of node {node}, read in {took} ms", all.len()));
            lines.push(("registry", found));
        }
        return tell(&lines, json);
    }
    match store(config).await {
        Ok(client) => {
            let connected = begun.elapsed();
            let begun = Instant::now();
            let read = client.kv_client().get("/muster/doctor", None).await;
            let took = begun.elapsed();
            lines.push((
                "store",
                match read {
                    Ok(_) => Ok(format!(
                        "connected in {} ms, a read takes {} µs",
                        connected.as_millis(),
                        took.as_micros()
                    )),
                    Err(error) => Err(error.to_string()),
                },
            ));
            for node in nodes {
                let node = config.node_id.as_ref().unwrap_or(&node);
                let key = format!("/muster/agents/{node}");
                let agent = values(&client, [&key]).await?;
                let agent = agent
                    .get(&key)
                    .map(|value| String::from_utf8_lossy(value).into_owned());
                lines.push((
                    "agent",
                    agent.ok_or_else(|| format!("none runs for node {node}")),
                ));
            }
        }
        Err(why) => lines.push(("store", Err(why))),
    }
    tell(&lines, json)
}

/// Shows them; good when all are.
fn tell(lines: &[Line], json: bool) -> Done {
    let mut text = String::new();
    for (what, found) in lines {
        match found {
            Ok(found) => text.push_str(&format!("ok     {what:<10} {found}\n")),
            Err(why) => text.push_str(&format!("WRONG  {what:<10} {why}\n")),
        }
    }
    let all: Vec<_> = lines
        .iter()
        .map(|(what, found)| json!({"what": what, "ok": found.is_ok(), "detail": found.as_ref().unwrap_or_else(|why| why)}))
        .collect();
    print(json, &all, &text);
    Ok(if lines.iter().all(|(_, found)| found.is_ok()) {
        DONE
    } else {
        FAILED
    })
}

/// Looks at one engine; returns its node's name.
async fn doctor_of_engine(config: &Config, lines: &mut Vec<Line>) -> Option<String> {
    let looked = Look::new(config).await;
    let (facts, _) = tokio::sync::mpsc::unbounded_channel();
    let version = Engine::new(config, facts).version().await;
    lines.push((
        "engine",
        version.map(|version| format!("{} at {}", version, config.docker_host)),
    ));
    let look = match looked {
        Ok(look) => look,
        Err(why) => {
            lines.push(("node", Err(why)));
            return None;
        }
    };
    lines.push(("node", Ok(look.rules.node.clone())));
    let host = &look.rules.host;
    let (all, how) = if host.told.is_empty() {
        (&host.detected, "found")
    } else {
        (&host.told, "told")
    };
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    lines.push((
        "addresses",
        match (all.is_empty(), config.internal) {
            (true, false) => Err("none of this host is known: name one with --ip".to_owned()),
            (true, true) => Ok("containers' own".to_owned()),
            (false, _) => Ok(format!("{} ({how})", all.join(", "))),
        },
    ));
    let begun = Instant::now();
    let running = look.engine.list_now().await;
    let took = begun.elapsed().as_micros();
    lines.push((
        "list",
        running.map(|all| format!("{} containers in {took} µs", all.len())),
    ));
    Some(look.rules.node)
}

pub(super) fn print(json: bool, value: &impl serde::Serialize, text: &str) {
    if json {
        println!("{}", serde_json::to_string(value).unwrap_or_default());
    } else {
        print!("{text}");
    }
}
