//! What people see of a run that breaks a promise: seed, step, promise, and a line that shows the same again.

use std::process::{Command, Output};

/// A bug that is found by its first seed.
const BROKEN: [&str; 4] = ["--seed", "1", "--bug", "ReadFromFollower"];

fn simulate(args: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_simulate"));
    program.args(args).output().expect("simulate starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_failure_says_seed_step_and_promise_and_how_to_see_it_again() {
    let first = simulate(&BROKEN);
    let told = said(&first);
    assert_eq!(first.status.code(), Some(1), "{told}");
    let mut lines = told.lines();
    let what = lines.next().expect("what broke");
    let words = what.strip_prefix("seed 1 broke a promise at step ");
    let (step, rest) = words
        .and_then(|words| words.split_once(", after "))
        .expect(what);
    assert!(step.parse::<u64>().is_ok_and(|step| step > 0), "{what}");
    assert!(rest.contains(" s: linearizable reads: read "), "{what}");
    let replay = lines
        .next()
        .and_then(|line| line.strip_prefix("  replay: simulate "));
    let replay = replay.expect("how to see it again");
    assert_eq!(replay, "--seed 1 --bug ReadFromFollower --trace");

    let args: Vec<&str> = replay.split(' ').collect();
    let again = simulate(&args);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(said(&again).lines().next(), Some(what));
    let trace = String::from_utf8_lossy(&again.stderr);
    assert!(trace.contains("member 1 starts"), "nothing is traced");
}

#[test]
fn a_run_that_keeps_its_promises_says_how_fast_it_was() {
    let output = simulate(&["--seeds", "2", "--threads", "1"]);
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("2 runs, 0 broken; "), "{told}");
    let rate = told
        .split(" events, ")
        .nth(1)
        .and_then(|it| it.split(' ').next());
    let rate = rate.and_then(|rate| rate.parse::<u64>().ok());
    assert!(rate.is_some_and(|rate| rate > 0), "{told}");
    assert!(told.contains(" per second and thread"), "{told}");
}

#[test]
fn what_cannot_be_run_is_refused() {
    let unknown = simulate(&["--seed", "1", "--bug", "Nonsense"]);
    assert_eq!(unknown.status.code(), Some(2));
    let told = String::from_utf8_lossy(&unknown.stderr);
    assert!(told.contains("no bug is called Nonsense"), "{told}");
    assert!(told.contains("hint: known are [AckBeforeDurable"), "{told}");
    assert!(
        !simulate(&["--seed", "1", "--minutes", "1"])
            .status
            .success()
    );
}
