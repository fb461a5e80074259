//! What the simulated confd keeps: three files from three templates, in two editions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use confd::confdir::Unit;
use confd::defaults::Defaults;
use confd::engine::{CompileOptions, Engine, Sources, Tera};
use confd::plan::ContentHash;
use confd::resource;
use confd::tree::Scope;
use store_client::mirror::KeyRange;

/// Where all destinations are.
pub(super) const FOLDER: &str = "/etc/served";
/// Their names.
pub(super) const NAMES: [&str; 3] = ["pair", "plain", "services"];
/// Editions of the templates.
pub(super) const EDITIONS: usize = 2;

/// Keys that are always written together, far apart, with the same value.
pub(crate) const PAIR: [&str; 2] = ["/conf/first", "/settings/second"];

/// Name, keys, further lines of the resource, template. Each shows the pair, whose last value is one of its own.
const RESOURCES: [(&str, &str, &str, &str); 3] = [
    (
        "pair",
        "[/conf, /settings]",
        "check_cmd: check\nreload_cmd: reload\n",
        "",
    ),
    (
        "plain",
        "[/conf, /settings, /plain]",
        "reload_cmd: reload\nverify_cmd: verify\nrollback: false\nquiet_min: 0\n",
        "{% for pair in gets(pattern=\"/plain/*/*\") %}{{ pair.key }}={{ pair.value }}\n{% endfor %}",
    ),
    (
        "services",
        "[/conf, /settings, /services]",
        "check_cmd: check\nreload_cmd: reload\nmin_reload_interval: 2s\n",
        "{% for s in services() %}{{ s.name }} {{ s.hostport }} {{ s.state }}\n{% endfor %}",
    ),
];
const HEAD: &str = "{{ getv(key=\"/conf/first\", default=\"none\") }}; {{ getv(key=\"/settings/second\", default=\"none\") }};\n";

/// The file of a resource.
pub(super) fn dest(name: &str) -> PathBuf {
    PathBuf::from(format!("{FOLDER}/{name}"))
}

/// All resources with their templates, in one of the editions.
pub(super) fn edition(number: usize) -> &'static BTreeMap<&'static str, Unit> {
    static UNITS: OnceLock<[BTreeMap<&str, Unit>; EDITIONS]> = OnceLock::new();
    &UNITS.get_or_init(|| [compile(0), compile(1)])[number]
}

/// The ranges of keys that they read.
pub(super) fn ranges() -> &'static [KeyRange] {
    static RANGES: OnceLock<Vec<KeyRange>> = OnceLock::new();
    RANGES.get_or_init(|| {
        let scopes = edition(0).values().flat_map(|unit| {
            let resource = &unit.resource;
            Scope::new(&resource.prefix, &resource.keys).ranges()
        });
        KeyRange::normalise(scopes.collect())
    })
}

fn compile(edition: usize) -> BTreeMap<&'static str, Unit> {
    let units = RESOURCES.iter().map(|(name, keys, lines, body)| {
        let file = format!("{name}.tera");
        let text = format!("src: {file}\ndest: {FOLDER}/{name}\nkeys: {keys}\n{lines}");
        let parsed = resource::parse(&format!("{name}.yaml"), &text, &Defaults::default());
        let source = format!("# edition {edition}\n{HEAD}{body}");
        let sources = Sources::from([(file.clone(), source.clone())]);
        let options = CompileOptions { trim_blocks: true };
        let template = Tera.compile(&file, &sources, &options);
        let unit = Unit {
            resource: Arc::new(parsed.unwrap_or_else(|error| unreachable!("{name}: {error}"))),
            template: template
                .unwrap_or_else(|error| unreachable!("{name}: {error}"))
                .into(),
            version: ContentHash::of(source.as_bytes()),
            files: Vec::new(),
        };
        (*name, unit)
    });
    units.collect()
}
