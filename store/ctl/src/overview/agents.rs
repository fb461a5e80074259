//! Pure: `muster agents`, what the agents of all hosts say about themselves.

use registrator_catalog::agent::{Agent, Confd, PREFIX, Registrator, Resource};
use serde_json::{Value, json};

use super::table::{Cell, Style, Tone, age, drawn, span};
use super::view::{Rows, View};

/// Which agents.
#[derive(Clone, Debug)]
pub(super) struct Agents {
    /// Only of these nodes; all when it is empty.
    pub(super) nodes: Vec<String>,
}

/// An agent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    key: String,
    agent: Agent,
}

fn up(since: &str, now: i64) -> Cell {
    age(since, now).map_or_else(String::new, span).into()
}

fn trouble(error: Option<&String>) -> Cell {
    error.map_or_else(Cell::default, |error| Cell::new(error, Tone::Bad))
}

fn plural(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    }
}

fn registrator(agent: &Registrator, now: i64) -> Vec<Cell> {
    let mut does = format!(
        "{}, {}, {}",
        plural(agent.containers, "container"),
        plural(agent.services, "service"),
        plural(agent.instances, "instance")
    );
    if agent.pending > 0 {
        does.push_str(&format!(", {} pending", agent.pending));
    }
    vec![
        agent.node.as_str().into(),
        "registrator".into(),
        agent.program.as_str().into(),
        up(&agent.since, now),
        agent.revision.to_string().into(),
        does.into(),
        trouble(agent.error.as_ref()),
    ]
}

fn confd(agent: &Confd, now: i64) -> Vec<Cell> {
    let all = agent.resources.len() + agent.left_out;
    let stale = agent.resources.iter();
    let stale = stale.filter(|resource| resource.failure.is_some()).count();
    let does = match stale {
        0 => Cell::from(plural(all, "file")),
        stale => Cell::new(
            &format!("{}, {stale} failing", plural(all, "file")),
            Tone::Warn,
        ),
    };
    vec![
        agent.node.as_str().into(),
        "confd".into(),
        agent.program.as_str().into(),
        up(&agent.since, now),
        agent.revision.to_string().into(),
        does,
        trouble(agent.error.as_ref()),
    ]
}

fn file(node: &str, resource: &Resource, now: i64) -> Vec<Cell> {
    let tone = match resource.state.as_str() {
        "current" => Tone::Good,
        "waiting" => Tone::Warn,
        _ => Tone::Bad,
    };
    let dest = match resource.dest.as_str() {
        "" => &resource.name,
        dest => dest,
    };
    let succeeded = resource.succeeded.as_ref();
    let succeeded = succeeded.and_then(|at| age(at, now));
    let failure = resource.failure.as_ref().map(|failure| {
        let since = failure.since.as_ref().and_then(|since| age(since, now));
        let since = since.map_or_else(String::new, |seconds| format!(" for {}", span(seconds)));
        format!("{}{since}: {}", failure.step, failure.message)
    });
    vec![
        node.into(),
        dest.into(),
        Cell::new(&resource.state, tone),
        resource.revision.to_string().into(),
        succeeded.map_or_else(String::new, span).into(),
        resource.content.as_deref().unwrap_or_default().into(),
        trouble(failure.as_ref()),
    ]
}

impl Row {
    fn node(&self) -> &str {
        match &self.agent {
            Agent::Registrator(agent) => &agent.node,
            Agent::Confd(agent) => &agent.node,
        }
    }
}

impl View for Agents {
    type Row = Row;

    fn prefixes(&self) -> Vec<String> {
        vec![PREFIX.to_owned()]
    }

    fn read(&self, key: &str, value: &[u8]) -> Option<Row> {
        let row = Row {
            key: key.to_owned(),
            agent: Agent::from_json(value)?,
        };
        let wanted = self.nodes.is_empty() || self.nodes.iter().any(|node| node == row.node());
        wanted.then_some(row)
    }

    fn page(&self, rows: &Rows<Row>, now: i64, style: Style) -> String {
        if rows.is_empty() {
            return "no agents: none runs, or they were told not to say so (--publish-status=false)\n"
                .to_owned();
        }
        let mut sorted: Vec<&Row> = rows.values().collect();
        sorted.sort_by(|a, b| (a.node(), &a.key).cmp(&(b.node(), &b.key)));
        let mut agents = Vec::new();
        let mut files = Vec::new();
        for row in sorted {
            match &row.agent {
                Agent::Registrator(agent) => agents.push(registrator(agent, now)),
                Agent::Confd(agent) => {
                    agents.push(confd(agent, now));
                    let resources = agent.resources.iter();
                    files.extend(resources.map(|resource| file(&agent.node, resource, now)));
                }
            }
        }
        let mut text = drawn(
            &[
                "NODE", "AGENT", "VERSION", "UP", "REVISION", "KEEPS", "ERROR",
            ],
            &agents,
            style,
        );
        if !files.is_empty() {
            text.push('\n');
            text.push_str(&drawn(
                &[
                    "NODE", "FILE", "STATE", "REVISION", "AGE", "CONTENT", "FAILURE",
                ],
                &files,
                style,
            ));
        }
        text
    }

    fn line(&self, row: &Row, now: i64) -> String {
        let cells = match &row.agent {
            Agent::Registrator(agent) => registrator(agent, now),
            Agent::Confd(agent) => confd(agent, now),
        };
        let mut words: Vec<String> = cells.into_iter().map(|cell| cell.text).collect();
        words.retain(|word| !word.is_empty());
        let mut line = words.join(" ");
        if let Agent::Confd(agent) = &row.agent {
            for resource in &agent.resources {
                let Some(failure) = &resource.failure else {
                    continue;
                };
                let (dest, step) = (&resource.dest, &failure.step);
                let cell = Cell::from(format!("; {dest}: {step}: {}", failure.message));
                line.push_str(&cell.text);
            }
        }
        line
    }

    fn json(&self, row: &Row, now: i64) -> Value {
        let since = match &row.agent {
            Agent::Registrator(agent) => &agent.since,
            Agent::Confd(agent) => &agent.since,
        };
        let mut value = json!(row.agent);
        if let Some(value) = value.as_object_mut() {
            value.insert("up_seconds".to_owned(), json!(age(since, now)));
            value.insert("key".to_owned(), json!(row.key));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::view::replace;

    /// 2026-11-20T04:50:00Z.
    const NOW: i64 = 1_795_150_200_000_000_000;

    fn listed() -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
        [
            (
                "/muster/status/registrator/n1",
                r#"{"agent":"registrator","version":1,"node":"n1","program":"0.1.0","since":"2026-11-20T04:20:00Z","revision":41,"containers":3,"services":1,"instances":2,"pending":1,"error":"web: no address"}"#,
            ),
            (
                "/muster/status/confd/n1/etc-confd",
                r#"{"agent":"confd","version":1,"node":"n1","program":"0.1.0","since":"2026-11-20T04:49:50Z","confdir":"/etc/confd","revision":44,"resources":[{"name":"lb","dest":"/etc/lb.conf","state":"retrying","revision":12,"content":"0123456789ab","succeeded":"2026-11-20T04:40:00Z","failure":{"step":"check","message":"exit 1","since":"2026-11-20T04:45:00Z"}},{"name":"web","dest":"/etc/web.conf","state":"current","revision":44,"content":"ba9876543210","succeeded":"2026-11-20T04:49:55Z"}],"left_out":0}"#,
            ),
            ("/muster/status/confd/n2/x", "no status"),
            (
                "/muster/status/confd/n2/etc-confd",
                r#"{"agent":"confd","version":2,"node":"n2","program":"0.2.0","since":"2026-11-10T04:49:50Z","confdir":"/etc/confd","revision":44,"later":true,"resources":[],"left_out":0}"#,
            ),
        ]
        .into_iter()
        .map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
    }

    #[test]
    fn a_page_of_agents() {
        let view = Agents { nodes: vec![] };
        let mut rows = Rows::new();
        replace(&view, &mut rows, &listed());
        assert_eq!(
            view.page(&rows, NOW, Style::default()),
            "\
NODE  AGENT        VERSION  UP   REVISION  KEEPS                                            ERROR
n1    confd        0.1.0    10s  44        2 files, 1 failing
n1    registrator  0.1.0    30m  41        3 containers, 1 service, 2 instances, 1 pending  web: no address
n2    confd        0.2.0    10d  44        0 files

NODE  FILE           STATE     REVISION  AGE  CONTENT       FAILURE
n1    /etc/lb.conf   retrying  12        10m  0123456789ab  check for 5m: exit 1
n1    /etc/web.conf  current   44        5s   ba9876543210
"
        );
    }

    #[test]
    fn one_node_a_line_each_and_none() {
        let view = Agents {
            nodes: vec!["n1".into()],
        };
        let mut rows = Rows::new();
        let changes = replace(&view, &mut rows, &listed());
        let lines: Vec<String> = changes
            .iter()
            .map(|change| change.line(&view, NOW))
            .collect();
        assert_eq!(
            lines,
            [
                "+ n1 confd 0.1.0 10s 44 2 files, 1 failing; /etc/lb.conf: check: exit 1",
                "+ n1 registrator 0.1.0 30m 41 3 containers, 1 service, 2 instances, 1 pending web: no address",
            ]
        );
        let json = changes[1].json(&view, NOW);
        assert_eq!(
            (&json["change"], &json["agent"], &json["up_seconds"]),
            (&json!("added"), &json!("registrator"), &json!(1_800))
        );
        let page = view.page(&Rows::new(), NOW, Style::default());
        assert!(page.starts_with("no agents: "), "{page}");
    }
}
