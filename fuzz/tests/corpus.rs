//! What the fuzzer has kept, and its seeds with every byte changed and at every length: without a fuzzer, on every run.

use std::fs;
use std::path::{Path, PathBuf};

use fuzz_targets::seeds::{self, TARGETS};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

#[test]
fn what_was_kept_breaks_nothing() {
    for target in TARGETS {
        let mut files = 0;
        for file in fs::read_dir(corpus(target)).expect("each target has a corpus") {
            let data = fs::read(file.expect("a file").path()).expect("readable");
            assert!(fuzz_targets::run(target, &data), "{target} is a target");
            files += 1;
        }
        assert!(files > 0, "the corpus of {target} is empty");
    }
}

#[test]
fn cut_and_changed_seeds_break_nothing() {
    for target in TARGETS {
        let seeds = seeds::of(target);
        assert!(!seeds.is_empty(), "{target} has seeds");
        for seed in seeds {
            // Large files are mostly padding: about two hundred places in each.
            let step = seed.len() / 200 + 1;
            for at in (0..seed.len()).step_by(step) {
                fuzz_targets::run(target, &seed[..at]);
                for change in [1, 0x80, 0xff] {
                    let mut changed = seed.clone();
                    changed[at] ^= change;
                    fuzz_targets::run(target, &changed);
                }
            }
        }
    }
}

#[test]
fn there_is_no_other_target() {
    assert!(!fuzz_targets::run("none", b""));
    assert!(seeds::of("none").is_empty());
}
