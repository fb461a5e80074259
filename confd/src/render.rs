//! Pure: One render of one resource: a window on a snapshot, its compiled template, and the format that the text must
//! have.

use std::sync::Arc;

use store_client::mirror::Snapshot;

use crate::agent::{Fault, Output};
use crate::engine::{Globals, Template};
use crate::resource::Resource;
use crate::tree::{Reader, Scope};

/// Renders a resource from a snapshot; `globals` are those of the machine, without the resource's `vars`.
pub fn render(
    resource: &Resource,
    template: &dyn Template,
    snapshot: Snapshot,
    globals: &Globals,
) -> Output {
    let reader = Reader::new(snapshot, Scope::new(&resource.prefix, &resource.keys));
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
    }
}
