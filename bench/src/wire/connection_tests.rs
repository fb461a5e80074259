//! The connection against a scripted server: bytes in, what is heard out.

use std::net::TcpListener;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::*;

/// A server that greets with `settings`, says `script` once it is told to go on, and returns
/// everything it was told when the client hangs up.
struct Scripted {
    address: SocketAddr,
    go_on: Sender<()>,
    server: JoinHandle<Vec<u8>>,
}

fn scripted(settings: &[(u16, u32)], script: Vec<u8>) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut greeting = Vec::new();
    frame::write_settings(&mut greeting, settings);
    let (go_on, told_to) = channel();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        socket.write_all(&greeting).unwrap();
        if told_to.recv().is_ok() {
            // One byte at a time: frames are cut at every place there is.
            for byte in script {
                socket.write_all(&[byte]).unwrap();
            }
        }
        let mut told = Vec::new();
        socket.read_to_end(&mut told).unwrap();
        told
    });
    Scripted {
        address,
        go_on,
        server,
    }
}

impl Scripted {
    /// Sends what is queued, lets the server speak and receives until `count` things are heard.
    fn hear(&self, connection: &mut Connection, count: usize) -> Vec<Heard> {
        connection.socket.set_nonblocking(false).unwrap();
        connection.flush().unwrap();
        self.go_on.send(()).unwrap();
        let mut heard = Vec::new();
        while heard.len() < count {
            connection.receive_once(&mut heard).unwrap();
        }
        heard
    }

    /// What the server was told, once `connection` is closed.
    fn told(self, connection: Connection) -> Vec<u8> {
        drop(connection);
        drop(self.go_on);
        self.server.join().unwrap()
    }
}

/// The frames a client sent after its preface.
fn frames(told: &[u8]) -> Vec<(Head, Vec<u8>)> {
    let mut rest = told.strip_prefix(frame::PREFACE).unwrap();
    let mut frames = Vec::new();
    while let Some(head) = Head::read(rest) {
        let payload = &rest[frame::HEAD_BYTES..frame::HEAD_BYTES + head.payload_bytes];
        frames.push((head, payload.to_vec()));
        rest = &rest[frame::HEAD_BYTES + head.payload_bytes..];
    }
    assert!(rest.is_empty());
    frames
}

fn data(out: &mut Vec<u8>, stream: u32, payload: &[u8], flags: u8) {
    Head {
        payload_bytes: payload.len(),
        kind: kind::DATA,
        flags,
        stream,
    }
    .write(out);
    out.extend_from_slice(payload);
}

fn headers(out: &mut Vec<u8>, stream: u32, flags: u8) {
    Head {
        payload_bytes: 1,
        kind: kind::HEADERS,
        flags: flags | flag::END_HEADERS,
        stream,
    }
    .write(out);
    out.push(0x88);
}

#[test]
fn answers_refusals_and_resets_end_their_calls() {
    let mut script = Vec::new();
    headers(&mut script, 1, 0);
    data(&mut script, 1, &[0, 0, 0, 0, 2, 8, 1], 0);
    headers(&mut script, 1, flag::END_STREAM);
    headers(&mut script, 3, flag::END_STREAM);
    Head {
        payload_bytes: 4,
        kind: kind::RESET,
        flags: 0,
        stream: 5,
    }
    .write(&mut script);
    script.extend_from_slice(&[0, 0, 0, 7]);
    let server = scripted(&[], script);
    let mut connection = Connection::connect(server.address).unwrap();
    for tag in [10, 11, 12] {
        connection.call(tag, "/a/B", b"hello", false);
    }
    let heard = server.hear(&mut connection, 3);
    assert_eq!(
        heard,
        [
            Heard::Ended {
                tag: 10,
                messages: 1
            },
            Heard::Ended {
                tag: 11,
                messages: 0
            },
            Heard::Ended {
                tag: 12,
                messages: 0
            },
        ]
    );
    let told = frames(&server.told(connection));
    let kinds: Vec<_> = told
        .iter()
        .map(|(head, _)| (head.kind, head.stream))
        .collect();
    assert_eq!(
        kinds,
        [
            (kind::SETTINGS, 0),
            (kind::WINDOW_UPDATE, 0),
            (kind::SETTINGS, 0),
            (kind::HEADERS, 1),
            (kind::DATA, 1),
            (kind::HEADERS, 3),
            (kind::DATA, 3),
            (kind::HEADERS, 5),
            (kind::DATA, 5),
        ]
    );
    assert_eq!(told[2].0.flags, flag::ACK);
    assert_eq!(told[4].1, b"\0\0\0\0\x05hello");
    assert_eq!(told[5].1.len(), 7);
}

#[test]
fn kept_messages_are_put_together_from_any_pieces() {
    let mut script = Vec::new();
    headers(&mut script, 1, 0);
    data(&mut script, 1, &[0, 0, 0], 0);
    data(&mut script, 1, &[0, 3, b'o', b'n'], 0);
    // The rest of one, a whole empty one, a whole one, behind two bytes of padding.
    let rest = [2, b'e', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0];
    data(&mut script, 1, &rest, flag::PADDED);
    let server = scripted(&[], script);
    let mut connection = Connection::connect(server.address).unwrap();
    connection.open(7, "/a/B", b"").unwrap();
    let heard = server.hear(&mut connection, 3);
    let message = |bytes: &[u8]| Heard::Message {
        tag: 7,
        bytes: bytes.to_vec(),
    };
    assert_eq!(heard, [message(b"one"), message(b""), message(b"x")]);
    server.told(connection);
}

#[test]
fn calls_wait_for_streams_and_windows() {
    let mut script = Vec::new();
    headers(&mut script, 1, flag::END_STREAM);
    let limits = [(setting::STREAMS_MAX, 1), (setting::STREAM_WINDOW, 100)];
    let server = scripted(&limits, script);
    let mut connection = Connection::connect(server.address).unwrap();
    connection.call(1, "/a/B", b"first", false);
    connection.call(2, "/a/B", b"second", false);
    assert_eq!((connection.streams.len(), connection.waiting.len()), (1, 1));
    assert!(matches!(
        connection.open(3, "/a/B", b""),
        Err(WireError::Full { streams: 1 })
    ));
    let heard = server.hear(&mut connection, 1);
    assert_eq!(
        heard,
        [Heard::Ended {
            tag: 1,
            messages: 0
        }]
    );
    assert_eq!((connection.streams.len(), connection.waiting.len()), (1, 0));
    connection.call(3, "/a/B", &[0; 96], false);
    let mut update = Vec::new();
    update.extend_from_slice(&100_u32.to_be_bytes());
    let head = Head {
        payload_bytes: 4,
        kind: kind::WINDOW_UPDATE,
        flags: 0,
        stream: 3,
    };
    connection.handle(head, &update, &mut Vec::new()).unwrap();
    assert_eq!(
        connection.streams[&3].send_window,
        100 - window_bytes(6) + 100
    );
    server.told(connection);
}

#[test]
fn an_open_call_says_more_within_its_window() {
    let server = scripted(&[(setting::STREAM_WINDOW, 20)], Vec::new());
    let mut connection = Connection::connect(server.address).unwrap();
    let stream = connection.open(7, "/a/B", b"one").unwrap();
    connection.say(stream, b"more").unwrap();
    // 8 and 9 of 20 bytes are used: three are left, and five would be needed for nothing at all.
    assert!(matches!(
        connection.say(stream, b""),
        Err(WireError::NoRoom { stream: 1 })
    ));
    assert!(connection.say(stream + 2, b"").is_err());
    connection.flush().unwrap();
    let told = frames(&server.told(connection));
    let said: Vec<_> = told
        .iter()
        .filter(|(head, _)| head.kind == kind::DATA)
        .map(|(head, payload)| (head.flags, &payload[5..]))
        .collect();
    assert_eq!(said, [(0, &b"one"[..]), (0, b"more")]);
}

#[test]
fn pings_are_answered_and_going_away_is_an_error() {
    let mut script = Vec::new();
    Head {
        payload_bytes: 8,
        kind: kind::PING,
        flags: 0,
        stream: 0,
    }
    .write(&mut script);
    script.extend_from_slice(b"pingpong");
    Head {
        payload_bytes: 12,
        kind: kind::GO_AWAY,
        flags: 0,
        stream: 0,
    }
    .write(&mut script);
    script.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 11]);
    script.extend_from_slice(b"calm");
    let server = scripted(&[], script);
    let mut connection = Connection::connect(server.address).unwrap();
    connection.socket.set_nonblocking(false).unwrap();
    server.go_on.send(()).unwrap();
    let error = loop {
        match connection.receive_once(&mut Vec::new()) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), "the server sent GOAWAY, code 11: calm");
    connection.flush().unwrap();
    let told = frames(&server.told(connection));
    let pong = told
        .iter()
        .find(|(head, _)| head.kind == kind::PING)
        .unwrap();
    assert_eq!((pong.0.flags, &pong.1[..]), (flag::ACK, &b"pingpong"[..]));
}

#[test]
fn nonsense_is_refused() {
    let server = scripted(&[], Vec::new());
    let mut connection = Connection::connect(server.address).unwrap();
    let mut heard = Vec::new();
    let head = |kind, flags| Head {
        payload_bytes: 0,
        kind,
        flags,
        stream: 1,
    };
    for (head, payload) in [
        (head(kind::DATA, flag::PADDED), &[][..]),
        (head(kind::DATA, flag::PADDED), &[9, 1][..]),
        (head(kind::WINDOW_UPDATE, 0), &[0, 0, 0, 0][..]),
        (head(kind::WINDOW_UPDATE, 0), &[][..]),
    ] {
        assert!(matches!(
            connection.handle(head, payload, &mut heard),
            Err(WireError::Protocol { .. })
        ));
    }
    assert!(matches!(
        connection.take_apart(&[0xff; 9], &mut heard),
        Err(WireError::Protocol { .. })
    ));
    assert!(heard.is_empty());
    server.told(connection);
}
