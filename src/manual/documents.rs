//! Commands in the documents: each that begins with `muster` must be one that the command line takes, with flags it has.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;

use super::{OWN, called};
use crate::name;

/// What ends a command in a line of the shell, or what a document says about it.
const ENDS: [&str; 9] = ["#", ">", "2>&1", "|", "&&", "||", "&", "<", "--"];

/// Commands of a document, with their lines: those in back quotes and those that begin a line of a code block.
fn commands(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut in_code, mut is_output) = (false, false);
    let mut before = String::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            in_code = !in_code;
            is_output = info == "text";
        } else if in_code && is_output {
            // What a command prints is none.
        } else if in_code {
            let whole = format!("{before}{line}");
            before.clear();
            if let Some(part) = whole.strip_suffix('\\') {
                before = part.to_owned();
            } else {
                found.push((number + 1, without_variables(whole.trim_start()).to_owned()));
            }
        } else {
            let quoted = line.split('`').skip(1).step_by(2);
            found.extend(quoted.map(|quoted| (number + 1, quoted.to_owned())));
        }
    }
    found.retain(|(_, command)| command.starts_with("muster "));
    found
}

/// A command without the variables that are set for it alone.
fn without_variables(line: &str) -> &str {
    let mut rest = line;
    while let Some((word, tail)) = rest.split_once(' ') {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        let is_name =
            |char: char| char.is_ascii_uppercase() || char == '_' || char.is_ascii_digit();
        if name.is_empty() || !name.chars().all(is_name) {
            break;
        }
        rest = tail;
    }
    rest
}

/// The words of a command as far as they are meant literally; columns of text behind it are none of it.
fn words(command: &str) -> Vec<OsString> {
    let end = command
        .find("   ")
        .into_iter()
        .chain(command.find(';'))
        .min();
    let command = &command[..end.unwrap_or(command.len())];
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for char in command.chars().chain([' ']) {
        match (char, quote) {
            ('"' | '\'', None) => quote = Some(char),
            (_, Some(open)) if char == open => quote = None,
            (';', None) => break,
            (' ', None) if word.is_empty() => {}
            (' ', None) => words.push(std::mem::take(&mut word)),
            _ => word.push(char),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    let literal = words.into_iter().take_while(|word| {
        // What stands for more than one thing is none.
        !ENDS.contains(&word.as_str()) && !word.starts_with(['[', '(', '<', '>'])
    });
    literal
        .filter(|word| !word.contains('…'))
        .map(|word| word.trim_end_matches(',').into())
        .collect()
}

/// Why a command is none.
fn fault(command: &str) -> Option<String> {
    let words = name::spelled_out(words(command));
    if words.len() < 2 {
        return None;
    }
    let refused = called(OWN)?.try_get_matches_from(words).err()?;
    let wrong = matches!(
        refused.kind(),
        ErrorKind::UnknownArgument
            | ErrorKind::InvalidSubcommand
            | ErrorKind::InvalidValue
            | ErrorKind::ArgumentConflict
            | ErrorKind::TooManyValues
    );
    let told = refused.to_string();
    wrong.then(|| told.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn commands_in_documents_are_commands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["docs", "deploy", "templates", "."];
    let files = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    let mut seen = 0;
    let mut faults = Vec::new();
    for path in files.map(|file| file.unwrap().path()) {
        if path.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, command) in commands(&text) {
            seen += 1;
            if let Some(fault) = fault(&command) {
                faults.push(format!("{}:{line}: {command}: {fault}", path.display()));
            }
        }
    }
    assert!(seen > 100, "{seen}");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_is_no_command_is_noticed() {
    let text = "Say `muster ctl git` or `muster ctl get`.\n```sh\nX=1 muster store --date-dir \\\n  y\nmuster drain web --wiat   words\n```\n";
    let found = commands(text);
    let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 1, 4, 5]);
    let faults: Vec<bool> = found
        .iter()
        .map(|(_, text)| fault(text).is_some())
        .collect();
    assert_eq!(faults, [true, false, true, true], "{found:?}");
}
