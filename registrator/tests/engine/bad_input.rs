//! What people write wrongly: the container is registered as far as it is right, the fault is told where people look for it,
//! in the log once, and nobody else notices.

#![allow(clippy::unwrap_used, reason = "a test's own harness")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use end_to_end::docker::OWNER_LABEL;
use end_to_end::{http, programs, wait};
use registrator_catalog::layout::Layout;
use serde_json::Value;

use crate::scene::{Container, GENTLE, IMAGE, Running, Scene};

/// Larger than what etcd takes in one request, 1.5 MiB.
const HUGE_BYTES: usize = 2 << 20;

/// How many keys of a container there are, below both layouts.
fn keys_of(scene: &Scene, container: &Container) -> usize {
    let all = [scene.keys_below("/native/"), scene.keys_below("/skydns/")].concat();
    all.iter()
        .filter(|(key, _)| key.contains(&container.id[..12]))
        .count()
}

fn named(container: &Container) -> String {
    let name = container.inspect("{{.Name}}");
    name.trim_start_matches('/').to_owned()
}

#[test]
fn what_is_wrong_is_left_out_and_told_once() {
    let scene = Scene::new();
    let mut config = scene.config();
    config.layouts = ["native=/native", "skydns=bad.local"]
        .map(|text| Layout::parse(text, "").unwrap())
        .into();
    config.listen = Some(([127, 0, 0, 1], 0).into());
    config.resync = std::time::Duration::from_secs(1);
    let agent = Running::start(config).ready();
    let good = scene.container(&[], GENTLE);
    // Labels, how many of the two keys they leave, and what is told.
    let cases: [(&[&str], usize, &str); 11] = [
        (&["muster.weight=heavy"], 2, "muster.weight"),
        (&["muster.enable=perhaps"], 2, "muster.enable"),
        (&["muster.gate=perhaps"], 2, "muster.gate"),
        (
            &["muster.ports.web.port=99999"],
            2,
            "is not a port such as 80",
        ),
        (
            &["SERVICE_80_IGNORE=perhaps"],
            0,
            "SERVICE_80_IGNORE=perhaps is no boolean",
        ),
        (&["muster.nmae=x"], 2, "did you mean name?"),
        (&["muster.tags={{ nothing.there }}"], 0, "nothing"),
        (&["muster.name=___"], 1, "not below /skydns/"),
        (&["muster.name=a/b"], 0, "not below /native"),
        (
            &[
                "muster.name=mine",
                "SERVICE_COLOUR=blue",
                "muster.meta.colour=red",
            ],
            2,
            "SERVICE_COLOUR=blue does not count",
        ),
        (&["muster.layout=native,nothing"], 1, "nothing"),
    ];
    let mut bad: Vec<(Container, usize, &str)> = Vec::new();
    for (labels, keys, told) in cases {
        let options: Vec<String> = labels
            .iter()
            .map(|label| format!("--label={label}"))
            .collect();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        bad.push((scene.container(&options, GENTLE), keys, told));
    }
    // A value that no store would take, and one that is no text.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labels");
    let line = "x".repeat(1000);
    let huge: String = (0..HUGE_BYTES / 1000)
        .map(|number| format!("SERVICE_HUGE_{number}={line}\n"))
        .collect();
    std::fs::write(&file, huge).unwrap();
    let file = format!("--label-file={}", file.display());
    bad.push((scene.container(&[&file], GENTLE), 1, "its value would have"));
    let noise = with_noise(&scene);
    for (container, keys, told) in &bad {
        let name = named(container);
        let explained = wait::until("the fault to be told", wait::LONG, || {
            let answer = http::get(agent.listening(), &format!("/explain/{name}"))?;
            if answer.body.contains(told) && keys_of(&scene, container) == *keys {
                Ok(answer.body)
            } else {
                Err(format!("want {keys} keys, {told}: {}", answer.body))
            }
        });
        assert!(explained.contains(&name), "{explained}");
        let status = agent.status();
        let all = format!("{:?} {:?}", status.faults, status.skipped);
        assert!(all.contains(told), "{told} in {all}");
    }
    assert_eq!((keys_of(&scene, &good), keys_of(&scene, &noise)), (2, 2));
    // Looks go by that find the same again, and a restart: the log has it once.
    let looks = agent.status().counts.lists;
    bad[0].0.does(&["restart"]);
    wait::until("more looks", wait::LONG, || {
        match agent.status().counts.lists {
            now if now >= looks + 3 => Ok(()),
            now => Err(now.to_string()),
        }
    });
    wait::until("it to be back", wait::LONG, || {
        match keys_of(&scene, &bad[0].0) {
            2 => Ok(()),
            other => Err(other.to_string()),
        }
    });
    for (container, _, told) in &bad[1..] {
        let path = format!("/journal/{}", named(container));
        let journal = http::get(agent.listening(), &path).unwrap().body;
        let entries: Vec<Value> = serde_json::from_str(&journal).unwrap();
        let telling = entries
            .iter()
            .filter(|entry| entry["text"].as_str().unwrap().contains(told));
        assert_eq!(telling.count(), 1, "{told} in {journal}");
    }
    let metrics = http::get(agent.listening(), "/metrics").unwrap().body;
    let of = |name: &str| -> u64 {
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse().unwrap()
    };
    let told = of("muster_registrator_faults") + of("muster_registrator_skipped");
    assert!(told >= bad.len() as u64, "{metrics}");
}

/// A container whose environment is no text, as a command line may give it.
fn with_noise(scene: &Scene) -> Container {
    let mut command = Command::new(programs::system("docker"));
    command.env("DOCKER_HOST", scene.engine.address());
    command.args(["run", "--detach", "--label"]);
    command.arg(format!("{OWNER_LABEL}={}", std::process::id()));
    command
        .arg("--label")
        .arg(format!("SERVICE_NAME={}", scene.service));
    command
        .arg("--env")
        .arg(OsStr::from_bytes(b"SERVICE_NOISE=\xff\xfe"));
    let output = command.args([IMAGE, "sh", "-c", GENTLE]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    scene.adopt(id)
}
