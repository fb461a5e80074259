//! Resources that make a file for each name, as the resources they come to: made anew whenever the names, the files that
//! are left over, or the resources themselves change.

use std::collections::BTreeMap;

use store_client::mirror::{KeyRange, Snapshot};

use crate::confdir::{self, Unit, Units};
use crate::each::{self, One};
use crate::plan::{Book, ContentHash};
use crate::resource::Resource;

/// All resources as they were loaded, and what was made of them last.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    loaded: Units,
    /// The last good ones of those that make a file for each name: a bad edit takes no file away.
    bases: BTreeMap<String, Unit>,
    wanted: BTreeMap<String, BTreeMap<String, One>>,
}

impl Instances {
    /// Takes over newly loaded resources.
    pub(crate) fn load(&mut self, units: Units) {
        self.bases.retain(|name, _| units.contains_key(name));
        for (name, unit) in &units {
            match unit {
                Ok(unit) if unit.resource.for_each.is_some() => {
                    self.bases.insert(name.clone(), unit.clone());
                }
                Ok(_) => {
                    self.bases.remove(name);
                }
                Err(_) => {}
            }
        }
        self.loaded = units;
    }

    fn now(
        &self,
        snapshot: Option<&Snapshot>,
        book: &Book,
    ) -> BTreeMap<String, BTreeMap<String, One>> {
        let Some(snapshot) = snapshot else {
            return BTreeMap::new();
        };
        self.bases
            .iter()
            .map(|(name, base)| {
                let wanted = each::wanted(&base.resource, snapshot, book);
                (name.clone(), wanted)
            })
            .collect()
    }

    /// Whether something else would be made now.
    pub(crate) fn moved(&self, snapshot: Option<&Snapshot>, book: &Book) -> bool {
        !self.bases.is_empty() && self.now(snapshot, book) != self.wanted
    }

    /// The resources that there are now.
    pub(crate) fn make(&mut self, snapshot: Option<&Snapshot>, book: &Book) -> Units {
        self.wanted = self.now(snapshot, book);
        let mut units: Units = self
            .loaded
            .iter()
            .filter(|(name, unit)| unit.is_err() || !self.bases.contains_key(*name))
            .map(|(name, unit)| (name.clone(), unit.clone()))
            .collect();
        for (name, base) in &self.bases {
            if let Some(snapshot) = snapshot {
                for unfit in each::names(&base.resource, snapshot).1 {
                    tracing::warn!(resource = name, "{unfit:?} is no name for a file: left out");
                }
            }
            for (part, one) in self.wanted.get(name).into_iter().flatten() {
                let version = format!("{:?} {one:?}", String::from(base.version));
                let unit = Unit {
                    resource: each::resource(&base.resource, part, one).into(),
                    template: base.template.clone(),
                    version: ContentHash::of(version.as_bytes()),
                    files: Vec::new(),
                };
                units.insert(part.clone(), Ok(unit));
            }
        }
        confdir::refuse_duplicates(&mut units);
        units
    }

    /// The good ones of the resources as they were loaded.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Resource> {
        let loaded = self.loaded.values().flatten();
        loaded
            .chain(self.bases.values())
            .map(|unit| &*unit.resource)
    }

    /// What has to be read to know the names.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = KeyRange> {
        self.bases
            .values()
            .flat_map(|base| each::ranges(&base.resource))
    }
}
