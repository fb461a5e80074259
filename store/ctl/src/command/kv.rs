//! Keys: `get`, `put`, `del` and `compaction`.

use std::io::Read as _;

use bytes::Bytes;
use clap::Args;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use store_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse,
};

use super::{bad_number, in_time, lease_id};
use crate::connect::{Connection, connect};
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Format, Printer, RangeStyle};

pub(super) async fn client(globals: &Globals) -> Result<KvClient<Connection>, Failure> {
    let client = KvClient::new(connect(globals).await?);
    Ok(client.max_decoding_message_size(globals.answer_bytes_max()))
}

/// `get KEY [END]`
#[derive(Debug, Args)]
pub struct Get {
    words: Vec<String>,
    /// Linearizable (l) or serializable (s)
    #[arg(long, default_value = "l")]
    consistency: String,
    /// ASCEND or DESCEND
    #[arg(long, default_value = "")]
    order: String,
    /// CREATE, KEY, MODIFY, VALUE or VERSION
    #[arg(long, default_value = "")]
    sort_by: String,
    /// Most keys to get
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    limit: i64,
    /// Keys that begin with KEY
    #[arg(long)]
    prefix: bool,
    /// Keys from KEY on
    #[arg(long)]
    from_key: bool,
    /// As they were at a revision
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    rev: i64,
    /// Without values
    #[arg(long)]
    keys_only: bool,
    /// Only how many
    #[arg(long)]
    count_only: bool,
    /// Without keys
    #[arg(long)]
    print_value_only: bool,
    /// Only keys that were created at this revision or later
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    min_create_rev: i64,
    /// Only keys that were created at this revision or earlier
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    max_create_rev: i64,
    /// Only keys that were last changed at this revision or later
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    min_mod_rev: i64,
    /// Only keys that were last changed at this revision or earlier
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    max_mod_rev: i64,
    /// Take the answer in pieces (etcd from 3.7 on); the simple format prints each as it comes
    #[arg(long)]
    stream: bool,
}

impl Get {
    /// What the words ask for.
    pub(super) fn request(&self) -> Result<RangeRequest, Failure> {
        if self.words.is_empty() {
            return Err(Failure::bad_arguments(
                "get command needs one argument as key and an optional argument as range_end",
            ));
        }
        let (key, range_end) = range(&self.words, self.prefix, self.from_key)?;
        if self.keys_only && self.count_only {
            return Err(Failure::bad_arguments(
                "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
            ));
        }
        let serializable = match self.consistency.as_str() {
            "l" => false,
            "s" => true,
            other => {
                return Err(Failure::bad_feature(format!(
                    "unknown consistency flag {other:?}"
                )));
            }
        };
        let order = match self.order.to_ascii_uppercase().as_str() {
            "" => SortOrder::None,
            "ASCEND" => SortOrder::Ascend,
            "DESCEND" => SortOrder::Descend,
            _ => {
                return Err(Failure::bad_feature(format!(
                    "bad sort order {}",
                    self.order
                )));
            }
        };
        let target = match self.sort_by.to_ascii_uppercase().as_str() {
            "" | "KEY" => SortTarget::Key,
            "CREATE" => SortTarget::Create,
            "MODIFY" => SortTarget::Mod,
            "VALUE" => SortTarget::Value,
            "VERSION" => SortTarget::Version,
            _ => {
                return Err(Failure::bad_feature(format!(
                    "bad sort target {}",
                    self.sort_by
                )));
            }
        };
        Ok(RangeRequest {
            key,
            range_end,
            limit: self.limit,
            revision: self.rev,
            sort_order: order.into(),
            sort_target: target.into(),
            serializable,
            keys_only: self.keys_only,
            count_only: self.count_only,
            min_create_revision: self.min_create_rev,
            max_create_revision: self.max_create_rev,
            min_mod_revision: self.min_mod_rev,
            max_mod_revision: self.max_mod_rev,
        })
    }

    /// Prints the pieces as they come where their form allows it, else all of them as one answer.
    async fn streamed(
        &self,
        request: RangeRequest,
        globals: &Globals,
        printer: &Printer,
    ) -> Result<(), Failure> {
        let style = RangeStyle {
            values_only: self.print_value_only,
        };
        let mut client = client(globals).await?;
        let mut pieces = in_time(globals, client.range_stream(request)).await?;
        let mut whole = RangeResponse::default();
        while let Some(piece) = pieces.message().await? {
            let Some(mut piece) = piece.range_response else {
                continue;
            };
            if printer.format == Format::Simple {
                printer.print(&Answer::Range(piece, style))?;
                continue;
            }
            whole.kvs.append(&mut piece.kvs);
            whole.header = piece.header.or(whole.header);
            whole.more |= piece.more;
            whole.count = whole.count.max(piece.count);
        }
        match printer.format {
            Format::Simple => Ok(()),
            _ => printer.print(&Answer::Range(whole, style)),
        }
    }

    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let request = self.request()?;
        if self.count_only && printer.format != Format::Fields {
            return Err(Failure::bad_arguments(
                "--count-only is only for `--write-out=fields`",
            ));
        }
        if self.print_value_only && printer.format != Format::Simple {
            return Err(Failure::bad_arguments(
                "print-value-only is only for `--write-out=simple`",
            ));
        }
        if self.stream {
            return self.streamed(request, globals, printer).await;
        }
        let range = in_time(globals, client(globals).await?.range(request)).await?;
        let style = RangeStyle {
            values_only: self.print_value_only,
        };
        printer.print(&Answer::Range(range, style))
    }
}

/// `put KEY [VALUE]`
#[derive(Debug, Args)]
pub struct Put {
    words: Vec<String>,
    /// Lease (in hex) that takes the key along when it ends
    #[arg(long, default_value = "0")]
    lease: String,
    /// Show what was there before
    #[arg(long)]
    prev_kv: bool,
    /// Keep the value
    #[arg(long)]
    ignore_value: bool,
    /// Keep the lease
    #[arg(long)]
    ignore_lease: bool,
}

impl Put {
    /// What the words ask for; `typed` gives a value that is not among them.
    pub(super) fn request(
        &self,
        typed: impl FnOnce() -> Result<Vec<u8>, Failure>,
    ) -> Result<PutRequest, Failure> {
        let (key, value) = match self.words.as_slice() {
            [key] => (key, None),
            [_, _, ..] if self.ignore_value => {
                return Err(Failure::bad_arguments(
                    "put command needs only 1 argument when 'ignore-value' is set",
                ));
            }
            [key, value, ..] => (key, Some(value)),
            [] => return Err(no_value()),
        };
        let lease = lease_id(&self.lease, "")?;
        let value = match value {
            Some(value) => Bytes::from(value.clone()),
            None if self.ignore_value => Bytes::new(),
            None => Bytes::from(typed()?),
        };
        Ok(PutRequest {
            key: Bytes::from(key.clone()),
            value,
            lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        })
    }

    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let request = self.request(|| {
            let mut value = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut value);
            if value.is_empty() && read.is_ok() {
                return Err(no_value());
            }
            read.map_err(|cause| Failure::io(format!("read the value from stdin: {cause}")))?;
            Ok(value)
        })?;
        globals.within(&request)?;
        let put = in_time(globals, client(globals).await?.put(request)).await?;
        printer.print(&Answer::Put(put))
    }
}

fn no_value() -> Failure {
    Failure::bad_arguments("put command needs 1 argument and input from stdin or 2 arguments")
}

/// `del KEY [END]`
#[derive(Debug, Args)]
pub struct Del {
    words: Vec<String>,
    /// Keys that begin with KEY
    #[arg(long)]
    prefix: bool,
    /// Show what was deleted
    #[arg(long)]
    prev_kv: bool,
    /// Keys from KEY on
    #[arg(long)]
    from_key: bool,
}

impl Del {
    /// What the words ask for.
    pub(super) fn request(&self) -> Result<DeleteRangeRequest, Failure> {
        if !(1..=2).contains(&self.words.len()) {
            return Err(Failure::bad_arguments(
                "del command needs one argument as key and an optional argument as range_end",
            ));
        }
        let (key, range_end) = range(&self.words, self.prefix, self.from_key)?;
        Ok(DeleteRangeRequest {
            key,
            range_end,
            prev_kv: self.prev_kv,
        })
    }

    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let request = self.request()?;
        let deleted = in_time(globals, client(globals).await?.delete_range(request)).await?;
        printer.print(&Answer::Delete(deleted))
    }
}

/// `compaction REVISION`
#[derive(Debug, Args)]
pub struct Compaction {
    words: Vec<String>,
    /// Wait until the memory is given back
    #[arg(long)]
    physical: bool,
}

impl Compaction {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let [revision] = self.words.as_slice() else {
            return Err(Failure::bad_arguments(
                "compaction command needs 1 argument",
            ));
        };
        let revision = revision
            .parse()
            .map_err(|_| Failure::error(bad_number(revision)))?;
        let request = CompactionRequest {
            revision,
            physical: self.physical,
        };
        let done = in_time(globals, client(globals).await?.compact(request)).await?;
        printer.print(&Answer::Compaction(done, revision))
    }
}

/// The first key and the end of what is asked for. A single zero byte as end means "all that follow".
pub(super) fn range(
    words: &[String],
    prefix: bool,
    from_key: bool,
) -> Result<(Bytes, Bytes), Failure> {
    const ZERO: Bytes = Bytes::from_static(b"\0");
    if prefix && from_key {
        return Err(Failure::bad_arguments(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one",
        ));
    }
    if words.len() > 1 && (prefix || from_key) {
        return Err(Failure::bad_arguments(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        ));
    }
    let mut words = words.iter().map(|word| Bytes::from(word.clone()));
    let key = words.next().unwrap_or_default();
    Ok(match (prefix || from_key, key.is_empty()) {
        (false, _) => (key, words.next().unwrap_or_default()),
        (true, true) => (ZERO, ZERO),
        (true, false) if from_key => (key, ZERO),
        (true, false) => {
            let end = after_prefix(&key);
            (key, end)
        }
    })
}

/// The first key that does not begin with `prefix`: its last byte that can be is one higher, and what follows is cut.
pub(crate) fn after_prefix(prefix: &[u8]) -> Bytes {
    match prefix.iter().rposition(|byte| *byte < u8::MAX) {
        Some(at) => {
            let mut end = prefix[..=at].to_vec();
            end[at] += 1;
            Bytes::from(end)
        }
        None => Bytes::from_static(b"\0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_successor() {
        for (prefix, end) in [
            (&b"a"[..], &b"b"[..]),
            (b"a\xff", b"b"),
            (b"\xff\xff", b"\0"),
        ] {
            assert_eq!(after_prefix(prefix), end);
        }
    }
}
