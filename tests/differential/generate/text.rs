//! Requests to the JSON gateway as people write them: numbers as such and in quotes, names in both spellings, choices by
//! name and by number, `null`; and what is no request at all.

use super::Generator;
use crate::operation::Act;

const TEXTS: [(&str, &[&str]); 6] = [
    (
        "/v3/kv/put",
        &[
            r#"{"key":"YQ==","value":"dg=="}"#,
            r#"{"key":"YQ==","value":"/+8="}"#,
            r#"{"key":"YQ==","value":null,"prev_kv":null,"ignore_lease":null}"#,
            r#"{"key":"YQ==","value":"dg==","lease":0}"#,
            r#"{"key":"YQ==","lease":"7"}"#,
            r#"{"key":"YQ==","lease":7}"#,
            r#"{"key":"YQ==","lease":"x"}"#,
            r#"{"key":"YQ==","lease":null,"prev_kv":true}"#,
            r#"{"key":"YQ==","prevKv":true}"#,
            r#"{"key":"YQ==","prev_kv":"true"}"#,
            r#"{"key":"YQ==","ignoreValue":true}"#,
            r#"{"key":"YQ==","value":"%%"}"#,
            r#"{"key":"YQ==","value":7}"#,
            r#"{"key":null}"#,
            r#"{"key":"YQ==","value":"\u0064g=="}"#,
            r#" { "key" : "YQ==" } "#,
            "",
            "null",
            "[]",
            "7",
            "{",
            "{]",
        ],
    ),
    (
        "/v3/kv/range",
        &[
            r#"{"key":"YQ==","range_end":"eg==","limit":"2"}"#,
            r#"{"key":"YQ==","rangeEnd":"eg==","limit":2}"#,
            r#"{"key":"AA==","range_end":"AA==","keys_only":true}"#,
            r#"{"key":"AA==","range_end":"AA==","countOnly":true}"#,
            r#"{"key":"AA==","range_end":"AA==","sort_order":"DESCEND"}"#,
            r#"{"key":"AA==","range_end":"AA==","sort_order":2,"sort_target":"MOD"}"#,
            r#"{"key":"AA==","range_end":"AA==","sortOrder":"ASCEND","sortTarget":4}"#,
            r#"{"key":"AA==","range_end":"AA==","sort_order":"descend"}"#,
            r#"{"key":"YQ==","revision":"99999999999999999999"}"#,
            r#"{"key":"YQ==","revision":"-1"}"#,
            r#"{"key":"YQ==","revision":1.5}"#,
            r#"{"key":"YQ==","limit":-1,"serializable":true}"#,
            r#"{"key":"YQ==","sort_order":null}"#,
        ],
    ),
    (
        "/v3/kv/deleterange",
        &[
            r#"{"key":"YQ==","prev_kv":true}"#,
            r#"{"key":"YQ==","rangeEnd":"Yw==","prevKv":true}"#,
            "{}",
        ],
    ),
    (
        "/v3/kv/txn",
        &[
            r#"{"compare":[{"key":"YQ==","target":"VALUE","value":"dg=="}],"success":[{"request_range":{"key":"YQ=="}}],"failure":[{"request_put":{"key":"YQ==","value":"dg=="}}]}"#,
            r#"{"compare":[{"key":"YQ==","result":"GREATER","target":"CREATE","create_revision":"0"}],"success":[{"requestDeleteRange":{"key":"YQ==","prevKv":true}}]}"#,
            r#"{"compare":[{"key":"YQ==","result":1,"target":2,"modRevision":1}],"failure":[{"requestTxn":{"success":[{"requestRange":{"key":"YQ=="}}]}}]}"#,
            r#"{"compare":[{"key":"YQ==","target":"VERSION","version":"0"}],"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}"#,
            r#"{"compare":null,"success":[]}"#,
            r#"{"compare":[{"key":"YQ==","result":"LIKE"}]}"#,
            r#"{"success":[{}]}"#,
            r#"{"success":{"request_put":{"key":"YQ=="}}}"#,
        ],
    ),
    (
        "/v3/lease/grant",
        &[
            r#"{"TTL":"3600","ID":"7"}"#,
            r#"{"TTL":3600,"ID":77}"#,
            r#"{"ttl":3600,"ID":77}"#,
            r#"{"TTL":"x"}"#,
        ],
    ),
    (
        "/v3/kv/lease/timetolive",
        &[
            r#"{"ID":"7","keys":true}"#,
            r#"{"ID":77}"#,
            r#"{"id":7}"#,
            "{}",
        ],
    ),
];

impl Generator {
    pub(super) fn text(&mut self) -> Act {
        let (path, bodies) = self.pick(&TEXTS);
        let body = self.pick(bodies).to_owned();
        Act::Json { path, body }
    }
}
