//! The instances of services, as the registrator and confd know them: records in the native layout.

use registrator_catalog::layout::{Kind, Layout};
use registrator_catalog::record::Record;
use store_client::mirror::KeyRange;

use super::ask;
use super::link::{Link, Patience};
use crate::failure::Failure;

/// Where instances are.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    layout: Layout,
}

impl Registry {
    /// Below a prefix, `/services` unless somebody says otherwise.
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            layout: Layout::new(Kind::Native, prefix),
        }
    }

    /// The key and value of a record.
    ///
    /// # Errors
    /// A name that cannot be part of a key.
    pub(crate) fn entry(&self, record: &Record) -> Result<(String, String), Failure> {
        let wrong = |why: String| Failure::bad_arguments(why);
        let entries = self.layout.entries(record);
        let entries = entries.map_err(|why| wrong(why.to_string()))?;
        let entry = entries.into_iter().next();
        let entry = entry.ok_or_else(|| wrong("the record has no place in the registry".into()))?;
        Ok((entry.key, entry.value))
    }

    /// The keys of a service, or of all.
    pub(crate) fn range(&self, name: Option<&str>) -> KeyRange {
        let root = self.layout.root();
        match name {
            None => KeyRange::prefix(root.as_bytes()),
            Some(name) => KeyRange::prefix(format!("{root}{name}/").as_bytes()),
        }
    }

    /// The record that an entry holds, if it is one.
    pub(crate) fn record(&self, key: &[u8], value: &[u8]) -> Option<Record> {
        let key = std::str::from_utf8(key).ok()?;
        self.layout
            .read(key, value)
            .ok()?
            .record
            .map(|record| *record)
    }

    /// All instances of a service, or of all services, in order.
    ///
    /// # Errors
    /// What the store refuses.
    pub(crate) async fn read(
        &self,
        link: &Link,
        name: Option<&str>,
    ) -> Result<Vec<Record>, Failure> {
        let request = ask::read(&self.range(name));
        let found = link.range(Patience::Short, request).await?;
        let record = |kv: &store_proto::mvccpb::KeyValue| self.record(&kv.key, &kv.value);
        let records = found.kvs.iter().filter_map(record);
        // Services may have slashes in their names.
        Ok(records
            .filter(|record| name.is_none_or(|name| record.name == name))
            .collect())
    }
}

/// Where an instance is reached.
pub(crate) fn place(record: &Record) -> String {
    std::net::SocketAddr::new(record.address, record.port).to_string()
}

/// Nobody takes traffic.
pub(crate) fn nobody(name: &str) -> Failure {
    Failure::error(format!("no instance of {name} takes traffic"))
        .hint("`service list` shows those there are, with their states")
}
