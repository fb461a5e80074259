//! Reading the byte form: any bytes give a command or an error, never a panic; what is not
//! understood to the last byte is refused, because members must not guess differently.

use bytes::Bytes;

use super::{Command, DecodeError, FORMAT, MemberChange, SpaceChange, flag, op_tag, tag};
use crate::MemberRecord;
use crate::alarm::AlarmKind;
use crate::auth::{Actor, AuthChange};
use crate::request::{
    Compare, CompareTarget, DeleteRequest, KeyRange, PutRequest, RangeEnd, RangeRequest, Relation,
    SortOrder, SortTarget, TXN_DEPTH_MAX, TxnOp, TxnRequest,
};
use crate::revision::{LeaseId, Revision};
use crate::varint::Reader;

impl Command {
    /// Reads a byte form; keys and values share `bytes`, they are not copied.
    ///
    /// # Errors
    /// When the bytes are not a command of a known version; never panics.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut decoder = Decoder {
            reader: Reader::new(bytes),
        };
        let command = decoder.command()?;
        if decoder.reader.left() > 0 {
            return Err(decoder.error("the end"));
        }
        Ok(command)
    }
}

struct Decoder {
    reader: Reader,
}

type Decoded<T> = Result<T, DecodeError>;

impl Decoder {
    fn command(&mut self) -> Decoded<Command> {
        if self.byte("format 1")? != FORMAT {
            return Err(self.error_before("format 1"));
        }
        let kind = self.byte("a command kind")?;
        if kind != tag::AS {
            return self.kind(kind);
        }
        let actor = Actor::read(&mut self.reader).ok_or_else(|| self.error("an actor"))?;
        let kind = self.byte("a command kind")?;
        Ok(self.kind(kind)?.by(Some(actor)))
    }

    /// A command that says not whose it is.
    fn kind(&mut self, kind: u8) -> Decoded<Command> {
        Ok(match kind {
            tag::PUT => Command::Put(self.put()?),
            tag::DELETE => Command::Delete(self.delete()?),
            tag::TXN => Command::Txn(self.txn(1)?),
            tag::COMPACT => Command::Compact {
                revision: Revision(self.i64()?),
            },
            tag::LEASE_GRANT => Command::LeaseGrant {
                id: LeaseId(self.i64()?),
                ttl_seconds: self.i64()?,
            },
            tag::LEASE_REVOKE => Command::LeaseRevoke {
                id: LeaseId(self.i64()?),
                term: self.u64()?,
            },
            tag::LEASE_CHECKPOINT => self.lease_checkpoint()?,
            tag::ALARM_RAISE => Command::AlarmRaise {
                member: self.u64()?,
                kind: self.alarm_kind()?,
            },
            tag::ALARM_CLEAR => Command::AlarmClear {
                member: self.u64()?,
                kind: self.alarm_kind()?,
            },
            tag::SPACE_QUOTA => Command::Space(SpaceChange::Quota { bytes: self.u64()? }),
            tag::SPACE_FULL => Command::Space(SpaceChange::Full {
                member: self.u64()?,
            }),
            tag::SPACE_FREE => Command::Space(SpaceChange::Free),
            tag::MEMBER_PUBLISH => self.member_publish()?,
            tag::MEMBER_ADD => Command::Members(MemberChange::Add(self.member()?)),
            tag::MEMBER_REMOVE => Command::Members(MemberChange::Remove { id: self.u64()? }),
            tag::MEMBER_UPDATE => Command::Members(MemberChange::Update {
                id: self.u64()?,
                peer_urls: self.list(Self::text)?,
            }),
            tag::MEMBER_PROMOTE => Command::Members(MemberChange::Promote { id: self.u64()? }),
            tag::AUTH => Command::Auth(
                AuthChange::read(&mut self.reader)
                    .ok_or_else(|| self.error("a change of users or roles"))?,
            ),
            _ => return Err(self.error_before("a command kind")),
        })
    }

    fn put(&mut self) -> Decoded<PutRequest> {
        let flags = self.choice(
            "put flags",
            flag::PREV_KV | flag::IGNORE_VALUE | flag::IGNORE_LEASE,
        )?;
        let lease = LeaseId(self.i64()?);
        let key_len = self.len()?;
        let value_len = self.len()?;
        Ok(PutRequest {
            key: self.take(key_len)?,
            value: self.take(value_len)?,
            lease,
            prev_kv: flags & flag::PREV_KV != 0,
            ignore_value: flags & flag::IGNORE_VALUE != 0,
            ignore_lease: flags & flag::IGNORE_LEASE != 0,
        })
    }

    fn delete(&mut self) -> Decoded<DeleteRequest> {
        let flags = self.choice("delete flags", flag::PREV_KV)?;
        Ok(DeleteRequest {
            keys: self.keys()?,
            prev_kv: flags & flag::PREV_KV != 0,
        })
    }

    fn txn(&mut self, depth: usize) -> Decoded<TxnRequest> {
        if depth > TXN_DEPTH_MAX {
            return Err(self.error("a transaction nested less deeply"));
        }
        let compare = self.list(Self::compare)?;
        let success = self.list(|decoder| decoder.op(depth))?;
        let failure = self.list(|decoder| decoder.op(depth))?;
        Ok(TxnRequest {
            compare,
            success,
            failure,
        })
    }

    fn op(&mut self, depth: usize) -> Decoded<TxnOp> {
        Ok(match self.byte("an operation kind")? {
            op_tag::RANGE => TxnOp::Range(self.range()?),
            op_tag::PUT => TxnOp::Put(self.put()?),
            op_tag::DELETE => TxnOp::Delete(self.delete()?),
            op_tag::TXN => TxnOp::Txn(self.txn(depth + 1)?),
            _ => return Err(self.error_before("an operation kind")),
        })
    }

    fn range(&mut self) -> Decoded<RangeRequest> {
        let flags = self.choice("range flags", flag::KEYS_ONLY | flag::COUNT_ONLY)?;
        Ok(RangeRequest {
            keys_only: flags & flag::KEYS_ONLY != 0,
            count_only: flags & flag::COUNT_ONLY != 0,
            keys: self.keys()?,
            limit: self.u64()?,
            revision: Revision(self.i64()?),
            sort_order: match self.byte("a sort order")? {
                0 => SortOrder::None,
                1 => SortOrder::Ascend,
                2 => SortOrder::Descend,
                _ => return Err(self.error_before("a sort order")),
            },
            sort_target: match self.byte("a sort target")? {
                0 => SortTarget::Key,
                1 => SortTarget::Version,
                2 => SortTarget::Create,
                3 => SortTarget::Mod,
                4 => SortTarget::Value,
                _ => return Err(self.error_before("a sort target")),
            },
            mod_revision_min: self.i64()?,
            mod_revision_max: self.i64()?,
            create_revision_min: self.i64()?,
            create_revision_max: self.i64()?,
            uncounted: false,
        })
    }

    fn compare(&mut self) -> Decoded<Compare> {
        Ok(Compare {
            keys: self.keys()?,
            relation: match self.byte("a relation")? {
                0 => Relation::Equal,
                1 => Relation::Greater,
                2 => Relation::Less,
                3 => Relation::NotEqual,
                _ => return Err(self.error_before("a relation")),
            },
            target: match self.byte("a compare target")? {
                0 => CompareTarget::Version(self.i64()?),
                1 => CompareTarget::Create(self.i64()?),
                2 => CompareTarget::Mod(self.i64()?),
                3 => CompareTarget::Value(self.bytes()?),
                4 => CompareTarget::Lease(self.i64()?),
                _ => return Err(self.error_before("a compare target")),
            },
        })
    }

    fn keys(&mut self) -> Decoded<KeyRange> {
        let kind = self.choice("a range end kind", 3)?;
        let start = self.bytes()?;
        let end = match kind {
            0 => RangeEnd::Single,
            1 => RangeEnd::Open,
            2 => RangeEnd::Before(self.bytes()?),
            _ => return Err(self.error("a range end kind of 0, 1 or 2")),
        };
        Ok(KeyRange { start, end })
    }

    fn lease_checkpoint(&mut self) -> Decoded<Command> {
        let term = self.u64()?;
        let remaining = self.list(|decoder| Ok((LeaseId(decoder.i64()?), decoder.i64()?)))?;
        Ok(Command::LeaseCheckpoint { remaining, term })
    }

    fn member_publish(&mut self) -> Decoded<Command> {
        Ok(Command::MemberPublish {
            id: self.u64()?,
            name: self.text()?,
            client_urls: self.list(Self::text)?,
        })
    }

    fn member(&mut self) -> Decoded<MemberRecord> {
        Ok(MemberRecord {
            id: self.u64()?,
            name: self.text()?,
            peer_urls: self.list(Self::text)?,
            client_urls: self.list(Self::text)?,
            learner: self.choice("whether it learns", 1)? == 1,
        })
    }

    fn alarm_kind(&mut self) -> Decoded<AlarmKind> {
        match self.byte("an alarm kind")? {
            1 => Ok(AlarmKind::NoSpace),
            2 => Ok(AlarmKind::Corrupt),
            _ => Err(self.error_before("an alarm kind")),
        }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Decoded<T>) -> Decoded<Vec<T>> {
        let count = self.u64()?;
        // Every item takes a byte at least: a count beyond that is a lie, found before allocating.
        if count > self.reader.left() as u64 {
            return Err(self.error("a count that fits the bytes left"));
        }
        // Items are larger in memory than as bytes: room for sixteen suits most, and a lie about the
        // count costs little.
        let mut items = Vec::with_capacity((count as usize).min(16));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn text(&mut self) -> Decoded<String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.error("text in UTF-8 before"))
    }

    /// A byte of which only the bits of `mask` may be set.
    fn choice(&mut self, expected: &'static str, mask: u8) -> Decoded<u8> {
        let byte = self.byte(expected)?;
        if byte & !mask != 0 {
            return Err(self.error_before(expected));
        }
        Ok(byte)
    }

    fn byte(&mut self, expected: &'static str) -> Decoded<u8> {
        self.reader.u8().ok_or_else(|| self.error(expected))
    }

    fn u64(&mut self) -> Decoded<u64> {
        self.reader.u64().ok_or_else(|| self.error("a number"))
    }

    fn i64(&mut self) -> Decoded<i64> {
        self.reader.i64().ok_or_else(|| self.error("a number"))
    }

    fn len(&mut self) -> Decoded<usize> {
        let len = self.u64()?;
        usize::try_from(len).map_err(|_| self.error("a length that fits memory before"))
    }

    fn take(&mut self, len: usize) -> Decoded<Bytes> {
        self.reader
            .take(len)
            .ok_or_else(|| self.error("as many bytes as the length says"))
    }

    fn bytes(&mut self) -> Decoded<Bytes> {
        self.reader
            .bytes()
            .ok_or_else(|| self.error("a length and that many bytes"))
    }

    fn error(&self, expected: &'static str) -> DecodeError {
        DecodeError {
            offset: self.reader.at(),
            expected,
        }
    }

    /// The byte just read is not what was expected there.
    fn error_before(&self, expected: &'static str) -> DecodeError {
        DecodeError {
            offset: self.reader.at() - 1,
            expected,
        }
    }
}
