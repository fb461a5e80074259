//! Completions and manual pages as shells and readers take them: bash completes what is there, and groff has nothing to
//! say about any page.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use end_to_end::programs;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

fn muster(words: &[&str]) -> Output {
    let mut command = Command::new(MUSTER);
    command.env_clear().args(words);
    command.output().expect("muster runs")
}

/// What bash offers for the last of these words of a command line.
fn offered(name: &str, words: &[&str]) -> Vec<String> {
    let script = muster(&["completions", "bash", "--name", name]);
    assert!(script.status.success(), "{script:?}");
    let words = [&[name], words].concat();
    let asked = format!(
        "\ncomplete -p {name} >/dev/null || exit 1\nfunction=$(complete -p {name} | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         COMP_WORDS=({})\nCOMP_CWORD={}\n$function {name} \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words
            .iter()
            .map(|word| format!("'{word}'"))
            .collect::<Vec<_>>()
            .join(" "),
        words.len() - 1,
    );
    let mut bash = Command::new("bash")
        .args(["--noprofile", "--norc", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash starts");
    let mut stdin = bash.stdin.take().expect("a pipe");
    let text = [script.stdout.as_slice(), asked.as_bytes()].concat();
    // Beside it: bash answers before it has read all.
    let writer = std::thread::spawn(move || stdin.write_all(&text));
    let output = bash.wait_with_output().expect("bash ends");
    writer.join().expect("it ends").expect("bash reads");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_flags_of_every_name() {
    for (name, words, wanted) in [
        ("muster", &["serv"][..], "services"),
        ("muster", &["ctl", "snapshot", "s"], "save"),
        ("muster", &["ctl", "get", "--pre"], "--prefix"),
        ("muster", &["store", "--data"], "--data-dir"),
        ("muster", &["store", "--wal"], "--wal-dir"),
        ("muster", &["agents", "--wa"], "--watch"),
        ("etcdctl", &["get", "--key"], "--keys-only"),
        ("etcdctl", &["get", "--end"], "--endpoints"),
        ("etcdutl", &["snapshot", "re"], "restore"),
        ("etcd", &["--initial-cluster-s"], "--initial-cluster-state"),
        ("registrator", &["--lay"], "--layout"),
        ("confd", &["--one"], "--onetime"),
    ] {
        let offered = offered(name, words);
        assert!(
            offered.iter().any(|word| word == wanted),
            "{name} {words:?}: {offered:?}"
        );
    }
}

#[test]
fn etcdctl_s_own_command_for_completions_is_there() {
    for (words, name) in [
        (["ctl", "completion", "bash"], "etcdctl"),
        (["utl", "completion", "zsh"], "etcdutl"),
    ] {
        let told = muster(&words);
        let wanted = muster(&["completions", words[2], "--name", name]);
        assert!(told.status.success() && !told.stdout.is_empty(), "{told:?}");
        assert_eq!(told.stdout, wanted.stdout);
    }
}

#[test]
fn other_shells_get_theirs_and_other_names_a_hint() {
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let output = muster(&["completions", shell]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && text.contains("grpc-proxy"),
            "{shell}"
        );
    }
    let output = muster(&["completions", "bash", "--name", "zookeeper"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: zookeeper is no name this program answers to\n\
         hint: known: muster, etcd, etcdctl, etcdutl, registrator, confd\n"
    );
    let output = muster(&["man", "ctl", "git"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn groff_has_nothing_to_say_about_any_page() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let out = folder.path().display().to_string();
    let written = muster(&["man", "--out", &out]);
    assert!(written.status.success(), "{written:?}");
    let mut pages: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the folder is there")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    pages.sort();
    let names: Vec<String> = pages
        .iter()
        .filter_map(|page| Some(page.file_name()?.to_str()?.to_owned()))
        .collect();
    for name in [
        "muster.1",
        "muster-ctl-member-add.1",
        "muster-services.1",
        "etcd.1",
        "etcd-gateway-start.1",
        "etcdctl-make-mirror.1",
        "etcdutl-snapshot-restore.1",
        "registrator.1",
        "confd.1",
    ] {
        assert!(names.iter().any(|have| have == name), "{name}: {names:?}");
    }
    let output = Command::new(programs::system("groff"))
        .args(["-man", "-ww", "-Kutf8", "-Tutf8", "-z"])
        .args(&pages)
        .output()
        .expect("groff runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // The page on standard output is the one in the folder.
    let page = muster(&["man", "etcdctl", "get"]).stdout;
    let file = std::fs::read(folder.path().join("etcdctl-get.1")).expect("it is there");
    assert_eq!(page, file);
    let gone = muster(&["man", "--out", "/nowhere/at/all"]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
}

/// As docs/cli.md has it: `muster man ctl get | man -l -`.
#[test]
fn man_shows_a_page() {
    let page = muster(&["man", "ctl", "get"]).stdout;
    let mut man = Command::new(programs::system("man"))
        .args(["--local-file", "--warnings", "-"])
        .env("MANPAGER", "cat")
        .env("MANWIDTH", "80")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("man starts");
    let mut stdin = man.stdin.take().expect("a pipe");
    stdin.write_all(&page).expect("man reads");
    drop(stdin);
    let output = man.wait_with_output().expect("man ends");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["SYNOPSIS", "--prefix", "Get a key or a range of keys"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
