//! Pure: One render of one resource: a window on a snapshot, its compiled template, and the format that the text must
//! have.

use std::sync::Arc;

use store_client::mirror::Snapshot;

use crate::agent::{Fault, Output};
use crate::engine::{Globals, Template};
use crate::plan::ContentHash;
use crate::resource::{MissingKeys, Resource};
use crate::tree::Reader;

/// What `config_hash()` leaves in the text until that is whole. No text has it by chance, or from a key: NUL is no
/// character of a configuration.
pub(crate) const HASH_PLACE: &str = "\0config hash\0";

/// Digits of a hash in a file: 128 bits, enough that no two files have the same.
const HASH_DIGITS: usize = 32;

/// Puts the hash of the text where the template wants it: whatever else changes in the file, the hash does.
fn hashed(text: String) -> String {
    if !text.contains(HASH_PLACE) {
        return text;
    }
    let hash = ContentHash::of(text.as_bytes()).to_string();
    text.replace(HASH_PLACE, &hash[..HASH_DIGITS])
}

/// Whether this looks like a hash in a file.
pub(crate) fn is_hash(text: &str) -> bool {
    text.len() == HASH_DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Renders a resource from a snapshot; `globals` are those of the machine, without the resource's `vars`.
pub fn render(
    resource: &Resource,
    template: &dyn Template,
    snapshot: Snapshot,
    globals: &Globals,
) -> Output {
    let scope = resource.scope();
    let reader = Reader::new(snapshot, scope).with_default(resource.missing_keys.value());
    let globals = Globals {
        vars: resource.vars.clone(),
        ..globals.clone()
    };
    let rendered = template.render(reader, &globals);
    let result = rendered.result.map(hashed).map_err(Fault::from);
    let result =
        result.and_then(
            |text| match resource.output_format.map(|format| format.check(&text)) {
                Some(Err(message)) => Err(Fault {
                    message: format!("template {}: {message}", resource.src),
                    hint: None,
                }),
                _ => Ok(Arc::from(text)),
            },
        );
    Output {
        result,
        reads: rendered.reads,
        notes: rendered.notes,
        waits_for: rendered
            .absent
            .filter(|_| resource.missing_keys == MissingKeys::Keep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::Defaults;
    use crate::engine::{CompileOptions, for_file};
    use crate::resource::parse;

    #[test]
    fn a_hash_stands_for_the_text_around_it() {
        let of = |tera: &str, go: &str| rendered("", tera, go).result.unwrap().to_string();
        let one = of("a {{ config_hash() }}\n", "a {{configHash}}\n");
        let hash = one.trim_start_matches("a ").trim_end();
        assert!(is_hash(hash), "{one}");
        let other = of("b {{ config_hash() }}\n", "b {{configHash}}\n");
        assert!(!other.contains(hash) && !is_hash("x") && !is_hash(&"x".repeat(32)));
        assert_eq!(of("a\n", "a\n"), "a\n");
    }

    /// What a template without a single key comes to under this policy, in both languages.
    fn rendered(policy: &str, tera: &str, go: &str) -> Output {
        let render = |src: &str, text: &str| {
            let resource = format!("src: {src}\ndest: /d\nkeys: [/]\n{policy}\n");
            let resource = parse("r.yaml", &resource, &Defaults::default()).unwrap();
            let sources = [(src.to_owned(), text.to_owned())].into();
            let options = CompileOptions { trim_blocks: true };
            let template = for_file(src, None).compile(src, &sources, &options);
            let snapshot = Snapshot::from_entries(1, Vec::new());
            render(
                &resource,
                &*template.unwrap(),
                snapshot,
                &Globals::default(),
            )
        };
        let (one, other) = (render("t.tera", tera), render("t.tmpl", go));
        assert_eq!(one.result.as_ref().ok(), other.result.as_ref().ok());
        assert_eq!(one.waits_for, other.waits_for);
        one
    }

    #[test]
    fn what_a_missing_key_comes_to() {
        let read = ("{{ getv(key='/k') }}", "{{getv \"/k\"}}");
        let own = (
            "{{ getv(key='/k', default='own') }}",
            "{{getv \"/k\" \"own\"}}",
        );
        let broken = (
            "{{ getv(key='/k', default='x') | must_int }}",
            "{{mustInt (getv \"/k\" \"x\") 1 2}}",
        );
        for (policy, (tera, go), text, waits) in [
            ("missing_keys: error", read, None, None),
            ("missing_keys: keep", read, None, Some("/k")),
            ("missing_keys: {default: none}", read, Some("none"), None),
            ("missing_keys: {default: none}", own, Some("own"), None),
            ("missing_keys: keep", own, Some("own"), None),
            // Another fault is one, whatever keys are missing.
            ("missing_keys: keep", broken, None, None),
        ] {
            let output = rendered(policy, tera, go);
            assert_eq!(output.result.ok().as_deref(), text, "{policy} {tera}");
            assert_eq!(output.waits_for.as_deref(), waits, "{policy} {tera}");
        }
    }
}
