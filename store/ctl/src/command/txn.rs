//! `txn`: reads comparisons and two lists of operations from stdin, each ended by an empty line, and sends them as one
//! transaction. What a line means is read by the same flags as the commands `get`, `put` and `del`.

use std::io::BufRead;

use bytes::Bytes;
use clap::{ArgAction, Args, Parser, Subcommand};
use store_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use store_proto::etcdserverpb::request_op::Request;
use store_proto::etcdserverpb::{Compare, RequestOp, TxnRequest};

use super::{in_time, kv};
use crate::failure::Failure;
use crate::flags::{Globals, go_bool};
use crate::format::{Answer, Printer};

/// `txn`
#[derive(Debug, Args)]
pub struct Txn {
    words: Vec<String>,
    /// Say what is to be typed in
    #[arg(short, long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set)]
    interactive: bool,
}

impl Txn {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        if !self.words.is_empty() {
            return Err(Failure::bad_arguments(
                "txn command does not accept argument",
            ));
        }
        let request = self.request(&mut std::io::stdin().lock())?;
        globals.within(&request)?;
        let done = in_time(globals, kv::client(globals).await?.txn(request)).await?;
        printer.print(&Answer::Txn(done))
    }

    fn request(&self, input: &mut impl BufRead) -> Result<TxnRequest, Failure> {
        let ask = |question: &str| {
            if self.interactive {
                println!("{question}");
            }
        };
        ask("compares:");
        let compare = paragraph(input, comparison)?;
        ask("success requests (get, put, del):");
        let success = paragraph(input, operation)?;
        ask("failure requests (get, put, del):");
        let failure = paragraph(input, operation)?;
        Ok(TxnRequest {
            compare,
            success,
            failure,
        })
    }
}

/// Everything up to an empty line.
fn paragraph<T>(
    input: &mut impl BufRead,
    parse: impl Fn(&str) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut parsed = Vec::new();
    loop {
        let mut line = String::new();
        let read = input
            .read_line(&mut line)
            .map_err(|cause| Failure::invalid_input(cause.to_string()))?;
        // A paragraph must end with its empty line: half a transaction is never sent.
        if read == 0 || !line.ends_with('\n') {
            return Err(Failure::invalid_input("EOF"));
        }
        let line = line.trim();
        if line.is_empty() {
            return Ok(parsed);
        }
        parsed.push(parse(line)?);
    }
}

/// `mod("key") > "0"`
fn comparison(line: &str) -> Result<Compare, Failure> {
    let malformed = || Failure::invalid_input(format!("malformed comparison: {line}"));
    let (target, rest) = line.split_once('(').ok_or_else(malformed)?;
    let (key, rest) = string(rest.trim_start()).ok_or_else(malformed)?;
    let rest = rest.trim_start().strip_prefix(')').ok_or_else(malformed)?;
    let mut parts = rest.trim().splitn(2, char::is_whitespace);
    let result = match parts.next() {
        Some("=") => CompareResult::Equal,
        Some("!=") => CompareResult::NotEqual,
        Some("<") => CompareResult::Less,
        Some(">") => CompareResult::Greater,
        _ => return Err(malformed()),
    };
    let (operand, _) = string(parts.next().unwrap_or_default().trim()).ok_or_else(malformed)?;
    let text = String::from_utf8_lossy(&operand).into_owned();
    let number = || {
        text.parse::<i64>()
            .map_err(|_| Failure::invalid_input(format!("invalid txn compare request: {line}")))
    };
    let (target, union) = match target.trim() {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "c" | "create" => (
            CompareTarget::Create,
            TargetUnion::CreateRevision(number()?),
        ),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(operand)),
        "lease" => {
            let lease = i64::from_str_radix(&text, 16).map_err(|_| {
                Failure::invalid_input(format!("invalid txn compare request: {line}"))
            })?;
            (CompareTarget::Lease, TargetUnion::Lease(lease))
        }
        other => {
            return Err(Failure::invalid_input(format!(
                "malformed comparison: {line} (unknown target {other})"
            )));
        }
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key,
        target_union: Some(union),
        ..Compare::default()
    })
}

/// A string in double quotes with Go's escapes, and what follows it.
fn string(text: &str) -> Option<(Bytes, &str)> {
    let mut bytes = Vec::new();
    let mut characters = text.strip_prefix('"')?.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Bytes::from(bytes), &text[at + 2..])),
            '\\' => match characters.next()?.1 {
                'n' => bytes.push(b'\n'),
                't' => bytes.push(b'\t'),
                'r' => bytes.push(b'\r'),
                'x' => {
                    let high = characters.next()?.1.to_digit(16)?;
                    let low = characters.next()?.1.to_digit(16)?;
                    bytes.push(u8::try_from(high * 16 + low).ok()?);
                }
                quoted @ ('"' | '\\') => bytes.push(u8::try_from(quoted).ok()?),
                _ => return None,
            },
            _ => bytes.extend(character.to_string().bytes()),
        }
    }
    None
}

/// A line of a transaction, read as a command line.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    Get(kv::Get),
    Put(kv::Put),
    Del(kv::Del),
}

fn operation(line: &str) -> Result<RequestOp, Failure> {
    let invalid = || Failure::invalid_input(format!("invalid txn request: {line}"));
    let words = words(line).ok_or_else(invalid)?;
    let line = Line::try_parse_from(words).map_err(|_| invalid())?;
    let request = match line.operation {
        Operation::Get(get) => Request::RequestRange(get.request()?),
        // A transaction is read from stdin, so a value cannot be.
        Operation::Put(put) => Request::RequestPut(put.request(|| Err(invalid()))?),
        Operation::Del(del) => Request::RequestDeleteRange(del.request()?),
    };
    Ok(RequestOp {
        request: Some(request),
    })
}

/// Words between blanks; quotes, single or double, keep blanks inside. (etcdctl 3.5 cuts what stands in single quotes short,
/// depending on how many words there are; that is not kept.)
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let word;
        if first == '"' {
            let (bytes, after) = string(rest)?;
            word = String::from_utf8(bytes.to_vec()).ok()?;
            rest = after;
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let (inner, after) = quoted.split_once('\'')?;
            word = inner.to_owned();
            rest = after;
        } else {
            let (plain, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            word = plain.to_owned();
            rest = after;
        }
        words.push(word);
        rest = rest.trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks() {
        let expected = vec![
            "put".to_owned(),
            "k x".to_owned(),
            "a \"b".to_owned(),
            "c".to_owned(),
        ];
        assert_eq!(words(r#"put "k x" 'a "b' c"#), Some(expected));
        assert_eq!(words("put \"open"), None);
    }

    #[test]
    fn a_comparison_has_a_target_a_key_an_operator_and_a_value() {
        let compare = comparison(r#"mod("a") > "7""#).expect("well formed");
        assert_eq!(compare.key, "a");
        assert_eq!(compare.target_union, Some(TargetUnion::ModRevision(7)));
        assert_eq!(compare.result(), CompareResult::Greater);
        for wrong in [
            "foo",
            r#"foo("a") = "1""#,
            r#"mod("a") = "x""#,
            r#"value("a") ! "1""#,
            "value(a) = 1",
        ] {
            assert!(comparison(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn half_a_transaction_is_none() {
        let txn = Txn {
            words: Vec::new(),
            interactive: false,
        };
        assert!(txn.request(&mut "\nput a 1\n".as_bytes()).is_err());
        let whole = txn
            .request(&mut "\nput a 1\n\n\n".as_bytes())
            .expect("whole");
        assert_eq!(whole.success.len(), 1);
    }
}
