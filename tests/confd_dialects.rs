//! Set-ups that people bring along run as they are: an `/etc/confd` in the original's form, started through a link called
//! confd with the original's command line and with its fork's.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use end_to_end::confdir::Confdir;
use end_to_end::process::Process;
use end_to_end::store::{Maker, Store};
use end_to_end::{programs, wait};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A folder as confd's quick start has it, and the program under its old name.
struct Setup {
    folder: tempfile::TempDir,
    store: Store,
}

impl Setup {
    fn new(keys: &[(&str, &str)]) -> Self {
        let store = Store::start(Maker::Muster(PathBuf::from(MUSTER)));
        let client = store.client();
        for (key, value) in keys {
            assert_eq!(client.run(&["put", "--", key, value]), "OK\n");
        }
        let setup = Self {
            folder: tempfile::tempdir().expect("a folder"),
            store,
        };
        for name in ["conf.d", "templates", "out"] {
            std::fs::create_dir(setup.path(name)).expect("a folder");
        }
        std::os::unix::fs::symlink(MUSTER, setup.path("confd")).expect("a link");
        let resource = format!(
            "[template]\nprefix = \"/production\"\nsrc = \"site.conf.tmpl\"\ndest = \"{}\"\nkeys = [\"/name\", \"/upstream\"]\n\
             check_cmd = \"grep -q server {{{{.src}}}}\"\n",
            setup.path("out/site.conf").display()
        );
        std::fs::write(setup.path("conf.d/site.toml"), resource).expect("a resource");
        let template =
            "name {{getv \"/name\"}}\n{{range getvs \"/upstream/*\"}}server {{.}};\n{{end}}";
        std::fs::write(setup.path("templates/site.conf.tmpl"), template).expect("a template");
        setup
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs confd to its end with these flags; `NODE` stands for the store.
    fn confd(&self, line: &str) -> Output {
        let confdir = self.folder.path().display().to_string();
        let line = line
            .replace("NODE", &self.store.endpoint())
            .replace("DIR", &confdir);
        Command::new(self.path("confd"))
            .args(line.split_whitespace())
            .env("CONFD_STATE_DIR", self.path("state"))
            .output()
            .expect("confd runs")
    }

    fn rendered(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.path("out/site.conf")).ok();
        let _ = std::fs::remove_file(self.path("out/site.conf"));
        text
    }
}

const KEYS: &[(&str, &str)] = &[
    ("/production/name", "shop"),
    ("/production/upstream/b", "10.0.0.2:80"),
    ("/production/upstream/a", "10.0.0.1:80"),
    ("/staging/name", "trial"),
    ("/staging/upstream/a", "10.9.9.9:80"),
    ("/eu/production/name", "laden"),
    ("/eu/production/upstream/a", "10.3.3.3:80"),
];
const SHOP: &str = "name shop\nserver 10.0.0.1:80;\nserver 10.0.0.2:80;\n";

fn succeeded(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn both_command_lines_render_an_existing_folder() {
    let setup = Setup::new(KEYS);
    let trial = "name trial\nserver 10.9.9.9:80;\n";
    let laden = "name laden\nserver 10.3.3.3:80;\n";
    for (line, expected) in [
        ("-onetime -backend etcdv3 -node NODE -confdir DIR", SHOP),
        (
            "--onetime=true -watch -backend=etcd -node=NODE -confdir=DIR -log-level debug",
            SHOP,
        ),
        // The original's prefix replaces a resource's, the fork's stands before it.
        ("-onetime -node NODE -confdir DIR -prefix /staging", trial),
        ("etcd --onetime -n NODE --confdir DIR", SHOP),
        (
            "etcd --onetime --node NODE --confdir DIR --prefix /eu --failure-mode fail-fast",
            laden,
        ),
    ] {
        let output = setup.confd(line);
        succeeded(&output);
        assert_eq!(setup.rendered().as_deref(), Some(expected), "{line}");
    }
}

#[test]
fn what_has_no_effect_here_is_told_and_noop_is_a_difference() {
    let setup = Setup::new(KEYS);
    let output =
        setup.confd("etcd --onetime --diff --node NODE --confdir DIR --retry-max-attempts 5");
    succeeded(&output);
    let (out, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(out.contains("+name shop\n"), "{out}");
    assert!(log.contains("--retry-max-attempts has no effect"), "{log}");
    assert_eq!(setup.rendered(), None);
}

#[test]
fn keys_come_from_files_and_from_the_environment_as_well() {
    let setup = Setup::new(&[]);
    let yaml = "production:\n  name: shop\n  upstream: {a: '10.0.0.1:80', b: '10.0.0.2:80'}\n";
    std::fs::write(setup.path("keys.yaml"), yaml).expect("keys");
    for line in [
        "-onetime -backend file -file DIR/keys.yaml -confdir DIR",
        "file --onetime --file DIR/keys.yaml --confdir DIR",
    ] {
        succeeded(&setup.confd(line));
        assert_eq!(setup.rendered().as_deref(), Some(SHOP), "{line}");
    }
    let output = Command::new(setup.path("confd"))
        .args(["-onetime", "-backend", "env", "-confdir"])
        .arg(setup.folder.path())
        .env("CONFD_STATE_DIR", setup.path("state"))
        .env("PRODUCTION_NAME", "shop")
        .env("PRODUCTION_UPSTREAM_A", "10.0.0.1:80")
        .env("PRODUCTION_UPSTREAM_B", "10.0.0.2:80")
        .output()
        .expect("confd runs");
    succeeded(&output);
    assert_eq!(setup.rendered().as_deref(), Some(SHOP));
}

#[test]
fn exit_codes_are_the_original_s() {
    let setup = Setup::new(KEYS);
    let code = |line| setup.confd(line).status.code();
    assert_eq!(code("-version"), Some(0));
    // A folder that is not there is nothing to do.
    assert_eq!(code("-onetime -node NODE -confdir DIR/none"), Some(0));
    // One resource that fails is a failure, and the others are rendered.
    broken_resource(&setup.path("conf.d/broken.toml"));
    assert_eq!(code("-onetime -node NODE -confdir DIR"), Some(1));
    assert_eq!(setup.rendered().as_deref(), Some(SHOP));
    assert_eq!(code("etcd --check-config --confdir DIR"), Some(1));
    assert_eq!(
        code("etcd --check-config --confdir DIR --resource site.toml"),
        Some(0)
    );
    assert_eq!(code("-onetime -backend nosuch -confdir DIR"), Some(1));
}

fn broken_resource(path: &Path) {
    std::fs::write(
        path,
        "[template]\nsrc = \"none.tmpl\"\ndest = \"/nowhere\"\nkeys = [\"/\"]\n",
    )
    .expect("a resource");
}

/// States of the children of a process, by proc(5).
fn children(pid: &str) -> Vec<(String, char)> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    let state = |child: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    };
    list.split_whitespace()
        .filter_map(|child| Some((child.to_owned(), state(child)?)))
        .collect()
}

#[test]
fn as_the_first_process_it_keeps_a_service_and_waits_for_what_others_leave() {
    let confdir = Confdir::new();
    confdir.add("name", "/name", "{{ getv(key='/name') }}\n", "");
    confdir.write("keys.yaml", "name: first\n");
    let path = |name: &str| confdir.path().join(name).display().to_string();
    let log = path("log");
    // What is started in a subshell that ends at once is nobody's child but the first process's.
    let service = format!(
        "say() {{ echo $1 >> {log}; }}\nread_it() {{ say \"told of $(cat {})\"; }}\ntrap read_it HUP\n\
         trap 'say end; exit 0' TERM\n(sleep 0.1 &)\nsay start\nwhile :; do sleep 0.05; done\n",
        path("out/name")
    );
    let service = service.replace("echo $1", "echo \"$1\"");
    confdir.write("service", &service);
    let mut command = programs::as_root("unshare");
    command
        .args(["--pid", "--fork", "--mount-proc", "--kill-child", MUSTER])
        .args(["confd", "--backend", "file", "--file", &path("keys.yaml")])
        .args(["--confdir", &path(""), "--state-dir", &path("state")])
        .args(["--exec", &format!("/bin/sh {}", path("service"))]);
    let mut process = Process::spawn("confd", &mut command);
    let says = |text: &str| {
        wait::until("the service to say so", wait::LONG, || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            if said == text { Ok(()) } else { Err(said) }
        });
    };
    says("start\n");
    assert_eq!(confdir.rendered("name").as_deref(), Some("first\n"));
    confdir.write("keys.yaml", "name: second\n");
    says("start\ntold of second\n");
    // sudo, where it is needed, stands in between.
    let mut first = process.pid().to_string();
    loop {
        let name = std::fs::read_to_string(format!("/proc/{first}/comm")).unwrap_or_default();
        match children(&first).first() {
            Some((child, _)) if name.trim() != "muster" => first.clone_from(child),
            _ => break,
        }
    }
    wait::until("the orphan to be waited for", wait::LONG, || {
        match &children(&first)[..] {
            // The service alone, whose sleep is its own.
            [(_, state)] if *state != 'Z' => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let told = programs::as_root("kill").arg(&first).status();
    assert!(told.expect("kill runs").success());
    assert!(process.wait_exit(wait::LONG).success());
    says("start\ntold of second\nend\n");
}
