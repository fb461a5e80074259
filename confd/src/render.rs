//! Pure: One render of one resource: a window on a snapshot, its compiled template, and the format that the text must
//! have.

use std::sync::Arc;

use store_client::mirror::Snapshot;

use crate::agent::{Fault, Output};
use crate::engine::{Globals, Template};
use crate::resource::{MissingKeys, Resource};
use crate::tree::Reader;

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
    let result = rendered.result.map_err(Fault::from);
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
