//! What to do when an engine's socket cannot be used, in words behind the system's own.

use std::os::unix::fs::MetadataExt as _;

/// 1.41: Docker 20.10, the oldest engine that is tested.
const API_MIN: (u32, u32) = (1, 41);

/// The reason, with the way out where it is known.
pub(super) fn explained(host: &str, why: String) -> String {
    let Some(path) = host.strip_prefix("unix://") else {
        return why;
    };
    if why.contains("Permission denied") {
        let group = std::fs::metadata(path).map(|file| file.gid());
        let group = group.map_or_else(|_| "GROUP".to_owned(), |group| group.to_string());
        format!(
            "{why}; the socket is for its group {group}: add this user to it (usermod -aG, SupplementaryGroups=, \
             docker run --group-add {group})"
        )
    } else if why.contains("not found") || why.contains("No such file") {
        format!(
            "{why}; start the engine, mount its socket there, or say where it is with --docker-host"
        )
    } else {
        why
    }
}

/// What is to be said of an engine's age.
pub(super) fn of_age(api: &str) -> &'static str {
    let number = |text: &str| text.parse::<u32>().ok();
    let version = api.split_once('.');
    let version = version.and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    match version {
        Some(version) if version < API_MIN => {
            " (older than Docker 20.10, the oldest that is tested: upgrade it)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_not_for_this_user_names_its_group() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let gid = file.as_file().metadata().unwrap().gid();
        let host = format!("unix://{}", file.path().display());
        let told = explained(&host, "Permission denied (os error 13)".to_owned());
        assert!(told.contains(&format!("--group-add {gid}")), "{told}");
        let told = explained("unix:///nowhere", "Socket not found: /nowhere".to_owned());
        assert!(told.contains("--docker-host"), "{told}");
        for host in ["tcp://h:1", &host] {
            assert_eq!(explained(host, "busy".to_owned()), "busy");
        }
    }

    #[test]
    fn an_old_engine_is_called_old() {
        for (api, old) in [
            ("1.40", true),
            ("1.41", false),
            ("1.51", false),
            ("2.0", false),
            ("", false),
        ] {
            assert_eq!(!of_age(api).is_empty(), old, "{api}");
        }
    }
}
