//! Changes: `watch` and `exec-watch`.

use clap::Args;
use serde_json::Value;

use super::client::{Client, Told};
use super::output::Output;
use crate::failure::Failure;

/// What waits.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// Key, and for exec-watch the command
    #[arg(trailing_var_arg = true)]
    words: Vec<String>,
    /// Go on after the first change
    #[arg(short, long)]
    forever: bool,
    /// From the change after this index on
    #[arg(long, default_value_t = 0)]
    after_index: u64,
    /// All that is below, too
    #[arg(short, long)]
    recursive: bool,
}

impl Watch {
    /// The next change of a file after that index; 0 = from now on.
    async fn next(&self, client: &Client, key: &str, after: &mut u64) -> Result<Told, Failure> {
        loop {
            let mut fields = vec![
                ("wait", "true".to_owned()),
                ("recursive", self.recursive.to_string()),
            ];
            if *after != 0 {
                fields.push(("waitIndex", (*after + 1).to_string()));
            }
            let told = client.wait(key, &fields).await?;
            let node = &told.value["node"];
            *after = node["modifiedIndex"].as_u64().unwrap_or_default();
            if node["dir"] != true {
                return Ok(told);
            }
            let key = node["key"].as_str().unwrap_or_default();
            eprintln!("Ignored dir {key} change");
        }
    }

    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        let key = self.words.first();
        let key = key.ok_or_else(|| Failure::error(" key required"))?;
        let mut after = self.after_index;
        loop {
            let told = self.next(client, key, &mut after).await?;
            if self.recursive {
                let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let (action, key) = (
                    part(&told.value["action"]),
                    part(&told.value["node"]["key"]),
                );
                println!("[{action}] {key}");
            }
            output.key(&told);
            if !self.forever {
                return Ok(());
            }
        }
    }

    pub(super) async fn exec(mut self, client: &Client) -> Result<(), Failure> {
        // Behind the key `--` says that the command's own flags follow.
        if self.words.get(1).is_some_and(|word| word == "--") {
            self.words.remove(1);
        }
        let [key, program, arguments @ ..] = self.words.as_slice() else {
            return Err(Failure::error(" key and command to exec required"));
        };
        let mut after = self.after_index;
        loop {
            let told = self.next(client, key, &mut after).await?;
            let (node, text) = (&told.value["node"], |value: &Value| {
                value.as_str().unwrap_or_default().to_owned()
            });
            let status = tokio::process::Command::new(program)
                .args(arguments)
                .env("ETCD_WATCH_ACTION", text(&told.value["action"]))
                .env("ETCD_WATCH_KEY", text(&node["key"]))
                .env("ETCD_WATCH_VALUE", text(&node["value"]))
                .env(
                    "ETCD_WATCH_MODIFIED_INDEX",
                    node["modifiedIndex"].to_string(),
                )
                .status()
                .await;
            // A command that ends badly does not end the watch.
            if let Err(cause) = status {
                return Err(Failure::error(format!("exec {program:?}: {cause}")));
            }
        }
    }
}
