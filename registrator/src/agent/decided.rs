//! What was decided about a container, in as little room as it can be kept in for as long as the container runs: keys and
//! values are shared with whoever else names them, lists have no room to grow, and a record stands there as its JSON
//! form, which mostly is a value already.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use litemap::LiteMap;
use registrator_catalog::record::{Record, State, same_apart_from_time};

use crate::check::Check;
use crate::container::Port;
use crate::desired::{Evaluation, Outcome, Verdict};

/// An [`Evaluation`] that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decided {
    /// Keys and values that should be in the store.
    pub(super) wanted: LiteMap<Arc<str>, Arc<[u8]>>,
    /// One ruling per port and place.
    pub(super) rulings: Box<[Ruling]>,
    /// Why no port was looked at, if so.
    pub(super) skipped: Option<String>,
    /// What is odd about the container's settings.
    pub(super) warnings: Box<[String]>,
    /// The instances to be asked how they are.
    pub(super) checks: Box<[Check]>,
}

/// A [`Verdict`] that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    pub(super) port: Port,
    pub(super) outcome: Ruled,
    pub(super) warnings: Box<[String]>,
    keys: Box<[Arc<str>]>,
    because: Box<[String]>,
}

/// An [`Outcome`] that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruled {
    Offered(Box<Offer>),
    Skipped(String),
}

/// What of a record is asked for all the time, and all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) name: Box<str>,
    pub(super) instance: Box<str>,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) state: State,
    /// The record's JSON form.
    pub(super) record: Arc<[u8]>,
}

impl From<Evaluation> for Decided {
    fn from(evaluation: Evaluation) -> Self {
        let wanted = evaluation.wanted.into_iter();
        let wanted = wanted.map(|(key, value)| (Arc::from(key), Arc::from(value.into_bytes())));
        let wanted = LiteMap::from_iter(wanted);
        let rulings = evaluation.verdicts.into_iter();
        let rulings = rulings.map(|verdict| Ruling::new(verdict, &wanted));
        Self {
            rulings: rulings.collect(),
            skipped: evaluation.skipped,
            warnings: evaluation.warnings.into(),
            checks: evaluation.checks.into(),
            wanted,
        }
    }
}

impl Ruling {
    fn new(verdict: Verdict, wanted: &LiteMap<Arc<str>, Arc<[u8]>>) -> Self {
        let shared = |key: &String| {
            let at = wanted.find_index(key.as_str()).ok()?;
            let (key, _) = wanted.get_indexed(at)?;
            Some(Arc::clone(key))
        };
        Self {
            port: verdict.port,
            outcome: match verdict.outcome {
                Outcome::Skipped(why) => Ruled::Skipped(why),
                Outcome::Registered(record) => {
                    Ruled::Offered(Box::new(Offer::new(&record, wanted)))
                }
            },
            warnings: verdict.warnings.into(),
            keys: verdict.keys.iter().filter_map(shared).collect(),
            because: verdict.because.into(),
        }
    }

    fn verdict(&self) -> Verdict {
        Verdict {
            port: self.port,
            outcome: match &self.outcome {
                Ruled::Skipped(why) => Outcome::Skipped(why.clone()),
                Ruled::Offered(offer) => match Record::from_json(&offer.record) {
                    Ok(record) => Outcome::Registered(Arc::new(record)),
                    // It was a record when it was written there.
                    Err(error) => Outcome::Skipped(error.to_string()),
                },
            },
            warnings: self.warnings.to_vec(),
            keys: self.keys.iter().map(|key| key.to_string()).collect(),
            because: self.because.to_vec(),
        }
    }
}

impl Offer {
    fn new(record: &Record, wanted: &LiteMap<Arc<str>, Arc<[u8]>>) -> Self {
        let json = record.to_json();
        let same = |value: &&Arc<[u8]>| ***value == *json.as_bytes();
        let shared = wanted.values().find(same).map(Arc::clone);
        Self {
            name: record.name.as_str().into(),
            instance: record.instance.as_str().into(),
            address: record.address,
            port: record.port,
            state: record.state,
            record: shared.unwrap_or_else(|| json.into_bytes().into()),
        }
    }
}

impl Decided {
    /// Nothing, for this reason.
    pub(super) fn skipped(why: &str) -> Self {
        Self {
            skipped: Some(why.to_owned()),
            ..Self::default()
        }
    }

    /// It as it was made.
    pub(super) fn evaluation(&self) -> Evaluation {
        Evaluation {
            wanted: self.texts(|_| true),
            verdicts: self.rulings.iter().map(Ruling::verdict).collect(),
            skipped: self.skipped.clone(),
            warnings: self.warnings.to_vec(),
            checks: self.checks.to_vec(),
        }
    }

    /// Those of the wanted keys and values whose key `counts`.
    pub(super) fn texts(&self, counts: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let counted = self.wanted.iter().filter(|(key, _)| counts(key));
        let text = |(key, value): (&Arc<str>, &Arc<[u8]>)| {
            (key.to_string(), String::from_utf8_lossy(value).into_owned())
        };
        counted.map(text).collect()
    }

    /// The value wanted under that key, if it says the same as what stands there.
    pub(super) fn same(&self, key: &str, stored: &[u8]) -> Option<&Arc<[u8]>> {
        let wanted = self.wanted.get(key);
        wanted.filter(|wanted| same_apart_from_time(wanted, stored))
    }

    /// The store's value says the same as the wanted one, of which none is needed beside it.
    pub(super) fn agree(&mut self, key: &str, stored: &Arc<[u8]>) {
        let Some(wanted) = self.wanted.get_mut(key) else {
            return;
        };
        let former = std::mem::replace(wanted, Arc::clone(stored));
        for ruling in &mut self.rulings {
            if let Ruled::Offered(offer) = &mut ruling.outcome
                && Arc::ptr_eq(&offer.record, &former)
            {
                offer.record = Arc::clone(stored);
            }
        }
    }

    /// Why keys that were wanted are not any more.
    pub(super) fn why_fewer(&self) -> String {
        let state = self
            .rulings
            .iter()
            .find_map(|ruling| match &ruling.outcome {
                Ruled::Offered(offer) if offer.state != State::Up => Some(offer.state),
                _ => None,
            });
        match (&self.skipped, state) {
            (Some(why), _) => why.clone(),
            (None, Some(state)) => format!("it is {state}"),
            (None, None) => {
                // A port that was reached so far that its name and address were known.
                let refused = self
                    .rulings
                    .iter()
                    .find_map(|ruling| match &ruling.outcome {
                        Ruled::Skipped(why) if !ruling.because.is_empty() => Some(why.clone()),
                        _ => None,
                    });
                refused.unwrap_or_else(|| "its settings changed".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::web;
    use crate::desired::{Rules, evaluate};
    use registrator_catalog::layout::{Kind, Layout};

    fn of(kinds: &[Kind], at: &str) -> Evaluation {
        let layouts = kinds
            .iter()
            .map(|kind| Layout::new(*kind, kind_root(*kind)));
        let mut rules = Rules::new("n", layouts.collect());
        rules.internal = true;
        let mut container = web("a", 0);
        container.exposed.insert(Port::parse("443").unwrap());
        let labels = [("SERVICE_443_IGNORE", "1"), ("SERVICE_80_CHECK_X", "y")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        container.labels.extend(labels);
        evaluate(&container, &rules, State::Up, at)
    }

    fn kind_root(kind: Kind) -> &'static str {
        if kind == Kind::Native {
            "native"
        } else {
            "compat"
        }
    }

    const EARLIER: &str = "2026-11-20T04:48:44.123Z";
    const LATER: &str = "2026-11-20T04:48:45.000Z";

    #[test]
    fn nothing_is_lost_by_keeping_it() {
        for kinds in [
            &[Kind::Native][..],
            &[Kind::Registrator],
            &[Kind::Native, Kind::Registrator],
        ] {
            let evaluation = of(kinds, EARLIER);
            assert_eq!(evaluation.verdicts.len(), 2);
            let decided = Decided::from(evaluation.clone());
            assert_eq!(decided.evaluation(), evaluation, "{kinds:?}");
        }
    }

    #[test]
    fn a_value_of_the_store_stands_in_for_the_wanted_one_and_the_record() {
        let mut decided = Decided::from(of(&[Kind::Native, Kind::Registrator], LATER));
        let earlier = Decided::from(of(&[Kind::Native, Kind::Registrator], EARLIER));
        let (key, stored) = earlier.wanted.iter().nth(1).unwrap();
        assert!(key.starts_with("/native/"));
        assert!(decided.same(key, b"{}").is_none() && decided.same("/other", stored).is_none());
        assert_ne!(decided.same(key, stored).unwrap(), stored);
        decided.agree(key, stored);
        let Ruled::Offered(offer) = &decided.rulings[0].outcome else {
            panic!("{decided:?}");
        };
        assert!(Arc::ptr_eq(&offer.record, stored));
        assert!(Arc::ptr_eq(decided.wanted.get(key).unwrap(), stored));
        assert_eq!(decided.evaluation(), earlier.evaluation());
    }
}
