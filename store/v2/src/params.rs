//! What a request asks for: method, path, and fields of the query and the form.

use crate::error::{Code, Error};
use crate::path::Path;

/// The method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET or HEAD.
    Get,
    /// PUT.
    Put,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Params {
    /// The method.
    pub verb: Verb,
    /// Which node.
    pub path: Path,
    /// The value, empty if none is given.
    pub value: String,
    /// Seconds to live; `None` = for good.
    pub ttl: Option<u64>,
    /// A directory is meant.
    pub dir: bool,
    /// All that is below, too.
    pub recursive: bool,
    /// Wait for a change.
    pub wait: bool,
    /// And for those that follow.
    pub stream: bool,
    /// From this index on; 0 = from now.
    pub wait_index: u64,
    /// The answer sees every write before it.
    pub quorum: bool,
    /// Change the time to live only.
    pub refresh: bool,
    /// Whether it must be there, or must not.
    pub prev_exist: Option<bool>,
    /// What its value must be.
    pub prev_value: Option<String>,
    /// What its index must be; 0 = any.
    pub prev_index: u64,
    /// Answer a write without nodes.
    pub no_value_on_success: bool,
}

impl Params {
    /// Reads a request; `raw` is the path behind `/v2/keys` as the URL has it, `fields` the forms, that of the body
    /// before that of the URL: the first of a name counts.
    ///
    /// # Errors
    /// A field that makes no sense.
    pub fn parse(verb: Verb, raw: &str, fields: &[&str]) -> Result<Self, Error> {
        let form = Form::parse(fields)?;
        let decoded = unescaped(raw, false)?;
        let prev_index = form.number("prevIndex", Code::IndexNotANumber)?;
        let wait_index = form.number("waitIndex", Code::IndexNotANumber)?;
        let recursive = form.flag("recursive")?;
        form.flag("sorted")?;
        let wait = form.flag("wait")?;
        let dir = form.flag("dir")?;
        let quorum = form.flag("quorum")?;
        let stream = form.flag("stream")?;
        if wait && verb != Verb::Get {
            let cause = "\"wait\" can only be used with GET requests";
            return Err(Error::early(Code::InvalidField, cause));
        }
        let prev_value = form.get("prevValue").map(str::to_owned);
        if prev_value.as_deref() == Some("") {
            let cause = "\"prevValue\" cannot be empty";
            return Err(Error::early(Code::PrevValueRequired, cause));
        }
        let no_value_on_success = form.flag("noValueOnSuccess")?;
        let ttl = match form.get("ttl") {
            None | Some("") => None,
            Some(_) => Some(form.number("ttl", Code::TtlNotANumber)?),
        };
        let prev_exist = match form.get("prevExist") {
            None | Some("") => None,
            Some(text) => {
                let cause = "invalid value for prevExist";
                Some(boolean(text).ok_or_else(|| Error::early(Code::InvalidField, cause))?)
            }
        };
        let refresh = form.flag("refresh")?;
        if refresh && form.get("value").is_some() {
            let cause = "A value was provided on a refresh";
            return Err(Error::early(Code::RefreshValue, cause));
        }
        if refresh && ttl.is_none() {
            return Err(Error::early(Code::RefreshTtlRequired, "No TTL value set"));
        }
        Ok(Self {
            verb,
            path: Path::parse(&decoded),
            value: form.get("value").unwrap_or_default().to_owned(),
            ttl,
            dir,
            recursive,
            wait,
            stream,
            wait_index,
            quorum,
            refresh,
            prev_exist,
            prev_value,
            prev_index,
            no_value_on_success,
        })
    }
}

/// Fields in order.
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(texts: &[&str]) -> Result<Self, Error> {
        let mut fields = Vec::new();
        for text in texts {
            for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                fields.push((unescaped(name, true)?, unescaped(value, true)?));
            }
        }
        Ok(Self(fields))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, code: Code) -> Result<u64, Error> {
        match self.get(name) {
            None | Some("") => Ok(0),
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map_err(|_| invalid(name, code))
            }
            Some(_) => Err(invalid(name, code)),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.get(name) {
            None | Some("") => Ok(false),
            Some(text) => boolean(text).ok_or_else(|| invalid(name, Code::InvalidField)),
        }
    }
}

fn invalid(name: &str, code: Code) -> Error {
    Error::early(code, format!("invalid value for {name:?}"))
}

/// As Go reads it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Undoes `%41`, and in forms `+`.
fn unescaped(text: &str, form: bool) -> Result<String, Error> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3);
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let Some(byte) = byte else {
                    let wrong = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 3)]);
                    let cause = format!("invalid URL escape {wrong:?}");
                    return Err(Error::early(Code::InvalidForm, cause));
                };
                out.push(byte);
                at += 3;
            }
            b'+' if form => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
