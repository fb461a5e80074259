//! Functions of templates: confd's, with named arguments, and those over native service records.
//! Each refuses arguments it does not know; Tera itself would ignore a misspelt one silently.

#![expect(
    clippy::needless_pass_by_value,
    reason = "Tera hands its arguments over by value"
)]

use tera::{Error, Kwargs, Map, State, Tera, TeraResult, Value};

use super::outside::{Service, sorted_services, srv_name};
use super::tera::with_frame;
use crate::tree::{Node, Pair, ReadError, Reader, Registration};

/// Separates an error's message from its hint on the way through Tera, which carries one text.
pub(super) const HINT_MARK: &str = "\u{1f}";

/// Where native records stand unless `root` says otherwise.
const SERVICES_ROOT: &str = "/services";

/// Names of all functions, ours and Tera's, to guess what a misspelt one means.
pub(super) const NAMES: &[&str] = &[
    "get",
    "getv",
    "gets",
    "getvs",
    "ls",
    "lsdir",
    "exists",
    "exists_dir",
    "tree",
    "json",
    "env",
    "hostname",
    "file_exists",
    "lookup_ip",
    "lookup_srv",
    "interface_ip",
    "config_hash",
    "revision",
    "services",
    "service_names",
    "range",
    "throw",
];

/// Adds all functions to an engine.
pub(super) fn register(tera: &mut Tera) {
    tera.register_function("get", get);
    tera.register_function("getv", getv);
    tera.register_function("gets", gets);
    tera.register_function("getvs", getvs);
    tera.register_function("ls", ls);
    tera.register_function("lsdir", lsdir);
    tera.register_function("exists", exists);
    tera.register_function("exists_dir", exists_dir);
    tera.register_function("tree", tree);
    tera.register_function("json", json);
    tera.register_function("env", env);
    tera.register_function("hostname", hostname);
    tera.register_function("file_exists", file_exists);
    tera.register_function("lookup_ip", lookup_ip);
    tera.register_function("lookup_srv", lookup_srv);
    tera.register_function("interface_ip", interface_ip);
    tera.register_function("config_hash", config_hash);
    tera.register_function("revision", revision);
    tera.register_function("services", services);
    tera.register_function("service_names", service_names);
}

/// An error with a hint.
pub(super) fn hinted(message: impl std::fmt::Display, hint: impl std::fmt::Display) -> Error {
    Error::message(format!("{message}{HINT_MARK}{hint}"))
}

/// Refuses arguments that `what` does not know.
pub(super) fn check(what: &str, kwargs: &Kwargs, known: &[&str]) -> TeraResult<()> {
    for (key, _) in kwargs.iter() {
        let name = key.as_str().unwrap_or_default();
        if !known.contains(&name) {
            let message = format!("`{what}` has no argument `{name}`");
            return Err(
                match crate::spelling::nearest(name, known.iter().copied()) {
                    Some(near) => hinted(message, format!("did you mean `{near}`?")),
                    None if known.is_empty() => {
                        hinted(message, format!("`{what}` takes no arguments"))
                    }
                    None => hinted(message, format!("known: {}", known.join(", "))),
                },
            );
        }
    }
    Ok(())
}

fn unread(error: &ReadError) -> Error {
    match error {
        ReadError::Absent { .. } => hinted(
            error,
            "getv(key=…, default=…) gives a value for an absent key",
        ),
        ReadError::Binary { .. } => hinted(error, "templates can only show text"),
        ReadError::Pattern(_) => hinted(
            error,
            "patterns know * ? [a-z] [^a-z] and \\ before any of them",
        ),
    }
}

fn map_of(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut map = Map::new();
    for (key, value) in pairs {
        map.insert(key.into(), value);
    }
    Value::from(map)
}

fn pair_value(pair: Pair) -> Value {
    map_of([
        ("key", Value::from(pair.key)),
        ("value", Value::from(pair.value)),
    ])
}

fn get(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("get", &kwargs, &["key"])?;
    let key: &str = kwargs.must_get("key")?;
    with_frame(|frame| {
        frame
            .reader
            .get(key)
            .map(pair_value)
            .map_err(|error| unread(&error))
    })
}

/// The pair of a key, or what the template says in its place.
fn found(
    reader: &mut Reader,
    key: &str,
    default: Option<Value>,
) -> TeraResult<Result<Pair, Value>> {
    let found = match default {
        None => reader.get(key).map(Ok),
        Some(default) => reader.find(key).map(|found| found.ok_or(default)),
    };
    found.map_err(|error| unread(&error))
}

fn getv(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("getv", &kwargs, &["key", "default"])?;
    let key: &str = kwargs.must_get("key")?;
    let default: Option<Value> = kwargs.get("default")?;
    with_frame(|frame| {
        let pair = match found(&mut frame.reader, key, default)? {
            Ok(pair) => pair,
            Err(default) => return Ok(default),
        };
        Ok(Value::from(pair.value))
    })
}

fn gets(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("gets", &kwargs, &["pattern"])?;
    let pattern: &str = kwargs.must_get("pattern")?;
    let pairs = with_frame(|frame| frame.reader.gets(pattern).map_err(|error| unread(&error)))?;
    Ok(Value::from(
        pairs.into_iter().map(pair_value).collect::<Vec<_>>(),
    ))
}

fn getvs(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("getvs", &kwargs, &["pattern"])?;
    let pattern: &str = kwargs.must_get("pattern")?;
    with_frame(|frame| {
        frame
            .reader
            .getvs(pattern)
            .map(Value::from)
            .map_err(|error| unread(&error))
    })
}

fn ls(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("ls", &kwargs, &["path"])?;
    let path: &str = kwargs.must_get("path")?;
    with_frame(|frame| Ok(Value::from(frame.reader.ls(path))))
}

fn lsdir(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("lsdir", &kwargs, &["path"])?;
    let path: &str = kwargs.must_get("path")?;
    with_frame(|frame| Ok(Value::from(frame.reader.lsdir(path))))
}

fn exists(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("exists", &kwargs, &["key"])?;
    let key: &str = kwargs.must_get("key")?;
    with_frame(|frame| Ok(Value::from(frame.reader.exists(key))))
}

fn exists_dir(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("exists_dir", &kwargs, &["path"])?;
    let path: &str = kwargs.must_get("path")?;
    with_frame(|frame| Ok(Value::from(frame.reader.exists_dir(path))))
}

fn tree(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("tree", &kwargs, &["prefix"])?;
    let prefix: &str = kwargs.get("prefix")?.unwrap_or("/");
    with_frame(|frame| {
        frame
            .reader
            .tree(prefix)
            .map(node_value)
            .map_err(|error| unread(&error))
    })
}

fn node_value(node: Node) -> Value {
    match node {
        Node::Leaf(value) => Value::from(value),
        Node::Directory(nodes) => {
            let mut map = Map::new();
            for (name, node) in nodes {
                map.insert(name.into(), node_value(node));
            }
            Value::from(map)
        }
    }
}

fn json(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("json", &kwargs, &["key", "default"])?;
    let key: &str = kwargs.must_get("key")?;
    let default: Option<Value> = kwargs.get("default")?;
    with_frame(|frame| {
        let pair = match found(&mut frame.reader, key, default)? {
            Ok(pair) => pair,
            Err(default) => return Ok(default),
        };
        parsed(&format!("the value of {}", pair.key), &pair.value)
    })
}

/// Text as JSON.
pub(super) fn parsed(what: &str, text: &str) -> TeraResult<Value> {
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| Error::message(format!("{what} is not JSON: {error}")))?;
    Value::try_from_serializable(&value)
}

fn env(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("env", &kwargs, &["name", "default"])?;
    let name: &str = kwargs.must_get("name")?;
    let default: Option<Value> = kwargs.get("default")?;
    with_frame(|frame| match (frame.globals.env.get(name), default) {
        (Some(value), _) => Ok(Value::from(value.as_str())),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(hinted(
            format!("environment variable {name} is not set"),
            "env(name=…, default=…) gives a value for it",
        )),
    })
}

fn hostname(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("hostname", &kwargs, &[])?;
    with_frame(|frame| Ok(Value::from(frame.globals.hostname.as_str())))
}

fn file_exists(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("file_exists", &kwargs, &["path"])?;
    let path: &str = kwargs.must_get("path")?;
    with_frame(|frame| Ok(Value::from(frame.globals.outside.file_exists(path))))
}

/// Addresses of a host as sorted texts; none if it cannot be looked up.
fn lookup_ip(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("lookup_ip", &kwargs, &["host"])?;
    let host: &str = kwargs.must_get("host")?;
    let found = with_frame(|frame| Ok(frame.globals.outside.addresses(host)))?;
    let mut texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    texts.sort();
    texts.dedup();
    Ok(Value::from(texts))
}

/// SRV records (RFC 2782), sorted by target, port, priority and weight; none if they cannot be looked up.
fn lookup_srv(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("lookup_srv", &kwargs, &["service", "proto", "name"])?;
    let service: &str = kwargs.get("service")?.unwrap_or_default();
    let proto: &str = kwargs.get("proto")?.unwrap_or_default();
    let name: &str = kwargs.must_get("name")?;
    let found = with_frame(|frame| {
        let record = srv_name(service, proto, name);
        Ok(sorted_services(frame.globals.outside.services(&record)))
    })?;
    let value = |one: Service| {
        map_of([
            ("target", Value::from(one.target)),
            ("port", Value::from(one.port)),
            ("priority", Value::from(one.priority)),
            ("weight", Value::from(one.weight)),
        ])
    };
    Ok(Value::from(
        found.into_iter().map(value).collect::<Vec<_>>(),
    ))
}

/// The first address of an interface of this machine, of version 4 unless told otherwise.
fn interface_ip(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("interface_ip", &kwargs, &["name", "version"])?;
    let name: &str = kwargs.must_get("name")?;
    let version: u64 = kwargs.get("version")?.unwrap_or(4);
    let found = with_frame(|frame| Ok(frame.globals.outside.interface(name)))?;
    let mut wanted = found.iter().filter(|ip| ip.is_ipv4() == (version == 4));
    match wanted.next() {
        Some(ip) => Ok(Value::from(ip.to_string())),
        None => Err(hinted(
            format!("interface {name:?} has no address of version {version}"),
            "env(name=…) reads one that is handed over",
        )),
    }
}

fn config_hash(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("config_hash", &kwargs, &[])?;
    Ok(Value::from(crate::render::HASH_PLACE))
}

fn revision(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("revision", &kwargs, &[])?;
    with_frame(|frame| Ok(Value::from(frame.reader.revision())))
}

fn services(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("services", &kwargs, &["name", "state", "root"])?;
    let root: &str = kwargs.get("root")?.unwrap_or(SERVICES_ROOT);
    let name: Option<&str> = kwargs.get("name")?;
    let states = states(&kwargs)?;
    let found = with_frame(|frame| Ok(frame.reader.services(root, name)))?;
    found
        .into_iter()
        .filter(|found| {
            states
                .as_ref()
                .is_none_or(|states| states.contains(&found.record.state.to_string()))
        })
        .map(|found| service_value(&found))
        .collect::<TeraResult<Vec<_>>>()
        .map(Value::from)
}

/// `state` is a name or a list of names; a name that no record can have is refused.
fn states(kwargs: &Kwargs) -> TeraResult<Option<Vec<String>>> {
    const KNOWN: [&str; 5] = ["starting", "up", "draining", "down", "maintenance"];
    let Some(given) = kwargs.get::<Value>("state")? else {
        return Ok(None);
    };
    let names: Vec<String> = match given.as_array() {
        Some(list) => list.iter().map(ToString::to_string).collect(),
        None => vec![given.to_string()],
    };
    match names.iter().find(|name| !KNOWN.contains(&name.as_str())) {
        Some(unknown) => Err(hinted(
            format!("no service has the state {unknown:?}"),
            format!("known: {}", KNOWN.join(", ")),
        )),
        None => Ok(Some(names)),
    }
}

/// The record as it stands in the store, with `key` and `hostport` (`10.0.0.1:80`, `[::1]:80`) beside it.
fn service_value(found: &Registration) -> TeraResult<Value> {
    let value = Value::try_from_serializable(&found.record)?;
    let mut map = value.into_map().unwrap_or_default();
    map.insert("key".into(), Value::from(found.key.as_str()));
    let socket = std::net::SocketAddr::new(found.record.address, found.record.port);
    map.insert("hostport".into(), Value::from(socket.to_string()));
    Ok(Value::from(map))
}

fn service_names(kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("service_names", &kwargs, &["root"])?;
    let root: &str = kwargs.get("root")?.unwrap_or(SERVICES_ROOT);
    with_frame(|frame| Ok(Value::from(frame.reader.lsdir(root))))
}
