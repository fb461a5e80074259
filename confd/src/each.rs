//! Pure: One resource for each name below a path: which names there are, what the resource is for one of them, and which
//! files of earlier names are left over. The book says whose a file is, so that what a crash left behind is found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use store_client::mirror::{KeyRange, Snapshot};

use crate::plan::{Book, Owner};
use crate::resource::{OnMissing, Resource};
use crate::tree::{Reader, Scope};

/// What stands for the name in a resource.
pub const NAME: [&str; 2] = ["{{name}}", "{{ name }}"];

/// A file that is made for a name, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct One {
    /// The name.
    pub name: String,
    /// Its file.
    pub dest: PathBuf,
    /// Whether the name is gone.
    pub gone: bool,
}

/// True if a name stands in the text.
pub fn is_open(text: &str) -> bool {
    NAME.iter().any(|name| text.contains(name))
}

fn filled(text: &str, name: &str) -> String {
    NAME.iter()
        .fold(text.to_owned(), |text, open| text.replace(open, name))
}

/// A name goes into paths and commands: letters, digits and `. _ - : @ +`, and no dot in front.
fn is_fit(name: &str) -> bool {
    let fit = |letter: char| letter.is_alphanumeric() || "._-:@+".contains(letter);
    !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(fit)
}

/// Where the names are looked for. A prefix that holds the name itself is not in front of it.
fn prefix(base: &Resource) -> &str {
    match is_open(&base.prefix) {
        true => "",
        false => &base.prefix,
    }
}

/// The ranges that are needed before any name is known.
pub fn ranges(base: &Resource) -> Vec<KeyRange> {
    let Some(path) = &base.for_each else {
        return base.scope().ranges();
    };
    let mut keys = vec![format!("{}/", path.trim_end_matches('/'))];
    if !is_open(&base.prefix) {
        keys.extend(base.keys.iter().filter(|key| !is_open(key)).cloned());
    }
    Scope::within(&base.space(), prefix(base), &keys).ranges()
}

/// The names there are, and those that are not fit for a file.
pub fn names(base: &Resource, snapshot: &Snapshot) -> (BTreeSet<String>, Vec<String>) {
    let Some(path) = &base.for_each else {
        return (BTreeSet::new(), Vec::new());
    };
    let path = format!("{}/", path.trim_end_matches('/'));
    let scope = Scope::within(&base.space(), prefix(base), std::slice::from_ref(&path));
    let found = Reader::new(snapshot.clone(), scope).ls(&path);
    let (fit, unfit): (Vec<_>, Vec<_>) = found.into_iter().partition(|name| is_fit(name));
    (fit.into_iter().collect(), unfit)
}

/// What is to be made of a resource, by the name of its parts: a file for each name, and what is left of others.
pub fn wanted(base: &Resource, snapshot: &Snapshot, book: &Book) -> BTreeMap<String, One> {
    let mut wanted = BTreeMap::new();
    for name in names(base, snapshot).0 {
        let one = One {
            dest: filled(&base.dest.to_string_lossy(), &name).into(),
            name: name.clone(),
            gone: false,
        };
        wanted.insert(format!("{}/{name}", base.name), one);
    }
    if base.on_missing == OnMissing::Keep {
        return wanted;
    }
    let dests: BTreeSet<PathBuf> = wanted.values().map(|one| one.dest.clone()).collect();
    for (dest, name) in book.owned_by(&base.name) {
        if dests.contains(dest) {
            continue;
        }
        let mut part = format!("{}/{name}", base.name);
        // The name is still there, and its file stands elsewhere now.
        if wanted.contains_key(&part) {
            part = format!("{part} at {}", dest.display());
        }
        let one = One {
            name: name.to_owned(),
            dest: dest.to_owned(),
            gone: true,
        };
        wanted.insert(part, one);
    }
    wanted
}

/// The resource for a name that stands for any, to be looked at without keys.
pub fn sample(base: &Resource) -> Resource {
    const ANY: &str = "any";
    let one = One {
        name: ANY.to_owned(),
        dest: filled(&base.dest.to_string_lossy(), ANY).into(),
        gone: false,
    };
    resource(base, &base.name, &one)
}

/// The resource for one name.
pub fn resource(base: &Resource, part: &str, one: &One) -> Resource {
    let fill = |text: &String| filled(text, &one.name);
    let mut made = Resource {
        name: part.to_owned(),
        dest: one.dest.clone(),
        keys: base.keys.iter().map(fill).collect(),
        prefix: fill(&base.prefix),
        check_cmd: base.check_cmd.as_ref().map(fill),
        reload_cmd: base.reload_cmd.as_ref().map(fill),
        verify_cmd: base.verify_cmd.as_ref().map(fill),
        verify_url: base.verify_url.as_ref().map(fill),
        verify_hash: base.verify_hash.as_ref().map(fill),
        for_each: None,
        owner_of: Some(Owner {
            resource: base.name.clone(),
            name: one.name.clone(),
        }),
        gone: one.gone,
        ..base.clone()
    };
    made.vars.insert("each".to_owned(), one.name.clone().into());
    if one.gone {
        // There is nothing to read, and nothing of it to judge.
        made.keys.clear();
        made.guard = None;
        made.output_format = None;
    }
    if made.is_removed() {
        made.check_cmd = None;
    }
    made
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use store_client::mirror::Entry;

    use super::*;
    use crate::defaults::Defaults;
    use crate::plan::ContentHash;
    use crate::resource::parse;

    fn snapshot(keys: &[&str]) -> Snapshot {
        let entries = keys.iter().map(|key| {
            let entry = Entry {
                value: Bytes::new(),
                create_revision: 1,
                mod_revision: 1,
            };
            (Bytes::from((*key).to_owned()), entry)
        });
        Snapshot::from_entries(1, entries.collect())
    }

    fn base(more: &str) -> Resource {
        let text =
            format!("src: a.tera\ndest: /etc/sites/{{{{name}}}}.conf\nfor_each: /sites\n{more}\n");
        parse("sites.yaml", &text, &Defaults::default()).unwrap()
    }

    fn shown(base: &Resource, keys: &[&str], book: &Book) -> Vec<String> {
        wanted(base, &snapshot(keys), book)
            .iter()
            .map(|(part, one)| {
                let gone = if one.gone { " gone" } else { "" };
                format!("{part}: {}{gone}", one.dest.display())
            })
            .collect()
    }

    #[test]
    fn each_name_has_its_file_and_what_is_left_over_is_found() {
        let keys = [
            "/sites/a/port",
            "/sites/b",
            "/sites/../x",
            "/sites/-rf/x",
            "/other/c",
        ];
        let mut book = Book::default();
        let sites = base("keys: ['/sites/{{name}}']");
        let both = ["sites/a: /etc/sites/a.conf", "sites/b: /etc/sites/b.conf"];
        assert_eq!(shown(&sites, &keys, &book), both);
        assert_eq!(names(&sites, &snapshot(&keys)).1, ["-rf", ".."]);
        for (resource, name, dest) in [
            ("sites", "a", "/etc/sites/a.conf"),
            ("sites", "old", "/etc/sites/old.conf"),
            ("sites", "b", "/elsewhere/b.conf"),
            ("others", "x", "/etc/others/x"),
        ] {
            let owner = Owner {
                resource: resource.to_owned(),
                name: name.to_owned(),
            };
            let dest = PathBuf::from(dest);
            book.begin(&dest, ContentHash::of(b""), 1);
            assert!(book.own(&dest, &owner) && !book.own(&dest, &owner));
        }
        assert_eq!(
            shown(&sites, &keys, &book),
            [
                both[0],
                both[1],
                "sites/b at /elsewhere/b.conf: /elsewhere/b.conf gone",
                "sites/old: /etc/sites/old.conf gone",
            ]
        );
        assert_eq!(shown(&base("on_missing: keep"), &keys, &book), both);
    }

    #[test]
    fn a_name_is_filled_in_everywhere() {
        let sites = base(
            "keys: ['/sites/{{ name }}', /all]\ncheck_cmd: check {{name}} {{src}}\nreload_cmd: reload {{name}}",
        );
        let mut one = One {
            name: "a".to_owned(),
            dest: "/etc/sites/a.conf".into(),
            gone: false,
        };
        let made = resource(&sites, "sites/a", &one);
        assert_eq!(made.keys, ["/sites/a", "/all"]);
        assert_eq!(made.check_cmd.as_deref(), Some("check a {{src}}"));
        assert_eq!(made.reload_cmd.as_deref(), Some("reload a"));
        assert_eq!(made.vars["each"], "a");
        assert!(!made.is_removed());
        one.gone = true;
        let made = resource(&sites, "sites/a", &one);
        assert!(made.is_removed() && made.check_cmd.is_none() && made.keys.is_empty());
        // What is read before any name is known: the names, and what all of them read.
        let before = ranges(&sites);
        assert!(before.iter().any(|range| range.contains(b"/sites/a")));
        assert!(before.iter().any(|range| range.contains(b"/all")));
    }
}
