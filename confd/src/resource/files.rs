//! Pure: The `files` of a resource file: several files that are one set. Each has its own template, destination and check;
//! what the resource says beside them holds for all.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{KEYS, Resource, ResourceError};
use crate::defaults::Defaults;
use crate::spelling;

/// What each file of a set may say for itself.
pub(super) const OF_ONE: &[&str] = &[
    "src",
    "dest",
    "engine",
    "keys",
    "mode",
    "uid",
    "gid",
    "owner",
    "group",
    "check_cmd",
    "guard",
    "missing_keys",
    "output_format",
    "trim_blocks",
    "vars",
];

/// What is done once for the whole set.
const OF_ALL: &[&str] = &[
    "check_cmd",
    "reload",
    "reload_cmd",
    "verify_cmd",
    "verify_url",
    "verify_hash",
];

impl Fields<'_> {
    /// A resource of several files.
    pub(super) fn set(
        mut self,
        files: Value,
        defaults: &Defaults,
    ) -> Result<Resource, ResourceError> {
        let Value::Array(files) = files else {
            return Err(self.fault("files", "is not a list of files"));
        };
        if files.is_empty() {
            return Err(self.fault("files", "names no file"));
        }
        for key in ["src", "dest"] {
            if self.map.get(key).is_some_and(|value| !value.is_null()) {
                return Err(self
                    .fault(key, "stands beside files")
                    .hinted("each of the files has its own"));
            }
        }
        if self.map.contains_key("for_each") {
            return Err(self
                .fault("for_each", "stands beside files")
                .hinted("a set is one set; for_each makes single files"));
        }
        let mut common = self.map.clone();
        OF_ALL.iter().for_each(|key| drop(common.remove(*key)));
        let mut parts: Vec<Resource> = Vec::new();
        for file in files {
            let Value::Object(own) = file else {
                return Err(self
                    .fault("files", "holds something that is not a table")
                    .hinted("each file has at least src and dest"));
            };
            let mut part = self.part(&common, own)?.resource(defaults)?;
            if let Some(other) = parts.iter().find(|other| other.dest == part.dest) {
                let problem = format!("names {} twice", other.dest.display());
                return Err(self.fault("files", &problem));
            }
            let file = part.dest.file_name().unwrap_or_default().to_string_lossy();
            part.name = format!("{}/{file}", part.name);
            parts.push(part);
        }
        // What the set is for the agent: it reads what its files read, and stands in the book under its first file.
        let mut keys: Vec<Value> = Vec::new();
        for key in parts.iter().flat_map(|part| &part.keys) {
            if !keys.iter().any(|known| known == key) {
                keys.push(key.as_str().into());
            }
        }
        if let Some(first) = parts.first() {
            let dest = first.dest.to_string_lossy().into_owned();
            self.map.insert("src".to_owned(), first.src.clone().into());
            self.map.insert("dest".to_owned(), dest.into());
        }
        self.map.insert("keys".to_owned(), keys.into());
        let mut whole = self.resource(defaults)?;
        whole.files = parts;
        Ok(whole)
    }

    /// One file, with what all of them have.
    fn part(
        &self,
        common: &Map<String, Value>,
        own: Map<String, Value>,
    ) -> Result<Fields<'_>, ResourceError> {
        if let Some(unknown) = own.keys().find(|key| !OF_ONE.contains(&key.as_str())) {
            let error = self.fault("files", &format!("has an unknown key {unknown:?}"));
            return Err(match spelling::nearest(unknown, OF_ONE.iter().copied()) {
                _ if KEYS.contains(&unknown.as_str()) => error.hinted(format!(
                    "{unknown} is for the whole set: it stands beside files"
                )),
                Some(near) => error.hinted(format!("did you mean {near:?}?")),
                None => error.hinted(format!("known: {}", OF_ONE.join(", "))),
            });
        }
        let mut map = common.clone();
        map.extend(own);
        Ok(Fields {
            file: self.file,
            text: self.text,
            map,
            warnings: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::defaults::Defaults;
    use crate::resource::{duplicates, parse};

    const SET: &str = "keys: [/all]\nmode: \"0640\"\ncheck_cmd: check {{set}}\nreload_cmd: reload\nfiles:\n\
        - {src: a.tera, dest: /etc/a, check_cmd: 'look {{src}}'}\n- {src: b.tmpl, dest: /etc/b, keys: [/b], mode: \"0600\"}\n";

    #[test]
    fn each_file_has_its_own_and_what_all_have() {
        let set = parse("web.yaml", SET, &Defaults::default()).unwrap();
        assert_eq!((set.name.as_str(), set.src.as_str()), ("web", "a.tera"));
        assert_eq!(set.keys, ["/all", "/b"]);
        assert_eq!(set.check_cmd.as_deref(), Some("check {{set}}"));
        assert!(set.is_set() && set.is_told() && set.is_checked());
        let parts: Vec<_> = set
            .files
            .iter()
            .map(|part| {
                let check = part.check_cmd.as_deref();
                (
                    part.name.as_str(),
                    part.keys[0].as_str(),
                    part.mode,
                    check,
                    part.is_told(),
                )
            })
            .collect();
        assert_eq!(
            parts,
            [
                ("web/a", "/all", Some(0o640), Some("look {{src}}"), false),
                ("web/b", "/b", Some(0o600), None, false),
            ]
        );
        let other = parse(
            "z.yaml",
            "src: x\ndest: /etc/b\nkeys: [/x]\n",
            &Defaults::default(),
        );
        let losers = duplicates(&[set, other.unwrap()]);
        assert!(
            losers["z"]
                .to_string()
                .contains("belongs to resource \"web\"")
        );
    }

    #[test]
    fn what_cannot_be_a_set_is_told() {
        for (text, message, hint) in [
            ("files: x", "files is not a list", ""),
            ("files: []", "names no file", ""),
            ("files: [a]", "is not a table", "at least src and dest"),
            ("files: [{src: a}]", "dest is missing", ""),
            (
                "src: a\nfiles: [{src: a, dest: /a}]",
                "src stands beside files",
                "its own",
            ),
            (
                "for_each: /x\nfiles: [{src: a, dest: /a}]",
                "for_each stands beside files",
                "",
            ),
            (
                "files: [{src: a, dest: /a}, {src: b, dest: /a}]",
                "names /a twice",
                "",
            ),
            (
                "files: [{src: a, dest: /a, mod: x}]",
                "unknown key \"mod\"",
                "\"mode\"",
            ),
            (
                "files: [{src: a, dest: /a, reload_cmd: x}]",
                "unknown key \"reload_cmd\"",
                "for the whole set",
            ),
        ] {
            let text = format!("keys: [/]\n{text}\n");
            let error = parse("web.yaml", &text, &Defaults::default()).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(message), "{text}: {told}");
            assert!(error.hint.unwrap_or_default().contains(hint), "{text}");
        }
    }
}
