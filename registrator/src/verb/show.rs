//! Verbs that look and change nothing.

use std::collections::BTreeMap;

use registrator_catalog::layout::Layout;
use registrator_catalog::record::same_apart_from_time;
use serde_json::json;
use store_client::lease::{Lease, lease_id};
use tokio::time::Instant;

use super::look::{Look, below, store, values};
use super::{DONE, Done, FAILED, WOULD_CHANGE};
use crate::agent::Input;
use crate::config::Config;
use crate::docker::Engine;
use crate::explain::Explanation;

/// One container, decision by decision.
pub(super) async fn explain(config: &Config, name: &str, json: bool) -> Done {
    let mut look = Look::new(config).await?;
    let container = look.container(name).await?;
    let client = store(config).await;
    if let Ok(client) = &client {
        look.read_overrides(client).await?;
    }
    let evaluation = look.decide(&container);
    let stored = match &client {
        Ok(client) => values(client, evaluation.wanted.keys()).await?,
        Err(_) => BTreeMap::new(),
    };
    let mut explanation = Explanation::new(&container.name, &container.id, &evaluation, &stored);
    explanation.last_error = client.err();
    print(json, &explanation, &explanation.to_text());
    Ok(DONE)
}

/// The difference between what the store holds on this node's lease and what an agent would write.
pub(super) async fn plan(config: &Config, json: bool) -> Done {
    let mut look = Look::new(config).await?;
    let client = store(config).await?;
    look.read_overrides(&client).await?;
    let mut wanted = BTreeMap::new();
    for container in look.containers().await? {
        wanted.extend(look.decide(&container).wanted);
    }
    let node_id = config.node_id.as_ref().unwrap_or(&look.rules.node);
    let lease = Lease {
        id: lease_id(&format!("registrator/{node_id}"), config.ttl_seconds),
        ttl: std::time::Duration::ZERO,
    };
    let on_lease = lease
        .keys(&client)
        .await
        .map_err(|error| error.to_string())?;
    let mut roots: Vec<String> = look.rules.layouts.iter().map(Layout::root).collect();
    let own = look.rules.own_layouts.iter();
    roots.extend(own.map(|layout| layout.root().to_owned()));
    let mine = |key: &String| roots.iter().any(|root| key.starts_with(root));
    let mut keys: Vec<String> = on_lease
        .unwrap_or_default()
        .into_iter()
        .filter_map(|key| String::from_utf8(key).ok())
        .filter(mine)
        .collect();
    keys.extend(wanted.keys().cloned());
    keys.sort();
    keys.dedup();
    let held = values(&client, &keys).await?;
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
    let client = store(config).await?;
    let mut rows = Vec::new();
    let mut text = String::new();
    for layout in &config.layouts {
        for (key, value) in below(&client, &layout.root()).await? {
            let Ok(found) = layout.read(&key, &value) else {
                continue;
            };
            let record = found.record.as_ref();
            if config.node.is_some()
                && record.is_some_and(|record| Some(&record.node) != config.node.as_ref())
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

/// Every event, until interrupted.
pub(super) async fn events(config: &Config, json: bool) -> Done {
    let (facts, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let engine = Engine::new(&config.docker_host, facts).with_tls(config.docker_tls.as_ref());
    let show = async {
        while let Some(fact) = inbox.recv().await {
            match fact {
                Input::EngineUp => eprintln!("the event stream is open"),
                Input::EngineDown { why } => eprintln!("not reachable, trying again: {why}"),
                Input::Happened(event) => {
                    let action = event.action.name();
                    let ms = u64::try_from(event.time_nanos / 1_000_000).unwrap_or(0);
                    let at = registrator_catalog::timestamp::format_millis(ms);
                    let id = event.id.get(..12).unwrap_or(&event.id);
                    print(
                        json,
                        &json!({"at": at, "container": event.id, "action": action}),
                        &format!("{at} {id} {action}\n"),
                    );
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        // Safe to cancel: the process ends right after.
        () = engine.follow() => {}
        () = show => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(DONE)
}

/// One line per thing that has to work.
pub(super) async fn doctor(config: &Config, json: bool) -> Done {
    let mut lines: Vec<(&str, Result<String, String>)> = Vec::new();
    let looked = Look::new(config).await;
    let (facts, _) = tokio::sync::mpsc::unbounded_channel();
    let version = Engine::new(&config.docker_host, facts)
        .with_tls(config.docker_tls.as_ref())
        .version()
        .await;
    lines.push((
        "engine",
        version.map(|version| format!("{} at {}", version, config.docker_host)),
    ));
    match &looked {
        Ok(look) => {
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
                    (true, false) => {
                        Err("none of this host is known: name one with --ip".to_owned())
                    }
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
        }
        Err(why) => lines.push(("node", Err(why.clone()))),
    }
    let begun = Instant::now();
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
            if let Ok(look) = &looked {
                let node = config.node_id.as_ref().unwrap_or(&look.rules.node);
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
    let mut text = String::new();
    for (what, found) in &lines {
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

pub(super) fn print(json: bool, value: &impl serde::Serialize, text: &str) {
    if json {
        println!("{}", serde_json::to_string(value).unwrap_or_default());
    } else {
        print!("{text}");
    }
}
