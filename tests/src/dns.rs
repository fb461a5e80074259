//! A name server on loopback that knows a few SRV records and the addresses of nobody: the messages of RFC 1035, over UDP.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::JoinHandle;

/// Name, priority, weight, port, target.
pub type Record<'r> = (&'r str, u16, u16, u16, &'r str);

const HEADER_BYTES: usize = 12;
/// Type SRV, class IN.
const SRV_IN: [u8; 4] = [0, 33, 0, 1];
/// "No such name", with the bits of an answer that knows.
const NO_SUCH_NAME: [u8; 2] = [0x84, 0x03];
const FOUND: [u8; 2] = [0x84, 0x00];

/// Serves until it is dropped.
pub struct Dns {
    address: SocketAddr,
    server: Option<JoinHandle<()>>,
}

impl Dns {
    /// A name server with these records.
    ///
    /// # Panics
    /// When no port is to be had.
    #[must_use]
    pub fn start(records: &[Record<'_>]) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = socket.local_addr().expect("its address");
        let records: Vec<(Vec<u8>, Vec<u8>)> = records.iter().map(encoded).collect();
        let server = std::thread::spawn(move || serve(&socket, &records));
        Self {
            address,
            server: Some(server),
        }
    }

    /// Where it is asked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        // A message without a word ends it.
        let told = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(&[], self.address));
        if let (Ok(_), Some(server)) = (told, self.server.take()) {
            let _ = server.join();
        }
    }
}

/// Its name in lower case, and the record's data.
fn encoded(record: &Record<'_>) -> (Vec<u8>, Vec<u8>) {
    let (name, priority, weight, port, target) = record;
    let mut data = Vec::new();
    for number in [priority, weight, port] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    data.extend(labels(target));
    (labels(name), data)
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("a label of less than 64 bytes"));
        bytes.extend(label.to_ascii_lowercase().bytes());
    }
    bytes.push(0);
    bytes
}

fn serve(socket: &UdpSocket, records: &[(Vec<u8>, Vec<u8>)]) {
    let mut buffer = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if length == 0 {
            return;
        }
        if let Some(answer) = answer(&buffer[..length], records) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn answer(question: &[u8], records: &[(Vec<u8>, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut end = HEADER_BYTES;
    while *question.get(end)? != 0 {
        end += usize::from(question[end]) + 1;
    }
    let asked = question.get(HEADER_BYTES..end + 5)?;
    let (name, kind) = asked.split_at(asked.len() - 4);
    let name = name.to_ascii_lowercase();
    let fitting = records
        .iter()
        .filter(|(known, _)| kind == SRV_IN && *known == name);
    let data: Vec<&Vec<u8>> = fitting.map(|(_, data)| data).collect();
    let mut message = question.get(..2)?.to_vec();
    message.extend(if data.is_empty() { NO_SUCH_NAME } else { FOUND });
    // One question, so many answers, nothing else.
    message.extend([0, 1]);
    message.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    message.extend([0; 4]);
    message.extend_from_slice(asked);
    for data in data {
        // The name is that of the question; good for a second.
        message.extend([0xc0, 0x0c]);
        message.extend(SRV_IN);
        message.extend(1_u32.to_be_bytes());
        message.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        message.extend_from_slice(data);
    }
    Some(message)
}
