//! `/health`, `/livez` and `/readyz`.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use store_machine::alarm::{Alarm, AlarmKind};
use store_machine::auth::Actor;
use store_machine::request::{KeyRange, RangeEnd, RangeRequest};

use super::query::Query;
use super::{json, text};
use crate::api::Api;
use crate::body::Body;
use crate::grpc::errors::ApiError;
use crate::grpc::maintenance::alarm_name;
use crate::handle::{Consistency, Failure, StatusReport};

#[derive(Serialize)]
struct Health {
    /// A text, not a boolean, as in etcd.
    health: &'static str,
    reason: String,
}

/// `GET /health`, with `exclude=NOSPACE` (repeatable) and `serializable=true`.
pub(super) async fn health(api: &Api, query: &Query) -> Response<Body> {
    let excluded: Vec<&str> = query.all("exclude").collect();
    let consistency = if query.all("serializable").any(|value| value == "true") {
        Consistency::Serializable
    } else {
        Consistency::Linearizable
    };
    let (status, health, reason) = match reason(api, &excluded, consistency).await {
        None => {
            api.accounts.health_success.fetch_add(1, Relaxed);
            (StatusCode::OK, "true", String::new())
        }
        Some(reason) => {
            api.accounts.health_failures.fetch_add(1, Relaxed);
            tracing::warn!(reason, "not healthy");
            (StatusCode::SERVICE_UNAVAILABLE, "false", reason)
        }
    };
    json(status, &Health { health, reason })
}

/// Why the member is not healthy.
async fn reason(api: &Api, excluded: &[&str], consistency: Consistency) -> Option<String> {
    let unfit = match api.handle.status().await {
        Ok(answer) => unfit(&answer.body, excluded, consistency),
        Err(failure) => Some(read_failed(failure)),
    };
    match unfit {
        Some(reason) => Some(reason),
        None => read(api, consistency).await.err(),
    }
}

/// What the state itself says against the member's health.
fn unfit(report: &StatusReport, excluded: &[&str], consistency: Consistency) -> Option<String> {
    // Where the others agree, a member that differs says nothing about this one.
    let concerns = |alarm: &&Alarm| alarm.kind != AlarmKind::Corrupt || report.corrupt;
    let kinds = report.alarms.iter().filter(concerns);
    let mut kinds = kinds.map(|alarm| alarm_name(alarm.kind));
    if let Some(alarm) = kinds.find(|alarm| !excluded.contains(alarm)) {
        return Some(format!("ALARM {alarm}"));
    }
    if report.leader == 0 && consistency == Consistency::Linearizable {
        return Some("RAFT NO LEADER".to_owned());
    }
    None
}

/// One small read, to see whether reads are served.
async fn read(api: &Api, consistency: Consistency) -> Result<(), String> {
    let mut request = RangeRequest::latest(KeyRange {
        start: Bytes::from_static(b"health"),
        end: RangeEnd::Single,
    });
    request.keys_only = true;
    // Health needs no login.
    let handle = api.handle.by(Actor::Store);
    match handle.range(request, consistency).await {
        Ok(_) => Ok(()),
        Err(failure) => Err(read_failed(failure)),
    }
}

fn read_failed(failure: Failure) -> String {
    format!("RANGE ERROR:{}", ApiError::from(failure).text())
}

/// What is asked: is the process worth keeping (`livez`), or should it get requests (`readyz`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    name: &'static str,
    checks: &'static [Check],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    const fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    async fn run(self, api: &Api) -> Result<(), String> {
        let report = || async {
            let answer = api.handle.status().await;
            answer.map(|answer| answer.body).map_err(read_failed)
        };
        match self {
            Self::SerializableRead => read(api, Consistency::Serializable).await,
            Self::LinearizableRead => read(api, Consistency::Linearizable).await,
            Self::DataCorruption => {
                if report().await?.corrupt {
                    return Err("alarm activated: CORRUPT".to_owned());
                }
                Ok(())
            }
            Self::NonLearner => {
                if report().await?.learner {
                    return Err("the member is a learner".to_owned());
                }
                Ok(())
            }
        }
    }
}

const LIVEZ: &[Check] = &[Check::SerializableRead];
const READYZ: &[Check] = &[
    Check::DataCorruption,
    Check::SerializableRead,
    Check::LinearizableRead,
    Check::NonLearner,
];

impl Probe {
    /// The probe of `/livez`, `/readyz`, or one check of them such as `/livez/serializable_read`.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let (name, rest, checks) = match path.strip_prefix("/livez") {
            Some(rest) => ("livez", rest, LIVEZ),
            None => ("readyz", path.strip_prefix("/readyz")?, READYZ),
        };
        if rest.is_empty() {
            return Some(Self { name, checks });
        }
        let check = rest.strip_prefix('/')?;
        let at = checks.iter().position(|known| known.name() == check)?;
        Some(Self {
            name,
            checks: &checks[at..=at],
        })
    }
}

/// `GET` of a probe, with `exclude=NAME` (repeatable) and `verbose`. A failure always tells all.
pub(super) async fn probe(api: &Api, probe: Probe, query: &Query) -> Response<Body> {
    let mut lines = String::new();
    let mut healthy = true;
    for check in probe.checks {
        let name = check.name();
        if query.all("exclude").any(|excluded| excluded == name) {
            continue;
        }
        let outcome = check.run(api).await;
        api.accounts.checks.note(probe.name, name, outcome.is_ok());
        // Writing to a string does not fail.
        let _ = match outcome {
            Ok(()) => writeln!(lines, "[+]{name} ok"),
            Err(reason) => {
                healthy = false;
                writeln!(lines, "[-]{name} failed: {reason}")
            }
        };
    }
    if !healthy {
        lines.push_str(probe.name);
        lines.push_str(" check failed\n");
        tracing::warn!(probe = probe.name, lines, "not healthy");
        return text(StatusCode::SERVICE_UNAVAILABLE, lines);
    }
    if query.has("verbose") {
        lines.push_str("ok");
        return text(StatusCode::OK, lines);
    }
    text(StatusCode::OK, "ok")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_probes() {
        for (path, wanted) in [
            ("/livez", Some(("livez", LIVEZ))),
            ("/readyz", Some(("readyz", READYZ))),
            ("/livez/serializable_read", Some(("livez", LIVEZ))),
            ("/readyz/non_learner", Some(("readyz", &READYZ[3..]))),
            ("/livez/non_learner", None),
            ("/livezz", None),
            ("/livez/", None),
            ("/health", None),
        ] {
            let wanted = wanted.map(|(name, checks)| Probe { name, checks });
            assert_eq!(Probe::of_path(path), wanted, "{path}");
        }
    }

    #[test]
    fn what_speaks_against_health() {
        let alarm = |kind| Alarm { member: 1, kind };
        let led = StatusReport {
            leader: 1,
            ..Default::default()
        };
        let full = StatusReport {
            alarms: vec![alarm(AlarmKind::NoSpace)],
            ..led.clone()
        };
        let both = StatusReport {
            alarms: vec![alarm(AlarmKind::NoSpace), alarm(AlarmKind::Corrupt)],
            corrupt: true,
            ..led.clone()
        };
        let another = StatusReport {
            alarms: vec![alarm(AlarmKind::Corrupt)],
            ..led.clone()
        };
        let lost = StatusReport::default();
        let (local, linear) = (Consistency::Serializable, Consistency::Linearizable);
        for (report, excluded, consistency, wanted) in [
            (&led, &[][..], linear, None),
            (&full, &[], linear, Some("ALARM NOSPACE")),
            (&full, &["NOSPACE"], linear, None),
            (&both, &["NOSPACE"], linear, Some("ALARM CORRUPT")),
            (&another, &[], linear, None),
            (&lost, &[], linear, Some("RAFT NO LEADER")),
            (&lost, &[], local, None),
        ] {
            let actual = unfit(report, excluded, consistency);
            assert_eq!(actual.as_deref(), wanted, "{report:?} {excluded:?}");
        }
    }
}
