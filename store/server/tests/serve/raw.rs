//! Requests no library would send.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::running::{Running, start};

async fn connect(store: &Running) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(store.address()).await.unwrap();
    let io = TokioIo::new(stream);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends bytes as a gRPC request; code and text of the answer, from headers or trailers.
async fn call(
    sender: &mut SendRequest<Full<Bytes>>,
    path: &str,
    headers: &[(&str, &[u8])],
    body: &'static [u8],
) -> (String, String) {
    let mut request = Request::builder()
        .method("POST")
        .uri(format!("http://127.0.0.1{path}"))
        .header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from_static(body))).unwrap();
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let text = |headers: &HeaderMap, name| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let find = |name| {
        text(&head.headers, name)
            .or_else(|| text(body.trailers()?, name))
            .unwrap_or_default()
    };
    (find("grpc-status"), find("grpc-message"))
}

#[tokio::test]
async fn malformed_messages_are_refused_and_the_connection_goes_on() {
    let store = start().await;
    let mut sender = connect(&store).await;
    let range = "/etcdserverpb.KV/Range";
    for (body, status) in [
        (&b""[..], "13"),
        (b"\0\0\0", "13"),
        (b"\0\0\0\0\x09abc", "13"),
        (b"\0\0\0\0\x03\x0a\x01aEXTRA", "13"),
        (b"\0\0\0\0\x02\x0a\x7f", "13"),
        (b"\0\xff\xff\xff\xff", "8"),
        (b"\x01\0\0\0\x01a", "12"),
        (b"\0\0\0\0\x03\x0a\x01a", "0"),
    ] {
        let (actual, text) = call(&mut sender, range, &[], body).await;
        assert_eq!(actual, status, "{body:?}: {text}");
    }
    // A name that is no UTF-8.
    let add = "/etcdserverpb.Auth/UserAdd";
    let (status, text) = call(&mut sender, add, &[], b"\0\0\0\0\x04\x0a\x02\xff\xfe").await;
    assert_eq!(status, "13", "{text}");
    let (status, _) = call(&mut sender, "/no.Service/Method", &[], b"").await;
    assert_eq!(status, "12");
}

#[tokio::test]
async fn metadata_is_checked() {
    let store = start().await;
    let mut sender = connect(&store).await;
    let range = "/etcdserverpb.KV/Range";
    let body = b"\0\0\0\0\x03\x0a\x01a";
    let leader = [("hasleader", &b"true"[..])];
    assert_eq!(call(&mut sender, range, &leader, body).await.0, "0");
    let version = [("client-api-version", &b"3.\xff"[..])];
    let (status, text) = call(&mut sender, range, &version, body).await;
    assert_eq!(status, "3");
    assert_eq!(text, "etcdserver:%20invalid%20client%20api%20version");
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() {
    let store = start().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\0",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(store.address()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Closed, with or without a word.
        let _ = stream.read_to_end(&mut answer).await;
    }
    store.put("a", "1").await;
}

#[tokio::test]
async fn a_client_that_names_the_server_by_url_is_served() {
    let store = start().await;
    let origin = format!("http://{}", store.address());
    let mut stream = TcpStream::connect(store.address()).await.unwrap();
    // As grpc-go does for etcdctl 3.4: the URL as the authority, here as a plain literal.
    let mut block = b"\x83\x86\x44\x16/etcdserverpb.KV/Range\x41".to_vec();
    block.push(origin.len() as u8);
    block.extend(origin.as_bytes());
    block.extend(b"\x5f\x10application/grpc");
    let mut wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    wire.extend([0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1]);
    wire.extend(&block);
    wire.extend(b"\0\0\x08\0\x01\0\0\0\x01\0\0\0\0\x03\x0a\x01a");
    stream.write_all(&wire).await.unwrap();
    // The answer ends with the trailers of stream 1: until then no reset (frame type 3).
    let mut seen = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        seen.push(head[3]);
        assert_ne!(head[3], 3, "reset with {payload:?} after frames {seen:?}");
        if head[3] == 1 && head[4] & 1 != 0 {
            break;
        }
    }
    assert!(seen.contains(&0), "an answer came: frames {seen:?}");
}
