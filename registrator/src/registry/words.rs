//! What people say over the heads of all rules, where each kind of registry keeps it: written and read by the verbs, and
//! followed by the agents of those registries that have no session of their own to tell of it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use registrator_catalog::overrides::{Override, Overrides};
use registrator_catalog::timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use crate::agent::Input;
use crate::docker::wall_nanos;

/// 10 s: what could not be read, or not be watched, is read again then.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// One registry's.
pub(crate) trait Words: Send + Sync {
    /// All of them with their keys; none where this user may not read them.
    fn read(&self) -> BoxFuture<'_, Result<BTreeMap<String, Vec<u8>>, String>>;

    /// Says this under `key`, for as long as it `lasts` or for ever.
    fn write<'a>(
        &'a self,
        key: &'a str,
        over: &'a Override,
        lasts: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Takes back what was said under `key`, if anything was.
    fn erase<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), String>>;

    /// Everything that stands below the prefix of a layout, of all nodes as far as the registry tells of them.
    fn below<'a>(
        &'a self,
        root: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, String>>;

    /// Waits until something may have changed since the last read.
    fn change(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// What holds now, and for how many milliseconds at least.
pub(crate) fn now(said: &BTreeMap<String, Vec<u8>>) -> (Overrides, Option<u64>) {
    let entries = said.iter();
    let all = Overrides::read(entries.map(|(key, value)| (key.as_str(), value.as_slice())));
    all.at(wall_ms())
}

/// What holds now, for the agent.
pub(super) async fn begin(words: &dyn Words) -> Result<Input, String> {
    let said = words.read().await?;
    Ok(Input::Overrides(now(&said).0))
}

/// Tells what holds whenever that changes. Ends when the agent does.
pub(super) async fn follow(words: &dyn Words, facts: &UnboundedSender<Input>) {
    loop {
        // What was said before holds for as long as nobody tells otherwise.
        let Ok(said) = words.read().await else {
            sleep(AGAIN).await;
            continue;
        };
        let (overrides, left_ms) = now(&said);
        if facts.send(Input::Overrides(overrides)).is_err() {
            return;
        }
        let ends = async {
            match left_ms {
                Some(left_ms) => sleep(Duration::from_millis(left_ms)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Both are safe to cancel: everything is read again.
            changed = words.change() => if changed.is_err() {
                sleep(AGAIN).await;
            },
            () = ends => {}
        }
    }
}

/// With the time at which it ends, for registries that end nothing by themselves.
pub(super) fn ending(over: &Override, lasts: Option<Duration>) -> Override {
    let until = lasts.map(|lasts| {
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        timestamp::format_millis(wall_ms().saturating_add(lasts_ms))
    });
    Override {
        until,
        ..over.clone()
    }
}

fn wall_ms() -> u64 {
    u64::try_from(wall_nanos() / 1_000_000).unwrap_or(0)
}

/// Keeps a session `alive` and tells what holds meanwhile; returns why it is over.
pub(super) async fn listening(
    alive: impl Future<Output = String>,
    words: &dyn Words,
    facts: &UnboundedSender<Input>,
) -> String {
    let follow = async {
        follow(words, facts).await;
        std::future::pending().await
    };
    tokio::select! {
        // Both are polled to the session's end, or dropped with it.
        why = alive => why,
        why = follow => why,
    }
}
