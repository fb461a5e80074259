//! What `muster registrator <verb>` does beside running the agent: questions about containers, and orders that go over
//! the store to whichever agent they concern. Each runs by itself with the agent's own settings; none needs a running
//! agent.

mod drain;
mod lint;
mod look;
mod show;

use std::process::ExitCode;

use crate::config::{Args, Config, ConfigError};

/// Done.
const DONE: u8 = 0;
/// It did not work, or something is wrong.
const FAILED: u8 = 1;
/// `plan`: something would change. Wrong usage has the same status, as everywhere.
const WOULD_CHANGE: u8 = 2;

/// Every verb, with its operands and what it does.
const VERBS: [(&str, &str, &str); 12] = [
    (
        "explain",
        "<container>",
        "why a container is registered as it is, or is not",
    ),
    (
        "plan",
        "",
        "what an agent would change in the store now; exit status 2 when something",
    ),
    ("list", "", "what the store holds of this node"),
    (
        "lint",
        "<compose file or container>",
        "what is wrong with labels; exit status 1 when something",
    ),
    (
        "events",
        "",
        "what happens on the engine, as the agent understands it",
    ),
    (
        "doctor",
        "",
        "whether engine, store and addresses are as they should be",
    ),
    (
        "drain",
        "<target>",
        "take out of traffic; --wait, --then stop, --for, --reason",
    ),
    (
        "undrain",
        "<target>",
        "take a drain, maintenance and weight back",
    ),
    (
        "maintenance",
        "<target>",
        "mark as being worked on; --for, --reason",
    ),
    (
        "weight",
        "<target> <0-65535>",
        "change its share of traffic; --for, --reason",
    ),
    (
        "overrides",
        "",
        "every drain, maintenance and weight there is",
    ),
    ("run", "", "the agent itself, as without a verb"),
];

/// What a verb gives back.
type Done = Result<u8, String>;

/// Runs the verb among the arguments; `None` when the agent itself was asked for.
pub(crate) fn run(args: &Args) -> Option<ExitCode> {
    let (verb, operands) = args.verb.split_first()?;
    if verb == "run" && operands.is_empty() {
        return None;
    }
    let Some((_, wanted, _)) = VERBS.iter().find(|(name, ..)| name == verb) else {
        return Some(fail(
            2,
            &format!("{verb:?} is no verb and no registry"),
            Some(help(verb)),
        ));
    };
    // A target and a number are two words, a file is one.
    let count = if wanted.is_empty() {
        0
    } else {
        wanted.matches('<').count()
    };
    if operands.len() != count {
        let usage = format!("usage: registrator {verb} {wanted}");
        return Some(fail(
            2,
            &format!("{verb} takes {count} words, not {}", operands.len()),
            Some(usage),
        ));
    }
    if verb == "lint" && std::path::Path::new(&operands[0]).is_file() {
        return Some(answer(lint::file(&operands[0], args.json)));
    }
    let config = match Config::resolve(args) {
        Ok(config) => config,
        Err(error) => return Some(fail(2, &error.to_string(), ConfigError::hint(&error))),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Some(fail(FAILED, &format!("start: {error}"), None)),
    };
    let done = runtime.block_on(async {
        match verb.as_str() {
            "explain" => show::explain(&config, &operands[0], args.json).await,
            "plan" => show::plan(&config, args.json).await,
            "list" => show::list(&config, args.json).await,
            "lint" => lint::container(&config, &operands[0], args.json).await,
            "events" => show::events(&config, args.json).await,
            "doctor" => show::doctor(&config, args.json).await,
            _ => drain::run(&config, args, verb, operands).await,
        }
    });
    Some(answer(done))
}

fn answer(done: Done) -> ExitCode {
    match done {
        Ok(status) => ExitCode::from(status),
        Err(why) => fail(FAILED, &why, None),
    }
}

/// What to write instead of a word that is no verb.
fn help(word: &str) -> String {
    let near = VERBS
        .iter()
        .map(|(name, ..)| (strsim::damerau_levenshtein(name, word), *name))
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .min();
    match near {
        Some((_, name)) => format!("did you mean {name}?"),
        None => verbs(),
    }
}

/// All verbs, for `--help`.
pub(crate) fn verbs() -> String {
    let mut text = "verbs:".to_owned();
    for (name, operands, does) in VERBS {
        let call = format!("{name} {operands}");
        text.push_str(&format!("\n  {call:<36} {does}"));
    }
    text.push_str(
        "\nA target is a container of this node (see --node), or service/<name>, or node/<name>.",
    );
    text
}

fn fail(status: u8, why: &str, hint: Option<String>) -> ExitCode {
    eprintln!("error: {why}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(status)
}
