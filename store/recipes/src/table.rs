//! The instances of a service that take traffic: what a balancer chooses from.

use registrator_catalog::record::{Record, State};

/// Those to choose from: up, with a weight above 0, and of the lowest priority there is. In order of their names, so that
/// all who look see the same table.
#[must_use]
pub fn takers(records: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let mut takers: Vec<Record> = records
        .into_iter()
        .filter(|record| record.state == State::Up && record.weight > 0)
        .collect();
    let preferred = takers.iter().map(|record| record.priority).min();
    takers.retain(|record| Some(record.priority) == preferred);
    takers.sort_by(|a, b| a.instance.cmp(&b.instance));
    takers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use registrator_catalog::record::{PRIORITY_DEFAULT, Proto, VERSION};

    use super::*;

    fn record(instance: &str, state: State, weight: u32, priority: u32) -> Record {
        let address = IpAddr::from([10, 0, 0, 1]);
        Record {
            version: VERSION,
            id: instance.to_owned(),
            instance: instance.to_owned(),
            name: "web".to_owned(),
            node: "n".to_owned(),
            address,
            addresses: vec![address.into()],
            port: 80,
            proto: Proto::Tcp,
            port_name: "80".to_owned(),
            weight,
            priority,
            state,
            health: None,
            tags: Vec::new(),
            meta: BTreeMap::new(),
            container: None,
            updated_at: String::new(),
        }
    }

    #[test]
    fn only_what_takes_traffic() {
        let of = |records: Vec<Record>| {
            let takers = takers(records).into_iter();
            takers.map(|record| record.instance).collect::<Vec<_>>()
        };
        let plain = PRIORITY_DEFAULT;
        assert_eq!(
            of(vec![
                record("c", State::Up, 1, plain),
                record("b", State::Draining, 1, plain),
                record("a", State::Up, 100, plain),
                record("d", State::Up, 0, plain),
                record("e", State::Up, 1, plain + 1),
                record("f", State::Down, 1, plain - 1),
            ]),
            ["a", "c"]
        );
        assert_eq!(of(vec![record("e", State::Up, 1, plain + 1)]), ["e"]);
        assert_eq!(of(vec![record("e", State::Starting, 1, 1)]), [""; 0]);
    }
}
