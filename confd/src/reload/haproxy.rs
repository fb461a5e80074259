//! Pure: What to tell a running haproxy so that it serves as its new file says, when only server lines differ. Whatever
//! cannot be said for certain over the runtime API is a reason to reload: the file is in place already, so that is always
//! right. Source: haproxy's management guide, "Unix Socket commands".

use std::collections::BTreeMap;

/// Words of a server line that may change while it serves.
const WEIGHT: &str = "weight";

/// What is done to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// It serves under another address.
    Address {
        /// `backend/server`.
        server: String,
        /// An IP address.
        address: String,
        /// The port.
        port: u16,
    },
    /// It gets another share.
    Weight {
        /// `backend/server`.
        server: String,
        /// 0 to 256.
        weight: u16,
    },
    /// It is new.
    Add {
        /// `backend/server`.
        server: String,
        /// Address and words, as the file has them.
        line: String,
        /// Its health is looked at.
        checked: bool,
    },
    /// It goes: no new requests at once, away when those it has are done.
    Remove {
        /// `backend/server`.
        server: String,
    },
}

impl Move {
    /// The commands, in order; each must be answered without a complaint.
    pub fn commands(&self) -> Vec<String> {
        match self {
            Self::Address {
                server,
                address,
                port,
            } => vec![format!("set server {server} addr {address} port {port}")],
            Self::Weight { server, weight } => {
                vec![format!("set server {server} weight {weight}")]
            }
            Self::Add {
                server,
                line,
                checked,
            } => {
                let mut commands = vec![format!("add server {server} {line}")];
                if *checked {
                    commands.push(format!("enable health {server}"));
                }
                commands.push(format!("enable server {server}"));
                commands
            }
            Self::Remove { server } => vec![format!("set server {server} state maint")],
        }
    }
}

/// A server line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    address: String,
    /// All words behind the address but the weight.
    words: Vec<String>,
    weight: Option<u16>,
    /// Words of the `default-server` lines that hold for it.
    defaults: Vec<String>,
}

/// A file as this module sees it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Config {
    /// All that is no server line, in order.
    rest: Vec<Vec<String>>,
    /// By `backend/server`.
    servers: BTreeMap<String, Line>,
}

/// A server as haproxy runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Its weight.
    pub weight: u16,
    /// It takes no requests because somebody said so.
    pub maintenance: bool,
}

/// The commands that lead from the file haproxy runs on to the new one.
///
/// # Errors
/// Why only a reload will do.
pub fn moves(
    old: &str,
    new: &str,
    running: &BTreeMap<String, Running>,
) -> Result<Vec<Move>, String> {
    let (old, new) = (Config::read(old)?, Config::read(new)?);
    if old.rest != new.rest {
        return Err("more than server lines has changed".to_owned());
    }
    let mut moves = Vec::new();
    for server in old.servers.keys() {
        if !new.servers.contains_key(server) {
            moves.push(Move::Remove {
                server: server.clone(),
            });
        }
    }
    for (server, line) in &new.servers {
        match old.servers.get(server) {
            Some(before) if before == line => {}
            Some(before) => changed(server, before, line, &mut moves)?,
            None if running.contains_key(server) => {
                return Err(format!("{server} was removed and is not gone yet"));
            }
            None => moves.push(added(server, line)?),
        }
    }
    Ok(moves)
}

fn changed(server: &str, before: &Line, line: &Line, moves: &mut Vec<Move>) -> Result<(), String> {
    if (&before.words, &before.defaults) != (&line.words, &line.defaults) {
        return Err(format!("the words of {server} have changed"));
    }
    if before.address != line.address {
        let (address, port) = socket(&line.address)
            .ok_or_else(|| format!("{} of {server} is no IP address and port", line.address))?;
        moves.push(Move::Address {
            server: server.to_owned(),
            address,
            port,
        });
    }
    if before.weight != line.weight {
        moves.push(Move::Weight {
            server: server.to_owned(),
            weight: line.weight.unwrap_or(1),
        });
    }
    Ok(())
}

fn added(server: &str, line: &Line) -> Result<Move, String> {
    if socket(&line.address).is_none() {
        return Err(format!(
            "{} of {server} is no IP address and port",
            line.address
        ));
    }
    // A server added at run time has no default words, so they are said.
    let mut words = vec![line.address.clone()];
    words.extend(line.defaults.iter().chain(&line.words).cloned());
    if let Some(weight) = line.weight {
        words.extend([WEIGHT.to_owned(), weight.to_string()]);
    }
    if words.iter().any(|word| word == "disabled") {
        return Err(format!("{server} is disabled"));
    }
    // What the socket would read as the end of a word or of a command.
    if words
        .iter()
        .any(|word| word.is_empty() || word.contains([' ', '\t', ';', '\\', '"', '\'', '<']))
    {
        return Err(format!("a word of {server} cannot be said over the socket"));
    }
    Ok(Move::Add {
        server: server.to_owned(),
        checked: words.iter().any(|word| word == "check"),
        line: words.join(" "),
    })
}

/// The servers that do not run as the file says, one line each; none when all do. Removed ones may stay in maintenance
/// until their last connection ends.
///
/// # Errors
/// The file cannot be read, as in [`moves`].
pub fn amiss(new: &str, running: &BTreeMap<String, Running>) -> Result<Vec<String>, String> {
    let new = Config::read(new)?;
    let mut amiss = Vec::new();
    for (server, line) in &new.servers {
        match running.get(server) {
            None => amiss.push(format!("{server} is missing")),
            Some(now) if now.maintenance => amiss.push(format!("{server} takes no requests")),
            Some(now) => {
                let there = (now.address.clone(), now.port);
                if socket(&line.address).is_some_and(|wanted| wanted != there) {
                    amiss.push(format!("{server} serves at {}:{}", now.address, now.port));
                }
                if line.weight.is_some_and(|weight| weight != now.weight) {
                    amiss.push(format!("{server} has weight {}", now.weight));
                }
            }
        }
    }
    for (server, now) in running {
        let backend = server.split('/').next().unwrap_or_default();
        let ours = |known: &String| known.split('/').next() == Some(backend);
        if !now.maintenance && !new.servers.contains_key(server) && new.servers.keys().any(ours) {
            amiss.push(format!("{server} still takes requests"));
        }
    }
    Ok(amiss)
}

/// Reads the answer to `show servers state`, version 1.
pub fn running(answer: &str) -> BTreeMap<String, Running> {
    let rows = answer
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').collect::<Vec<_>>());
    rows.filter_map(|row| {
        let number = |at: usize| row.get(at)?.parse::<u16>().ok();
        // Bit 0: forced into maintenance; bit 5: by the file; bit 6: its name is not resolved.
        let admin = number(6)?;
        Some((
            format!("{}/{}", row.get(1)?, row.get(3)?),
            Running {
                address: (*row.get(4)?).to_owned(),
                port: number(18)?,
                weight: number(7)?,
                maintenance: admin & 0x01 != 0,
            },
        ))
    })
    .collect()
}

/// An address literal with a port.
fn socket(text: &str) -> Option<(String, u16)> {
    let text = text
        .strip_prefix("ipv4@")
        .or_else(|| text.strip_prefix("ipv6@"))
        .unwrap_or(text);
    let (host, port) = text.rsplit_once(':')?;
    let host: std::net::IpAddr = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()?;
    Some((host.to_string(), port.parse().ok()?))
}

impl Config {
    fn read(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        // The section under way: its name if servers stand in it, and its default words.
        let mut backend: Option<String> = None;
        let (mut general, mut own): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let words = words(line)?;
            let Some(first) = words.first() else { continue };
            match first.as_str() {
                "defaults" => {
                    backend = None;
                    general.clear();
                    own.clear();
                }
                "backend" | "listen" => {
                    backend = words.get(1).cloned();
                    own = general.clone();
                }
                "global" | "frontend" | "peers" | "resolvers" | "userlist" | "mailers"
                | "cache" | "program" | "ring" | "http-errors" | "fcgi-app" | "log-forward" => {
                    backend = None;
                    // Not the words of a `defaults` section any more.
                    own.clear();
                }
                "default-server" if backend.is_some() => own.extend(words[1..].iter().cloned()),
                "default-server" => general.extend(words[1..].iter().cloned()),
                "server" => {
                    if let (Some(backend), [_, name, address, rest @ ..]) =
                        (&backend, words.as_slice())
                    {
                        let server = format!("{backend}/{name}");
                        let line = Line::new(address, rest, &own)?;
                        if config.servers.insert(server.clone(), line).is_some() {
                            return Err(format!("{server} stands there twice"));
                        }
                        continue;
                    }
                }
                _ => {}
            }
            config.rest.push(words);
        }
        Ok(config)
    }
}

impl Line {
    fn new(address: &str, rest: &[String], defaults: &[String]) -> Result<Self, String> {
        let mut line = Self {
            address: address.to_owned(),
            words: Vec::new(),
            weight: None,
            defaults: defaults.to_vec(),
        };
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            if word == WEIGHT {
                let weight = rest.next().and_then(|text| text.parse().ok());
                line.weight = Some(weight.ok_or("a weight is no number")?);
            } else {
                line.words.push(word.clone());
            }
        }
        Ok(line)
    }
}

/// The words of a line: quotes taken away, a comment left out.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '#' if word.is_none() => break,
            ' ' | '\t' | '\r' => found.extend(word.take()),
            '\\' => match chars.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("a line ends in a backslash".to_owned()),
            },
            '"' | '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(end) if end == char => break,
                        Some('\\') if char == '"' => word.extend(chars.next()),
                        Some(inner) => word.push(inner),
                        None => return Err("a quote is not closed".to_owned()),
                    }
                }
            }
            char => word.get_or_insert_default().push(char),
        }
    }
    found.extend(word);
    Ok(found)
}

#[cfg(test)]
#[path = "haproxy_tests.rs"]
mod tests;
