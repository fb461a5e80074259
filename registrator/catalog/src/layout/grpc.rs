//! Endpoints as the resolver in etcd's Go client reads them (`naming/endpoints`): a program dials
//! `etcd:///<prefix>/<service>`. The resolver takes one slash off the front, so keys have none.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Entry, Found, LayoutError, check_address, check_segment};
use crate::record::{Proto, Record};

/// A root of its own, because the resolver takes whatever lies below its target.
pub(super) const PREFIX_DEFAULT: &str = "grpc";

/// `Op` 0 is "add"; a deletion is the deletion of the key. Field names and order are the client's.
#[derive(Serialize, Deserialize)]
struct Value {
    #[serde(rename = "Op")]
    op: u8,
    #[serde(rename = "Addr")]
    address: String,
    #[serde(rename = "Metadata")]
    metadata: Json,
}

/// One entry; none for a port that no gRPC client can dial.
pub(super) fn entries(prefix: &str, record: &Record) -> Result<Vec<Entry>, LayoutError> {
    if record.proto != Proto::Tcp {
        return Ok(Vec::new());
    }
    check_segment("instance", &record.instance, false)?;
    check_address(record.address)?;
    let value = Value {
        op: 0,
        address: SocketAddr::new(record.address, record.port).to_string(),
        metadata: Json::Null,
    };
    Ok(vec![Entry {
        key: format!("{prefix}/{}/{}", record.name, record.instance),
        // A number and a text always have a JSON form.
        value: serde_json::to_string(&value).unwrap_or_default(),
    }])
}

pub(super) fn read(path: &str, value: &[u8]) -> Option<Found> {
    let (name, id) = path.split_once('/')?;
    let value: Value = serde_json::from_slice(value).ok()?;
    let at: SocketAddr = value.address.parse().ok().filter(|_| value.op == 0)?;
    Some(Found {
        name: name.to_owned(),
        id: id.to_owned(),
        address: at.ip(),
        port: at.port(),
        record: None,
    })
}
