//! What a failed store call means for the caller: try the same again, connect anew, take a new
//! lease, or tell a person. The one place where error texts of the store are read.

use etcd_client::Error;

/// What to do after a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The member or the way to it is gone or has no leader: connect anew, perhaps elsewhere. The
    /// outcome of a write is unknown.
    Unreachable,
    /// The member answers but cannot do it now (too many requests, no space, leader changed): try
    /// again on the same connection, later. The outcome of a write is unknown.
    Busy,
    /// The lease is gone: take it again and write everything again.
    LeaseGone,
    /// Credentials or permissions are wrong: retry slowly and tell a person.
    Forbidden,
    /// The request itself is wrong and will be refused again: tell a person.
    Refused,
}

/// Sorts an error of the client crate. Texts and codes are etcd's (`api/v3rpc/rpctypes`).
#[must_use]
pub fn classify(error: &Error) -> Class {
    let Error::GRpcStatus(status) = error else {
        return match error {
            Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::Utf8Error(_) => Class::Refused,
            Error::LeaseKeepAliveError(text) if text.contains("not found") => Class::LeaseGone,
            _ => Class::Unreachable,
        };
    };
    let text = status.message();
    if text.contains("requested lease not found") {
        return Class::LeaseGone;
    }
    if text.contains("too many requests") || text.contains("database space exceeded") {
        return Class::Busy;
    }
    // etcd answers wrong credentials as invalid arguments.
    let credentials = [
        "authentication failed",
        "user name is empty",
        "invalid auth token",
    ];
    if credentials.iter().any(|part| text.contains(part)) {
        return Class::Forbidden;
    }
    match status.code() as i32 {
        // InvalidArgument, AlreadyExists, OutOfRange, Unimplemented, NotFound, FailedPrecondition
        3 | 6 | 11 | 12 | 5 | 9 => Class::Refused,
        // PermissionDenied, Unauthenticated
        7 | 16 => Class::Forbidden,
        // ResourceExhausted, Aborted
        8 | 10 => Class::Busy,
        _ => Class::Unreachable,
    }
}

/// One line for people: the store's own text without the layers around it.
#[must_use]
pub fn describe(error: &Error) -> String {
    match error {
        Error::GRpcStatus(status) if !status.message().is_empty() => {
            let mut line = status.message().to_owned();
            // The transport's reason hides in the sources ("connection refused").
            let mut source = std::error::Error::source(status);
            while let Some(inner) = source {
                let text = inner.to_string();
                if !line.contains(&text) {
                    line.push_str(": ");
                    line.push_str(&text);
                }
                source = inner.source();
            }
            line
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_outside_the_protocol() {
        for (error, class) in [
            (Error::InvalidArgs("x".into()), Class::Refused),
            (
                Error::LeaseKeepAliveError("lease not found".into()),
                Class::LeaseGone,
            ),
            (
                Error::LeaseKeepAliveError("channel closed".into()),
                Class::Unreachable,
            ),
            (Error::WatchError("x".into()), Class::Unreachable),
            (
                Error::IoError(std::io::ErrorKind::BrokenPipe.into()),
                Class::Unreachable,
            ),
        ] {
            assert_eq!(classify(&error), class, "{error}");
            assert!(!describe(&error).is_empty());
        }
    }
}
