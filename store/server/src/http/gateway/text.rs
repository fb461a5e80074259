//! A message from its JSON text, by protobuf's JSON mapping.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Values a text may have that is read once more: as a tree each takes some thirty bytes, a few of the text's. Ten times
/// what a transaction of as many operations as are allowed by default has.
const VALUES_MAX: usize = 10_000;

/// The message. A field that is `null` is one that is not there, which the generated code has never heard of: such a
/// text, which is rare, is read once more.
///
/// # Errors
/// It is no such message.
pub(super) fn message<M: DeserializeOwned + Default>(text: &[u8]) -> serde_json::Result<M> {
    let refused = match serde_json::from_slice(text) {
        Ok(message) => return Ok(message),
        Err(refused) => refused,
    };
    let values = text
        .iter()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{'));
    if values.count() > VALUES_MAX || !text.windows(4).any(|window| window == b"null") {
        return Err(refused);
    }
    let Ok(mut tree) = serde_json::from_slice(text) else {
        return Err(refused);
    };
    if tree == Value::Null {
        return Ok(M::default());
    }
    drop_nulls(&mut tree);
    serde_json::from_value(tree).map_err(|_| refused)
}

/// Takes the fields out that are `null`. Elements of lists stay: there it stands for nothing.
fn drop_nulls(tree: &mut Value) {
    match tree {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use store_proto::etcdserverpb::{PutRequest, RangeRequest, TxnRequest};

    use super::*;

    #[test]
    fn null_is_a_field_that_is_not_there() {
        let put: PutRequest = message(br#"{"key":"YQ==","value":null,"lease":null}"#).unwrap();
        assert_eq!((&put.key[..], put.lease), (&b"a"[..], 0));
        let range: RangeRequest = message(br#"{"key":"YQ==","sort_order":null}"#).unwrap();
        assert_eq!(range.sort_order, 0);
        let txn: TxnRequest =
            message(br#"{"compare":null,"success":[{"request_range":{"key":null}}]}"#).unwrap();
        assert_eq!((txn.compare.len(), txn.success.len()), (0, 1));
        assert_eq!(
            message::<PutRequest>(b"null").unwrap(),
            PutRequest::default()
        );
        // As text, it is text.
        let put: PutRequest = message(br#"{"key":"null"}"#).unwrap();
        assert_eq!(put.key.len(), 3);
    }

    #[test]
    fn what_is_no_message_is_none_with_null_in_it_either() {
        for text in [
            r#"{"key":7,"value":null}"#,
            r#"{"key":null"#,
            "[null]",
            "nulls",
        ] {
            assert!(message::<PutRequest>(text.as_bytes()).is_err(), "{text}");
        }
        assert!(message::<TxnRequest>(br#"{"success":[null]}"#).is_err());
        let crowd = format!(r#"{{"key":null,"x":[{}0]}}"#, "0,".repeat(VALUES_MAX));
        assert!(message::<PutRequest>(crowd.as_bytes()).is_err());
    }
}
