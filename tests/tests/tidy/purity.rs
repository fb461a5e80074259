//! Words that a pure source must not say: each brings in time, chance, order or the outside world.

/// A forbidden word that was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Line, counted from 1.
    pub(crate) line: usize,
    /// The word.
    pub(crate) text: &'static str,
    /// What to do instead.
    pub(crate) instead: &'static str,
}

const NOW: &str = "take `now` as an argument";
const ORDER: &str = "its order changes from run to run; use the B-tree kind";
const OUTSIDE: &str = "return an effect; a shell performs it";
const CHANCE: &str = "take a seed at construction";
const SHELL: &str = "this belongs to a shell";

/// Paths that must not occur.
const FORBIDDEN: [(&str, &str); 20] = [
    ("Instant::now", NOW),
    ("SystemTime", NOW),
    ("HashMap", ORDER),
    ("HashSet", ORDER),
    ("std::fs", OUTSIDE),
    ("TcpStream", OUTSIDE),
    ("TcpListener", OUTSIDE),
    ("UdpSocket", OUTSIDE),
    ("ToSocketAddrs", OUTSIDE),
    ("std::env", OUTSIDE),
    ("std::process", OUTSIDE),
    ("std::thread", SHELL),
    ("std::io::stdout", OUTSIDE),
    ("rand::rng", CHANCE),
    ("rand::random", CHANCE),
    ("thread_rng", CHANCE),
    ("from_os_rng", CHANCE),
    ("tokio", SHELL),
    ("rustix", SHELL),
    ("tracing", OUTSIDE),
];

/// All forbidden words in `code`, which holds no comments and no literals.
pub(crate) fn forbidden_words(code: &str) -> Vec<Word> {
    let code = ungrouped(code);
    let mut words = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for (text, instead) in FORBIDDEN {
            if says(line, text) {
                words.push(Word {
                    line: number + 1,
                    text,
                    instead,
                });
            }
        }
    }
    words
}

/// Whether `line` holds `path` with no identifier running into it on either side.
fn says(line: &str, path: &str) -> bool {
    let is_name = |char: char| char.is_alphanumeric() || char == '_';
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

/// `code` with each first name in `std::{a, b::c}` spelled out, so that groups hide nothing.
fn ungrouped(code: &str) -> String {
    const GROUP: &str = "std::{";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(GROUP) {
        let inside = at + GROUP.len();
        out.push_str(&rest[..inside]);
        let mut depth = 1_usize;
        let mut fresh = true;
        let mut end = rest.len();
        for (offset, char) in rest[inside..].char_indices() {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ if depth == 1 && fresh && char.is_alphabetic() => out.push_str("std::"),
                _ => {}
            }
            if depth == 0 {
                end = inside + offset;
                break;
            }
            fresh = depth == 1 && (char == ',' || (fresh && !char.is_alphabetic()));
            out.push(char);
        }
        rest = &rest[end..];
    }
    out + rest
}

#[test]
fn every_forbidden_word_is_found() {
    for (text, _) in FORBIDDEN {
        let code = format!("fn f() {{}}\nlet x = {text}::y();\n");
        let words = forbidden_words(&code);
        assert!(
            words.iter().any(|word| word.text == text && word.line == 2),
            "{text}: {words:?}"
        );
    }
}

#[test]
fn groups_hide_nothing_and_longer_names_are_free() {
    for (code, found) in [
        ("use std::{collections::BTreeMap, fs};", &["std::fs"][..]),
        (
            "use std::{\n    net::{IpAddr, TcpStream},\n    time::Instant,\n};",
            &["TcpStream"],
        ),
        ("use std::{collections::{BTreeMap, HashMap}};", &["HashMap"]),
        ("use std::time::Instant;", &[]),
        (
            "struct MyHashMap; fn tokio_like() {} fn renetting() {}",
            &[],
        ),
        ("use std::{fmt, ops::{Add, Sub}}; fn net() {}", &[]),
    ] {
        let words: Vec<_> = forbidden_words(code).iter().map(|word| word.text).collect();
        assert_eq!(words, found, "{code}");
    }
}
