//! What an agent says about itself in the store: one small JSON value under a lease, so that whoever looks at the store
//! sees which agents live, which version each runs and how far each is. Written by the agents, read by `muster agents`.

use serde::{Deserialize, Serialize};

use crate::instance::{LABEL_BYTES_MAX, label};

/// Where the values stand: `<PREFIX>registrator/<node id>` and `<PREFIX>confd/<node>/<place>`.
pub const PREFIX: &str = "/muster/status/";

/// The version written into values. Readers accept later ones: fields are only ever added.
pub const VERSION: u32 = 1;

/// 300: a line of a log. The whole message stands in the agent's own status page and log.
const MESSAGE_CHARS_MAX: usize = 300;

/// 200: more files than one host usually has, and the value stays below 100 KiB; those that fail come first.
pub const RESOURCES_MAX: usize = 200;

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "agent", rename_all = "lowercase")]
pub enum Agent {
    /// Keeps the containers of a host registered.
    Registrator(Registrator),
    /// Keeps files of a host rendered.
    Confd(Confd),
}

/// A registrator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registrator {
    /// Version of this form, [`VERSION`] when written.
    pub version: u32,
    /// Name of its host, as in the records.
    pub node: String,
    /// Version of the program.
    pub program: String,
    /// When it started, RFC 3339.
    pub since: String,
    /// Revision of the last change it made.
    pub revision: i64,
    /// Containers that run.
    pub containers: usize,
    /// Services it registers.
    pub services: usize,
    /// Their instances on this host.
    pub instances: usize,
    /// Containers whose keys are not yet what they should be.
    pub pending: usize,
    /// What is wrong, the first of it in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A confd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confd {
    /// Version of this form, [`VERSION`] when written.
    pub version: u32,
    /// Name of its host.
    pub node: String,
    /// Version of the program.
    pub program: String,
    /// When it started, RFC 3339.
    pub since: String,
    /// Its configuration folder.
    pub confdir: String,
    /// Revision up to which it knew all keys when this was written.
    pub revision: i64,
    /// What is wrong with the agent itself, the first of it in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its files: those that fail first, [`RESOURCES_MAX`] at most.
    pub resources: Vec<Resource>,
    /// How many more there are.
    #[serde(default)]
    pub left_out: usize,
}

/// A file that a confd keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Name of the resource.
    pub name: String,
    /// The file; empty for a resource that cannot be used.
    pub dest: String,
    /// `broken`, `waiting`, `current`, `retrying` or `rolled-back`.
    pub state: String,
    /// Revision the file is right for.
    pub revision: i64,
    /// First digits of the content's SHA-256: files that are to be the same on several hosts are compared by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// When the last pass succeeded, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<String>,
    /// Why the file may be stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Why a file may be stale.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step that failed: `load`, `render`, `stage`, `check`, `replace`, `reload`, `verify` or `restore`.
    pub step: String,
    /// What is wrong, in one line.
    pub message: String,
    /// Since when, RFC 3339; absent for a resource that never could be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

impl Agent {
    /// Its JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of texts and numbers always has one.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a value; `None` when it is none of these. Unknown fields are ignored.
    #[must_use]
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Without what moves while all stays as it is (revisions and times of passes): two that are equal then differ in
    /// nothing a person has to see at once.
    #[must_use]
    pub fn essence(mut self) -> Self {
        if let Self::Confd(confd) = &mut self {
            confd.revision = 0;
            for resource in &mut confd.resources {
                resource.revision = 0;
                resource.succeeded = None;
            }
        }
        self
    }
}

/// Key of the registrator that speaks for a node.
#[must_use]
pub fn registrator_key(node_id: &str) -> String {
    format!("{PREFIX}registrator/{node_id}")
}

/// Key of the confd of a node that works on a folder: several may live on one host.
#[must_use]
pub fn confd_key(node: &str, confdir: &str) -> String {
    let place = label(confdir, LABEL_BYTES_MAX);
    format!("{PREFIX}confd/{node}/{place}")
}

/// The first line of a message, cut to what stands in a value.
#[must_use]
pub fn line(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    first.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confd() -> Confd {
        Confd {
            version: VERSION,
            node: "n1".into(),
            program: "0.1.0".into(),
            since: "2026-11-20T04:48:44.123Z".into(),
            confdir: "/etc/confd".into(),
            revision: 7,
            resources: vec![Resource {
                name: "nginx".into(),
                dest: "/etc/nginx/nginx.conf".into(),
                state: "retrying".into(),
                revision: 5,
                failure: Some(Failure {
                    step: "check".into(),
                    message: "exit 1".into(),
                    since: None,
                }),
                ..Resource::default()
            }],
            ..Confd::default()
        }
    }

    #[test]
    fn values_have_one_form() {
        let registrator = Agent::Registrator(Registrator {
            version: VERSION,
            node: "n1".into(),
            program: "0.1.0".into(),
            since: "2026-11-20T04:48:44.123Z".into(),
            revision: 9,
            containers: 3,
            services: 1,
            instances: 2,
            ..Registrator::default()
        });
        for (agent, json) in [
            (
                registrator,
                r#"{"agent":"registrator","version":1,"node":"n1","program":"0.1.0","since":"2026-11-20T04:48:44.123Z","revision":9,"containers":3,"services":1,"instances":2,"pending":0}"#,
            ),
            (
                Agent::Confd(confd()),
                r#"{"agent":"confd","version":1,"node":"n1","program":"0.1.0","since":"2026-11-20T04:48:44.123Z","confdir":"/etc/confd","revision":7,"resources":[{"name":"nginx","dest":"/etc/nginx/nginx.conf","state":"retrying","revision":5,"failure":{"step":"check","message":"exit 1"}}],"left_out":0}"#,
            ),
        ] {
            assert_eq!(agent.to_json(), json);
            assert_eq!(Agent::from_json(json.as_bytes()), Some(agent));
        }
        for foreign in ["", "{}", r#"{"agent":"other"}"#, "\u{0}"] {
            assert_eq!(Agent::from_json(foreign.as_bytes()), None, "{foreign:?}");
        }
    }

    #[test]
    fn later_revisions_and_passes_are_no_news() {
        let before = confd();
        let mut after = before.clone();
        after.revision = 8;
        after.resources[0].revision = 8;
        after.resources[0].succeeded = Some("2026-11-20T04:48:45.000Z".into());
        let essence = |confd: &Confd| Agent::Confd(confd.clone()).essence();
        assert_eq!(essence(&before), essence(&after));
        after.resources[0].state = "current".into();
        assert_ne!(essence(&before), essence(&after));
    }

    #[test]
    fn keys_and_lines() {
        assert_eq!(registrator_key("n1"), "/muster/status/registrator/n1");
        assert_eq!(
            confd_key("n1", "/etc/confd"),
            "/muster/status/confd/n1/etc-confd"
        );
        assert_eq!(line("one\ntwo"), "one");
        assert_eq!(line(&"é".repeat(400)).chars().count(), 300);
    }
}
