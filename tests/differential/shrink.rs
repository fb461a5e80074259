//! From a sequence that parts two servers to the shortest found that still does.

use std::fmt::Write as _;

use end_to_end::store::Maker;

use crate::excuse::Series;
use crate::operation::Operation;
use crate::pair::{Difference, Pair, cut};

/// Sequences tried: each takes a few tens of milliseconds, so that a failure is told within seconds.
const TRIES_MAX: usize = 150;

/// The story of a failure: seed, shortest sequence, step and both answers.
pub(crate) async fn told(
    muster: &Maker,
    series: Series,
    seed: u64,
    operations: Vec<Operation>,
    difference: Difference,
) -> String {
    let mut pair = Pair::start(muster, series).await;
    let mut tries = 0;
    let end = (difference.at + 1).min(operations.len());
    let mut shortest = operations[..end].to_vec();
    let mut last = difference;
    let mut piece = shortest.len() / 2;
    while piece > 0 && tries < TRIES_MAX {
        let mut at = 0;
        while at < shortest.len() && tries < TRIES_MAX {
            tries += 1;
            let mut shorter = shortest.clone();
            shorter.drain(at..(at + piece).min(shortest.len()));
            match pair.run(&shorter).await {
                // Another difference is another story.
                Err(found) if found.kind() == last.kind() => {
                    shorter.truncate(found.at + 1);
                    shortest = shorter;
                    last = found;
                    pair = Pair::start(muster, series).await;
                }
                outcome => {
                    at += piece;
                    if outcome.is_err() || !pair.clear().await {
                        pair = Pair::start(muster, series).await;
                    }
                }
            }
        }
        piece /= 2;
    }
    let mut story = format!("seed {seed} against {series:?}:\n");
    for (number, operation) in shortest.iter().enumerate() {
        let _ = writeln!(story, "{number:4}  {}", cut(&format!("{operation:?}")));
    }
    let _ = write!(story, "{last}");
    story
}
