//! TLS and socket files at the port: who is let in, with which words others are sent away, and files that
//! change while the server runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use end_to_end::authority::{Authority, Holder, Pair};
use store_proto::etcdserverpb as pb;
use store_server::config::Config;
use store_server::config::address::Address;
use store_server::config::security::Tls;
use store_server::server::Server;
use store_transport::Stream;
use store_transport::dial::{self, Place};
use store_transport::tls::rustls::ClientConfig;
use store_transport::tls::{Allowed, CertificateFiles, Keeper, Material, OwnCertificate, Settings};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A server over TLS, and the authorities of its world.
struct Secured {
    server: Server,
    folder: TempDir,
    authority: Authority,
}

fn files(pair: &Pair) -> CertificateFiles {
    CertificateFiles {
        certificate: pair.certificate.clone(),
        key: pair.key.clone(),
    }
}

async fn start(urls: &[&str], folder: &Path, tls: Option<Tls>) -> Server {
    let listen: Vec<Address> = urls
        .iter()
        .map(|url| Address::parse("test", url).unwrap())
        .collect();
    let mut config = Config::embedded(folder.join("data"), &listen[0]).unwrap_or_else(|_| {
        // A URL over TLS is refused there, as the flags have no certificate.
        let plain = Address::parse("test", "http://127.0.0.1:0").unwrap();
        Config::embedded(folder.join("data"), &plain).unwrap()
    });
    config.listen_client = listen;
    config.client_tls = tls;
    config.sync = false;
    config.segment_bytes = 8 << 20;
    let server = Server::start(config).await.unwrap();
    server.ready().await.unwrap();
    server
}

/// A server on a TLS port; `change` may ask more of those who connect.
async fn secured(change: impl FnOnce(&mut Settings, &mut Authority)) -> Secured {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = Authority::new(folder.path(), "authority");
    let shown = authority.issue("server", Holder::default());
    let mut settings = Settings {
        own: Some(files(&shown)),
        any_address: true,
        ..Settings::default()
    };
    change(&mut settings, &mut authority);
    let tls = Tls {
        settings,
        own: None,
    };
    let server = start(&["https://127.0.0.1:0"], folder.path(), Some(tls)).await;
    Secured {
        server,
        folder,
        authority,
    }
}

fn demanding(settings: &mut Settings, _: &mut Authority) {
    let folder = settings.own.as_ref().unwrap().certificate.parent().unwrap();
    settings.authorities = Some(folder.join("authority.pem"));
}

impl Secured {
    fn address(&self) -> SocketAddr {
        self.server.client_addrs()[0]
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Connects, trusting the authority, with a certificate or none.
    async fn connect(&self, shown: Option<&Pair>) -> std::io::Result<Stream> {
        let client = client(Some(self.file("authority.pem")), shown);
        let place = Place::Host("127.0.0.1".to_owned(), self.address().port());
        dial::secure(&place, None, client, None).await
    }

    /// What comes of asking for the health.
    async fn ask(&self, shown: Option<&Pair>) -> Result<String, String> {
        let mut stream = self.connect(shown).await.map_err(|e| e.to_string())?;
        ask(&mut stream, HEALTH).await
    }
}

fn client(authorities: Option<PathBuf>, shown: Option<&Pair>) -> Arc<ClientConfig> {
    let settings = Settings {
        trust_all: authorities.is_none(),
        authorities,
        own_as_client: shown.map(files),
        dials: true,
        ..Settings::default()
    };
    Material::load(&settings).unwrap().client.unwrap()
}

/// One request on an open stream; the answer as far as it came at once.
async fn ask(
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
    request: &[u8],
) -> Result<String, String> {
    stream.write_all(request).await.map_err(|e| e.to_string())?;
    stream.flush().await.map_err(|e| e.to_string())?;
    let mut answer = vec![0; 64 << 10];
    let bytes = stream.read(&mut answer).await.map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&answer[..bytes]).into_owned())
}

async fn read_all(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    // Reset or closed: what came before counts.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn http_is_served_over_tls_without_a_word_on_protocols() {
    let secured = secured(|_, _| {}).await;
    let answer = secured.ask(None).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let mut stream = secured.connect(None).await.unwrap();
    stream.write_all(METRICS).await.unwrap();
    stream.flush().await.unwrap();
    let page = String::from_utf8(read_all(&mut stream).await).unwrap();
    let days = "muster_tls_days_to_expiry{ports=\"client\",part=\"server\"} 29.9";
    let days_exactly = "muster_tls_days_to_expiry{ports=\"client\",part=\"server\"} 30.0";
    assert!(page.contains(days) || page.contains(days_exactly), "{page}");
}

#[tokio::test]
async fn who_must_show_a_certificate_is_let_in_with_one_only() {
    let mut secured = secured(demanding).await;
    let good = secured.authority.issue("good", Holder::default());
    let expired = Holder {
        days: -1,
        ..Holder::default()
    };
    let expired = secured.authority.issue("expired", expired);
    let foreign = Authority::new(secured.folder.path(), "foreign").issue("f", Holder::default());
    assert!(secured.ask(Some(&good)).await.is_ok());
    for (shown, said) in [
        (None, "CertificateRequired"),
        (Some(&expired), "CertificateExpired"),
        (Some(&foreign), "UnknownCA"),
    ] {
        let error = secured.ask(shown).await.unwrap_err();
        assert!(error.contains(said), "{said}: {error}");
    }
    // Nobody was disturbed.
    assert!(secured.ask(Some(&good)).await.is_ok());
}

#[tokio::test]
async fn a_certificate_that_is_revoked_or_for_another_host_is_refused() {
    let secured = secured(|settings, authority| {
        demanding(settings, authority);
        let revoked = authority.issue("revoked", Holder::default());
        settings.revoked = Some(authority.revoke("list", &[revoked.serial]));
        settings.allowed = Allowed::Hosts(vec!["good.example".to_owned()]);
    });
    let mut secured = secured.await;
    let for_host = |host| Holder {
        hosts: host,
        ..Holder::default()
    };
    let good = secured.authority.issue("good", for_host(&["good.example"]));
    let other = secured
        .authority
        .issue("other", for_host(&["evil.example"]));
    let revoked = Pair {
        certificate: secured.file("revoked.pem"),
        key: secured.file("revoked-key.pem"),
        serial: 2,
    };
    assert!(secured.ask(Some(&good)).await.is_ok());
    let error = secured.ask(Some(&other)).await.unwrap_err();
    assert!(error.contains("alert"), "{error}");
    let error = secured.ask(Some(&revoked)).await.unwrap_err();
    assert!(error.contains("CertificateRevoked"), "{error}");
}

#[tokio::test]
async fn files_that_change_are_used_at_once_and_streams_stay_open() {
    let mut secured = secured(|settings, authority| {
        demanding(settings, authority);
        settings.revoked = Some(authority.revoke("list", &[]));
    })
    .await;
    let client = secured.authority.issue("client", Holder::default());
    let mut open = secured.connect(Some(&client)).await.unwrap();
    assert!(ask(&mut open, HEALTH).await.unwrap().contains("200 OK"));

    // Another certificate is shown.
    let before = secured.authority.issue("server", Holder::default()).serial;
    until(async || shown_serial(&secured, &client).await == Some(before)).await;
    // The client is revoked.
    secured.authority.revoke("list", &[client.serial]);
    until(async || secured.ask(Some(&client)).await.is_err()).await;
    // Another authority is trusted, and only that one.
    secured.authority.revoke("list", &[]);
    until(async || secured.ask(Some(&client)).await.is_ok()).await;
    let mut newer = Authority::new(secured.folder.path(), "newer");
    let newcomer = newer.issue("newcomer", Holder::default());
    // The trusted file is also what our own client trusts: it holds both, as while authorities change.
    let both = [secured.file("authority.pem"), secured.file("newer.pem")]
        .map(|file| std::fs::read_to_string(file).unwrap())
        .concat();
    std::fs::write(secured.file("authority.pem"), both).unwrap();
    until(async || secured.ask(Some(&newcomer)).await.is_ok()).await;
    // The first stream has seen nothing of it.
    assert!(ask(&mut open, HEALTH).await.unwrap().contains("200 OK"));
}

/// The number of the certificate that is shown.
async fn shown_serial(secured: &Secured, client: &Pair) -> Option<u64> {
    let Stream::Tls(session) = secured.connect(Some(client)).await.ok()? else {
        return None;
    };
    let shown = session.get_ref().1.peer_certificates()?.first()?;
    let certificate = store_transport::tls::certificate::Certificate::parse(shown).ok()?;
    certificate.serial.last().copied().map(u64::from)
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let patience = std::time::Duration::from_secs(20);
    let deadline = tokio::time::Instant::now() + patience;
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within {patience:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_speaks_in_the_clear_is_told_so() {
    let secured = secured(|_, _| {}).await;
    let mut http1 = TcpStream::connect(secured.address()).await.unwrap();
    http1.write_all(HEALTH).await.unwrap();
    let answer = String::from_utf8(read_all(&mut http1).await).unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 400 Bad Request\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("Client sent an HTTP request to an HTTPS server.\n"));

    let mut http2 = TcpStream::connect(secured.address()).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    http2.write_all(preface).await.unwrap();
    let answer = read_all(&mut http2).await;
    // Settings, then GOAWAY of the stated length.
    let goaway = &answer[9..];
    assert_eq!(goaway[3], 7);
    assert_eq!(usize::from(goaway[2]), goaway.len() - 9);
    assert_eq!(goaway[16], 0xc, "INADEQUATE_SECURITY");
    assert!(goaway.ends_with(b"HTTPS server."));
    assert!(secured.ask(None).await.is_ok());
}

#[tokio::test]
async fn who_speaks_tls_to_a_plain_port_is_told_so() {
    let plain = super::running::start().await;
    let place = Place::Host("127.0.0.1".to_owned(), plain.address().port());
    let error = dial::secure(&place, None, client(None, None), None).await;
    assert!(error.is_err());
    let mut raw = TcpStream::connect(plain.address()).await.unwrap();
    raw.write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")
        .await
        .unwrap();
    let answer = String::from_utf8(read_all(&mut raw).await).unwrap();
    assert!(
        answer.ends_with("Client began a TLS handshake with an HTTP server.\n"),
        "{answer}"
    );
    plain.put("a", "1").await;
}

#[tokio::test]
async fn a_certificate_of_our_own_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let own = OwnCertificate {
        folder: folder.path().join("fixtures/client"),
        hosts: vec!["127.0.0.1".to_owned()],
        years: 1,
        as_client: false,
    };
    let settings = Settings {
        own: Some(own.files()),
        ..Settings::default()
    };
    let tls = Tls {
        settings: settings.clone(),
        own: Some(own.clone()),
    };
    let server = start(&["https://127.0.0.1:0"], folder.path(), Some(tls)).await;
    let place = Place::Host("127.0.0.1".to_owned(), server.client_addrs()[0].port());
    let mut stream = dial::secure(&place, None, client(None, None), None)
        .await
        .unwrap();
    assert!(ask(&mut stream, HEALTH).await.unwrap().contains("200 OK"));
    // Who wants to be sure can trust exactly this one.
    let pinned = client(Some(own.files().certificate), None);
    assert!(dial::secure(&place, None, pinned, None).await.is_ok());
    let before = std::fs::read(own.files().certificate).unwrap();
    let keeper = Keeper::new("client", settings, Some(own.clone())).unwrap();
    assert!(keeper.days_left()[0].1 > 360.0);
    assert_eq!(before, std::fs::read(own.files().certificate).unwrap());
    server.stop().await;
}

#[tokio::test]
async fn socket_files_are_served_in_the_clear_and_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = Authority::new(folder.path(), "authority");
    let settings = Settings {
        own: Some(files(&authority.issue("server", Holder::default()))),
        ..Settings::default()
    };
    let (plain, secure) = (folder.path().join("p.sock"), folder.path().join("s.sock"));
    let urls = [
        format!("unix://{}", plain.display()),
        format!("unixs://{}", secure.display()),
    ];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let tls = Tls {
        settings,
        own: None,
    };
    let server = start(&urls, folder.path(), Some(tls)).await;
    assert!(server.client_addrs().is_empty());
    let mut stream = UnixStream::connect(&plain).await.unwrap();
    assert!(ask(&mut stream, HEALTH).await.unwrap().contains("200 OK"));
    let trusting = client(Some(folder.path().join("authority.pem")), None);
    let mut stream = dial::secure(&Place::File(secure.clone()), None, trusting, None)
        .await
        .unwrap();
    assert!(ask(&mut stream, HEALTH).await.unwrap().contains("200 OK"));
    // gRPC over the same file.
    let channel = tonic::transport::Endpoint::from_shared(format!("unix://{}", plain.display()));
    let channel = channel.unwrap().connect().await.unwrap();
    let mut kv = pb::kv_client::KvClient::new(channel);
    kv.range(pb::RangeRequest::default()).await.unwrap_err();
    drop(kv);
    server.stop().await;
    assert!(!plain.exists() && !secure.exists());
}
