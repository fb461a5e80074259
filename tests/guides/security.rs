//! What the page on security tells people to type.

use end_to_end::port;

use crate::script::{Shell, blocks, document};
use crate::{PATIENCE, path_with};

const DOCUMENT: &str = "security.md";

fn walk(heading: &str, scheme: &str) {
    let mut shell = Shell::start(&[
        ("PATH", path_with(&[])),
        ("STORE", format!("{scheme}://127.0.0.1:{}", port::free())),
    ]);
    let text = document(DOCUMENT);
    shell.run_all(DOCUMENT, &blocks(&text, Some(heading)), PATIENCE);
}

#[test]
fn tls_in_ten_lines() {
    let text = document(DOCUMENT);
    let lines = blocks(&text, Some("TLS in ten lines"));
    let lines = lines.iter().map(|block| block.commands.lines().count());
    assert!(lines.sum::<usize>() <= 10);
    walk("TLS in ten lines", "https");
}

#[test]
fn a_role_for_each_agent() {
    walk("A role for each agent", "http");
}
