//! Nodes of ZooKeeper as gliderlabs registrator writes them: `<base>/<service>/<ip:port>` with a JSON value.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Entry, Found, LayoutError, check_address, check_segment};
use crate::record::Record;

/// What stands in a node, in upstream's words and order.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    name: String,
    #[serde(rename = "IP")]
    ip: IpAddr,
    public_port: u16,
    private_port: u16,
    /// The container's short id; upstream wrote its host name, which is the same unless somebody set one.
    #[serde(rename = "ContainerID")]
    container_id: String,
    tags: Vec<String>,
    attrs: BTreeMap<String, String>,
}

/// One entry.
pub(super) fn entries(prefix: &str, record: &Record) -> Result<Vec<Entry>, LayoutError> {
    check_segment("service name", &record.name, false)?;
    if record.name == "." || record.name == ".." {
        return Err(LayoutError::Segment {
            what: "service name",
            text: record.name.clone(),
            why: "is no name of a node",
        });
    }
    check_address(record.address)?;
    let container = record.container.as_ref();
    let body = Body {
        name: record.name.clone(),
        ip: record.address,
        public_port: record.port,
        private_port: container.map_or(record.port, |container| container.port),
        container_id: container
            .map(|container| container.id.chars().take(12).collect())
            .unwrap_or_default(),
        tags: record.tags.clone(),
        attrs: record.meta.clone(),
    };
    let at = SocketAddr::new(record.address, record.port);
    Ok(vec![Entry {
        key: format!("{prefix}/{}/{at}", record.name),
        // A struct of texts, numbers and maps with text keys always has a JSON form.
        value: serde_json::to_string(&body).unwrap_or_default(),
    }])
}

/// Reads an entry back; what tells instances apart is the address.
pub(super) fn read(path: &str, value: &[u8]) -> Option<Found> {
    let (name, at) = path.split_once('/')?;
    let body: Body = serde_json::from_slice(value).ok()?;
    let place = SocketAddr::new(body.ip, body.public_port);
    (body.name == name && at.parse() == Ok(place)).then(|| Found {
        name: body.name,
        id: at.to_owned(),
        address: place.ip(),
        port: place.port(),
        record: None,
    })
}

#[cfg(test)]
mod tests {
    use crate::layout::{Kind, Layout};
    use crate::record::tests::example;

    #[test]
    fn there_and_back() {
        for (address, key) in [
            ("10.0.0.5", "/base/a/web/10.0.0.5:32768"),
            ("fd00::5", "/base/a/web/[fd00::5]:32768"),
        ] {
            let mut record = example();
            record.address = address.parse().unwrap();
            let layout = Layout::new(Kind::ZooKeeper, "base/a/");
            let entries = layout.entries(&record).unwrap();
            assert_eq!(entries[0].key, key);
            assert_eq!(
                entries[0].value,
                format!(
                    r#"{{"Name":"web","IP":"{address}","PublicPort":32768,"PrivatePort":80,"ContainerID":"0123456789ab","Tags":["blue","a,b"],"Attrs":{{"region":"us2"}}}}"#
                )
            );
            let found = layout.read(key, entries[0].value.as_bytes()).unwrap();
            assert_eq!((found.address, found.port), (record.address, record.port));
            assert!(
                layout
                    .read("/base/a/other/10.0.0.5:32768", entries[0].value.as_bytes())
                    .is_err()
            );
        }
        let mut record = example();
        record.name = "..".into();
        assert!(Layout::new(Kind::ZooKeeper, "").entries(&record).is_err());
    }
}
