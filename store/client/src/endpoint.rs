//! [pure] Where a store member listens: parsing of what people write after `--endpoints`.
//! Never connects; see [`crate::connect`].

use std::fmt;

/// Address of one store member, as `scheme://host:port` or `unix:///path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    tls: bool,
    /// `host:port`, IPv6 in brackets; the path of a socket file.
    authority: String,
    /// `authority` is the path of a socket file.
    file: bool,
}

/// etcd's client port, used when an endpoint names none.
const PORT_DEFAULT: u16 = 2379;

impl Endpoint {
    /// Reads one endpoint: `host`, `host:port`, `http://host:port` or `https://host:port`, with an
    /// IPv6 address in brackets, or `unix:///path`.
    ///
    /// # Errors
    /// When the text has another scheme, a path, no host, or a port that is not a number.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let refuse = |why| {
            Err(EndpointError {
                text: text.to_owned(),
                why,
            })
        };
        let (tls, rest) = match text.trim().split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(("unix", "")) => return refuse("the path of the socket file is missing"),
            Some(("unix", path)) => {
                return Ok(Self {
                    tls: false,
                    authority: path.to_owned(),
                    file: true,
                });
            }
            Some(_) => return refuse("the scheme is neither http, https nor unix"),
            None => (false, text.trim()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@', ' ', ',']) {
            return refuse("only a host and a port may follow the scheme");
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(v6) => match v6.split_once(']') {
                Some((_, "")) => (rest, None),
                Some((host, port)) if port.starts_with(':') => {
                    (&rest[..host.len() + 2], Some(&port[1..]))
                }
                _ => return refuse("the bracket of the IPv6 address is not closed"),
            },
            None => match rest.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => {
                    return refuse("an IPv6 address needs brackets");
                }
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.is_empty() || host == "[]" {
            return refuse("the host is missing");
        }
        let port = match port {
            None => PORT_DEFAULT,
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port > 0 => port,
                _ => return refuse("the port is not a number from 1 to 65535"),
            },
        };
        Ok(Self {
            tls,
            authority: format!("{host}:{port}"),
            file: false,
        })
    }

    /// Reads a comma-separated list; empty parts are ignored.
    ///
    /// # Errors
    /// The first part that is not an endpoint, or that the list holds none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, EndpointError> {
        let list: Vec<Self> = text
            .split(',')
            .filter(|part| !part.trim().is_empty())
            .map(Self::parse)
            .collect::<Result<_, _>>()?;
        if list.is_empty() {
            return Err(EndpointError {
                text: text.to_owned(),
                why: "the list is empty",
            });
        }
        Ok(list)
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether it is a socket file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file
    }

    /// `host:port`, IPv6 in brackets; the path of a socket file.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.file, self.tls) {
            (true, _) => "unix",
            (false, true) => "https",
            (false, false) => "http",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl std::str::FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A text that is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read endpoint {text:?}: {why}")]
pub struct EndpointError {
    text: String,
    why: &'static str,
}

impl EndpointError {
    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some("write it as http://host:2379 or https://host:2379, several with commas".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, want) in [
            ("localhost", "http://localhost:2379"),
            ("10.0.0.5:4001", "http://10.0.0.5:4001"),
            ("http://a.b:2379", "http://a.b:2379"),
            ("https://a.b:2379/", "https://a.b:2379"),
            ("[::1]", "http://[::1]:2379"),
            ("https://[fd00::5]:80", "https://[fd00::5]:80"),
            (" host:1 ", "http://host:1"),
            ("unix:///run/s.sock", "unix:///run/s.sock"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.to_string(), want, "{text}");
            assert_eq!(Endpoint::parse(want).unwrap(), endpoint);
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        for (text, why) in [
            ("", "the host is missing"),
            ("http://", "the host is missing"),
            ("ftp://a", "the scheme is neither http, https nor unix"),
            ("unix://", "the path of the socket file is missing"),
            ("http://a/b", "only a host and a port may follow the scheme"),
            ("a:b", "the port is not a number from 1 to 65535"),
            ("a:0", "the port is not a number from 1 to 65535"),
            ("a:70000", "the port is not a number from 1 to 65535"),
            ("::1", "an IPv6 address needs brackets"),
            ("[::1", "the bracket of the IPv6 address is not closed"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap_err().why, why, "{text}");
        }
    }

    #[test]
    fn a_list_ignores_empty_parts_and_needs_one() {
        assert_eq!(Endpoint::parse_list("a,,b:1,").unwrap().len(), 2);
        assert_eq!(
            Endpoint::parse_list(" , ").unwrap_err().why,
            "the list is empty"
        );
    }
}
