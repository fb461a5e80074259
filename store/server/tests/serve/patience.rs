//! Clients that begin something and stand still: they are left alone for a while, then closed, and nobody else waits.

use std::time::Duration;

use end_to_end::authority::{Authority, Holder};
use prost::Message as _;
use store_proto::etcdserverpb as pb;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_server::config::address::Address;
use store_server::config::security::Tls;
use store_transport::tls::{CertificateFiles, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::running::{bytes, start_with};

/// How long the servers here are patient.
const PATIENCE: Duration = Duration::from_millis(500);

/// Many times that: only a server that has no patience to lose takes it.
const LONG: Duration = Duration::from_secs(20);

/// Of each kind, at once.
const CROWD: usize = 50;

/// A gRPC call of which the head has come, and of its messages so much.
fn call(path: &str, messages: &[u8]) -> Vec<u8> {
    let path_bytes = u8::try_from(path.len()).unwrap();
    let block = [
        &b"\x83\x86\x44"[..],
        &[path_bytes],
        path.as_bytes(),
        b"\x41\x01x\x5f\x10application/grpc",
    ]
    .concat();
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        let bytes = u8::try_from(payload.len()).unwrap();
        [&[0, 0, bytes, kind, flags, 0, 0, 0, 1], payload].concat()
    };
    [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
        &frame(1, 4, &block),
        &frame(0, 0, messages),
    ]
    .concat()
}

/// Five bytes of prefix that announce 256, and three of those.
const HALF: &[u8] = b"\0\0\0\x01\0\x0a\x01a";

/// DEADLINE_EXCEEDED, a digit in the code of HTTP/2's headers.
const STATUS_4: &[u8] = b"\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x81\x6b";

/// Says so much and no more; what comes until the server closes, or until `enough` of it has come.
async fn heard(address: std::net::SocketAddr, said: &[u8], enough: Option<&[u8]>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    let closed = async {
        loop {
            if let Some(enough) = enough
                && heard.windows(enough.len()).any(|part| part == enough)
            {
                return;
            }
            match stream.read_buf(&mut heard).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    let ended = tokio::time::timeout(LONG, closed).await;
    assert!(
        ended.is_ok(),
        "{:?} is waited for",
        String::from_utf8_lossy(said)
    );
    heard
}

/// A call ends with a status that says why.
async fn ended_in_time(address: std::net::SocketAddr, said: Vec<u8>) {
    let heard = heard(address, &said, Some(STATUS_4)).await;
    let told = heard.windows(STATUS_4.len()).any(|part| part == STATUS_4);
    assert!(told, "{}: {heard:x?}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn who_stands_still_is_closed_and_nobody_waits() {
    let store = start_with(|config| config.patience = PATIENCE).await;
    let address = store.address();
    let json = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"key\":";
    let form = b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\r\n6\r\nvalue=\r\n";
    // What is said, and how the answer begins; empty where nobody is known to listen yet.
    let kinds: &[(&[u8], &str)] = &[
        (b"", ""),
        (b"P", ""),
        (b"PRI * HTTP/2.0\r\n\r\nSM", ""),
        (b"GET /hea", ""),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX-Y: ", ""),
        (json, "HTTP/1.1 504"),
        (form, "HTTP/1.1 400"),
    ];
    let mut crowd = tokio::task::JoinSet::new();
    for (said, answer) in kinds.iter().cycle().take(kinds.len() * CROWD).copied() {
        crowd.spawn(async move {
            let heard = heard(address, said, None).await;
            let heard = String::from_utf8_lossy(&heard).into_owned();
            assert!(heard.starts_with(answer), "{heard}");
            assert_eq!(heard.is_empty(), answer.is_empty(), "{heard}");
        });
    }
    // A call is refused; its connection may have others.
    crowd.spawn(ended_in_time(address, call("/etcdserverpb.KV/Put", HALF)));
    // Those who do not are served meanwhile.
    let mut puts = 0;
    while crowd.try_join_next().is_none() || puts < 10 {
        store.put("k", &puts.to_string()).await;
        puts += 1;
    }
    while let Some(ended) = crowd.join_next().await {
        ended.unwrap();
    }
    store.put("k", "v").await;
}

/// Streams are idle for ever between messages, and end when one is half there.
#[tokio::test]
async fn streams_stand_still_between_messages_alone() {
    let store = start_with(|config| config.patience = PATIENCE).await;
    let address = store.address();
    let grant = pb::LeaseGrantRequest { ttl: 60, id: 7 };
    store.lease().lease_grant(grant).await.unwrap();
    // Two that are idle and whole, and one that has not said anything.
    let (watches, taken) = mpsc::channel(1);
    watches.send(creation("k")).await.unwrap();
    let events = store.watch().watch(ReceiverStream::new(taken)).await;
    let mut events = events.unwrap().into_inner();
    assert!(events.message().await.unwrap().unwrap().created);
    let (renewals, taken) = mpsc::channel(1);
    let renew = pb::LeaseKeepAliveRequest { id: 7 };
    renewals.send(renew).await.unwrap();
    let mut lease = store.lease();
    let renewed = lease.lease_keep_alive(ReceiverStream::new(taken)).await;
    let mut renewed = renewed.unwrap().into_inner();
    assert_eq!(renewed.message().await.unwrap().unwrap().ttl, 60);
    let (silent, taken) = mpsc::channel(1);
    let heard_late = tokio::spawn({
        let mut watch = store.watch();
        async move { watch.watch(ReceiverStream::new(taken)).await }
    });

    // What the others wait for.
    let mut crowd = tokio::task::JoinSet::new();
    let whole = framed(&creation("a").encode_to_vec());
    for (path, messages) in [
        ("Watch/Watch", HALF),
        ("Watch/Watch", &b"\0\0"[..]),
        ("Watch/Watch", &[&whole, HALF].concat()[..]),
        ("Lease/LeaseKeepAlive", HALF),
        // One message, which is to be there at once.
        ("Maintenance/Snapshot", b""),
        ("KV/RangeStream", HALF),
    ] {
        let said = call(&format!("/etcdserverpb.{path}"), messages);
        for _ in 0..CROWD {
            crowd.spawn(ended_in_time(address, said.clone()));
        }
    }
    let head = "POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"create\r\n";
    let whole = head.replace("8\r\n{", "2a\r\n{\"create_request\":{\"key\":\"aw==\"}} {");
    for (said, status) in [(head.to_owned(), "504"), (whole, "200")] {
        crowd.spawn(async move {
            let heard = heard(address, said.as_bytes(), None).await;
            let heard = String::from_utf8_lossy(&heard).into_owned();
            assert!(heard.starts_with(&format!("HTTP/1.1 {status}")), "{heard}");
            let code = tonic::Code::DeadlineExceeded as i32;
            assert!(
                heard.contains(&format!(r#"{{"error":{{"code":{code},"#)),
                "{heard}"
            );
        });
    }
    while let Some(ended) = crowd.join_next().await {
        ended.unwrap();
    }

    // Their patience was at its end; those that are whole go on.
    store.put("k", "v").await;
    assert_eq!(events.message().await.unwrap().unwrap().events.len(), 1);
    renewals.send(renew).await.unwrap();
    assert_eq!(renewed.message().await.unwrap().unwrap().ttl, 60);
    silent.send(creation("k")).await.unwrap();
    let mut late = heard_late.await.unwrap().unwrap().into_inner();
    assert!(late.message().await.unwrap().unwrap().created);
}

fn creation(key: &str) -> pb::WatchRequest {
    let create = pb::WatchCreateRequest {
        key: bytes(key),
        ..Default::default()
    };
    pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    }
}

/// A message with its prefix.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

#[tokio::test]
async fn handshakes_that_do_not_go_on_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = Authority::new(folder.path(), "authority");
    let shown = authority.issue("server", Holder::default());
    let own = CertificateFiles {
        certificate: shown.certificate,
        key: shown.key,
    };
    let store = start_with(|config| {
        config.patience = PATIENCE;
        config.client_tls = Some(Tls {
            settings: Settings {
                own: Some(own),
                ..Settings::default()
            },
            own: None,
        });
        let secure = Address::parse("test", "https://127.0.0.1:0").unwrap();
        config.listen_client.push(secure);
    });
    let store = store.await;
    let secure = store.server.client_addrs()[1];
    let mut crowd = tokio::task::JoinSet::new();
    for said in [
        &b"\x16\x03"[..],
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"",
    ]
    .repeat(CROWD)
    {
        crowd.spawn(async move { heard(secure, said, None).await });
    }
    // Records that are none are answered at once, with an alert or an end.
    for said in [
        &b"\x16\xff\xff\xff\xff\xff\xff"[..],
        b"\x16\x03\x01\0\0\x16\x03\x01\0\0",
    ] {
        crowd.spawn(async move { heard(secure, said, None).await });
    }
    while let Some(ended) = crowd.join_next().await {
        ended.unwrap();
    }
    store.put("k", "v").await;
}
