//! User and group names to ids, from the system's account files. Directory services are not asked: the files answer at
//! once and without leaving the process, and who needs more can write the number.

use std::io;
use std::path::Path;

use crate::resource::Account;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// An account that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    /// No line of the file has the name.
    #[error("{kind} {name:?} does not exist in {file}")]
    Unknown {
        kind: &'static str,
        name: String,
        file: &'static str,
    },
    /// The file cannot be read.
    #[error("read {file}")]
    Unreadable {
        file: &'static str,
        #[source]
        source: io::Error,
    },
}

/// The id of a user.
pub(crate) fn user(account: &Account) -> Result<u32, AccountError> {
    look_up(account, "user", PASSWD)
}

/// The id of a group.
pub(crate) fn group(account: &Account) -> Result<u32, AccountError> {
    look_up(account, "group", GROUP)
}

fn look_up(account: &Account, kind: &'static str, file: &'static str) -> Result<u32, AccountError> {
    let name = match account {
        Account::Id(id) => return Ok(*id),
        Account::Name(name) => name,
    };
    let text = std::fs::read(Path::new(file))
        .map_err(|source| AccountError::Unreadable { file, source })?;
    find(&String::from_utf8_lossy(&text), name).ok_or_else(|| AccountError::Unknown {
        kind,
        name: name.clone(),
        file,
    })
}

/// The third field of the line with this name, in both files.
fn find(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let text = "root:x:0:0:root:/root:/bin/sh\n+nis\nwww-data:x:33:33::/var/www:\nbad:x:many\n";
        assert_eq!(find(text, "www-data"), Some(33));
        assert_eq!(find(text, "root"), Some(0));
        assert_eq!(find(text, "bad"), None);
        assert_eq!(find(text, "www"), None);
        assert_eq!(user(&Account::Id(7)).ok(), Some(7));
        assert_eq!(user(&Account::Name("root".to_owned())).ok(), Some(0));
        let error = group(&Account::Name("no such group".to_owned())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "group \"no such group\" does not exist in /etc/group"
        );
    }
}
