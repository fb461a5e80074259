//! The ways from other programs, walked against a real etcd 3.5.

use end_to_end::store::{Maker, Store};
use end_to_end::{port, programs};

use crate::script::{Shell, blocks, document};
use crate::{PATIENCE, path_with};

const DOCUMENT: &str = "migration.md";

/// Walks the way that stands below a heading, from this etcd if the way begins at one.
fn walk(heading: &str, old: Option<&Store>) {
    let etcd = programs::etcd_3_5("etcdctl");
    let links = tempfile::tempdir().expect("temporary folder");
    // As a person has it who lets muster answer to the name.
    std::os::unix::fs::symlink(crate::MUSTER, links.path().join("confd")).expect("link");
    let folders = [
        etcd.parent().expect("a folder").to_owned(),
        links.path().to_owned(),
    ];
    let mut shell = Shell::start(&[
        ("PATH", path_with(&folders)),
        ("OLD", old.map(Store::endpoint).unwrap_or_default()),
        ("NEW", format!("http://127.0.0.1:{}", port::free())),
    ]);
    let text = document(DOCUMENT);
    shell.run_all(DOCUMENT, &blocks(&text, Some(heading)), PATIENCE);
}

#[test]
fn from_etcd_by_a_snapshot() {
    walk("From etcd, by a snapshot", Some(&Store::start(Maker::Etcd)));
}

#[test]
fn from_etcd_while_it_runs() {
    walk("From etcd, while it runs", Some(&Store::start(Maker::Etcd)));
}

#[test]
fn from_confd() {
    walk("From confd", None);
}

#[test]
fn from_consul_template() {
    walk("From consul-template", None);
}
