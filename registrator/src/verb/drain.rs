//! Verbs that say something over all rules: drain, maintenance, weights, and taking them back. The agent concerned sees
//! it in the store and does it; `--wait` watches the store until nobody is sent there any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use registrator_catalog::overrides::{Override, Target};
use registrator_catalog::record::{Record, State};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::look::{Look, held, words};
use super::show::print;
use super::{DONE, Done};
use crate::config::{Args, Config, Registry};
use crate::container::Container;
use crate::registry::Words;
use crate::registry::words::now;
use crate::scheme::Scheme;
use crate::span;

/// 50 ms between two looks while waiting: an agent needs a few milliseconds.
const PERIOD: Duration = Duration::from_millis(50);
/// 30 s: an agent that has not followed by then does not run.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);

pub(super) async fn run(config: &Config, args: &Args, verb: &str, operands: &[String]) -> Done {
    let words = words(config).await?;
    let words = &*words;
    if verb == "overrides" {
        return list(words, args.json).await;
    }
    let (target, look) = target(config, &operands[0]).await?;
    if args
        .then
        .as_deref()
        .is_some_and(|then| then != "stop" || !matches!(target, Target::Container { .. }))
    {
        return Err("--then takes stop, and only for a container".to_owned());
    }
    if verb == "undrain" {
        words.erase(&target.key()).await?;
        print(
            args.json,
            &json!({"undrained": target.key()}),
            &format!("{target}: as its labels say\n"),
        );
        return Ok(DONE);
    }
    let (said, _) = now(&words.read().await?);
    let said = said.iter().find(|(said, _)| **said == target);
    let mut over = said.map_or_else(Override::default, |(_, over)| over.clone());
    match verb {
        "drain" => over.state = Some(State::Draining),
        "maintenance" => over.state = Some(State::Maintenance),
        _ => {
            let weight = operands[1].parse().ok().filter(|weight| *weight <= 65_535);
            over.weight = Some(
                weight
                    .ok_or_else(|| format!("{:?} is not a weight from 0 to 65535", operands[1]))?,
            );
        }
    }
    over.reason = args.reason.clone().or(over.reason);
    let began = Instant::now();
    let lasts = args.expires.as_deref().map(lasting).transpose()?;
    words.write(&target.key(), &over, lasts).await?;
    over.until = None;
    let mut text = format!("{target}: {}\n", over.to_json());
    if args.wait || args.then.is_some() {
        let limit = match &args.timeout {
            None => WAIT_DEFAULT,
            Some(text) => span::parse(text)
                .ok_or_else(|| format!("--timeout: {text:?} is not a time such as 30s"))?,
        };
        let keys = look
            .as_ref()
            .map(|(look, container)| look.decide(container).wanted);
        let keys = keys.unwrap_or_default().into_keys().collect();
        await_gone(config, words, (&target, keys), limit).await?;
        text.push_str(&format!(
            "out of traffic after {} ms\n",
            began.elapsed().as_millis()
        ));
    }
    if let (Some(_), Some((look, container))) = (&args.then, look) {
        let delay = Scheme::new(&container.labels).drain_delay_ms.unwrap_or(0);
        sleep(Duration::from_millis(delay)).await;
        look.engine.stop_now(&container.name).await?;
        // It is stopped; whoever starts it again wants it back.
        words.erase(&target.key()).await?;
        text.push_str(&format!(
            "stopped after {} ms\n",
            began.elapsed().as_millis()
        ));
    }
    print(
        args.json,
        &json!({"target": target.key(), "override": over, "ms": began.elapsed().as_millis()}),
        &text,
    );
    Ok(DONE)
}

/// `service/<name>`, `node/<name>`, `container/<name>` or the name of a container, which is on one of the engines.
async fn target(
    config: &Config,
    text: &str,
) -> Result<(Target, Option<(Look, Container)>), String> {
    match text.split_once('/') {
        Some(("service", name)) if !name.is_empty() => {
            return Ok((Target::Service(name.to_owned()), None));
        }
        Some(("node", name)) if !name.is_empty() => {
            return Ok((Target::Node(name.to_owned()), None));
        }
        Some(("container", _)) | None => {}
        Some(_) => {
            return Err(format!(
                "{text:?} is no target: write service/<name>, node/<name> or a container"
            ));
        }
    }
    let name = text.strip_prefix("container/").unwrap_or(text);
    let (look, container) = Look::of(config, name).await?;
    let target = Target::Container {
        node: look.rules.node.clone(),
        name: container.name.clone(),
    };
    Ok((target, Some((look, container))))
}

/// For how long something is to hold.
fn lasting(text: &str) -> Result<Duration, String> {
    let found = span::parse(text).filter(|lasts| lasts.as_secs() > 0);
    found.ok_or_else(|| format!("--for: {text:?} is not a time such as 10m"))
}

/// Waits until no layout offers the target any more, which as a container would have these keys.
async fn await_gone(
    config: &Config,
    words: &dyn Words,
    (target, keys): (&Target, BTreeSet<String>),
    limit: Duration,
) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    loop {
        let mut offered = Vec::new();
        let of_node = match target {
            // There each entry says whose it is, as etcd's do by their ids.
            Target::Node(node) if config.registry != Registry::Etcd => {
                held(config, node, &BTreeMap::new()).await?
            }
            _ => BTreeMap::new(),
        };
        for layout in &config.layouts {
            for (key, value) in words.below(&layout.root()).await? {
                let Ok(found) = layout.read(&key, &value) else {
                    continue;
                };
                let ours = match &found.record {
                    Some(record) => is_of(record, target) && record.state <= State::Up,
                    // Layouts without states hold nothing else. Many name node and container in the id.
                    None => match target {
                        Target::Service(name) => *name == found.name,
                        Target::Node(node) => {
                            of_node.contains_key(&key) || found.id.starts_with(&format!("{node}:"))
                        }
                        Target::Container { node, name } => {
                            keys.contains(&key) || found.id.starts_with(&format!("{node}:{name}:"))
                        }
                    },
                };
                if ours {
                    offered.push(key);
                }
            }
        }
        if offered.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "{target} is still offered after {limit:?}: {} (does its agent run?)",
                offered.join(" ")
            ));
        }
        sleep(PERIOD).await;
    }
}

fn is_of(record: &Record, target: &Target) -> bool {
    match target {
        Target::Service(name) => record.name == *name,
        Target::Node(node) => record.node == *node,
        Target::Container { node, name } => {
            record.node == *node && record.container.as_ref().is_some_and(|of| of.name == *name)
        }
    }
}

async fn list(words: &dyn Words, json: bool) -> Done {
    let (all, _) = now(&words.read().await?);
    let rows: Vec<_> = all
        .iter()
        .map(|(target, over)| json!({"target": target.to_string(), "override": over}))
        .collect();
    let lines: Vec<String> = all
        .iter()
        .map(|(target, over)| format!("{target}: {}\n", over.to_json()))
        .collect();
    print(json, &rows, &lines.concat());
    Ok(DONE)
}
