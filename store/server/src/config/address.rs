//! An address as flags write it: a scheme, a host and a port, or a scheme and a socket file.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use store_transport::dial::Place;

use super::error::ConfigError;

/// How to talk there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
    /// Over a socket file, in the clear.
    Unix,
    /// Over a socket file with TLS.
    Unixs,
}

impl Scheme {
    const ALL: [(&str, Self); 4] = [
        ("http", Self::Http),
        ("https", Self::Https),
        ("unix", Self::Unix),
        ("unixs", Self::Unixs),
    ];

    /// Over TLS.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Unixs)
    }

    /// Over a socket file.
    #[must_use]
    pub const fn is_file(self) -> bool {
        matches!(self, Self::Unix | Self::Unixs)
    }
}

/// A checked URL of host and port, or of a socket file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// How to talk there.
    pub scheme: Scheme,
    /// A name or an IP address; IPv6 without brackets. With a scheme of socket files, the path: all that
    /// follows the scheme, so that etcd's `unix://localhost:2379` is a file of that name.
    pub host: String,
    /// The port; 0 lets the system pick when listened on. Always 0 with socket files.
    pub port: u16,
}

impl Address {
    /// Plain HTTP at that socket address.
    #[must_use]
    pub fn http(address: SocketAddr) -> Self {
        Self {
            scheme: Scheme::Http,
            host: address.ip().to_string(),
            port: address.port(),
        }
    }

    /// Reads one URL; `flag` is named in the error.
    ///
    /// # Errors
    /// [`ConfigError::BadUrl`] with the part that is wrong.
    pub fn parse(flag: &'static str, url: &str) -> Result<Self, ConfigError> {
        let bad = |why| ConfigError::BadUrl {
            flag,
            url: url.to_owned(),
            why,
        };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| bad("it has no scheme"))?;
        let scheme = Scheme::ALL
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(scheme))
            .map(|(_, scheme)| *scheme)
            .ok_or_else(|| bad("the scheme is not http, https, unix or unixs"))?;
        if scheme.is_file() {
            if rest.is_empty() {
                return Err(bad("it has no path"));
            }
            return Ok(Self {
                scheme,
                host: rest.to_owned(),
                port: 0,
            });
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(bad("there must be nothing but a host and a port"));
        }
        let (host, port) = authority
            .rsplit_once(':')
            .ok_or_else(|| bad("it has no port"))?;
        let port = port
            .parse()
            .map_err(|_| bad("the port is not a number below 65536"))?;
        let host = match host.strip_prefix('[') {
            Some(v6) => {
                let v6 = v6.strip_suffix(']').ok_or_else(|| bad("a ] is missing"))?;
                v6.parse::<Ipv6Addr>()
                    .map_err(|_| bad("what is in brackets is not an IPv6 address"))?
                    .to_string()
            }
            None if host.contains(':') => return Err(bad("an IPv6 address must be in brackets")),
            None if host.is_empty() => return Err(bad("it has no host")),
            None => host.to_ascii_lowercase(),
        };
        Ok(Self { scheme, host, port })
    }

    /// Whether it leads nowhere but to the machine that uses it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.bind_ip().is_some_and(|ip| ip.is_loopback())
    }

    /// The socket file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.scheme.is_file().then(|| Path::new(&self.host))
    }

    /// Where it leads. `localhost` is 127.0.0.1, as it is for those who listen.
    pub(crate) fn place(&self) -> Place {
        match self.file() {
            Some(path) => Place::File(path.to_owned()),
            None => {
                let ip = self.bind_ip().map(|ip| ip.to_string());
                Place::Host(ip.unwrap_or_else(|| self.host.clone()), self.port)
            }
        }
    }

    /// The IP address to bind, when the host is one or is localhost.
    #[must_use]
    pub fn bind_ip(&self) -> Option<IpAddr> {
        if self.scheme.is_file() {
            return None;
        }
        if self.host == "localhost" {
            return Some(Ipv4Addr::LOCALHOST.into());
        }
        self.host.parse().ok()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = Scheme::ALL
            .iter()
            .find(|(_, scheme)| *scheme == self.scheme)
            .map_or("http", |(name, _)| name);
        let Self { host, port, .. } = self;
        if self.scheme.is_file() {
            write!(f, "{scheme}://{host}")
        } else if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// Reads a comma-separated list of URLs; never empty.
pub(crate) fn list(flag: &'static str, urls: &str) -> Result<Vec<Address>, ConfigError> {
    urls.split(',')
        .map(|url| Address::parse(flag, url.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written() {
        for (url, wanted) in [
            ("http://127.0.0.1:2379", "http://127.0.0.1:2379"),
            ("http://localhost:2379/", "http://localhost:2379"),
            ("HTTPS://Example.Org:1", "https://example.org:1"),
            ("http://[::1]:0", "http://[::1]:0"),
            ("unix://localhost:2379", "unix://localhost:2379"),
            ("unixs:///run/muster.sock", "unixs:///run/muster.sock"),
        ] {
            let address = Address::parse("flag", url).unwrap();
            assert_eq!(address.to_string(), wanted);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, part) in [
            ("", "no scheme"),
            ("localhost:2379", "no scheme"),
            ("ftp://localhost:2379", "scheme is not"),
            ("http://localhost", "no port"),
            ("unix://", "no path"),
            ("http://localhost:x", "port is not"),
            ("http://localhost:65536", "port is not"),
            ("http://:2379", "no host"),
            ("http://::1:2379", "brackets"),
            ("http://[::1:2379", "] is missing"),
            ("http://[x]:2379", "not an IPv6"),
            ("http://localhost:2379/path", "nothing but"),
            ("http://user@localhost:2379", "nothing but"),
        ] {
            let error = Address::parse("flag", url).unwrap_err();
            assert!(error.to_string().contains(part), "{url}: {error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn only_addresses_of_machines_can_be_bound() {
        let bind = |url| Address::parse("flag", url).unwrap().bind_ip();
        assert_eq!(bind("http://localhost:1"), "127.0.0.1".parse().ok());
        assert_eq!(bind("http://0.0.0.0:1"), "0.0.0.0".parse().ok());
        assert_eq!(bind("http://[::]:1"), "::".parse().ok());
        assert_eq!(bind("http://example.org:1"), None);
        assert_eq!(bind("unix://localhost"), None);
    }
}
