//! Every exit status of the table in `docs/cli.md` is one that some command ends with.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Command, Stdio};

use end_to_end::programs;
use end_to_end::store::{Maker, Store};

use super::said;

/// Which of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Front {
    Ctl,
    Utl,
    V2,
}

/// The statuses that the table has for each.
fn documented() -> BTreeSet<(Front, i32)> {
    let text = std::fs::read_to_string(programs::source().join("docs/cli.md"));
    let text = text.expect("the document");
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| status |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let status: i32 = cells[1].parse().expect("a status");
        let fronts = [
            (Front::Ctl, cells[2]),
            (Front::Utl, cells[3]),
            (Front::V2, cells[4]),
        ];
        fronts
            .into_iter()
            .filter(|(_, meaning)| *meaning != "—")
            .map(move |(front, _)| (front, status))
            .collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn every_status_is_one_that_commands_end_with() {
    let store = Store::start(Maker::Muster(env!("CARGO_BIN_EXE_muster").into()));
    let client = store.client();
    for value in ["1", "2", "3"] {
        assert_eq!(client.run(&["put", "/k", value]), "OK\n");
    }
    assert_ne!(client.run(&["compaction", "3"]), "");
    let nowhere = "http://127.0.0.1:9";
    let mut seen = BTreeSet::new();
    for (front, line, input, status) in [
        (Front::Ctl, "get /k", "", 0),
        (Front::Ctl, "put k v --lease 1", "", 1),
        (Front::Ctl, "frob", "", 1),
        (Front::Ctl, "lease keep-alive 1 --once", "", 2),
        (Front::Ctl, "txn", "no comparison\n\n", 3),
        (Front::Ctl, "get /k -w frob", "", 4),
        (Front::Ctl, "watch /k --rev 1", "", 5),
        (Front::Ctl, "snapshot save /proc/none/at/all", "", 5),
        (Front::Ctl, "get", "", 128),
        (Front::Utl, "version", "", 0),
        (Front::Utl, "snapshot status /none", "", 1),
        (
            Front::Utl,
            "migrate --data-dir /proc --output-dir /none",
            "",
            1,
        ),
        (Front::Utl, "frob", "", 1),
        (Front::Utl, "snapshot status", "", 128),
        (Front::V2, "get /k", "", 0),
        (Front::V2, "user", "", 0),
        (Front::V2, "mk", "", 1),
        (Front::V2, "get /", "", 1),
        (Front::V2, "user get nobody", "", 1),
        (Front::V2, "--endpoints http://127.0.0.1:9 get /k", "", 2),
        (Front::V2, "frob", "", 3),
        (Front::V2, "get /none", "", 4),
        (
            Front::V2,
            "--endpoints http://127.0.0.1:9 cluster-health",
            "",
            4,
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.env_clear();
        match front {
            Front::Utl => command.arg("utl"),
            _ => command.arg("ctl"),
        };
        if front != Front::Utl && !line.contains(nowhere) {
            command.args(["--endpoints", &store.endpoint()]);
        }
        if front == Front::V2 {
            command.env("ETCDCTL_API", "2");
        }
        command.args(line.split_whitespace());
        let told = said(command, input);
        assert_eq!(told.0, status, "{front:?} {line}: {told:?}");
        seen.insert((front, status));
    }
    // What cannot be written, and a format that there is not.
    let mut command = super::ours(&store, &["get", "/k"]);
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("it is there");
    let ended = command.stdout(full).stderr(Stdio::null()).status();
    assert_eq!(ended.expect("it runs").code(), Some(6));
    seen.insert((Front::Ctl, 6));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("snapshot").display().to_string();
    assert_ne!(client.run(&["snapshot", "save", &file]), "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(["utl", "snapshot", "status", &file, "-w", "protobuf"]);
    assert_eq!(said(command, "").0, 4);
    seen.insert((Front::Utl, 4));
    // A cluster with a member that is not there is shown in the tests of version 2.
    seen.insert((Front::V2, 5));
    assert_eq!(seen, documented());
}
