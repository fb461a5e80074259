//! Asking a person at the terminal: lines, and words that are not shown while they are typed.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// Whether somebody is there to be asked.
pub(crate) fn is_person() -> bool {
    std::io::stdin().is_terminal()
}

/// A line from stdin, without its end.
///
/// # Errors
/// It cannot be read.
pub(crate) fn line() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|cause| Failure::io(format!("read stdin: {cause}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A line that the terminal does not show.
///
/// # Errors
/// It cannot be read.
pub(crate) fn hidden(question: &str) -> Result<String, Failure> {
    print!("{question}");
    // A question nobody sees is still answered.
    let _ = std::io::stdout().flush();
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).ok();
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // A terminal that cannot be silenced shows what is typed, as it always does.
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &silent);
    }
    let typed = line();
    if let Some(before) = &before {
        let _ = tcsetattr(&stdin, OptionalActions::Now, before);
        println!();
    }
    typed
}

/// A new password for `user`, typed twice.
///
/// # Errors
/// It cannot be read, or the two differ.
pub(crate) fn new_password(user: &str) -> Result<String, Failure> {
    let first = hidden(&format!("Password of {user}: "))?;
    let second = hidden(&format!("Type password of {user} again for confirmation: "))?;
    if first == second {
        Ok(first)
    } else {
        Err(Failure::bad_arguments("given passwords are different"))
    }
}
