//! The same sequences to a real etcd and to ours, every answer compared field by field.
//!
//! A fixed row of seeds runs in every test run. `DIFFERENTIAL_SEEDS=1000..2000` runs others; a failure names its seed,
//! the step where the two part, and the shortest sequence found that still parts them.

mod answer;
mod excuse;
mod generate;
mod operation;
mod pair;
mod peer;
mod shrink;
mod watches;

use std::ops::Range;
use std::path::PathBuf;

use end_to_end::store::Maker;

use crate::excuse::Series;
use crate::pair::Pair;

/// 40: about twenty seconds on two idle cores, a minute on busy ones; the two series run side by side.
const SEEDS: Range<u64> = 0..40;
const SEEDS_VARIABLE: &str = "DIFFERENTIAL_SEEDS";

fn muster() -> Maker {
    Maker::Muster(PathBuf::from(env!("CARGO_BIN_EXE_muster")))
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var(SEEDS_VARIABLE) else {
        return SEEDS;
    };
    let bounds = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    bounds.unwrap_or_else(|| panic!("{SEEDS_VARIABLE}={text}: expected as in 1000..2000"))
}

async fn same(series: Series) {
    let muster = muster();
    let mut pair = Pair::start(&muster, series).await;
    let mut failures = Vec::new();
    for seed in seeds() {
        let operations = generate::sequence(seed, series);
        let outcome = pair.run(&operations).await;
        if let Err(difference) = outcome {
            // The first in full, which takes many runs; the others as they were met.
            failures.push(if failures.is_empty() {
                shrink::told(&muster, series, seed, operations, difference).await
            } else {
                format!("seed {seed}: {difference}")
            });
            eprintln!("{}", failures[failures.len() - 1]);
            pair = Pair::start(&muster, series).await;
        } else if !pair.clear().await {
            pair = Pair::start(&muster, series).await;
        }
    }
    assert!(
        failures.is_empty(),
        "{} sequences differ, the first:\n{}",
        failures.len(),
        failures[0]
    );
}

#[tokio::test]
async fn every_answer_is_that_of_etcd_3_5() {
    same(Series::V3_5).await;
}

#[tokio::test]
async fn every_answer_is_that_of_etcd_3_4() {
    same(Series::V3_4).await;
}
