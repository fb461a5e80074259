//! `publish` and `subscribe`: a value that is put for all to see, read once and then followed from the next revision on,
//! with a command for each change.

use std::io::Read as _;

use bytes::Bytes;
use clap::Args;
use store_client::mirror::{Change, ChangeKind, Event, KeyRange};

use super::service::told;
use crate::child::{self, Job};
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::Printer;
use crate::recipe::follow::Follow;
use crate::recipe::link::{Link, Patience};
use crate::recipe::{as_json, ask, say};

/// `publish KEY [VALUE]`
#[derive(Debug, Args)]
pub struct Publish {
    // The name of this argument is not the flag's that all commands take.
    #[arg(id = "topic", value_name = "KEY")]
    key: String,
    value: Option<String>,
    /// Only if the key was last changed at that revision; 0 if it is not to be there
    #[arg(long, value_name = "REVISION")]
    after: Option<i64>,
}

/// `subscribe KEY [-- COMMAND]`
#[derive(Debug, Args)]
pub struct Subscribe {
    #[arg(id = "topic", value_name = "KEY")]
    key: String,
    /// All keys that begin with KEY
    #[arg(long)]
    prefix: bool,
    /// Command for what is there, and for each change; it finds the value on its stdin
    #[arg(last = true)]
    command: Vec<String>,
}

impl Publish {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let json = as_json(printer)?;
        let value = value(self.value)?;
        let link = Link::open(globals).await?;
        let conditions: Vec<ask::If> = self
            .after
            .map(|revision| ask::changed(&self.key, revision))
            .into_iter()
            .collect();
        // Without a condition the second of two is the same again.
        let patience = if conditions.is_empty() {
            Patience::Short
        } else {
            Patience::Once
        };
        let put = [ask::put(&self.key, value, 0)];
        let request = ask::txn(conditions, put, [ask::get_key(&self.key)]);
        let answer = link.txn(patience, request).await?;
        if !answer.succeeded {
            let at = ask::key_of(&answer, 0).map_or(0, |kv| kv.mod_revision);
            let line = format!("{} was last changed at revision {at}", self.key);
            return Err(Failure::error(line).hint("look at it, and publish after that revision"));
        }
        let revision = ask::revision_of(&answer);
        if json {
            say(serde_json::json!({"key": self.key, "revision": revision}))
        } else {
            say(revision)
        }
    }
}

/// A value that was given, or what stdin holds.
pub(super) fn value(given: Option<String>) -> Result<Bytes, Failure> {
    match given {
        Some(value) => Ok(value.into()),
        None => {
            let mut value = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut value);
            read.map_err(|cause| Failure::io(format!("read stdin: {cause}")))?;
            Ok(value.into())
        }
    }
}

impl Subscribe {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let json = as_json(printer)?;
        let range = if self.prefix {
            KeyRange::prefix(self.key.as_bytes())
        } else {
            KeyRange::key(self.key.as_bytes())
        };
        let link = Link::open(globals).await?;
        let mut follow = Follow::new(&link, range);
        let followed = async {
            loop {
                let (Event::Listed {
                    changes, snapshot, ..
                }
                | Event::Advanced { changes, snapshot }) = follow.next().await?;
                for change in &changes {
                    self.tell(change, snapshot.revision(), json).await?;
                }
            }
        };
        // Safe to cancel: it only shows.
        tokio::select! {
            ended = followed => ended,
            () = child::interrupted() => Ok(()),
        }
    }

    async fn tell(&self, change: &Change, seen: i64, json: bool) -> Result<(), Failure> {
        let key = String::from_utf8_lossy(&change.key);
        let word = match change.kind() {
            ChangeKind::Deleted => "DELETE",
            _ => "PUT",
        };
        let value = change.after.as_ref().map(|entry| entry.value.clone());
        let revision = change
            .after
            .as_ref()
            .map_or(seen, |entry| entry.mod_revision);
        let text = value.as_deref().map(String::from_utf8_lossy);
        if json {
            say(serde_json::json!({
                "event": word, "key": key, "value": text, "revision": revision,
            }))?;
        } else {
            match &text {
                Some(text) => say(format_args!("{word}\n{key}\n{text}"))?,
                None => say(format_args!("{word}\n{key}"))?,
            }
        }
        let job = Job {
            words: &self.command,
            variables: vec![
                ("MUSTER_EVENT", word.to_owned()),
                ("MUSTER_KEY", key.into_owned()),
                ("MUSTER_REVISION", revision.to_string()),
            ],
            input: Some(value.unwrap_or_default()),
            ..Job::default()
        };
        told(job).await;
        Ok(())
    }
}
