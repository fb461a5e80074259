//! The form of `confd.yaml` and `confd.toml` as JSON Schema (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use super::file::{BACKEND_KEYS, FILE_KEYS};

/// What a key may be.
fn key(name: &str) -> Value {
    let text = |says: &str, example: &str| json!({"type": "string", "description": says, "examples": [example]});
    let flag = |says: &str| json!({"type": "boolean", "description": says, "examples": [true]});
    let time = |says: &str, example: &str| json!({"type": ["string", "integer"], "description": says, "examples": [example]});
    let list = |says: &str, example: &str| json!({"type": ["string", "array"], "items": {"type": "string"}, "description": says, "examples": [[example]]});
    match name {
        "confdir" => text("Directory with conf.d/ and templates/", "/etc/confd"),
        "prefix" => text("Key prefix for all resources", "/production"),
        "prefix_rule" => json!({
            "enum": ["replace", "join"], "examples": ["join"],
            "description": "What it does to a resource's own prefix [replace]",
        }),
        "interval" => time(
            "How often every file is compared with its render; 0 turns it off [600s]",
            "10m",
        ),
        "watch" => flag("Keep watching for changes, which is the default"),
        "noop" => flag("Show what would change, change nothing"),
        "sync-only" => flag("Write files, but run neither checks nor reloads"),
        "log-level" => json!({
            "enum": ["error", "warn", "info", "debug", "trace"], "examples": ["debug"],
            "description": "What is told [info]",
        }),
        "state_dir" => text(
            "Directory for the state of applied files",
            "/var/lib/muster/confd",
        ),
        "listen" => text(
            "Address for /livez, /readyz, /status and /metrics",
            "127.0.0.1:9190",
        ),
        "publish_status" => flag("Say in the store how this agent is doing [true]"),
        "status_name" => text("Name of this host there", "web-1"),
        "backends" => json!({
            "type": "object", "additionalProperties": {"$ref": "#/$defs/backend"},
            "description": "Backends that resources name",
            "examples": [{"base": {"backend": "file", "file": ["/etc/confd/base.yaml"]}}],
        }),
        "exec" => text("The service that confd keeps", "nginx -g 'daemon off;'"),
        "exec_signal" => text("What it is sent when a file changes [HUP]", "USR1"),
        "exec_kill_timeout" => time("Time it has to end [10s]", "30s"),
        "backend" => json!({
            "enum": super::access::BACKENDS, "examples": ["consul"], "description": "Where keys come from [store]",
        }),
        "nodes" | "endpoints" => list("Where it is reached", "http://127.0.0.1:2379"),
        "scheme" => text("Scheme of nodes that are named without one", "https"),
        "file" => list(
            "Files and directories of the backend file, later ones win",
            "/etc/confd/keys.yaml",
        ),
        "filter" => text(
            "Names of files in such directories that are read [*]",
            "*.yaml",
        ),
        "basic_auth" => flag("Without effect: user and password count as soon as they are given"),
        "client_insecure" => flag("Without effect"),
        "username" => text("User", "confd"),
        "password" => text("Password", "secret"),
        "client_cakeys" => text(
            "CA certificates that sign the other side's (PEM)",
            "/etc/confd/ca.pem",
        ),
        "client_cert" => text("Client certificate (PEM)", "/etc/confd/cert.pem"),
        "client_key" => text("Its key (PEM)", "/etc/confd/key.pem"),
        "auth_token" => text("Token for Consul or Vault", "token"),
        "auth_type" => json!({
            "enum": ["token", "app-role", "app-id", "userpass", "github", "kubernetes", "cert"],
            "examples": ["app-role"], "description": "How Vault is logged in to",
        }),
        "app_id" => text("With app-id: the application", "shop"),
        "user_id" => text("With app-id: who it runs for", "web-1"),
        "role_id" => text("With app-role and kubernetes: the role", "web"),
        "secret_id" => text("With app-role: the role's secret", "secret"),
        "path" => text("Where the auth type is mounted", "approle"),
        "separator" => text("What stands between names in keys of Redis [/]", ":"),
        "table" => text("Table of dynamodb, which is not here", "t"),
        "poll_interval" => time(
            "How often a backend that cannot tell of changes is read [10s]",
            "1m",
        ),
        // A key without a form is a fault of ours, which a test shows.
        _ => Value::Bool(true),
    }
}

/// The schema.
pub(crate) fn schema() -> Value {
    let forms = |keys: &[&str]| -> Map<String, Value> {
        keys.iter()
            .map(|name| ((*name).to_owned(), key(name)))
            .collect()
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "confd.yaml, confd.toml",
        "description": "How confd works and where keys come from",
        "type": "object",
        "properties": forms(&[FILE_KEYS, BACKEND_KEYS].concat()),
        "additionalProperties": false,
        "$defs": {"backend": {
            "type": "object",
            "properties": forms(BACKEND_KEYS),
            "additionalProperties": false,
        }},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Args;

    #[test]
    fn every_key_has_a_form_whose_example_is_read() {
        let home = tempfile::tempdir().unwrap();
        let schema = schema();
        for name in [FILE_KEYS, BACKEND_KEYS].concat() {
            let form = &schema["properties"][name];
            assert!(form["description"].is_string(), "{name}");
            let mut config = json!({name: form["examples"][0].clone()});
            // What only some backends take, or only together.
            let beside = match name {
                "backend" | "table" | "auth_type" | "client_cert" | "client_key"
                | "client_cakeys" => {
                    continue;
                }
                "exec_signal" | "exec_kill_timeout" => json!({"exec": "x"}),
                "file" | "filter" => json!({"backend": "file", "file": ["/x"]}),
                _ => json!({}),
            };
            for (key, value) in beside.as_object().unwrap() {
                config[key] = value.clone();
            }
            let path = home.path().join("confd.yaml");
            std::fs::write(&path, config.to_string()).unwrap();
            let args = Args {
                confdir: Some(home.path().to_owned()),
                ..Args::default()
            };
            let read = args.resolve();
            assert!(read.is_ok(), "{config}: {:?}", read.err());
        }
    }
}
