//! The renderer converges (design, "Simulation": every rendered file equals a fresh render; confd's promise: the
//! service runs on it): when nothing goes wrong any more and the keys rest, each file is what its template gives
//! from the keys as they are, and its service was told to read just that.

use crate::promises::{Check, broken};

const PROMISE: &str = "the renderer converges";

/// Compares a file, and what its service runs on, with a fresh render.
pub(crate) fn converged(
    name: &str,
    fresh: &str,
    file: Option<&[u8]>,
    runs: Option<&[u8]>,
) -> Check {
    let text =
        |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    if file != Some(fresh.as_bytes()) {
        let file = text(file);
        return broken(
            PROMISE,
            format!("file {name} is {file:?}, a fresh render gives {fresh:?}"),
        );
    }
    if runs != file {
        let runs = text(runs);
        return broken(
            PROMISE,
            format!("the service of {name} runs on {runs:?}, its file is {fresh:?}"),
        );
    }
    Ok(())
}

/// What a fresh render gives was taken back, because the service did not take it: then it runs on the file that was put
/// back.
pub(crate) fn taken_back(name: &str, file: Option<&[u8]>, runs: Option<&[u8]>) -> Check {
    if runs == file {
        return Ok(());
    }
    broken(
        PROMISE,
        format!("{name} was taken back, and its service runs on something else than its file"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_back_runs() {
        assert_eq!(taken_back("f", Some(b"old"), Some(b"old")), Ok(()));
        assert!(taken_back("f", Some(b"old"), Some(b"new")).is_err());
    }

    #[test]
    fn the_file_is_fresh_and_the_service_runs_on_it() {
        let cases: [(Option<&str>, Option<&str>, Option<&str>); 5] = [
            (Some("new"), Some("new"), None),
            (Some("old"), Some("old"), Some("file f is")),
            (None, None, Some("file f is None")),
            (Some("new"), Some("old"), Some("the service of f runs on")),
            (Some("new"), None, Some("the service of f runs on None")),
        ];
        for (file, runs, told) in cases {
            let bytes = |text: Option<&'static str>| text.map(str::as_bytes);
            let broke = converged("f", "new", bytes(file), bytes(runs)).err();
            match told {
                None => assert_eq!(broke, None),
                Some(told) => assert!(
                    broke.as_ref().is_some_and(|it| it.detail.starts_with(told)),
                    "{file:?} {runs:?}: {broke:?}"
                ),
            }
        }
    }
}
