//! Streams of frames, cut at every place, against what they should become.

use tokio::io::AsyncReadExt as _;

use super::*;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend(payload);
    frame
}

/// A block with an authority under each kind of literal: `:method POST`, `:path /x`, the authority,
/// a field with a name of its own, an indexed one.
fn block(literal: u8, authority: &[u8]) -> Vec<u8> {
    let mut block = b"\x83\x44\x02/x".to_vec();
    block.push(literal);
    block.push(authority.len() as u8);
    block.extend(authority);
    block.extend(b"\x00\x02te\x08trailers\xbe");
    block
}

fn headers(authority: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, &block(0x41, authority))
}

/// Reads the bytes through the filter, which come in as many parts as there are.
async fn read(parts: &[&[u8]]) -> Vec<u8> {
    let mut mock = tokio_test_io(parts);
    let mut out = Vec::new();
    mock.read_to_end(&mut out).await.unwrap();
    out
}

fn tokio_test_io(parts: &[&[u8]]) -> Tolerant<Parts> {
    Tolerant::new(
        Parts(parts.iter().map(|part| part.to_vec()).collect()),
        Duration::from_secs(60),
    )
}

/// One part per read.
struct Parts(std::collections::VecDeque<Vec<u8>>);

impl AsyncRead for Parts {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut part) = self.0.pop_front() {
            let rest = part.split_off(part.len().min(buf.remaining()));
            buf.put_slice(&part);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A connection with requests of all kinds, and what is to become of it.
fn connection() -> (Vec<u8>, Vec<u8>) {
    let settings = frame(4, 0, &[0; 12]);
    let data = frame(0, 1, b"\x00\x00\x00\x00\x05hello");
    let good = headers(b"127.0.0.1:2379");
    let mut before = PREFACE.to_vec();
    let mut after = PREFACE.to_vec();
    for (from, to) in [
        (settings.clone(), settings),
        (good.clone(), good),
        (data.clone(), data.clone()),
        (headers(b"http://127.0.0.1:2379"), headers(b"-")),
        (data.clone(), data),
        (
            headers(b"#initially=[http://a:1;http://b:2]"),
            headers(b"-"),
        ),
        (headers(b""), headers(b"-")),
    ] {
        before.extend(from);
        after.extend(to);
    }
    (before, after)
}

#[tokio::test]
async fn authorities_are_replaced_wherever_the_stream_is_cut() {
    let (before, after) = connection();
    assert_eq!(read(&[&before]).await, after);
    for cut in 0..=before.len() {
        let (head, tail) = before.split_at(cut);
        if !head.is_empty() && !tail.is_empty() {
            assert_eq!(read(&[head, tail]).await, after, "cut at {cut}");
        }
    }
    for size in 1..40 {
        let parts: Vec<&[u8]> = before.chunks(size).collect();
        assert_eq!(read(&parts).await, after, "parts of {size}");
    }
}

#[tokio::test]
async fn other_streams_pass_as_they_are() {
    let http1 = b"GET /health HTTP/1.1\r\nhost: http://x\r\n\r\n".to_vec();
    let mut continued = PREFACE.to_vec();
    continued.extend(frame(HEADERS, 0, &block(0x41, b"http://x")));
    let mut broken = PREFACE.to_vec();
    broken.extend(frame(HEADERS, END_HEADERS, b"\x41\x7f\xff\xff\xff\xff"));
    broken.extend(frame(HEADERS, END_HEADERS, b"\x41\x05abc"));
    broken.extend(frame(HEADERS, END_HEADERS | PADDED, b"\xff\x41\x01/"));
    let mut unfinished = PREFACE.to_vec();
    unfinished.extend(&headers(b"http://x")[..12]);
    let mut huge = PREFACE.to_vec();
    huge.extend(frame(
        HEADERS,
        END_HEADERS,
        &vec![0x41; FRAME_BYTES_MAX + 1],
    ));
    for stream in [
        http1,
        b"PRI * HTTP/1".to_vec(),
        continued,
        broken,
        unfinished,
        huge,
    ] {
        for size in [1, 7, stream.len()] {
            let parts: Vec<&[u8]> = stream.chunks(size).collect();
            assert_eq!(read(&parts).await, stream, "parts of {size}");
        }
    }
}

#[test]
fn every_kind_of_literal_and_padding_is_found() {
    for literal in [0x41, 0x01, 0x11] {
        let whole = frame(HEADERS, END_HEADERS, &block(literal, b"http://x"));
        let place = impossible_authority(&whole, END_HEADERS).unwrap();
        assert_eq!(&whole[place], b"\x08http://x");
    }
    let flags = END_HEADERS | PADDED | PRIORITY;
    let mut payload = vec![3, 0, 0, 0, 0, 7];
    payload.extend(block(0x41, b"http://x"));
    payload.extend([0; 3]);
    let whole = frame(HEADERS, flags, &payload);
    let place = impossible_authority(&whole, flags).unwrap();
    assert_eq!(&whole[place], b"\x08http://x");
}

#[test]
fn coded_authorities_are_judged_by_what_they_say() {
    // "https://www.example.com" and "www.example.com" of RFC 7541, appendix C.
    let coded = |text: &[u8]| {
        let mut block = vec![0x41, 0x80 | text.len() as u8];
        block.extend(text);
        let whole = frame(HEADERS, END_HEADERS, &block);
        impossible_authority(&whole, END_HEADERS).is_some()
    };
    assert!(coded(
        b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3"
    ));
    assert!(!coded(b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"));
}

#[test]
fn the_stand_in_is_an_authority() {
    assert!(Authority::try_from(&STAND_IN[1..]).is_ok());
}
