//! Clients that begin something and stand still: they are left alone for a while, then closed, and nobody else waits.

use std::time::Duration;

use end_to_end::authority::{Authority, Holder};
use store_server::config::address::Address;
use store_server::config::security::Tls;
use store_transport::tls::{CertificateFiles, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::running::start_with;

/// How long the servers here are patient.
const PATIENCE: Duration = Duration::from_millis(500);

/// Many times that: only a server that has no patience to lose takes it.
const LONG: Duration = Duration::from_secs(20);

/// Of each kind, at once.
const CROWD: usize = 50;

/// A gRPC call of which the head has come and some of the message.
fn call() -> Vec<u8> {
    let path = b"/etcdserverpb.KV/Put";
    let block = [
        &b"\x83\x86\x44\x14"[..],
        path,
        b"\x41\x01x\x5f\x10application/grpc",
    ]
    .concat();
    let mut wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    wire.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 4, 0, 0, 0, 1]);
    wire.extend(&block);
    // Five bytes of prefix that announce 256, and three of those.
    wire.extend(b"\0\0\x08\0\0\0\0\0\x01\0\0\0\x01\0\x0a\x01a");
    wire
}

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
    crowd.spawn(async move {
        // DEADLINE_EXCEEDED, a digit in the code of HTTP/2's headers.
        let grpc_status_4 = b"\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x81\x6b";
        let heard = heard(address, &call(), Some(grpc_status_4)).await;
        assert!(
            heard.windows(11).any(|part| part == grpc_status_4),
            "{heard:x?}"
        );
    });
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
