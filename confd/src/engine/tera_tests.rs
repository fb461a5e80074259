use bytes::Bytes;
use store_client::mirror::{ChangeKind, Entry, Snapshot};

use super::*;
use crate::tree::Scope;

fn snapshot(pairs: &[(&str, &str)]) -> Snapshot {
    let entry = |value: &str| Entry {
        value: Bytes::copy_from_slice(value.as_bytes()),
        create_revision: 1,
        mod_revision: 1,
    };
    let entries = pairs
        .iter()
        .map(|(key, value)| (Bytes::copy_from_slice(key.as_bytes()), entry(value)));
    Snapshot::from_entries(42, entries.collect())
}

fn compile(sources: &[(&str, &str)]) -> Result<Box<dyn Template>, TemplateError> {
    let sources: Sources = sources
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    Tera.compile("t.tera", &sources, &CompileOptions { trim_blocks: true })
}

fn render(template: &str, pairs: &[(&str, &str)]) -> Rendered {
    let globals = Globals {
        vars: serde_json::from_str(r#"{"port": 8080, "names": ["b", "a"]}"#).unwrap(),
        env: std::sync::Arc::new([("HOME".to_owned(), "/root".to_owned())].into()),
        hostname: "host1".to_owned(),
        ..Globals::default()
    };
    let reader = Reader::new(snapshot(pairs), Scope::new("", &["/".to_owned()]));
    compile(&[("t.tera", template)])
        .unwrap()
        .render(reader, &globals)
}

const PAIRS: &[(&str, &str)] = &[
    ("/a/x", "2"),
    ("/a/y", "1"),
    ("/a/z/deep", "d"),
    ("/json", r#"{"k": [1, 1000000]}"#),
    ("/flag", "t"),
];

#[test]
fn functions_and_filters() {
    for (template, wanted) in [
        ("{{ getv(key='/a/x') }}", "2"),
        ("{{ getv(key='/no', default='d') }}", "d"),
        ("{{ getv(key='/no', default='') }}", ""),
        (
            "{% set p = get(key='/a/x') %}{{ p.key }}={{ p.value }}",
            "/a/x=2",
        ),
        (
            "{% for p in gets(pattern='/a/*') %}{{ p.key | base }}={{ p.value }},{% endfor %}",
            "x=2,y=1,",
        ),
        ("{{ getvs(pattern='/a/*') | join(sep='-') }}", "1-2"),
        ("{{ ls(path='/a') | join(sep=' ') }}", "x y z"),
        ("{{ lsdir(path='/a') | join(sep=' ') }}", "z"),
        (
            "{{ exists(key='/a') }} {{ exists(key='/a/x') }} {{ exists_dir(path='/a') }}",
            "false true true",
        ),
        (
            "{% for name, value in tree(prefix='/a/z') %}{{ name }}:{{ value }}{% endfor %}",
            "deep:d",
        ),
        ("{% set t = tree() %}{{ t.a.z.deep }}", "d"),
        ("{% set j = json(key='/json') %}{{ j.k[1] }}", "1000000"),
        ("{{ json(key='/no', default={}) }}", "{}"),
        (
            "{{ getv(key='/json') | parse_json | json_encode }}",
            r#"{"k":[1,1000000]}"#,
        ),
        (
            "{{ env(name='HOME') }} {{ env(name='NO', default='-') }}",
            "/root -",
        ),
        ("{{ hostname() }} {{ revision() }}", "host1 42"),
        (
            "{{ vars.port }} {{ vars.names | join(sep=',') }}",
            "8080 b,a",
        ),
        (
            "{{ '/x/y' | base }} {{ '/x/y' | dir }} {{ '/x' | dir }} {{ 'x' | dir }} {{ '/' | base }}",
            "y /x / . /",
        ),
        ("{{ 'a,b' | split(pat=',') | join(sep='+') }}", "a+b"),
        ("{{ getv(key='/flag') | parse_bool }}", "true"),
        (
            "{{ 'hi' | b64_encode }} {{ 'aGk=' | b64_decode }}",
            "aGk= hi",
        ),
        (
            "{{ ['ccc', 'a', 'bb'] | sort_by_length | join(sep=' ') }}",
            "a bb ccc",
        ),
        ("{{ '8080' | must_int(min=1, max=65535) }}", "8080"),
        (
            "{{ 'plain-1.2/x' | nginx_quote }} {{ 'a b;\"}' | nginx_quote }} {{ '' | nginx_quote }}",
            r#"plain-1.2/x "a b;\"}" """#,
        ),
        ("{{ 'a\nb' | nginx_quote }}", r#""a\nb""#),
        (
            "{{ 'plain' | haproxy_arg }} {{ \"it's $x\" | haproxy_arg }}",
            r"plain 'it'\''s $x'",
        ),
        (
            "{{ 'plain' | shell_quote }} {{ \"a;b'c\" | shell_quote }}",
            r"plain 'a;b'\''c'",
        ),
        (
            "{{ 'a\"b\n' | yaml_quote }} {{ 'x' | toml_quote }}",
            r#""a\"b\n" "x""#,
        ),
        (
            "{{ 'a\"b' | json_quote }} {{ 80 | must_port }} {{ 'web:80' | must_hostport }} {{ 'v1' | must_match(pat='v[0-9]') }}",
            r#""a\"b" 80 web:80 v1"#,
        ),
        ("{{ ['b', 'a', 'b'] | unique | join(sep=' ') }}", "b a"),
        (
            "{% for p in gets(pattern='/a/*') | unique(attribute='key') %}{{ p.value }}{% endfor %}",
            "21",
        ),
        (
            "{% for k, g in [{'n': 'z'}, {'n': 'a'}, {'n': 'm'}, {'n': 'a'}] | group_by(attribute='n') %}\
             {{ k }}{{ g | length }} {% endfor %}",
            "z1 a2 m1 ",
        ),
        ("<{{ '<&>' }}>", "<<&>>"),
    ] {
        let rendered = render(template, PAIRS);
        assert_eq!(rendered.result.as_deref(), Ok(wanted), "{template}");
    }
}

/// Place, message and hint as one text.
fn shown(error: &TemplateError) -> String {
    match error.hint() {
        Some(hint) => format!("{error} | {hint}"),
        None => error.to_string(),
    }
}

#[test]
fn faults_while_rendering_have_their_place_and_a_hint() {
    for (template, wanted) in [
        (
            "a\n  {% if true %}\n  {{ getv(key='/no') }}\n  {% endif %}\n",
            "t.tera:3:6: key /no does not exist | getv(key=…, default=…) gives a value for an absent key",
        ),
        (
            "{{ getv(key='/a/x', defualt='') }}",
            "t.tera:1:4: `getv` has no argument `defualt` | did you mean `default`?",
        ),
        (
            "{{ hostname(x=1) }}",
            "t.tera:1:4: `hostname` has no argument `x` | `hostname` takes no arguments",
        ),
        (
            "{{ upstreams }}",
            "t.tera:1:4: variable `upstreams` is not defined | known here: vars",
        ),
        (
            "{{ vars.nothing }}",
            "t.tera:1:9: field `nothing` is not defined | known here: names, port",
        ),
        (
            "{{ vars.port | must_int(max=10) }}",
            "t.tera:1:16: 8080 is more than 10",
        ),
        (
            "{{ 'a$b' | nginx_quote }}",
            "t.tera:1:12: \"a$b\" cannot be an nginx parameter: it holds $ \
             | nginx would read a variable there and has no way to escape it",
        ),
        (
            "{{ '10.0.0.1; x' | must_ip }}",
            "t.tera:1:20: \"10.0.0.1; x\" is no IP address",
        ),
        (
            "{{ 'a\nb' | haproxy_arg }}",
            "t.tera:2:6: \"a\\nb\" cannot be a haproxy argument: it holds a control character",
        ),
        (
            "{{ gets(pattern='[') }}",
            "t.tera:1:4: pattern \"/[\": a class is not closed \
             | patterns know * ? [a-z] [^a-z] and \\ before any of them",
        ),
        (
            "{{ env(name='NO') }}",
            "t.tera:1:4: environment variable NO is not set | env(name=…, default=…) gives a value for it",
        ),
        (
            "{{ services(state='upp') }}",
            "t.tera:1:4: no service has the state \"upp\" | known: starting, up, draining, down, maintenance",
        ),
        ("{{ getv() }}", "t.tera:1:4: missing keyword argument `key`"),
        (
            "{{ ls(path=5) }}",
            "t.tera:1:4: invalid type for the value, expected `&str` but got `i64`",
        ),
    ] {
        assert_eq!(
            shown(&render(template, PAIRS).result.unwrap_err()),
            format!("template {wanted}")
        );
    }
}

#[test]
fn faults_while_compiling_have_their_place_and_a_hint() {
    for (template, wanted) in [
        (
            "\n {# #}\n{{ getz(key='/a') }}",
            "t.tera:3:4: unknown function `getz` | did you mean `get`?",
        ),
        (
            "{{ 'a' | nginx_qoute }}",
            "t.tera:1:10: unknown filter `nginx_qoute` | did you mean `nginx_quote`?",
        ),
        ("{% endfor %}", "t.tera:1:4: unknown tag"),
        ("a\n{{ x", "t.tera:2:4: unexpected end of input"),
        ("{{ a b }}", "t.tera:1:6: found identifier but expected }}"),
        (
            "{% include \"no\" %}",
            "t.tera: template \"no\" does not exist | templates are looked up below the template directory",
        ),
        (
            "{% include \"t.tear\" %}",
            "t.tera: template \"t.tear\" does not exist | did you mean \"t.tera\"?",
        ),
        (
            "{% include \"t.tera\" %}",
            "t.tera: circular include detected for template 't.tera'",
        ),
    ] {
        let Err(error) = compile(&[("t.tera", template)]) else {
            panic!("{template} compiles")
        };
        assert!(
            shown(&error).starts_with(&format!("template {wanted}")),
            "{}\nwanted {wanted}",
            shown(&error)
        );
    }
}

#[test]
fn included_files_belong_to_the_template_and_have_their_own_places() {
    let sources = [
        ("t.tera", "{% include 'part.tera' %}"),
        (
            "part.tera",
            "{% if true %}\n  {{ getv(key='/no') }}\n{% endif %}",
        ),
        ("broken.tera", "{% if %}"),
    ];
    let template = compile(&sources).unwrap();
    assert_eq!(
        template
            .files()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
        ["part.tera", "t.tera"]
    );
    let reader = Reader::new(snapshot(&[]), Scope::new("", &["/".to_owned()]));
    let error = template
        .render(reader, &Globals::default())
        .result
        .unwrap_err();
    assert_eq!(error.place, "part.tera:2:6");
}

fn record(name: &str, instance: &str, address: &str, state: &str) -> (String, String) {
    let value = format!(
        r#"{{"version":1,"id":"i","instance":"{instance}","name":"{name}","node":"n","address":"{address}",
        "addresses":[{{"address":"{address}","family":"ipv4"}}],"port":80,"proto":"tcp","port_name":"80","weight":100,
        "priority":10,"state":"{state}","tags":["a"],"meta":{{"path":"/x"}},"updated_at":"t"}}"#
    );
    (format!("/services/{name}/{instance}"), value)
}

#[test]
fn services_are_records_sorted_and_bad_ones_are_left_out() {
    let records = [
        record("web", "b", "10.0.0.2", "up"),
        record("web", "a", "::1", "up"),
        record("web", "c", "10.0.0.3", "draining"),
        record("db", "d", "10.0.0.4", "up"),
        ("/services/web/bad".to_owned(), "10.0.0.9:80".to_owned()),
    ];
    let pairs: Vec<(&str, &str)> = records
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    for (template, wanted) in [
        (
            "{% for s in services(name='web') %}{{ s.hostport }}={{ s.state }} {% endfor %}",
            "[::1]:80=up 10.0.0.2:80=up 10.0.0.3:80=draining ",
        ),
        (
            "{% for s in services(name='web', state='up') %}{{ s.instance }}{% endfor %}",
            "ab",
        ),
        (
            "{% for s in services(state=['draining', 'up']) %}{{ s.name }}/{{ s.instance }} {% endfor %}",
            "db/d web/a web/b web/c ",
        ),
        (
            "{% for s in services(name='db') %}{{ s.meta.path }} {{ s.tags[0] }} {{ s.key }}{% endfor %}",
            "/x a /services/db/d",
        ),
        ("{{ service_names() | join(sep=' ') }}", "db web"),
        ("{{ services(name='none') | length }}", "0"),
    ] {
        assert_eq!(
            render(template, &pairs).result.as_deref(),
            Ok(wanted),
            "{template}"
        );
    }
    let rendered = render("{{ services(name='web') | length }}", &pairs);
    assert_eq!(rendered.notes.len(), 1);
    assert!(
        rendered.notes[0].starts_with("/services/web/bad left out: read registration record"),
        "{:?}",
        rendered.notes
    );
}

#[test]
fn reads_are_recorded_also_up_to_a_fault() {
    let rendered = render(
        "{{ getv(key='/a/x') }}{{ getv(key='/no') }}{{ getv(key='/json') }}",
        PAIRS,
    );
    assert!(rendered.result.is_err());
    assert!(rendered.reads.matches("/a/x", ChangeKind::Modified));
    assert!(rendered.reads.matches("/no", ChangeKind::Created));
    assert!(!rendered.reads.matches("/json", ChangeKind::Modified));
}
