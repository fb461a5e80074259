//! Commands in a document: finds the blocks that are to be run, runs them in one shell as they stand there, and compares
//! what they print with what the document says they print.
//!
//! A block's info string says what to do with it: `sh run` is run once and must succeed; `sh ask` changes nothing and is
//! asked again until it answers as the document says. A block `text` behind either is what must have been printed.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use end_to_end::process::Process;
use end_to_end::wait;

/// What stands for anything in what a document says is printed.
const ANYTHING: char = '…';

/// Begins the line that ends a block's output.
const END_OF_BLOCK: &str = "--- end of block";

/// Reads what to run from the pipe that is its first argument. A command that fails ends it; of a pipe the last one counts,
/// as in a reader's shell.
const SHELL: &str = r#"
set -e
exec 3<>"$1" 2>&1
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
while read -r kind block <&3; do
    case $kind in
        run) . "$block" 3<&-; status=0 ;;
        ask) if (. "$block") 3<&-; then status=0; else status=$?; fi ;;
        *) exit 0 ;;
    esac
    echo "--- end of block $status"
done
"#;

/// What to do with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Run once; every command in it must succeed.
    Run,
    /// A question: asked until the answer is as expected.
    Ask,
}

/// Commands, and what they print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    /// Line of its first command, from 1.
    pub(crate) line: usize,
    pub(crate) commands: String,
    /// Lines that must be printed, in this order; others may stand between.
    pub(crate) expected: Vec<String>,
}

/// The fenced blocks of a document: info string, line of their first line, text.
pub(crate) fn fences(document: &str) -> Vec<(&str, usize, String)> {
    let mut fences: Vec<(&str, usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in document.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(info) if !open => {
                fences.push((info.trim(), number + 2, String::new()));
                open = true;
            }
            Some(_) => open = false,
            None => {
                if let Some((_, _, text)) = fences.last_mut().filter(|_| open) {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
    }
    fences
}

/// The blocks to run, in order, those below the heading `section` alone if one is named.
pub(crate) fn blocks(document: &str, section: Option<&str>) -> Vec<Block> {
    let document = match section {
        None => document,
        Some(heading) => {
            let (_, rest) = document
                .split_once(&format!("\n## {heading}\n"))
                .unwrap_or_else(|| panic!("no heading {heading}"));
            rest.split("\n## ").next().unwrap_or_default()
        }
    };
    let mut blocks: Vec<Block> = Vec::new();
    let mut behind_commands = false;
    for (info, line, text) in fences(document) {
        let kind = match info {
            "sh run" => Some(Kind::Run),
            "sh ask" => Some(Kind::Ask),
            _ => None,
        };
        if let Some(kind) = kind {
            blocks.push(Block {
                kind,
                line,
                commands: text,
                expected: Vec::new(),
            });
        } else if let ("text", true, Some(block)) = (info, behind_commands, blocks.last_mut()) {
            block.expected = text.lines().map(spaced).collect();
        }
        behind_commands = kind.is_some();
    }
    blocks
}

/// Columns are as wide as what stands in them.
fn spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line is as the document says.
fn is_as_said(line: &str, said: &str) -> bool {
    let line = spaced(line);
    let mut pieces = said.split(ANYTHING);
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The first line the document promises and the output does not have.
pub(crate) fn first_missing<'a>(expected: &'a [String], output: &[String]) -> Option<&'a str> {
    let mut lines = output.iter();
    let missing = |said: &&String| !lines.any(|line| is_as_said(line, said));
    expected.iter().find(missing).map(String::as_str)
}

/// A shell in which one block is run after the other. Whatever they have started in the background ends with it.
pub(crate) struct Shell {
    process: Process,
    /// What it reads from. Open from before it starts, to read as well: nothing waits for anybody, and nothing is lost.
    pipe: std::fs::File,
    folder: tempfile::TempDir,
    /// Lines that belong to blocks before.
    seen: usize,
}

impl Shell {
    /// A shell in a fresh folder, with these variables.
    pub(crate) fn start(variables: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let next = folder.path().join("next");
        let made = Command::new("mkfifo").arg(&next).status();
        assert!(made.expect("mkfifo runs").success());
        let mut options = std::fs::File::options();
        let pipe = options.read(true).write(true).open(&next);
        let work = folder.path().join("work");
        std::fs::create_dir(&work).expect("make a folder");
        let mut command = Command::new("bash");
        command
            .args(["--noprofile", "--norc", "-c", SHELL, "bash"])
            .arg(&next)
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .current_dir(&work)
            .process_group(0);
        Self {
            process: Process::spawn("the commands of the document", &mut command),
            pipe: pipe.expect("open the pipe to the shell"),
            folder,
            seen: 0,
        }
    }

    /// Where it works.
    pub(crate) fn work(&self) -> std::path::PathBuf {
        self.folder.path().join("work")
    }

    /// Runs all of them, and ends.
    pub(crate) fn run_all(&mut self, document: &str, blocks: &[Block], patience: Duration) {
        assert!(!blocks.is_empty(), "{document}: nothing to run");
        for block in blocks {
            self.run(document, block, patience);
        }
        self.tell("end");
        let status = self.process.wait_exit(patience);
        assert!(status.success(), "{document}: {status}");
    }

    fn run(&mut self, document: &str, block: &Block, patience: Duration) {
        let what = format!("{document}:{}: {}", block.line, block.commands);
        let answered = wait::try_until(&what, patience, || {
            let (status, output) = self.once(block, patience);
            match first_missing(&block.expected, &output) {
                _ if status != "0" => Err(format!("status {status}\n{}", output.join("\n"))),
                Some(said) => Err(format!("no `{said}` in\n{}", output.join("\n"))),
                None => Ok(Ok(())),
            }
            .or_else(|fault| match block.kind {
                Kind::Run => Ok(Err(fault)),
                Kind::Ask => Err(fault),
            })
        });
        if let Err(fault) = answered.and_then(|answer| answer) {
            panic!("{what}\n{fault}");
        }
    }

    /// Status and output of a block.
    fn once(&mut self, block: &Block, patience: Duration) -> (String, Vec<String>) {
        let file = self.folder.path().join("block");
        std::fs::write(&file, &block.commands).expect("write the block");
        let kind = match block.kind {
            Kind::Run => "run",
            Kind::Ask => "ask",
        };
        self.tell(&format!("{kind} {}", file.display()));
        let (process, seen) = (&mut self.process, self.seen);
        let end = wait::until(&block.commands, patience, || {
            let lines = process.lines();
            let mut new = lines.iter().skip(seen);
            let ended = new.position(|line| line.starts_with(END_OF_BLOCK));
            match (ended, process.exited()) {
                (Some(at), _) => Ok(seen + at),
                (None, None) => Err(format!("it runs\n{}", process.tail())),
                (None, Some(status)) => panic!(
                    "a command failed ({status}) in\n{}\n{}",
                    block.commands,
                    process.tail()
                ),
            }
        });
        let mut output = self.process.lines();
        let status = output[end][END_OF_BLOCK.len()..].trim().to_owned();
        output.truncate(end);
        let output = output.split_off(self.seen);
        self.seen = end + 1;
        (status, output)
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.pipe, "{line}").expect("write to the shell");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // A shell that ends takes what runs in the background with it; one that is killed does not.
        if self.process.exited().is_some() {
            return;
        }
        let group = i32::try_from(self.process.pid()).ok();
        if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// What a document says.
pub(crate) fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|cause| panic!("read {}: {cause}", path.display()))
}

#[test]
fn blocks_are_found_with_what_they_print() {
    let text = "# A\n```sh run\na\nb\n```\nthen\n```text\nx  y\n```\n## B\n```sh ask\nc\n```\n```sh\nd\n```\n```text\nno\n```\n";
    let found = blocks(text, None);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].kind, found[0].line), (Kind::Run, 3));
    assert_eq!(found[0].commands, "a\nb\n");
    assert_eq!(found[0].expected, ["x y"]);
    assert_eq!((found[1].kind, found[1].line), (Kind::Ask, 12));
    assert!(found[1].expected.is_empty());
    assert_eq!(blocks(text, Some("B")).len(), 1);
}

#[test]
fn what_is_not_printed_is_missed() {
    let output = ["hello   up 10.0.0.1:80", "OK", "took 3 ms"].map(str::to_owned);
    for (expected, missing) in [
        (&["hello up …", "OK"][..], None),
        (&["… up …:80"], None),
        (&["took … ms"], None),
        (&["…"], None),
        (&["hello up"], Some("hello up")),
        (&["OK", "hello …"], Some("hello …")),
        (&["OK", "OK"], Some("OK")),
        (&["took … s"], Some("took … s")),
        (&["… down …"], Some("… down …")),
    ] {
        let expected: Vec<String> = expected.iter().map(|line| spaced(line)).collect();
        assert_eq!(first_missing(&expected, &output), missing, "{expected:?}");
    }
}
