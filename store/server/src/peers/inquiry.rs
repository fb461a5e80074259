//! Who the members are, asked by one that is to join: the list behind the answer to
//! [`Hello::INQUIRY`].
//!
//! ```text
//! 4 bytes  length of the list, big endian
//! 4 bytes  CRC-32C of the list, big endian
//! …        the list: an etcdserverpb.MemberListResponse
//! ```
//! It says no more than what any client of the cluster may ask.

use std::io;

use prost::Message as _;
use store_member::answer::MemberInfo;
use store_proto::etcdserverpb as pb;
use store_transport::tls::Keeper;
use store_wal::Identity;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::hello::{ANSWER_BYTES, Answer, Hello, Refusal};
use super::link::{CONNECT_TIMEOUT, dial};
use crate::config::address::Address;
use crate::roster;

/// Bytes of a list: some ten thousand members.
const LIST_BYTES_MAX: usize = 1 << 20;

/// What a member knows of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Who says so.
    pub(crate) by: Identity,
    /// All members, that one among them.
    pub(crate) members: Vec<MemberInfo>,
}

/// Why nothing was told.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    #[error("connect")]
    Connect(#[from] io::Error),
    #[error("no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Silent,
    #[error("greet")]
    Refused(#[from] Refusal),
}

/// Asks the member at that address.
pub(crate) async fn ask(url: &Address, tls: Option<&Keeper>) -> Result<Told, AskError> {
    let asked = async {
        let mut stream = dial(url, tls).await?;
        stream.write_all(&Hello::INQUIRY.encode()).await?;
        stream.flush().await?;
        let mut answer = [0; ANSWER_BYTES];
        match stream.read_exact(&mut answer).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Refusal::Unknown.into());
            }
            Err(error) => return Err(error.into()),
        }
        let by = Answer::decode(&answer, &Hello::INQUIRY)?;
        let members = read(&mut stream).await?.ok_or(Refusal::Unknown)?;
        Ok(Told { by, members })
    };
    timeout(CONNECT_TIMEOUT, asked)
        .await
        .map_err(|_| AskError::Silent)?
}

/// The answer with the list behind it.
pub(super) fn answer(by: Identity, members: Vec<MemberInfo>) -> Vec<u8> {
    let list = pb::MemberListResponse {
        header: None,
        members: members.into_iter().map(roster::entry).collect(),
    };
    let list = list.encode_to_vec();
    let mut out = Answer::told(by).encode().to_vec();
    out.extend_from_slice(&u32::try_from(list.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&crc32c::crc32c(&list).to_be_bytes());
    out.extend_from_slice(&list);
    out
}

/// Reads the list; `None` when it is none.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<MemberInfo>>> {
    let length = stream.read_u32().await? as usize;
    let checksum = stream.read_u32().await?;
    if length > LIST_BYTES_MAX {
        return Ok(None);
    }
    let mut list = vec![0; length];
    stream.read_exact(&mut list).await?;
    if crc32c::crc32c(&list) != checksum {
        return Ok(None);
    }
    let list = pb::MemberListResponse::decode(&list[..]).ok();
    Ok(list.map(|list| list.members.into_iter().map(roster::info).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_comes_back_and_a_damaged_one_does_not() {
        let members = vec![MemberInfo {
            id: 3,
            name: "c".into(),
            peer_urls: vec!["http://c:1".into()],
            client_urls: vec![],
            learner: true,
        }];
        let by = Identity {
            cluster: 1,
            member: 2,
        };
        let bytes = answer(by, members.clone());
        let list = &bytes[ANSWER_BYTES..];
        assert_eq!(read(&mut &*list).await.unwrap(), Some(members));
        for length in 0..list.len() {
            assert!(read(&mut &list[..length]).await.is_err(), "{length}");
        }
        for position in 0..list.len() {
            let mut bad = list.to_vec();
            bad[position] ^= 0x10;
            let read = read(&mut &*bad).await;
            assert!(!matches!(read, Ok(Some(_))), "byte {position}");
        }
    }
}
