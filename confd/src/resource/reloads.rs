//! Pure: The `reload` table of a resource file: one driver and what it needs to know.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::ResourceError;
use super::fields::Fields;
use crate::duration;
use crate::reload::{self, DockerAction, Driver, NginxSettings};
use crate::spelling;

/// Where Debian's nginx keeps its number.
const NGINX_PID: &str = "/run/nginx.pid";
/// Where the Docker engine listens.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Enough for nginx with thousands of certificates, and short beside the wait for a person.
const PROOF_TIMEOUT: Duration = Duration::from_secs(10);

/// The table under way: what was asked for, so that the rest can be refused.
struct Table<'a> {
    fields: &'a Fields<'a>,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields<'_> {
    pub(super) fn reload(&self) -> Result<Option<Driver>, ResourceError> {
        let map = match self.map.get("reload") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(map)) => map,
            Some(_) => {
                return Err(self
                    .fault("reload", "is not a table")
                    .hinted("it names a driver and its settings; a command stands in reload_cmd"));
            }
        };
        let mut table = Table {
            fields: self,
            map,
            known: vec!["driver"],
        };
        let name = table.required("driver")?;
        let driver = table.driver(&name)?;
        table.refuse_unknown()?;
        let falls_back = matches!(driver, Driver::HaproxyRuntime { master: None, .. });
        match (self.command("reload_cmd")?.is_some(), falls_back) {
            (true, false) => Err(self
                .fault("reload_cmd", "stands beside a reload driver")
                .hinted("keep one of them")),
            (false, true) => Err(self
                .fault(
                    "reload",
                    "has no way to reload when more than servers change",
                )
                .hinted("give master, the path of haproxy's master socket, or a reload_cmd")),
            _ => Ok(Some(driver)),
        }
    }

    /// An address over HTTP.
    pub(super) fn url(&self, key: &str) -> Result<Option<String>, ResourceError> {
        let Some(url) = self.command(key)? else {
            return Ok(None);
        };
        match is_url(&url) {
            true => Ok(Some(url)),
            false => Err(self.fault(key, "is no address that begins with http:// or https://")),
        }
    }
}

fn is_url(text: &str) -> bool {
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .and_then(|rest| rest.split('/').next());
    host.is_some_and(|host| !host.is_empty()) && !text.contains(char::is_whitespace)
}

impl Table<'_> {
    fn driver(&mut self, name: &str) -> Result<Driver, ResourceError> {
        Ok(match name {
            "signal" => Driver::Signal {
                pid_file: self.required_path("pid_file")?,
                signal: self.signal()?.unwrap_or("HUP").to_owned(),
                may_be_absent: self.one_of("absent", &["fault", "fine"])? == "fine",
            },
            "systemd" => Driver::Systemd {
                unit: self.required("unit")?,
                action: self.one_of(
                    "action",
                    &["reload", "restart", "try-restart", "reload-or-restart"],
                )?,
            },
            "docker" => Driver::Docker {
                label: self.required("label")?,
                action: match self.one_of("action", &["signal", "restart"])?.as_str() {
                    "restart" => DockerAction::Restart,
                    _ => DockerAction::Signal(self.signal()?.unwrap_or("HUP").to_owned()),
                },
                socket: self.path("socket")?.unwrap_or_else(|| DOCKER_SOCKET.into()),
            },
            "http" => Driver::Http {
                url: match self.required("url")? {
                    url if is_url(&url) => url,
                    _ => {
                        return Err(
                            self.fault("url", "does not begin with http:// or https:// and a host")
                        );
                    }
                },
                method: self.text("method")?.unwrap_or_else(|| "POST".to_owned()),
            },
            "nginx" => Driver::Nginx(NginxSettings {
                pid_file: self.path("pid_file")?.unwrap_or_else(|| NGINX_PID.into()),
                command: self.text("command")?.unwrap_or_else(|| "nginx".to_owned()),
                proof_timeout: self.proof_timeout()?,
            }),
            "haproxy_master" => Driver::HaproxyMaster {
                socket: self.required_path("socket")?,
            },
            "haproxy_runtime" => Driver::HaproxyRuntime {
                socket: self.required_path("socket")?,
                master: self.path("master")?,
            },
            other => {
                let fault = self.fault("driver", &format!("{other:?} is not known"));
                return Err(
                    match spelling::nearest(other, Driver::NAMES.iter().copied()) {
                        Some(near) => fault.hinted(format!("did you mean {near:?}?")),
                        None => fault.hinted(format!("known: {}", Driver::NAMES.join(", "))),
                    },
                );
            }
        })
    }

    fn fault(&self, key: &str, problem: &str) -> ResourceError {
        self.fields
            .fault("reload", &format!("of the resource: {key} {problem}"))
    }

    fn text(&mut self, key: &'static str) -> Result<Option<String>, ResourceError> {
        self.known.push(key);
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.contains('\0') => Ok(Some(text.clone())),
            Some(_) => Err(self.fault(key, "is not text")),
        }
    }

    fn required(&mut self, key: &'static str) -> Result<String, ResourceError> {
        match self.text(key)?.filter(|text| !text.is_empty()) {
            Some(text) => Ok(text),
            None => Err(self.fault(key, "is missing")),
        }
    }

    fn path(&mut self, key: &'static str) -> Result<Option<PathBuf>, ResourceError> {
        match self.text(key)?.map(PathBuf::from) {
            Some(path) if !path.is_absolute() => Err(self.fault(key, "is no absolute path")),
            path => Ok(path),
        }
    }

    fn required_path(&mut self, key: &'static str) -> Result<PathBuf, ResourceError> {
        match self.path(key)? {
            Some(path) => Ok(path),
            None => Err(self.fault(key, "is missing")),
        }
    }

    fn signal(&mut self) -> Result<Option<&'static str>, ResourceError> {
        let Some(text) = self.text("signal")? else {
            return Ok(None);
        };
        match reload::signal_name(&text) {
            Some(name) => Ok(Some(name)),
            None => Err(self
                .fault("signal", &format!("{text:?} is not known"))
                .hinted(format!("known: {}", reload::SIGNALS.join(", ")))),
        }
    }

    /// The first is the one that is meant when nothing is said.
    fn one_of(&mut self, key: &'static str, known: &[&str]) -> Result<String, ResourceError> {
        match self.text(key)? {
            None => Ok(known.first().copied().unwrap_or_default().to_owned()),
            Some(word) if known.contains(&word.as_str()) => Ok(word),
            Some(other) => Err(self
                .fault(key, &format!("{other:?} is not known"))
                .hinted(format!("known: {}", known.join(", ")))),
        }
    }

    fn proof_timeout(&mut self) -> Result<Duration, ResourceError> {
        let Some(text) = self.text("proof_timeout")? else {
            return Ok(PROOF_TIMEOUT);
        };
        match duration::parse(&text).filter(|time| !time.is_zero()) {
            Some(time) => Ok(time),
            None => Err(self.fault("proof_timeout", "is not a duration")),
        }
    }

    fn refuse_unknown(&self) -> Result<(), ResourceError> {
        let known = || self.known.iter().copied();
        let Some(unknown) = self.map.keys().find(|key| known().all(|one| one != *key)) else {
            return Ok(());
        };
        let fault = self.fault(unknown, "is not known to this driver");
        Err(match spelling::nearest(unknown, known()) {
            Some(near) => fault.hinted(format!("did you mean {near:?}?")),
            None => fault.hinted(format!("known: {}", self.known.join(", "))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::Defaults;
    use crate::resource::{Resource, parse};

    fn read(more: &str) -> Result<Resource, ResourceError> {
        let text = format!("src: a.tera\ndest: /etc/a\nkeys: [/a]\n{more}\n");
        parse("web.yaml", &text, &Defaults::default())
    }

    #[test]
    fn every_driver_has_a_form() {
        let path = PathBuf::from;
        for (text, expected) in [
            (
                "driver: signal, pid_file: /run/x.pid, signal: SIGUSR1",
                Driver::Signal {
                    pid_file: path("/run/x.pid"),
                    signal: "USR1".to_owned(),
                    may_be_absent: false,
                },
            ),
            (
                "driver: signal, pid_file: /run/x.pid, absent: fine",
                Driver::Signal {
                    pid_file: path("/run/x.pid"),
                    signal: "HUP".to_owned(),
                    may_be_absent: true,
                },
            ),
            (
                "driver: systemd, unit: x.service",
                Driver::Systemd {
                    unit: "x.service".to_owned(),
                    action: "reload".to_owned(),
                },
            ),
            (
                "driver: docker, label: role=lb",
                Driver::Docker {
                    label: "role=lb".to_owned(),
                    action: DockerAction::Signal("HUP".to_owned()),
                    socket: path(DOCKER_SOCKET),
                },
            ),
            (
                "driver: docker, label: a, action: restart, socket: /d",
                Driver::Docker {
                    label: "a".to_owned(),
                    action: DockerAction::Restart,
                    socket: path("/d"),
                },
            ),
            (
                "driver: http, url: 'http://127.0.0.1:9090/-/reload'",
                Driver::Http {
                    url: "http://127.0.0.1:9090/-/reload".to_owned(),
                    method: "POST".to_owned(),
                },
            ),
            (
                "driver: nginx, proof_timeout: 3s",
                Driver::Nginx(NginxSettings {
                    pid_file: path(NGINX_PID),
                    command: "nginx".to_owned(),
                    proof_timeout: Duration::from_secs(3),
                }),
            ),
            (
                "driver: haproxy_master, socket: /m",
                Driver::HaproxyMaster { socket: path("/m") },
            ),
            (
                "driver: haproxy_runtime, socket: /s, master: /m",
                Driver::HaproxyRuntime {
                    socket: path("/s"),
                    master: Some(path("/m")),
                },
            ),
        ] {
            let resource = read(&format!("reload: {{{text}}}")).unwrap();
            assert_eq!(resource.reload, Some(expected), "{text}");
            assert!(resource.is_told() && resource.is_served());
        }
        let both = "reload: {driver: haproxy_runtime, socket: /s}\nreload_cmd: x";
        assert!(read(both).is_ok());
        let toml =
            "[template]\nsrc = \"a\"\ndest = \"/a\"\n[template.reload]\ndriver = \"nginx\"\n";
        let toml = parse("web.toml", toml, &Defaults::default()).unwrap();
        assert!(matches!(toml.reload, Some(Driver::Nginx(_))));
        let verified = read("verify_url: http://localhost/up").unwrap();
        assert!(verified.is_verified() && !verified.is_told());
    }

    #[test]
    fn what_is_no_driver_is_refused_with_a_hint() {
        for (text, message, hint) in [
            (
                "reload: nginx -s reload",
                "reload is not a table",
                "reload_cmd",
            ),
            ("reload: {}", "driver is missing", ""),
            (
                "reload: {driver: nginxx}",
                "\"nginxx\" is not known",
                "did you mean \"nginx\"?",
            ),
            ("reload: {driver: signal}", "pid_file is missing", ""),
            (
                "reload: {driver: signal, pid_file: /x, absent: ok}",
                "absent \"ok\" is not known",
                "known: fault, fine",
            ),
            (
                "reload: {driver: signal, pid_file: x}",
                "no absolute path",
                "",
            ),
            (
                "reload: {driver: signal, pid_file: /x, signal: KILL}",
                "\"KILL\" is not known",
                "HUP",
            ),
            (
                "reload: {driver: nginx, pidfile: /x}",
                "pidfile is not known",
                "did you mean \"pid_file\"?",
            ),
            (
                "reload: {driver: nginx, proof_timeout: 0s}",
                "not a duration",
                "",
            ),
            (
                "reload: {driver: nginx}\nreload_cmd: x",
                "beside a reload driver",
                "keep one",
            ),
            (
                "reload: {driver: haproxy_runtime, socket: /s}",
                "no way to reload",
                "master",
            ),
            (
                "reload: {driver: http, url: 'ftp://x'}",
                "https:// and a host",
                "",
            ),
            (
                "reload: {driver: systemd, unit: x, action: stop}",
                "\"stop\" is not known",
                "try-restart",
            ),
            ("reload: {driver: systemd, unit: 5}", "unit is not text", ""),
            ("verify_url: ftp://x", "begins with http://", ""),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
            assert!(error.hint.unwrap_or_default().contains(hint), "{text}");
        }
    }
}
