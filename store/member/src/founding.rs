//! Where a log begins: the first voters and members, the same on all of them, because the first entry
//! says who they are. Owns its byte form.

use store_machine::MemberRecord;

use crate::config::Config;
use crate::record::Voters;

/// What the first entry of a log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Founding {
    pub(crate) voters: Voters,
    pub(crate) members: Vec<MemberRecord>,
}

/// First byte of an encoded founding that names members; an older one is the voters' byte form alone.
const FOUNDING_VERSION: u8 = 2;

impl Founding {
    /// The founding of a new cluster of these members.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            voters: bootstrap_voters(config),
            members: founding_members(config),
        }
    }

    /// The byte form: version, the voters and a list of members; texts, lists and the voters begin with
    /// their length (4 bytes, big endian).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let len = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        let mut out = vec![FOUNDING_VERSION];
        let voters = self.voters.encode();
        out.extend_from_slice(&len(voters.len()));
        out.extend_from_slice(&voters);
        out.extend_from_slice(&len(self.members.len()));
        for member in &self.members {
            out.extend_from_slice(&member.id.to_be_bytes());
            out.push(u8::from(member.learner));
            let name = std::slice::from_ref(&member.name);
            for texts in [name, &member.peer_urls, &member.client_urls] {
                out.extend_from_slice(&len(texts.len()));
                for text in texts {
                    out.extend_from_slice(&len(text.len()));
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
        out
    }

    /// Reads the byte form; `None` when these bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, mut rest) = bytes.split_first()?;
        if version != FOUNDING_VERSION {
            let voters = Voters::decode(bytes)?;
            let members = voters.voters.iter().chain(&voters.learners);
            let members = members.map(|&id| MemberRecord {
                id,
                learner: voters.learners.contains(&id),
                ..MemberRecord::default()
            });
            let members = members.collect();
            return Some(Self { voters, members });
        }
        let voters = Voters::decode(take_bytes(&mut rest)?)?;
        let mut members = Vec::new();
        for _ in 0..take_len(&mut rest)? {
            let (id, after) = rest.split_first_chunk()?;
            let (&learner, after) = after.split_first()?;
            rest = after;
            members.push(MemberRecord {
                id: u64::from_be_bytes(*id),
                name: take_texts(&mut rest)?.pop()?,
                peer_urls: take_texts(&mut rest)?,
                client_urls: take_texts(&mut rest)?,
                learner: learner == 1,
            });
        }
        rest.is_empty().then_some(Self { voters, members })
    }
}

fn take_len(rest: &mut &[u8]) -> Option<usize> {
    let (len, after) = rest.split_first_chunk()?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*len)).ok()
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_len(rest)?;
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}

fn take_texts(rest: &mut &[u8]) -> Option<Vec<String>> {
    let texts = (0..take_len(rest)?).map(|_| String::from_utf8(take_bytes(rest)?.to_vec()).ok());
    texts.collect()
}

/// The first members as all of them know them: client addresses come when each has started, but for
/// one that is alone, who knows all there is to know.
fn founding_members(config: &Config) -> Vec<MemberRecord> {
    let members = config.members.iter().map(|member| {
        let mut peer_urls = member.peer_urls.clone();
        peer_urls.sort_unstable();
        MemberRecord {
            id: member.id,
            name: member.name.clone(),
            peer_urls,
            client_urls: if config.members.len() == 1 {
                member.client_urls.clone()
            } else {
                Vec::new()
            },
            learner: member.learner,
        }
    });
    let mut members: Vec<_> = members.collect();
    members.sort_unstable_by_key(|member| member.id);
    members
}

fn bootstrap_voters(config: &Config) -> Voters {
    let ids = |learner: bool| {
        let mut ids: Vec<u64> = config
            .members
            .iter()
            .filter(|member| member.learner == learner)
            .map(|member| member.id)
            .collect();
        ids.sort_unstable();
        ids
    };
    Voters {
        voters: ids(false),
        learners: ids(true),
        ..Voters::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn founding() -> Founding {
        Founding {
            voters: Voters {
                voters: vec![1],
                learners: vec![2],
                ..Voters::default()
            },
            members: vec![
                MemberRecord {
                    id: 1,
                    name: "a".into(),
                    peer_urls: vec!["p".into(), "q".into()],
                    client_urls: vec!["c".into()],
                    learner: false,
                },
                MemberRecord {
                    id: 2,
                    learner: true,
                    ..MemberRecord::default()
                },
            ],
        }
    }

    #[test]
    fn a_founding_comes_back_and_a_cut_one_does_not() {
        let bytes = founding().encode();
        assert_eq!(Founding::decode(&bytes), Some(founding()));
        for length in 0..bytes.len() {
            assert_eq!(Founding::decode(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn an_old_founding_knows_ids_alone() {
        let voters = founding().voters;
        let member = |id, learner| MemberRecord {
            id,
            learner,
            ..MemberRecord::default()
        };
        let expected = Founding {
            voters: voters.clone(),
            members: vec![member(1, false), member(2, true)],
        };
        assert_eq!(Founding::decode(&voters.encode()), Some(expected));
    }
}
