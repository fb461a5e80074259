//! Keys and directories: `mk mkdir set setdir update updatedir rm rmdir get ls`.

use std::io::Read as _;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::client::{Client, Told};
use super::output::Output;
use crate::failure::Failure;

/// What writes.
#[derive(Debug, Args)]
pub(super) struct Write {
    words: Vec<String>,
    /// Seconds to live; 0 = for good
    #[arg(long, default_value_t = 0)]
    ttl: u64,
    /// Under a name in order, below the key
    #[arg(long)]
    in_order: bool,
    /// Only if this is the value
    #[arg(long, default_value = "")]
    swap_with_value: String,
    /// Only if this is the index
    #[arg(long, default_value_t = 0)]
    swap_with_index: u64,
}

impl Write {
    pub(super) async fn mk(self, client: &Client, output: Output) -> Result<(), Failure> {
        let (key, value) = self.pair()?;
        let mut fields = vec![("value", value)];
        let method = if self.in_order {
            Method::POST
        } else {
            fields.push(("prevExist", "false".to_owned()));
            Method::PUT
        };
        fields.extend(self.time());
        output.key(&client.keys(method, &key, &fields).await?);
        Ok(())
    }

    pub(super) async fn set(self, client: &Client, output: Output) -> Result<(), Failure> {
        let (key, value) = self.pair()?;
        let mut fields = vec![("value", value)];
        if !self.swap_with_value.is_empty() {
            fields.push(("prevValue", self.swap_with_value.clone()));
        }
        if self.swap_with_index != 0 {
            fields.push(("prevIndex", self.swap_with_index.to_string()));
        }
        fields.extend(self.time());
        output.key(&client.keys(Method::PUT, &key, &fields).await?);
        Ok(())
    }

    pub(super) async fn update(self, client: &Client, output: Output) -> Result<(), Failure> {
        let (key, value) = self.pair()?;
        let mut fields = vec![("value", value), ("prevExist", "true".to_owned())];
        fields.extend(self.time());
        output.key(&client.keys(Method::PUT, &key, &fields).await?);
        Ok(())
    }

    /// A directory that is there, is not, or either.
    pub(super) async fn dir(
        self,
        client: &Client,
        output: Output,
        there: Option<bool>,
    ) -> Result<(), Failure> {
        let key = first(&self.words)?;
        let mut fields = vec![("dir", "true".to_owned())];
        fields.extend(there.map(|there| ("prevExist", there.to_string())));
        fields.extend(self.time());
        let told = client.keys(Method::PUT, key, &fields).await?;
        if output != Output::Simple {
            output.key(&told);
        }
        Ok(())
    }

    fn time(&self) -> Option<(&'static str, String)> {
        (self.ttl != 0).then(|| ("ttl", self.ttl.to_string()))
    }

    /// Key and value; the latter from stdin if it is not there.
    fn pair(&self) -> Result<(String, String), Failure> {
        let key = first(&self.words)?.to_owned();
        if let Some(value) = self.words.get(1) {
            return Ok((key, value.clone()));
        }
        let mut value = String::new();
        let read = std::io::stdin().lock().read_to_string(&mut value);
        if read.is_err() || value.is_empty() {
            return Err(Failure::error(" value required"));
        }
        Ok((key, value))
    }
}

/// What removes.
#[derive(Debug, Args)]
pub(super) struct Remove {
    words: Vec<String>,
    /// A directory, if it is empty
    #[arg(long)]
    dir: bool,
    /// A directory with all it holds
    #[arg(short, long)]
    recursive: bool,
    /// Only if this is the value
    #[arg(long, default_value = "")]
    with_value: String,
    /// Only if this is the index
    #[arg(long, default_value_t = 0)]
    with_index: u64,
}

impl Remove {
    pub(super) async fn rm(
        self,
        client: &Client,
        output: Output,
        dir: bool,
    ) -> Result<(), Failure> {
        let key = first(&self.words)?;
        let mut fields = Vec::new();
        if dir || self.dir {
            fields.push(("dir", "true".to_owned()));
        }
        if self.recursive {
            fields.push(("recursive", "true".to_owned()));
        }
        if !self.with_value.is_empty() {
            fields.push(("prevValue", self.with_value.clone()));
        }
        if self.with_index != 0 {
            fields.push(("prevIndex", self.with_index.to_string()));
        }
        let told = client.keys(Method::DELETE, key, &fields).await?;
        if output != Output::Simple || !is_dir(&told) {
            output.key(&told);
        }
        Ok(())
    }
}

/// What reads.
#[derive(Debug, Args)]
pub(super) struct Read {
    words: Vec<String>,
    /// In order
    #[arg(long)]
    sort: bool,
    /// Directories with all they hold
    #[arg(short, long)]
    recursive: bool,
    /// With a slash behind directories
    #[arg(short)]
    p: bool,
    /// See every write before
    #[arg(short, long)]
    quorum: bool,
}

impl Read {
    async fn ask(&self, client: &Client, key: &str) -> Result<Told, Failure> {
        let fields = [
            ("quorum", self.quorum),
            ("recursive", self.recursive),
            ("sorted", self.sort),
        ];
        let fields = fields.map(|(name, yes)| (name, yes.to_string()));
        client.keys(Method::GET, key, &fields).await
    }

    pub(super) async fn get(self, client: &Client, output: Output) -> Result<(), Failure> {
        let key = first(&self.words)?;
        let told = self.ask(client, key).await?;
        if is_dir(&told) {
            let key = told.value["node"]["key"].as_str().unwrap_or_default();
            eprintln!("{key}: is a directory");
            return Err(Failure::told());
        }
        output.key(&told);
        Ok(())
    }

    pub(super) async fn ls(self, client: &Client, output: Output) -> Result<(), Failure> {
        let key = self.words.first().map_or("/", String::as_str);
        let told = self.ask(client, key).await?;
        if output != Output::Simple {
            output.key(&told);
            return Ok(());
        }
        let node = &told.value["node"];
        if !is_dir(&told) {
            println!("{}", node["key"].as_str().unwrap_or_default());
        }
        self.list(node);
        Ok(())
    }

    fn list(&self, node: &Value) {
        for node in node["nodes"].as_array().into_iter().flatten() {
            let slash = if self.p && node["dir"] == true {
                "/"
            } else {
                ""
            };
            println!("{}{slash}", node["key"].as_str().unwrap_or_default());
            self.list(node);
        }
    }
}

fn is_dir(told: &Told) -> bool {
    told.value["node"]["dir"] == true
}

fn first(words: &[String]) -> Result<&str, Failure> {
    let first = words.first().map(String::as_str);
    first.ok_or_else(|| Failure::error(" key required"))
}
