//! `muster health`: asks the programs of ours that run here whether they are well. Made for the health check of an image
//! without a shell. Owns how they are found (the process table) and where each can be asked (its own words and
//! environment); the answers are those of `/readyz`.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::failure::Failure;
use crate::name;

/// Where a store listens unless told otherwise.
const STORE_DEFAULT: &str = "http://localhost:2379";
/// What every part answers with 200 when it is well.
const PATH: &str = "/readyz";
/// 4 KiB: a status line, some headers and what is wrong.
const ANSWER_BYTES_MAX: u64 = 4096;

/// `muster health`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a URL it asks every muster that runs in this container (or, outside of one, on this machine): a store at its
--listen-metrics-urls, else its --listen-client-urls; a registrator or confd at its --listen, and without that it is
enough that it runs. Only words and variables are looked at: where a file says it, give the URL.

Exit statuses: 0 all are well, 1 one is not, or nothing runs.

Examples:
  HEALTHCHECK CMD [\"muster\", \"health\"]
  muster health http://10.0.0.5:2379/readyz")]
pub(crate) struct Args {
    /// What to ask instead: http://host:port, with a path if it is not /readyz
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Longest wait for each answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3000)]
    timeout_ms: u64,
}

/// A program that was found, and where to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    part: String,
    /// None when it listens nowhere: then it is well as long as it runs.
    url: Option<String>,
}

impl Args {
    /// Asks, and says what each answers.
    ///
    /// # Errors
    /// Nothing is there to be asked.
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let given = self.urls.iter().map(|url| Found {
            part: url.clone(),
            url: Some(url.clone()),
        });
        let mut all: Vec<Found> = given.collect();
        if all.is_empty() {
            all = running();
        }
        if all.is_empty() {
            return Err(Failure::new("no muster runs here").hint(
                "it looks for processes of its own program in its own container; else give a URL",
            ));
        }
        let patience = Duration::from_millis(self.timeout_ms.max(1));
        let mut well = true;
        for one in all {
            let Some(url) = one.url else {
                println!("{}: runs", one.part);
                continue;
            };
            match ask(&url, patience) {
                Ok(()) => println!("{}: ok at {url}", one.part),
                Err(reason) => {
                    well = false;
                    println!("{}: {reason} at {url}", one.part);
                }
            }
        }
        Ok(if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// The parts that run as this same program in the same mount namespace, which is what one container has for itself.
fn running() -> Vec<Found> {
    let own = Path::new("/proc/self");
    let (Ok(program), Ok(mounts)) = (own.join("exe").read_link(), mounts(own)) else {
        return Vec::new();
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .collect();
    pids.sort_unstable();
    let found = pids.into_iter().filter_map(|pid| {
        let folder = Path::new("/proc").join(pid.to_string());
        // One of another user is not to be looked at, and is not ours.
        let same = folder.join("exe").read_link().ok()? == program;
        if !same || self::mounts(&folder).ok()? != mounts {
            return None;
        }
        let words = list(&std::fs::read(folder.join("cmdline")).ok()?);
        let environment = list(&std::fs::read(folder.join("environ")).unwrap_or_default());
        place(words, &environment)
    });
    found.collect()
}

fn mounts(folder: &Path) -> std::io::Result<std::path::PathBuf> {
    folder.join("ns/mnt").read_link()
}

/// What the kernel keeps with a NUL behind each.
fn list(bytes: &[u8]) -> Vec<OsString> {
    let words = bytes
        .strip_suffix(b"\0")
        .unwrap_or(bytes)
        .split(|byte| *byte == 0);
    words
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect()
}

/// Which part a process is and where it can be asked, by its words and environment.
fn place(words: Vec<OsString>, environment: &[OsString]) -> Option<Found> {
    let words = name::spelled_out(words);
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let variable = |name: &str| {
        let mut all = environment
            .iter()
            .filter_map(|pair| pair.to_str()?.split_once('='));
        all.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let part = *words.get(1)?;
    let url = match part {
        "store" => {
            let said = flag(&words, "listen-metrics-urls")
                .or_else(|| variable("ETCD_LISTEN_METRICS_URLS"))
                .or_else(|| flag(&words, "listen-client-urls"))
                .or_else(|| variable("ETCD_LISTEN_CLIENT_URLS"))
                .unwrap_or(STORE_DEFAULT);
            Some(askable(said))
        }
        "up" => {
            // With a store elsewhere there is none here.
            let elsewhere = flag(&words, "endpoints").is_some();
            let said = flag(&words, "listen-client-urls").unwrap_or(STORE_DEFAULT);
            (!elsewhere).then(|| askable(said))
        }
        "registrator" => flag(&words, "listen").map(askable),
        "confd" => flag(&words, "listen")
            .or_else(|| variable("CONFD_LISTEN"))
            .map(askable),
        "pause" | "gateway" | "grpc-proxy" => None,
        // A command that somebody runs beside it.
        _ => return None,
    };
    Some(Found {
        part: part.to_owned(),
        url,
    })
}

/// The value of a flag, with one dash or two, behind it or behind an equals sign.
fn flag<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        match bare.and_then(|bare| bare.strip_prefix(name)) {
            Some("") => return rest.next().copied(),
            Some(value) if value.starts_with('=') => return Some(&value[1..]),
            _ => {}
        }
    }
    None
}

/// The first of several URLs that speaks in the clear, with an address that leads here where it names all of them.
fn askable(urls: &str) -> String {
    let mut all = urls.split(',').map(str::trim);
    let clear = all.clone().find(|url| !url.starts_with("https:"));
    let url = clear.or_else(|| all.next()).unwrap_or_default();
    url.replace("//0.0.0.0:", "//127.0.0.1:")
        .replace("//[::]:", "//[::1]:")
        .replacen("0.0.0.0:", "127.0.0.1:", 1)
}

/// One request. Behind TLS an accepted connection is as much as can be asked without a certificate.
fn ask(url: &str, patience: Duration) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (host, path) = match rest.find('/') {
        Some(at) if rest.len() > at + 1 => rest.split_at(at),
        Some(at) => (&rest[..at], PATH),
        None => (rest, PATH),
    };
    if !matches!(scheme, "http" | "https") {
        return Err(format!("{scheme} is nothing to ask by"));
    }
    let addresses = host.to_socket_addrs().map_err(|cause| cause.to_string())?;
    let mut refusal = "no address".to_owned();
    for address in addresses {
        let mut stream = match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => stream,
            Err(cause) => {
                refusal = cause.to_string();
                continue;
            }
        };
        if scheme == "https" {
            return Ok(());
        }
        let told = (|| {
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let mut answer = Vec::new();
            stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        })();
        return match told {
            Ok(answer) => verdict(&answer),
            Err(cause) => Err(std::io::Error::to_string(&cause)),
        };
    }
    Err(refusal)
}

/// 200 is well; else what it says, in a line.
fn verdict(answer: &str) -> Result<(), String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or("no HTTP");
    if status == "200" {
        return Ok(());
    }
    let said: Vec<&str> = body.split_whitespace().collect();
    Err(format!("{status} {}", said.join(" ")).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn found(words: &[&str], environment: &[&str]) -> Option<(String, Option<String>)> {
        let words = words.iter().map(OsString::from).collect();
        let environment: Vec<OsString> = environment.iter().map(OsString::from).collect();
        place(words, &environment).map(|found| (found.part, found.url))
    }

    #[test]
    fn where_a_part_is_asked_stands_in_its_words() {
        let url = |url: &str| Some(url.to_owned());
        for (words, environment, part, expected) in [
            (
                &["muster", "store"][..],
                &[][..],
                "store",
                url(STORE_DEFAULT),
            ),
            (
                &[
                    "muster",
                    "store",
                    "--listen-client-urls=https://10.0.0.5:1,http://0.0.0.0:2379",
                ],
                &[],
                "store",
                url("http://127.0.0.1:2379"),
            ),
            (
                &["/usr/bin/etcd", "-listen-client-urls", "https://[::]:2379"],
                &[],
                "store",
                url("https://[::1]:2379"),
            ),
            (
                &["etcd", "--listen-client-urls", "https://h:1"],
                &["ETCD_LISTEN_METRICS_URLS=http://127.0.0.1:2381"],
                "store",
                url("http://127.0.0.1:2381"),
            ),
            (&["muster", "registrator"], &[], "registrator", None),
            (
                &["registrator", "--listen", "0.0.0.0:9101"],
                &[],
                "registrator",
                url("127.0.0.1:9101"),
            ),
            (&["confd"], &["A=b", "CONFD_LISTEN=:1"], "confd", url(":1")),
            (&["muster", "up"], &[], "up", url(STORE_DEFAULT)),
            (&["muster", "up", "--endpoints=http://h:1"], &[], "up", None),
            (&["muster", "pause"], &[], "pause", None),
        ] {
            assert_eq!(
                found(words, environment),
                Some((part.to_owned(), expected)),
                "{words:?}"
            );
        }
        for words in [
            &["muster", "health"][..],
            &["etcdctl", "get", "a"],
            &["muster"],
            &[],
        ] {
            assert_eq!(found(words, &[]), None, "{words:?}");
        }
    }

    #[test]
    fn the_kernel_s_lists_come_apart() {
        assert_eq!(list(b"muster\0up\0"), ["muster", "up"]);
        assert_eq!(list(b"a\0\0b\0"), ["a", "", "b"]);
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        assert_eq!(verdict("HTTP/1.1 200 OK\r\n\r\nok"), Ok(()));
        let bad = "HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nno\n leader\n";
        assert_eq!(verdict(bad), Err("503 no leader".to_owned()));
        assert_eq!(verdict(""), Err("no HTTP".to_owned()));
    }

    #[test]
    fn whoever_does_not_answer_is_not_well() {
        let patience = Duration::from_millis(200);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Accepted by the kernel, and nothing more.
        assert!(ask(&format!("http://{address}/x"), patience).is_err());
        assert_eq!(ask(&format!("https://{address}"), patience), Ok(()));
        assert!(ask(&format!("unix://{address}"), patience).is_err());
        drop(listener);
        let refused = ask(&format!("{address}"), patience).unwrap_err();
        assert!(refused.contains("refused"), "{refused}");
    }
}
