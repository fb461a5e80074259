//! The manifests fit Kubernetes' own schemas, and what they start does what they are for.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use end_to_end::etcdctl::{Etcdctl, Release};
use end_to_end::process::{Process, Signal};
use end_to_end::store::{Maker, Store};
use end_to_end::{http, port, programs, wait};
use serde_json::Value;

use crate::{MUSTER, PATIENCE, shipped};

/// The first version that starts a sidecar as one.
const VERSION: &str = "1.29";

fn manifests() -> Vec<std::path::PathBuf> {
    let folder = std::fs::read_dir(shipped("kubernetes")).unwrap();
    let mut files: Vec<_> = folder.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    files
}

fn validate(file: &Path) -> Output {
    Command::new("python3")
        .args(["-m", "kubernetes_validate", "--strict", "-k", VERSION])
        .arg(file)
        .env(
            "PYTHONPATH",
            programs::client_packages("kubernetes_validate"),
        )
        .output()
        .unwrap_or_else(|error| panic!("python3: {error} (make deps installs it)"))
}

/// The objects of a manifest.
fn objects(name: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    let text = std::fs::read_to_string(shipped("kubernetes").join(name)).unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn kind(objects: &[Value], kind: &str) -> Value {
    let found = objects.iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}")).clone()
}

fn words(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn wait_ok(port: u16, path: &str) {
    wait::until(
        &format!("{path} answers 200"),
        PATIENCE,
        || match http::get(([127, 0, 0, 1], port).into(), path) {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
}

#[test]
fn every_manifest_fits_the_schema() {
    for file in manifests() {
        let output = validate(&file);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", file.display());
        // The judge can say no.
        let spoilt = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(spoilt.path(), text.replace("metadata:", "metadatum:")).unwrap();
        assert!(!validate(spoilt.path()).status.success());
    }
}

/// The commands of the three pods, with places of this machine for theirs, become one cluster.
#[test]
fn the_pods_of_the_store_become_a_cluster() {
    let set = kind(&objects("store.yaml"), "StatefulSet");
    assert_eq!(set["spec"]["replicas"], 3);
    let arguments = words(&set["spec"]["template"]["spec"]["containers"][0]["args"]);
    let folder = tempfile::tempdir().unwrap();
    let pods: Vec<_> = (0..3).map(|_| (port::free(), port::free())).collect();
    let here = |pod: usize, word: &str| {
        let (client, peer) = pods[pod];
        let mut word = word
            .replace("$(POD_NAME)", &format!("muster-store-{pod}"))
            .replace("0.0.0.0:2379", &format!("127.0.0.1:{client}"))
            .replace("0.0.0.0:2380", &format!("127.0.0.1:{peer}"))
            .replace(
                "/var/lib/muster",
                &folder.path().join(pod.to_string()).display().to_string(),
            );
        for (pod, (client, peer)) in pods.iter().enumerate() {
            let host = format!("muster-store-{pod}.muster-store-peers");
            word = word
                .replace(&format!("{host}:2379"), &format!("127.0.0.1:{client}"))
                .replace(&format!("{host}:2380"), &format!("127.0.0.1:{peer}"));
        }
        word
    };
    let mut members: Vec<_> = (0..3)
        .map(|pod| {
            let mut command = Command::new(MUSTER);
            command.args(arguments.iter().map(|word| here(pod, word)));
            Process::spawn(format!("muster-store-{pod}"), &mut command)
        })
        .collect();
    let probe = &set["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"];
    let path = probe["path"].as_str().unwrap();
    for (client, _) in &pods {
        wait_ok(*client, path);
    }
    let client =
        |pod: usize| Etcdctl::new(Release::V3_5, &format!("http://127.0.0.1:{}", pods[pod].0));
    assert_eq!(client(0).run(&["put", "/a", "1"]), "OK\n");
    assert_eq!(client(2).run(&["get", "/a", "--print-value-only"]), "1\n");
    for member in &mut members {
        member.signal(Signal::TERM);
    }
    for member in &mut members {
        member.wait_exit(PATIENCE);
    }
}

/// What confd writes by the sidecar's own resource, from the flags of the manifest, nginx takes.
#[test]
fn the_sidecar_writes_what_its_nginx_takes() {
    let objects = objects("sidecar.yaml");
    let pod = kind(&objects, "Deployment")["spec"]["template"]["spec"].clone();
    let files = kind(&objects, "ConfigMap")["data"].clone();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let here = |text: &str| {
        // First of all: the root may be below it.
        text.replace("/tmp/", &format!("{root}/tmp/"))
            .replace("/config/", &format!("{root}/config/"))
            .replace("/etc/confd", &format!("{root}/confd"))
            .replace("0.0.0.0:8080", "127.0.0.1:21305")
    };
    for part in ["config", "tmp", "confd/conf.d", "confd/templates"] {
        std::fs::create_dir_all(folder.path().join(part)).unwrap();
    }
    let files: BTreeMap<String, String> = serde_json::from_value(files).unwrap();
    for mount in pod["initContainers"][0]["volumeMounts"].as_array().unwrap() {
        if let Some(file) = mount["subPath"].as_str() {
            let place = here(mount["mountPath"].as_str().unwrap());
            std::fs::write(place, here(&files[file])).unwrap();
        }
    }
    let store = Store::start(Maker::Muster(MUSTER.into()));
    let status = port::free();
    let mut command = Command::new(MUSTER);
    let flags = words(&pod["initContainers"][0]["args"]);
    command.args(flags.iter().map(|flag| {
        here(flag)
            .replace("http://muster-store:2379", &store.endpoint())
            .replace("0.0.0.0:9102", &format!("127.0.0.1:{status}"))
    }));
    let mut confd = Process::spawn("confd", &mut command);
    // nginx is started when this succeeds, so it must without an nginx.
    let probe = &pod["initContainers"][0]["startupProbe"]["httpGet"]["path"];
    wait_ok(status, probe.as_str().unwrap());
    let file = folder.path().join("config/nginx.conf");
    let output = Command::new("nginx")
        .args(["-t", "-q", "-e", "stderr", "-p", &root, "-c"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    confd.signal(Signal::TERM);
    confd.wait_exit(PATIENCE);
}
