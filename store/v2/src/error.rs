//! Why a request was refused: etcd 2's codes, texts and HTTP statuses.

use serde_json::json;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// There is no such key.
    KeyNotFound = 100,
    /// A condition does not hold.
    TestFailed = 101,
    /// It is a directory.
    NotFile = 102,
    /// Something on the way is no directory.
    NotDir = 104,
    /// It is there already.
    NodeExists = 105,
    /// `/` cannot be changed.
    RootReadOnly = 107,
    /// It holds something.
    DirNotEmpty = 108,
    /// Who calls may not.
    Unauthorized = 110,
    /// `prevValue` without one.
    PrevValueRequired = 201,
    /// `ttl` is no number.
    TtlNotANumber = 202,
    /// An index is no number.
    IndexNotANumber = 203,
    /// A field makes no sense.
    InvalidField = 209,
    /// The form cannot be read.
    InvalidForm = 210,
    /// A value on a refresh.
    RefreshValue = 211,
    /// A refresh without a time.
    RefreshTtlRequired = 212,
    /// The store could not do it.
    RaftInternal = 300,
    /// Nobody leads.
    DuringLeaderElect = 301,
    /// History was compacted.
    EventIndexCleared = 401,
}

impl Code {
    /// etcd 2's text.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::KeyNotFound => "Key not found",
            Self::TestFailed => "Compare failed",
            Self::NotFile => "Not a file",
            Self::NotDir => "Not a directory",
            Self::NodeExists => "Key already exists",
            Self::RootReadOnly => "Root is read only",
            Self::DirNotEmpty => "Directory not empty",
            Self::Unauthorized => "The request requires user authentication",
            Self::PrevValueRequired => "PrevValue is Required in POST form",
            Self::TtlNotANumber => "The given TTL in POST form is not a number",
            Self::IndexNotANumber => "The given index in POST form is not a number",
            Self::InvalidField => "Invalid field",
            Self::InvalidForm => "Invalid POST form",
            Self::RefreshValue => "Value provided on refresh",
            Self::RefreshTtlRequired => "A TTL must be provided on refresh",
            Self::RaftInternal => "Raft Internal Error",
            Self::DuringLeaderElect => "During Leader Election",
            Self::EventIndexCleared => "The event in requested index is outdated and cleared",
        }
    }

    /// The HTTP status; what etcd has no row for is 400.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::KeyNotFound => 404,
            Self::NotFile | Self::DirNotEmpty => 403,
            Self::Unauthorized => 401,
            Self::TestFailed | Self::NodeExists => 412,
            Self::RaftInternal | Self::DuringLeaderElect => 500,
            _ => 400,
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What.
    pub code: Code,
    /// Which key or field; empty = nothing to add.
    pub cause: String,
    /// Index of the store then; 0 when it was not asked.
    pub index: i64,
}

impl Error {
    /// A refusal before the store was asked.
    #[must_use]
    pub fn early(code: Code, cause: impl Into<String>) -> Self {
        Self {
            code,
            cause: cause.into(),
            index: 0,
        }
    }

    /// The body of the answer.
    #[must_use]
    pub fn json(&self) -> String {
        let mut body = json!({ "errorCode": self.code as i32, "message": self.code.message() });
        if !self.cause.is_empty() {
            body["cause"] = self.cause.clone().into();
        }
        body["index"] = self.index.into();
        crate::node::line(&body)
    }
}
