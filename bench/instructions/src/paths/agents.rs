//! What confd does with what it has read.

use bytes::Bytes;
use confd::defaults::Defaults;
use confd::engine::{CompileOptions, Globals, for_file};
use confd::render::render;
use confd::resource::parse;
use store_client::mirror::{Entry, Snapshot};

use super::Path;

/// Servers in the file.
const SERVERS: usize = 100;

pub(crate) const RENDER: Path = Path {
    name: "render",
    about: "file of nginx with a hundred servers rendered from their keys",
    times: 100,
    prepare: |times| {
        let resource = "src: t.tera\ndest: /d\nkeys: [/upstreams]\n";
        let resource = parse("r.yaml", resource, &Defaults::default()).expect("it is sound");
        let text = "upstream web {\n\
            {% for pair in gets(pattern='/upstreams/*') %}\n\
            server {{ pair.value | nginx_quote }} weight=1; # {{ pair.key }}\n\
            {% endfor %}\n\
            }\n";
        let sources = [("t.tera".to_owned(), text.to_owned())].into();
        let options = CompileOptions { trim_blocks: true };
        let template = for_file("t.tera", None).compile("t.tera", &sources, &options);
        let template = template.expect("it is sound");
        let entries = (0..SERVERS).map(|server| {
            let value = format!("10.0.{}.{}:8080", server / 256, server % 256);
            let entry = Entry {
                value: value.into(),
                create_revision: 1,
                mod_revision: 1,
            };
            (Bytes::from(format!("/upstreams/{server:03}")), entry)
        });
        let snapshot = Snapshot::from_entries(1, entries.collect());
        Box::new(move || {
            for _ in 0..times {
                let output = render(&resource, &*template, snapshot.clone(), &Globals::default());
                let text = output.result.unwrap_or_else(|fault| panic!("{fault:?}"));
                assert_eq!(text.lines().count(), SERVERS + 2);
            }
        })
    },
};
