//! Clocks: how far the machine's own is from those of the members, and whether time here runs evenly. Members tell their
//! time in the `Date` of their HTTP answers, in whole seconds.

use std::time::{Duration, Instant, SystemTime};

use super::finding::Finding;

const WHAT: &str = "clock";

/// Half a second: how long evenness is looked at.
const LOOKED: Duration = Duration::from_millis(500);
/// 1 ms: a pause that matters is many times as long.
const TICK: Duration = Duration::from_millis(1);
/// The heartbeat interval: whoever stands still as long has missed one.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// 20 ms: what a clock that is being corrected slowly never does within half a second (500 ppm are 0.25 ms).
const JUMP_MAX: Duration = Duration::from_millis(20);
/// 2 s: one more than whole seconds can hide. Leases do not depend on it; certificates, tokens and logs do.
const SKEW_MAX: f64 = 2.0;
/// 60 s: signed tokens and fresh certificates begin to be refused.
const SKEW_WRONG: f64 = 60.0;

/// What was seen of this machine's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Run {
    /// Longest time between two looks that were to be a tick apart.
    pause: Duration,
    /// Largest change of the wall clock against the monotonic one.
    jump: Duration,
}

/// Watches both clocks for a while, blocking.
pub(super) fn look() -> Finding {
    let mut run = Run::default();
    let (began, began_wall) = (Instant::now(), SystemTime::now());
    let mut last = began;
    while began.elapsed() < LOOKED {
        std::thread::sleep(TICK);
        let (now, wall) = (Instant::now(), SystemTime::now());
        run.pause = run.pause.max(now - last);
        last = now;
        let by_wall = wall.duration_since(began_wall).unwrap_or_default();
        run.jump = run.jump.max(by_wall.abs_diff(now - began));
    }
    judge(run)
}

fn judge(run: Run) -> Finding {
    let detail = format!(
        "over {} ms: longest pause {} ms, wall clock moved {} ms against the monotonic one",
        LOOKED.as_millis(),
        run.pause.as_millis(),
        run.jump.as_millis()
    );
    if run.jump > JUMP_MAX {
        return Finding::warning(
            WHAT,
            detail,
            "the wall clock jumps: let one service (chrony, systemd-timesyncd) correct it slowly",
        );
    }
    if run.pause > PAUSE_MAX {
        return Finding::warning(
            WHAT,
            detail,
            "processes stand still here for longer than a heartbeat: look for overload, swapping, or CPU limits",
        );
    }
    Finding::fine(WHAT, detail)
}

/// How far a member's clock is ahead of ours: its answer's `Date` (whole seconds, cut off) came between `asked` and
/// `answered`. None if the difference may be nothing but rounding and the way there and back; else the least it can be,
/// in seconds, negative when it is behind.
pub(super) fn ahead(date: SystemTime, asked: SystemTime, answered: SystemTime) -> Option<f64> {
    let seconds = |later: SystemTime, earlier: SystemTime| match later.duration_since(earlier) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    };
    // It was read between both, and was up to a second more than it says.
    let (least, most) = (seconds(date, answered), seconds(date, asked) + 1.0);
    if least > 0.0 {
        Some(least)
    } else if most < 0.0 {
        Some(most)
    } else {
        None
    }
}

/// What the difference to one member means.
pub(super) fn judge_skew(endpoint: &str, ahead: Option<f64>) -> Finding {
    let Some(ahead) = ahead else {
        return Finding::fine(WHAT, format!("{endpoint} has the same time"));
    };
    let (by, way) = (ahead.abs(), if ahead > 0.0 { "ahead" } else { "behind" });
    let detail = format!("{endpoint} is {by:.1} s {way}");
    const ADVICE: &str = "correct the clocks (chrony, systemd-timesyncd): certificates and tokens are judged by them";
    if by >= SKEW_WRONG {
        Finding::wrong(WHAT, detail, ADVICE)
    } else if by >= SKEW_MAX {
        Finding::warning(WHAT, detail, ADVICE)
    } else {
        Finding::fine(WHAT, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn rounding_is_no_skew() {
        let at = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        for (date, asked, answered, expected) in [
            (10_000, 10_000, 10_010, None),
            (10_000, 10_990, 10_999, None),
            (10_000, 9_990, 10_005, None),
            (15_000, 10_000, 10_500, Some(4.5)),
            (5_000, 10_000, 10_500, Some(-4.0)),
        ] {
            assert_eq!(ahead(at(date), at(asked), at(answered)), expected);
        }
    }

    #[test]
    fn skew_pauses_and_jumps_are_judged() {
        for (ahead, state) in [
            (None, State::Fine),
            (Some(1.9), State::Fine),
            (Some(-2.0), State::Warning),
            (Some(60.0), State::Wrong),
        ] {
            assert_eq!(judge_skew("a", ahead).state, state);
        }
        let run = |pause, jump| Run {
            pause: Duration::from_millis(pause),
            jump: Duration::from_millis(jump),
        };
        assert_eq!(judge(run(100, 20)).state, State::Fine);
        assert_eq!(judge(run(101, 0)).state, State::Warning);
        assert_eq!(judge(run(0, 21)).state, State::Warning);
    }
}
