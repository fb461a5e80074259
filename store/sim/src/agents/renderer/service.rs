//! A program that reads a configuration file: it runs on what it was told to read last, and refuses some.

/// Every configuration with this in it is refused while things go wrong.
const POISON: &[u8] = b"3;";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Service {
    runs: Option<Vec<u8>>,
}

impl Service {
    /// What it runs on.
    pub(super) fn runs(&self) -> Option<&[u8]> {
        self.runs.as_deref()
    }

    /// It starts, on whatever is there.
    pub(super) fn start(&mut self, content: Option<Vec<u8>>) {
        self.runs = content;
    }

    /// It is told to read its file; what it refuses leaves it on what it runs on.
    pub(super) fn reload(&mut self, content: Option<Vec<u8>>, well: bool) -> Result<(), String> {
        let poisoned = |content: &Vec<u8>| content.windows(POISON.len()).any(|it| it == POISON);
        if !well && content.as_ref().is_some_and(poisoned) {
            return Err("the service does not take it".to_owned());
        }
        self.runs = content;
        Ok(())
    }
}
