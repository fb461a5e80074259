//! What nobody should send, and much of it: a real store gets it from many at once. It answers with an error of the
//! protocol or cuts the connection, takes memory up to a bound, and serves everybody else meanwhile.

#[path = "bad_input/answers.rs"]
mod answers;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use end_to_end::authority::{Authority, Holder};
use end_to_end::cluster::Cluster;
use end_to_end::process::Process;
use end_to_end::store::{Maker, Store};
use end_to_end::{programs, wait};

/// Clients that send the same at once.
const CROWD: usize = 8;

/// What each of them sends at most, a hundred megabytes: fifty times what may be read of a request.
const FLOOD_BYTES: usize = 100_000_000;

/// For how long, where nothing cuts it short: small frames are a hundred megabytes after minutes only.
const FLOOD_TIME: Duration = Duration::from_secs(1);

/// How an HTTP/2 connection begins, with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// 96 MiB: three times what the crowd may have read of its requests at once; an eighth of what it sends, and of what its
/// transactions would take decoded.
const GROWTH_KIB_MAX: u64 = 96 * 1024;

/// Longest that an ordinary request may take beside a flood, on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(10);

fn muster() -> Maker {
    let named = std::env::var_os("BAD_INPUT_MUSTER");
    Maker::Muster(named.map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_muster")),
        PathBuf::from,
    ))
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the store accepts");
    stream.set_read_timeout(Some(wait::LONG)).expect("a limit");
    stream.set_write_timeout(Some(wait::LONG)).expect("a limit");
    stream
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The head of an answer, and of its body what its length says.
fn answer(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut answer = Vec::new();
    let mut some = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let named = name.eq_ignore_ascii_case("content-length");
                named.then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return Ok(text.into_owned());
            }
        }
        let bytes = stream.read(&mut some)?;
        if bytes == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&some[..bytes]);
    }
}

/// Somebody with ordinary requests, one after the other.
struct Bystander {
    end: Arc<AtomicBool>,
    asked: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    fn start(port: u16, token: &str) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let body = r#"{"key":"aw=="}"#;
        let request = format!(
            "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let asked = thread::spawn(move || {
            let mut stream = connect(port);
            let mut took = Vec::new();
            while !ended.load(Relaxed) {
                let asked = Instant::now();
                stream.write_all(request.as_bytes()).expect("it is taken");
                let answer = answer(&mut stream).expect("an answer");
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                took.push(asked.elapsed());
                thread::sleep(Duration::from_millis(5));
            }
            took
        });
        Self { end, asked }
    }

    /// They were answered all along, and soon.
    fn was_served(self) {
        self.end.store(true, Relaxed);
        let mut took = self.asked.join().expect("it was served");
        took.sort_unstable();
        let longest = took.last().copied().expect("it asked");
        let half = took[took.len() / 2];
        println!(
            "bystander: {} requests, half within {half:?}, the longest {longest:?}",
            took.len()
        );
        assert!(longest < PATIENCE, "one of {} took {longest:?}", took.len());
    }
}

/// How it ended to send without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The connection was cut.
    Cut,
    /// Nothing more is taken.
    HeldUp,
    /// All of it was taken.
    Taken,
}

/// Sends pieces up to [`FLOOD_BYTES`], for so long at most, and reads nothing. A server that takes
/// nothing for half of that takes no more.
fn flood(stream: &mut TcpStream, time: Duration, mut piece: impl FnMut(usize) -> Vec<u8>) -> End {
    stream.set_write_timeout(Some(time / 2)).expect("a limit");
    let mut sent = 0;
    let begun = Instant::now();
    for number in 0.. {
        if sent >= FLOOD_BYTES || begun.elapsed() > time {
            break;
        }
        let bytes = piece(number);
        sent += bytes.len();
        if let Err(error) = stream.write_all(&bytes) {
            return match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => End::HeldUp,
                _ => End::Cut,
            };
        }
    }
    End::Taken
}

/// Does the same as many at once, and asserts what it may cost.
fn in_a_crowd(store: &mut Store, what: &str, one: impl Fn(u16) + Sync) {
    let port = store.port();
    a_crowd_at(store.process(), port, what, one);
}

/// The same at any port of a process.
fn a_crowd_at(process: &Process, port: u16, what: &str, one: impl Fn(u16) + Sync) {
    let before = process.resident_kib();
    process.forget_peak();
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| one(port));
        }
    });
    let peak = process.peak_kib();
    println!(
        "{what}: {before} KiB before, {peak} KiB at most, {:?}",
        begun.elapsed()
    );
    assert!(
        peak <= before + GROWTH_KIB_MAX,
        "{what}: {before} KiB became {peak}"
    );
}

/// A chunk of a body whose length nobody knows, 64 KiB.
fn chunk() -> Vec<u8> {
    let bytes = vec![b'A'; 64 << 10];
    [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
}

/// Sends a request that is too much, and sees it refused in words, if those can be read behind what was cut off.
fn refused(port: u16, request: &[u8], more: bool, status: &str) {
    let mut stream = connect(port);
    let sent = stream.write_all(request);
    if more {
        let end = flood(&mut stream, wait::LONG, |_| chunk());
        assert_ne!(end, End::Taken, "all was read");
    } else {
        sent.expect("it is taken");
    }
    match answer(&mut stream) {
        Ok(answer) => assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        ),
        Err(error) => assert!(more, "no answer: {error}"),
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame");
    let head = [
        &length.to_be_bytes()[1..],
        &[kind, flags],
        &stream.to_be_bytes(),
    ]
    .concat();
    [&head, payload].concat()
}

/// The head of a gRPC call.
fn headers(path: &str, stream: u32) -> Vec<u8> {
    let path_length = u8::try_from(path.len()).expect("short");
    let block = [
        b"\x83\x86\x44",
        &[path_length][..],
        path.as_bytes(),
        b"\x41\x01x\x5f\x10application/grpc",
    ]
    .concat();
    frame(1, 4, stream, &block)
}

#[test]
fn what_is_oversized_costs_no_memory() {
    let mut store = Store::prepare(muster());
    store.restart();
    let bystander = Bystander::start(store.port(), "");
    let announced =
        b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n{\"key\":\"";
    in_a_crowd(&mut store, "JSON announced as 100 MB", |port| {
        refused(port, announced, false, "400");
    });
    let chunked = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"key\":\"\r\n";
    in_a_crowd(&mut store, "100 MB of JSON", |port| {
        refused(port, chunked, true, "400");
    });
    let form = b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n6\r\nvalue=\r\n";
    in_a_crowd(&mut store, "100 MB of a form", |port| {
        refused(port, form, true, "400");
    });
    in_a_crowd(&mut store, "100 MB of a head", |port| {
        let mut stream = connect(port);
        stream
            .write_all(b"GET /health HTTP/1.1\r\n")
            .expect("it is taken");
        let end = flood(&mut stream, wait::LONG, |number| {
            format!("X-{number}: {}\r\n", "y".repeat(1000)).into_bytes()
        });
        assert_eq!(end, End::Cut);
    });
    let deep = post("/v3/kv/txn", &vec![b'['; 3_000_000]);
    in_a_crowd(&mut store, "JSON of three million brackets", |port| {
        refused(port, &deep, false, "400");
    });
    // Two and three bytes for an operation; some 130 each when decoded.
    let operations = format!("{{\"success\":[{}{{}}]}}", "{},".repeat(1_000_000));
    let crowded = post("/v3/kv/txn", operations.as_bytes());
    in_a_crowd(&mut store, "a million operations in JSON", |port| {
        refused(port, &crowded, false, "400");
    });
    let operations = [
        &[0][..],
        &2_000_000_u32.to_be_bytes(),
        &b"\x12\0".repeat(1_000_000),
    ]
    .concat();
    in_a_crowd(&mut store, "a million operations", |port| {
        assert_eq!(grpc_status(port, &operations), Ok(3), "too many operations");
    });
    // Four gigabytes announced.
    in_a_crowd(&mut store, "a length of 4 GiB", |port| {
        assert_eq!(
            grpc_status(port, b"\0\xff\xff\xff\xff"),
            Ok(8),
            "larger than may be"
        );
    });
    bystander.was_served();
    assert_eq!(store.client().run(&["put", "k", "v"]), "OK\n");
}

/// Sends a message as a transaction; the status it is answered with.
fn grpc_status(port: u16, message: &[u8]) -> Result<u8, String> {
    let mut stream = connect(port);
    stream.write_all(PREFACE).expect("it is taken");
    // The windows are as large as the server says once its settings are acknowledged, behind which it enlarges that of
    // the connection (frame type 8).
    while read_frame(&mut stream)
        .map_err(|error| error.to_string())?
        .0
        != 8
    {}
    let mut request = [frame(4, 1, 0, b""), headers("/etcdserverpb.KV/Txn", 1)].concat();
    for part in message.chunks(16_000) {
        request.extend(frame(0, 0, 1, part));
    }
    request.extend(frame(0, 1, 1, b""));
    // Refused half way is an answer too.
    let sent = stream.write_all(&request);
    loop {
        let (kind, flags, payload) =
            read_frame(&mut stream).map_err(|error| format!("{error}, sent: {sent:?}"))?;
        if matches!(kind, 3 | 7) {
            return Err(format!("frame {kind} with {payload:x?}"));
        }
        if kind == 1 && flags & 1 != 0 {
            return status_of(&payload).ok_or_else(|| format!("{payload:x?}"));
        }
    }
}

/// Kind, flags and payload.
fn read_frame(stream: &mut TcpStream) -> std::io::Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    Ok((head[3], head[4], payload))
}

/// The value of `grpc-status` in a header block whose names are Huffman-coded, as those of h2 are.
fn status_of(block: &[u8]) -> Option<u8> {
    // "grpc-status" in the code of RFC 7541, appendix B, with its length; then a value of one byte, coded or not.
    const NAME: &[u8] = b"\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f";
    let at = block.windows(NAME.len()).position(|name| name == NAME)?;
    match block.get(at + NAME.len()..)? {
        [0x01, digit, ..] => Some(digit - b'0'),
        [0x81, coded, ..] => match coded >> 3 {
            digit @ 0..=2 => Some(digit),
            _ => (coded >> 2).checked_sub(0x19).map(|digit| digit + 3),
        },
        _ => None,
    }
}

#[test]
fn floods_of_frames_are_cut_off_or_held_up() {
    let mut store = Store::prepare(muster());
    store.restart();
    let bystander = Bystander::start(store.port(), "");
    let many = |frame: Vec<u8>| frame.repeat(1000);
    let opening = |port| {
        let mut stream = connect(port);
        stream.write_all(PREFACE).expect("it is taken");
        stream
    };
    let again = |what: &str, store: &mut Store, frame: Vec<u8>| {
        let frames = many(frame);
        in_a_crowd(store, what, |port| {
            let end = flood(&mut opening(port), FLOOD_TIME, |_| frames.clone());
            println!("{what}: {end:?}");
        });
    };
    again("settings", &mut store, frame(4, 0, 0, b"\0\x03\0\0\0\x64"));
    again("pings", &mut store, frame(6, 0, 0, b"whatever"));
    again("priorities", &mut store, frame(2, 0, 1, b"\0\0\0\x03\x10"));
    again("unknown frames", &mut store, frame(0xbb, 0, 0, &[0; 4096]));
    // A header block that goes on and on.
    in_a_crowd(&mut store, "continuations", |port| {
        let mut stream = opening(port);
        let begin = frame(1, 0, 1, b"\x83\x86");
        stream.write_all(&begin).expect("it is taken");
        let field = [b"\x40\x01a\x7f\x81\x07", &[b'v'; 256][..]].concat();
        let more = frame(9, 0, 1, &field.repeat(50)).repeat(10);
        assert_eq!(flood(&mut stream, wait::LONG, |_| more.clone()), End::Cut);
    });
    // Calls that are given up as soon as they are made.
    in_a_crowd(&mut store, "resets", |port| {
        let mut stream = opening(port);
        let end = flood(&mut stream, wait::LONG, |number| {
            let calls = (0..100).flat_map(|call| {
                let id = u32::try_from(2 * (number * 100 + call) + 1).expect("an id");
                [
                    headers("/etcdserverpb.KV/Range", id),
                    frame(3, 0, id, b"\0\0\0\x08"),
                ]
                .concat()
            });
            calls.collect()
        });
        assert_eq!(end, End::Cut);
    });
    bystander.was_served();
    assert_eq!(store.client().run(&["put", "k", "v"]), "OK\n");
}

/// Where members listen for each other, whoever else comes costs them nothing.
#[test]
fn garbage_between_members_is_cut_off() {
    let mut cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_muster")), 3);
    let leader = cluster.leader_among(&cluster.all());
    let client = cluster.client_of(&cluster.all());
    let bystander = Bystander::start(cluster.address(leader).port(), "");
    let random: Vec<u8> = (0..1 << 20).map(|_| rand::random()).collect();
    let zeros = vec![0; 1 << 20];
    for member in [leader, cluster.others(leader)[0]] {
        let port = cluster.peer_address(member).port();
        for (what, begin, more) in [
            (
                "a head without end",
                &b"GET / HTTP/1.1\r\nX: "[..],
                &b"y"[..],
            ),
            (
                "frames of HTTP/2",
                PREFACE,
                &frame(6, 0, 0, b"whatever")[..],
            ),
            (
                "a handshake without end",
                &b"\x16\x03\x01\xff\xff\x01"[..],
                &zeros[..],
            ),
            ("random bytes", &random[..100], &random[..]),
        ] {
            let more = more.repeat((1 << 16) / more.len() + 1);
            a_crowd_at(cluster.process(member), port, what, |port| {
                let mut stream = connect(port);
                let _ = stream.write_all(begin);
                assert_eq!(flood(&mut stream, wait::LONG, |_| more.clone()), End::Cut);
            });
            assert_eq!(client.run(&["put", "k", what]), "OK\n");
        }
    }
    bystander.was_served();
    let _ = cluster.leader_among(&cluster.all());
}

#[test]
fn guessing_passwords_holds_nobody_up() {
    const GUESSES: usize = 200;
    const AWAITED: usize = 8;
    let mut store = Store::prepare(muster());
    store.restart();
    let client = store.client();
    let _ = client.run(&["user", "add", "root:Pass-of-root"]);
    let _ = client.run(&["role", "add", "root"]);
    let _ = client.run(&["user", "grant-role", "root", "root"]);
    let _ = client.run(&["auth", "enable"]);
    let guess = |name: &str, password: &str| {
        let body = format!(r#"{{"name":"{name}","password":"{password}"}}"#);
        post("/v3/auth/authenticate", body.as_bytes())
    };
    let mut stream = connect(store.port());
    stream
        .write_all(&guess("root", "Pass-of-root"))
        .expect("it is taken");
    let said = answer(&mut stream).expect("an answer");
    let token = said
        .split("\"token\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let token = token
        .unwrap_or_else(|| panic!("no token: {said}"))
        .to_owned();
    let bystander = Bystander::start(store.port(), &token);
    let threads = store.process().threads();
    let begun = Instant::now();
    // Those who do not wait for the answer...
    for _ in 0..GUESSES {
        let mut stream = connect(store.port());
        stream
            .write_all(&guess("root", "Wrong-one"))
            .expect("it is taken");
    }
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let more = store.process().threads().saturating_sub(threads);
    assert!(more <= cores, "{more} threads more");
    // ...and those who do. A name may be anything.
    let long = "n".repeat(100_000);
    let port = store.port();
    thread::scope(|scope| {
        for name in ["root", "nobody", &long, "root"] {
            scope.spawn(move || {
                let mut stream = connect(port);
                for _ in 0..AWAITED {
                    stream
                        .write_all(&guess(name, "Wrong-one"))
                        .expect("it is taken");
                    let said = answer(&mut stream).expect("an answer");
                    let clear = said.contains("authentication failed, invalid user ID or password")
                        || said.contains("too many requests");
                    assert!(clear, "{said}");
                }
            });
        }
    });
    bystander.was_served();
    let lines = store.process().lines();
    let told = lines
        .iter()
        .filter(|line| line.contains("refused a password"));
    let told = told.count() as u64;
    assert!(
        told >= 1 && told <= begun.elapsed().as_secs() + 2,
        "{told} lines"
    );
    let longest = lines.iter().map(String::len).max().unwrap_or_default();
    assert!(longest < 4096, "a line of {longest} bytes");
    for secret in ["Pass-of-root", "Wrong-one", &token] {
        assert!(!lines.join("\n").contains(secret), "{secret} is logged");
    }
}

#[test]
fn certificates_that_are_no_good_are_refused_again_and_again() {
    const ATTEMPTS: usize = 60;
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut authority = Authority::new(folder.path(), "authority");
    let shown = authority.issue("server", Holder::default());
    let good = authority.issue("good", Holder::default());
    let expired = Holder {
        days: -1,
        ..Holder::default()
    };
    let early = Holder {
        begins: 5,
        ..Holder::default()
    };
    let bad = [
        ("expired", authority.issue("expired", expired)),
        ("early", authority.issue("early", early)),
        (
            "foreign",
            Authority::new(folder.path(), "foreign").issue("other", Holder::default()),
        ),
    ];
    let trusted = folder.path().join("authority.pem");
    let port = end_to_end::port::free();
    let url = format!("https://127.0.0.1:{port}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command
        .args(["store", "--client-cert-auth", "--listen-client-urls", &url])
        .args(["--advertise-client-urls", &url, "--data-dir"])
        .arg(folder.path().join("data"))
        .arg("--cert-file")
        .arg(&shown.certificate)
        .arg("--key-file")
        .arg(&shown.key)
        .arg("--trusted-ca-file")
        .arg(&trusted);
    let mut process = Process::spawn("muster store over TLS", &mut command);
    process.wait_line("ready to serve client requests", wait::LONG);
    let curl = |pair: &end_to_end::authority::Pair, times: usize| {
        let one = format!(
            "url = \"{url}/health\"\ncacert = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\nsilent\nshow-error\n",
            trusted.display(),
            pair.certificate.display(),
            pair.key.display()
        );
        let config = folder.path().join("curl");
        std::fs::write(&config, vec![one; times].join("next\n")).expect("written");
        let output = Command::new(programs::system("curl"))
            .arg("--config")
            .arg(&config)
            .output();
        let output = output.expect("curl runs");
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned())
    };
    let [healthy, _] = curl(&good, 1);
    assert!(healthy.contains("\"health\""), "{healthy}");
    let files = process.open_files();
    let begun = Instant::now();
    for (what, pair) in &bad {
        let [out, errors] = curl(pair, ATTEMPTS);
        assert_eq!(out, "", "{what}");
        // The alert came through, where curl looks for it and where it does not: nobody was cut off.
        let told: Vec<&str> = errors.lines().collect();
        assert_eq!(told.len(), ATTEMPTS, "{what}: {errors}");
        let cut = told.iter().find(|line| !line.contains("errno 0"));
        assert_eq!(cut, None, "{what}");
        let alert = if *what == "foreign" {
            "unknown ca"
        } else {
            "certificate expired"
        };
        assert!(errors.contains(alert), "{what}: {errors}");
        // Others are served between them.
        assert!(curl(&good, 1)[0].contains("\"health\""));
    }
    // All are gone, with their files.
    wait::until("files to be closed", wait::LONG, || {
        let now = process.open_files();
        if now <= files {
            Ok(())
        } else {
            Err(format!("{files} became {now}"))
        }
    });
    let lines = process.lines();
    let told = lines
        .iter()
        .filter(|line| line.contains("rejected connection"))
        .count() as u64;
    assert!(
        told >= 1 && told <= begun.elapsed().as_secs() + 2,
        "{told} lines"
    );
}
