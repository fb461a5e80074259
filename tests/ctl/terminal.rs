//! Bars are for people: drawn on a terminal, and nothing of them in a pipe.

use end_to_end::process::on_terminal;
use end_to_end::store::{Maker, Store};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

#[test]
fn bars_are_drawn_for_people_only() {
    let store = Store::start(Maker::Muster(MUSTER.into()));
    let large = "x".repeat(100_000);
    for key in ["a", "b", "c"] {
        assert_eq!(store.client().run(&["put", key, &large]), "OK\n");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let run = |line: &str, terminal: bool| {
        let mut command = match terminal {
            true => on_terminal(line),
            false => {
                let mut command = std::process::Command::new("/bin/sh");
                command.args(["-c", line]);
                command
            }
        };
        let output = command
            .stdin(std::process::Stdio::null())
            .output()
            .expect("it runs");
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "{line}: {out}{err}");
        out + &err
    };
    let endpoint = store.endpoint();
    for (terminal, name) in [(true, "seen"), (false, "piped")] {
        let (file, data) = (path(name), path(&format!("{name}.data")));
        for line in [
            format!("{MUSTER} ctl --endpoints {endpoint} snapshot save {file}"),
            format!("{MUSTER} utl snapshot restore {file} --data-dir {data}"),
            // A busy machine may fail it: it is the bar that counts.
            format!("{MUSTER} ctl --endpoints {endpoint} check perf --duration 2s; true"),
        ] {
            let told = run(&line, terminal);
            assert_eq!(told.contains("% of"), terminal, "{line}: {told:?}");
        }
    }
}
