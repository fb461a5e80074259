//! What another member may send.
//!
//! It is refused or it survives its own encoding.

use bytes::Bytes;
use store_member::peer::PeerMessage;

/// Decodes, encodes, decodes.
///
/// # Panics
/// When the two decoded messages differ.
pub fn run(data: &[u8]) {
    let Ok(message) = PeerMessage::decode(Bytes::copy_from_slice(data)) else {
        return;
    };
    let again = PeerMessage::decode(Bytes::from(message.encode()))
        .map_err(|error| format!("{error:?}"))
        .map(|again| format!("{again:?}"));
    assert_eq!(again, Ok(format!("{message:?}")));
}
