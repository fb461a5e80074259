//! Pure: The form of a resource file as JSON Schema (draft 2020-12), from which editors complete and check while one
//! types. What it cannot say (`quiet_max` is no less than `quiet_min`, …) the parser says.

use serde_json::{Map, Value, json};

use super::KEYS;
use super::files::OF_ONE;
use crate::format::Format;
use crate::reload::{Driver, SIGNALS};

/// How a time is written.
const TIME: &str = r"^(0|([0-9]+(\.[0-9]+)?(us|µs|ms|s|m|h))+)$";

fn text(says: &str, example: &str) -> Value {
    json!({"type": "string", "minLength": 1, "description": says, "examples": [example]})
}

fn path(says: &str, example: &str) -> Value {
    json!({"type": "string", "pattern": "^/.*[^/]$", "description": says, "examples": [example]})
}

fn time(says: &str, example: &str) -> Value {
    json!({"type": ["string", "integer"], "pattern": TIME, "maximum": 0, "minimum": 0, "description": says,
           "examples": [example]})
}

fn flag(says: &str, usual: bool) -> Value {
    json!({"type": "boolean", "default": usual, "description": says, "examples": [!usual]})
}

fn one_of(says: &str, known: &[&str]) -> Value {
    json!({"enum": known, "description": says, "examples": [known.first()]})
}

/// What a key may be.
fn key(name: &str) -> Value {
    match name {
        "src" => text("Template, below templates/", "web.conf.tera"),
        "dest" => path("File to write, absolute", "/etc/nginx/conf.d/web.conf"),
        "files" => json!({
            "type": "array", "minItems": 1,
            "description": "Several files that are checked and switched together, in place of src and dest",
            "items": {
                "type": "object", "additionalProperties": false, "required": ["src", "dest"],
                "properties": OF_ONE.iter().map(|name| ((*name).to_owned(), key(name))).collect::<Map<_, _>>(),
            },
            "examples": [[{"src": "a.tera", "dest": "/etc/a"}, {"src": "b.tera", "dest": "/etc/b"}]],
        }),
        "engine" => one_of(
            "Language of the template; without it .tmpl is a Go template and anything else Tera",
            &["tera", "gotmpl"],
        ),
        "keys" => json!({
            "description": "Paths the template may read; with a slash at the end only what is below",
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "examples": [["/services/web"]],
        }),
        "backends" => json!({
            "description": "Where its keys come from, the later over the earlier: names of [backends.NAME] in confd.toml, or settings",
            "oneOf": [{"type": "string"}, {"type": "object"},
                      {"type": "array", "items": {"type": ["string", "object"]}}],
            "examples": [["base", {"backend": "redis", "nodes": ["127.0.0.1:6379"]}]],
        }),
        "prefix" => text(
            "In front of all keys, stripped for the template",
            "/production",
        ),
        "mode" => json!({
            "type": "string", "pattern": "^(0o)?[0-7]{0,5}$",
            "description": "Permission bits, octal digits in quotes; without it those of the file are kept",
            "examples": ["0644"],
        }),
        "uid" | "gid" => json!({
            "type": "integer", "minimum": 0, "maximum": u32::MAX, "examples": [0],
            "description": "Owner or group by number; without it that of the file is kept",
        }),
        "owner" | "group" => text("Owner or group by name", "root"),
        "check_cmd" => text(
            "Must accept the staged file {{src}} before it replaces {{dest}}",
            "nginx -t -c {{src}}",
        ),
        "reload_cmd" => text(
            "Makes the service read its file; tried again until it succeeds",
            "systemctl reload nginx",
        ),
        "reload" => driver(),
        "verify_cmd" => text(
            "Proves that the service runs on the new file",
            "pgrep nginx",
        ),
        "verify_url" => json!({
            "type": "string", "pattern": "^https?://[^/]+", "examples": ["http://127.0.0.1:8080/health"],
            "description": "Answers with a status of 200 to 299 when the service runs on the new file",
        }),
        "verify_hash" => json!({
            "type": "string", "pattern": "^https?://[^/]+", "examples": ["http://127.0.0.1:8080/config-hash"],
            "description": "Answers with the hash that config_hash() has put into the file when the service runs on it",
        }),
        "rollback" => flag("Content that the service did not take is taken back", true),
        "check_cmd_timeout" => time("Longest check_cmd may run [30s]", "10s"),
        "reload_cmd_timeout" => time(
            "Longest reload_cmd and verify_cmd may run, each [60s]",
            "2m",
        ),
        "quiet_min" => time("Time to wait for more changes after one [50ms]", "200ms"),
        "quiet_max" => time("Longest a change waits [1s]", "5s"),
        "debounce" => time("The fork's word for quiet_min", "2s"),
        "min_reload_interval" => time("Shortest time between two reloads", "10s"),
        "guard" => json!({
            "description": "A file is refused in which a group of servers would lose too many at once",
            "oneOf": [{"type": "boolean"}, {
                "type": "object", "additionalProperties": false,
                "properties": {
                    "lose_max": {"type": ["string", "integer"], "description": "Largest share that may go, like 50%"},
                    "keep_min": {"type": "integer", "minimum": 1, "description": "Fewest servers that may be left"},
                    "gone_max": {"type": ["string", "integer"], "description": "Largest share of the upstreams that may go whole, like 20%"},
                },
            }],
            "examples": [{"lose_max": "50%", "keep_min": 2, "gone_max": "20%"}],
        }),
        "for_each" => text(
            "Path below which each name has a file of its own; dest then holds {{name}}",
            "/sites",
        ),
        "on_missing" => one_of(
            "What becomes of the file of a name of for_each that is gone [delete]",
            &["delete", "empty", "keep"],
        ),
        "missing_keys" => json!({
            "description": "What a key that does not exist comes to, where the template says nothing itself [error]",
            "oneOf": [{"enum": ["error", "keep"]}, {
                "type": "object", "additionalProperties": false, "required": ["default"],
                "properties": {"default": {"type": "string"}},
            }],
            "examples": ["keep", {"default": ""}],
        }),
        "output_format" => one_of("What the text must parse as", Format::NAMES),
        "trim_blocks" => flag(
            "Lines with block tags only leave nothing in the output",
            true,
        ),
        "vars" => json!({
            "type": "object", "description": "Free values, seen by the template as vars", "examples": [{"port": 80}],
        }),
        // A key without a form is a fault of ours, which a test shows.
        _ => Value::Bool(true),
    }
}

/// What a driver takes: each key with its form, the needed ones first, and how many are needed.
fn settings(driver: &str) -> (usize, Vec<(&'static str, Value)>) {
    let signal = || one_of("Signal to send [HUP]", SIGNALS);
    let socket = || path("Socket file", "/run/haproxy/admin.sock");
    match driver {
        "signal" => (
            1,
            vec![
                (
                    "pid_file",
                    path("File with the number of the process", "/run/x.pid"),
                ),
                ("signal", signal()),
                (
                    "absent",
                    one_of(
                        "What it is when there is no such file [fault]",
                        &["fault", "fine"],
                    ),
                ),
            ],
        ),
        "systemd" => (
            1,
            vec![
                ("unit", text("Unit", "nginx.service")),
                (
                    "action",
                    one_of(
                        "What systemctl does [reload]",
                        &["reload", "restart", "try-restart", "reload-or-restart"],
                    ),
                ),
            ],
        ),
        "docker" => (
            1,
            vec![
                ("label", text("All running containers with it", "role=lb")),
                (
                    "action",
                    one_of("What is done to them", &["signal", "restart"]),
                ),
                ("signal", signal()),
                (
                    "socket",
                    path("Where the engine listens", "/var/run/docker.sock"),
                ),
            ],
        ),
        "http" => (
            1,
            vec![
                (
                    "url",
                    json!({"type": "string", "pattern": "^https?://[^/]+", "description": "Where it is asked",
                           "examples": ["http://127.0.0.1:9090/-/reload"]}),
                ),
                ("method", text("Method [POST]", "POST")),
            ],
        ),
        "nginx" => (
            0,
            vec![
                ("pid_file", path("nginx's pid file", "/run/nginx.pid")),
                ("command", text("How nginx is called", "nginx")),
                ("proof_timeout", time("Longest for new workers [10s]", "5s")),
            ],
        ),
        "haproxy_master" => (1, vec![("socket", socket())]),
        "haproxy_runtime" => (
            1,
            vec![
                ("socket", socket()),
                (
                    "master",
                    path("Master socket, for reloads", "/run/haproxy/master.sock"),
                ),
            ],
        ),
        _ => (0, Vec::new()),
    }
}

fn driver() -> Value {
    let forms: Vec<Value> = Driver::NAMES
        .iter()
        .map(|name| {
            let (needed, keys) = settings(name);
            let required: Vec<&str> = keys.iter().take(needed).map(|(key, _)| *key).collect();
            let properties: Map<String, Value> = keys
                .into_iter()
                .map(|(key, form)| (key.to_owned(), form))
                .collect();
            // `driver` itself is told of below.
            let mut properties = properties;
            properties.insert("driver".to_owned(), Value::Bool(true));
            json!({
                "if": {"properties": {"driver": {"const": name}}},
                "then": {"properties": properties, "required": required, "additionalProperties": false},
            })
        })
        .collect();
    json!({
        "type": "object",
        "description": "How the service is made to read its file, and what proves that it did",
        "required": ["driver"],
        "properties": {"driver": {"enum": Driver::NAMES}},
        "allOf": forms,
        "examples": [{"driver": "haproxy_master", "socket": "/run/haproxy/master.sock"}],
    })
}

/// The schema.
pub fn schema() -> Value {
    let keys: Map<String, Value> = KEYS
        .iter()
        .map(|name| ((*name).to_owned(), key(name)))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "confd resource",
        "description": "One file to keep: its template, its keys, and what to run when it changes",
        "if": {"type": "object", "required": ["template"]},
        "then": {
            "properties": {"template": {"$ref": "#/$defs/resource"}},
            "additionalProperties": false,
        },
        "else": {"$ref": "#/$defs/resource"},
        "$defs": {"resource": {
            "type": "object",
            "oneOf": [{"required": ["src", "dest"]}, {"required": ["files"]}],
            "properties": keys,
            "additionalProperties": false,
        }},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::Defaults;
    use crate::resource::{Resource, ResourceError, parse};

    /// What the parser makes of a resource with these keys.
    fn read(keys: &[(&str, &Value)]) -> Result<Resource, ResourceError> {
        let mut resource = json!({"src": "a.tera", "dest": "/etc/a", "keys": ["/a"]});
        for (key, value) in keys {
            resource[*key] = (*value).clone();
            if *key == "files" {
                resource["src"].take();
                resource["dest"].take();
            }
        }
        parse("a.yaml", &resource.to_string(), &Defaults::default())
    }

    #[test]
    fn every_key_has_a_form_whose_examples_are_read() {
        let schema = schema();
        let keys = &schema["$defs"]["resource"]["properties"];
        for name in KEYS {
            let form = &keys[*name];
            assert!(form["description"].is_string(), "{name}");
            let examples = form["examples"].as_array().unwrap();
            assert!(!examples.is_empty(), "{name}");
            for example in examples {
                let each = (json!("/sites"), json!("/etc/{{name}}"));
                let mut keys = vec![(*name, example)];
                if matches!(*name, "for_each" | "on_missing") {
                    keys.extend([("for_each", &each.0), ("dest", &each.1)]);
                }
                read(&keys).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }

    #[test]
    fn every_driver_takes_exactly_what_the_form_says() {
        for name in Driver::NAMES {
            let (needed, keys) = settings(name);
            let mut table = json!({"driver": name});
            for (key, form) in &keys {
                table[*key] = form["examples"][0].clone();
            }
            let good = read(&[("reload", &table)]);
            good.unwrap_or_else(|error| panic!("{name}: {error}"));
            for (key, _) in &keys[..needed] {
                let mut less = table.clone();
                less.as_object_mut().unwrap().remove(*key);
                assert!(read(&[("reload", &less)]).is_err(), "{name} without {key}");
            }
            table["more"] = json!("x");
            let error = read(&[("reload", &table)]).unwrap_err();
            for (key, _) in &keys {
                let hint = error.hint.clone().unwrap_or_default();
                assert!(hint.contains(key), "{name}: {hint} lacks {key}");
            }
        }
    }

    #[test]
    fn times_are_written_as_the_parser_reads_them() {
        let pattern = regex::Regex::new(TIME).unwrap();
        for (text, good) in [
            ("50ms", true),
            ("1m30s", true),
            ("1.5s", true),
            ("0", true),
            ("2", false),
            ("s", false),
            ("5 s", false),
        ] {
            assert_eq!(pattern.is_match(text), good, "{text}");
            let value = json!(text);
            if text != "0" {
                let read = read(&[("check_cmd_timeout", &value)]);
                assert_eq!(read.is_ok(), good, "{text}");
            }
        }
    }
}
