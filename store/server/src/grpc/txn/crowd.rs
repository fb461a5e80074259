//! Large transactions, looked over before they are decoded: an operation that says nothing takes two bytes, and a
//! hundred and more once decoded, so that a request of two megabytes would take hundreds of memory.

use prost::encoding::{WireType, decode_key, decode_varint};

use crate::grpc::errors::ApiError;

/// Requests up to this are decoded unseen: they become some megabytes at most.
const UNSEEN_BYTES: usize = 64 << 10;

/// Levels a decoder goes down; behind them it refuses.
const LEVELS_MAX: usize = 100;

/// Objects that JSON takes for one operation: the operation, what it is of, and what that holds.
const OBJECTS_PER_OP: usize = 3;

/// Fields of `TxnRequest`.
const COMPARE: u32 = 1;
const SUCCESS: u32 = 2;
const FAILURE: u32 = 3;

/// Field of `RequestOp` for a transaction in a transaction.
const REQUEST_TXN: u32 = 4;

/// Operations and comparisons of all levels together: as many as two levels can hold.
const fn all_max(ops_max: usize) -> usize {
    ops_max.saturating_mul(ops_max)
}

/// Refuses an encoded `TxnRequest` that holds too much.
///
/// # Errors
/// There are more operations than any reasonable transaction has. What is malformed is left to the decoder.
pub(crate) fn check(encoded: &[u8], ops_max: usize) -> Result<(), ApiError> {
    if encoded.len() <= UNSEEN_BYTES {
        return Ok(());
    }
    let mut left = all_max(ops_max);
    match txn(encoded, LEVELS_MAX, &mut left) {
        Seen::TooMany => Err(ApiError::TooManyOps),
        Seen::All | Seen::Malformed => Ok(()),
    }
}

/// The same of one in JSON.
///
/// # Errors
/// See [`check`].
pub(crate) fn check_json(text: &[u8], ops_max: usize) -> Result<(), ApiError> {
    if text.len() <= UNSEEN_BYTES {
        return Ok(());
    }
    let mut left = all_max(ops_max).saturating_mul(OBJECTS_PER_OP);
    let (mut in_text, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' if !in_text => {
                left = left.checked_sub(1).ok_or(ApiError::TooManyOps)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    All,
    TooMany,
    Malformed,
}

/// Counts the operations of a transaction down from `left`.
fn txn(encoded: &[u8], levels: usize, left: &mut usize) -> Seen {
    each_message(encoded, |field, message| {
        if !matches!(field, COMPARE | SUCCESS | FAILURE) {
            return Seen::All;
        }
        let Some(less) = left.checked_sub(1) else {
            return Seen::TooMany;
        };
        *left = less;
        if field == COMPARE {
            return Seen::All;
        }
        let Some(levels) = levels.checked_sub(1) else {
            return Seen::Malformed;
        };
        each_message(message, |field, inner| {
            if field == REQUEST_TXN {
                txn(inner, levels, left)
            } else {
                Seen::All
            }
        })
    })
}

/// Calls `look` with each field that holds bytes, until one is not [`Seen::All`].
fn each_message(mut encoded: &[u8], mut look: impl FnMut(u32, &[u8]) -> Seen) -> Seen {
    while !encoded.is_empty() {
        let Ok((field, kind)) = decode_key(&mut encoded) else {
            return Seen::Malformed;
        };
        let bytes = match kind {
            WireType::Varint => match decode_varint(&mut encoded) {
                Ok(_) => 0,
                Err(_) => return Seen::Malformed,
            },
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => match decode_varint(&mut encoded) {
                Ok(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
                Err(_) => return Seen::Malformed,
            },
            WireType::StartGroup | WireType::EndGroup => return Seen::Malformed,
        };
        let Some((message, rest)) = encoded.split_at_checked(bytes) else {
            return Seen::Malformed;
        };
        encoded = rest;
        if kind == WireType::LengthDelimited {
            match look(field, message) {
                Seen::All => {}
                other => return other,
            }
        }
    }
    Seen::All
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use store_proto::etcdserverpb::request_op::Request;
    use store_proto::etcdserverpb::{Compare, PutRequest, RequestOp, TxnRequest};

    use super::*;

    fn put() -> RequestOp {
        let put = PutRequest {
            key: "k{{{".into(),
            ..PutRequest::default()
        };
        RequestOp {
            request: Some(Request::RequestPut(put)),
        }
    }

    fn nested(txn: TxnRequest) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestTxn(txn)),
        }
    }

    /// What is counted, by a limit that is just met and one that is just not.
    fn counted(request: &TxnRequest) -> usize {
        let encoded = request.encode_to_vec();
        let mut left = usize::MAX;
        assert_eq!(txn(&encoded, LEVELS_MAX, &mut left), Seen::All);
        let counted = usize::MAX - left;
        if let Some(mut less) = counted.checked_sub(1) {
            assert_eq!(txn(&encoded, LEVELS_MAX, &mut less), Seen::TooMany);
        }
        counted
    }

    #[test]
    fn operations_of_all_levels_are_counted() {
        let flat = TxnRequest {
            compare: vec![Compare::default(); 3],
            success: vec![RequestOp::default(); 5],
            failure: vec![put(); 7],
        };
        let deep = TxnRequest {
            success: vec![nested(flat.clone()), put()],
            failure: vec![nested(flat.clone())],
            ..TxnRequest::default()
        };
        for (request, wanted) in [(TxnRequest::default(), 0), (flat, 15), (deep, 33)] {
            assert_eq!(counted(&request), wanted);
        }
    }

    #[test]
    fn large_ones_are_refused_by_their_number_only() {
        let many = TxnRequest {
            success: vec![RequestOp::default(); UNSEEN_BYTES],
            ..TxnRequest::default()
        };
        let large = TxnRequest {
            success: vec![RequestOp {
                request: Some(Request::RequestPut(PutRequest {
                    value: vec![b'{'; 2 * UNSEEN_BYTES].into(),
                    ..PutRequest::default()
                })),
            }],
            ..TxnRequest::default()
        };
        for (request, wanted) in [(many, Err(ApiError::TooManyOps)), (large, Ok(()))] {
            let json = serde_json::to_string(&request).unwrap();
            assert_eq!(check(&request.encode_to_vec(), 128), wanted);
            assert_eq!(check_json(json.as_bytes(), 128), wanted);
        }
        let quoted = format!("{{\"a\\\"\":\"{}\"}}", "{".repeat(2 * UNSEEN_BYTES));
        assert_eq!(check_json(quoted.as_bytes(), 128), Ok(()));
    }

    #[test]
    fn what_is_malformed_is_left_to_the_decoder() {
        let garbage = [vec![0x12, 0xff, 0xff, 0xff, 0x7f], vec![0xff; UNSEEN_BYTES]].concat();
        assert_eq!(check(&garbage, 128), Ok(()));
        // Deeper than any decoder goes.
        let mut request = TxnRequest::default();
        for _ in 0..LEVELS_MAX + 5 {
            request = TxnRequest {
                success: vec![nested(request)],
                ..TxnRequest::default()
            };
        }
        let mut left = usize::MAX;
        let seen = txn(&request.encode_to_vec(), LEVELS_MAX, &mut left);
        assert_eq!(seen, Seen::Malformed);
    }
}
