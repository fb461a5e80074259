//! When certificates end: those in files, and those that members really show.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use store_transport::Stream;
use store_transport::tls::certificate::Certificate;

use super::finding::Finding;
use crate::connect;
use crate::flags::Globals;

const WHAT: &str = "certificate";

/// Seconds.
const DAY: i64 = 24 * 60 * 60;
/// 30 days: what the store itself warns from on; time to make a new one.
const SOON_DAYS: i64 = 30;
/// 3 days: a weekend.
const NOW_DAYS: i64 = 3;

/// All certificates of a file, the first to end.
pub(super) fn of_file(kind: &str, path: &Path) -> Finding {
    let name = format!("{kind} {}", path.display());
    match Certificate::of_file(path) {
        Ok(all) => judge_first(&name, &all),
        Err(error) => {
            let cause = std::error::Error::source(&error);
            let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            let advice = error.hint().to_owned();
            Finding::wrong(WHAT, format!("{error}{cause}"), advice)
        }
    }
}

/// What a member shows at a URL that is spoken to over TLS.
pub(super) async fn shown_at(url: &str, globals: &Globals) -> Finding {
    let name = format!("shown at {url}");
    let stream = match connect::stream(url, globals, true).await {
        Ok(Stream::Tls(stream)) => stream,
        Ok(Stream::Plain(_)) => return Finding::skipped(WHAT, format!("{name}: none, no TLS")),
        // Members ask each other for certificates; a doctor may have none to show.
        Err(failure) => return Finding::skipped(WHAT, format!("{name}: {failure}")),
    };
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().unwrap_or_default();
    let all: Result<Vec<Certificate>, String> =
        chain.iter().map(|der| Certificate::parse(der)).collect();
    match all {
        Ok(all) => judge_first(&name, &all),
        Err(why) => Finding::wrong(WHAT, format!("{name}: {why}"), "give that member another"),
    }
}

fn judge_first(name: &str, all: &[Certificate]) -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let begins = all.iter().map(|one| one.not_before).max();
    let ends = all.iter().map(|one| one.not_after).min();
    match (begins, ends) {
        (Some(begins), Some(ends)) => judge(name, begins - now, ends - now),
        _ => Finding::wrong(
            WHAT,
            format!("{name}: there is none"),
            "give it a certificate",
        ),
    }
}

/// `begins` and `ends` in seconds from now.
fn judge(name: &str, begins: i64, ends: i64) -> Finding {
    let days = ends.div_euclid(DAY);
    const RENEW: &str = "replace the file: the store takes the new one without a restart";
    if begins > 0 {
        return Finding::wrong(
            WHAT,
            format!("{name} counts only from {} days from now on", begins / DAY),
            "look at the clocks of this machine and of the one that made it",
        );
    }
    if ends <= 0 {
        Finding::wrong(WHAT, format!("{name} ended {} days ago", -days), RENEW)
    } else if days < NOW_DAYS {
        Finding::wrong(WHAT, format!("{name} ends in {days} days"), RENEW)
    } else if days < SOON_DAYS {
        Finding::warning(WHAT, format!("{name} ends in {days} days"), RENEW)
    } else {
        Finding::fine(WHAT, format!("{name} is good for {days} days"))
    }
}

/// Whether a file that is named is there at all is the file's own finding; a folder is none.
pub(super) fn given<'p>(
    named: impl IntoIterator<Item = (&'static str, Option<&'p PathBuf>)>,
) -> Vec<(&'static str, &'p PathBuf)> {
    let given = named
        .into_iter()
        .filter_map(|(kind, path)| Some((kind, path?)));
    given
        .filter(|(_, path)| path.as_path() != Path::new(""))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn what_ends_soon_is_warned_of() {
        for (begins, ends, state) in [
            (-1, 31 * DAY, State::Fine),
            (-1, 30 * DAY - 1, State::Warning),
            (-1, 3 * DAY - 1, State::Wrong),
            (-1, 0, State::Wrong),
            (-1, -5 * DAY, State::Wrong),
            (DAY, 90 * DAY, State::Wrong),
        ] {
            let found = judge("a", begins, ends);
            assert_eq!(found.state, state, "{found}");
        }
    }
}
