use super::*;

fn yaml(text: &str) -> Result<Resource, ResourceError> {
    parse("web.yaml", text, &Defaults::default())
}

const MINIMAL: &str = "src: a.tera\ndest: /etc/a\nkeys: [/a]\n";

#[test]
fn both_file_forms_say_the_same() {
    let toml = r#"
[template]
src = "nginx.tera"
dest = "/etc/nginx/upstreams.conf"
prefix = "/production"
keys = ["/services", "/config"]
mode = "0640"
uid = 33
group = "www-data"
check_cmd = "nginx -t -c {{.src}}"
reload_cmd = "nginx -s reload"
check_cmd_timeout = "5s"
quiet_min = "200ms"
quiet_max = "2s"
[template.vars]
listen = "127.0.0.1:8080"
"#;
    let yaml = r#"
template:
  src: nginx.tera
  dest: /etc/nginx/upstreams.conf
  prefix: /production
  keys: [/services, /config]
  mode: "0640"
  uid: 33
  group: www-data
  check_cmd: nginx -t -c {{.src}}
  reload_cmd: nginx -s reload
  check_cmd_timeout: 5s
  quiet_min: 200ms
  quiet_max: 2s
  vars: {listen: "127.0.0.1:8080"}
"#;
    let a = parse("web.toml", toml, &Defaults::default()).unwrap();
    let b = parse("web.yaml", yaml, &Defaults::default()).unwrap();
    assert_eq!(a, b);
    assert_eq!(a.name, "web");
    assert_eq!(a.mode, Some(0o640));
    assert_eq!(a.owner, Some(Account::Id(33)));
    assert_eq!(a.group, Some(Account::Name("www-data".to_owned())));
    assert_eq!(a.check_cmd_timeout, Duration::from_secs(5));
    assert_eq!(a.reload_cmd_timeout, Duration::from_secs(60));
    assert_eq!(
        (a.quiet_min, a.quiet_max),
        (Duration::from_millis(200), Duration::from_secs(2))
    );
    assert_eq!(a.vars.get("listen"), Some(&Value::from("127.0.0.1:8080")));
}

#[test]
fn defaults() {
    let resource = yaml(MINIMAL).unwrap();
    assert_eq!(
        (resource.mode, resource.owner, resource.group),
        (None, None, None)
    );
    assert_eq!((resource.check_cmd, resource.reload_cmd), (None, None));
    assert_eq!(
        (resource.quiet_min, resource.quiet_max),
        (Duration::from_millis(50), Duration::from_secs(1))
    );
    assert!(resource.trim_blocks && resource.warnings.is_empty());
    let patient = yaml(&format!("{MINIMAL}quiet_min: 1s\n")).unwrap();
    assert_eq!(patient.quiet_max, Duration::from_secs(4));
    let hasty = yaml(&format!("{MINIMAL}quiet_min: 0\n")).unwrap();
    assert_eq!(hasty.quiet_min, Duration::ZERO);
}

#[test]
fn the_global_prefix_replaces_the_own_one() {
    let text = format!("{MINIMAL}prefix: /own\n");
    assert_eq!(
        parse("a.yaml", &text, &Defaults::default()).unwrap().prefix,
        "/own"
    );
    let global = Defaults {
        prefix: "/global".to_owned(),
        ..Defaults::default()
    };
    assert_eq!(parse("a.yaml", &text, &global).unwrap().prefix, "/global");
}

#[test]
fn the_mode_trap() {
    for (mode, bits, warned) in [
        ("\"0644\"", Some(0o644), false),
        ("\"644\"", Some(0o644), true),
        ("\"0o600\"", Some(0o600), false),
        ("\"\"", None, false),
    ] {
        let resource = yaml(&format!("{MINIMAL}mode: {mode}\n")).unwrap();
        assert_eq!(
            (resource.mode, !resource.warnings.is_empty()),
            (bits, warned),
            "{mode}"
        );
    }
}

#[test]
fn faults_name_their_line_and_what_to_do() {
    let shown = |error: ResourceError| match error.hint() {
        Some(hint) => format!("{error} | {hint}"),
        None => error.to_string(),
    };
    for (extra, wanted) in [
        (
            "relaod_cmd: x\n",
            "resource web.yaml:4: unknown key \"relaod_cmd\" | did you mean \"reload_cmd\"?",
        ),
        (
            "engine: jinja\n",
            "resource web.yaml:4: engine \"jinja\" is not known | known: tera, gotmpl",
        ),
        (
            "quux: x\n",
            "resource web.yaml:4: unknown key \"quux\" | known: src, engine, dest",
        ),
        (
            "mode: 644\n",
            "resource web.yaml:4: mode is a bare number | write octal digits",
        ),
        (
            "mode: \"rw\"\n",
            "resource web.yaml:4: mode is not a file mode | write octal digits",
        ),
        (
            "mode: \"99999\"\n",
            "resource web.yaml:4: mode is not a file mode",
        ),
        (
            "uid: bob\n",
            "resource web.yaml:4: uid is not a number | names stand under \"owner\"",
        ),
        (
            "quiet_min: soon\n",
            "resource web.yaml:4: quiet_min is not a duration | write it like",
        ),
        (
            "quiet_min: 5s\nquiet_max: 1s\n",
            "resource web.yaml:5: quiet_max is less than quiet_min",
        ),
        (
            "check_cmd_timeout: 0\n",
            "resource web.yaml:4: check_cmd_timeout is zero",
        ),
        (
            "reload_cmd_timeout: 48h\n",
            "resource web.yaml:4: reload_cmd_timeout is longer than a day",
        ),
        (
            "check_cmd: [a]\n",
            "resource web.yaml:4: check_cmd is not text",
        ),
        (
            "vars: 3\n",
            "resource web.yaml:4: vars is not a table of values",
        ),
        (
            "trim_blocks: maybe\n",
            "resource web.yaml:4: trim_blocks is neither true nor false",
        ),
        ("a: [\n", "resource web.yaml:5:1: not YAML"),
    ] {
        let text = shown(yaml(&format!("{MINIMAL}{extra}")).unwrap_err());
        assert!(text.starts_with(wanted), "{text}\nwanted {wanted}");
    }
    for (file, text, wanted) in [
        ("a.yaml", "src: a\n", "resource a.yaml: dest is missing"),
        ("a.yaml", "dest: /a\n", "resource a.yaml: src is missing"),
        (
            "a.yaml",
            "src: a\ndest: a\n",
            "resource a.yaml:2: dest is not the absolute path of a file",
        ),
        (
            "a.yaml",
            "src: a\ndest: /a/..\n",
            "resource a.yaml:2: dest is not the absolute path of a file",
        ),
        (
            "a.yaml",
            "src: ../a\ndest: /a\n",
            "resource a.yaml:1: src leaves the template directory",
        ),
        (
            "a.yaml",
            "src: \"\"\ndest: /a\n",
            "resource a.yaml:1: src is empty",
        ),
        ("a.yaml", "- 1\n", "resource a.yaml: is not a table of keys"),
        ("a.yaml", "", "resource a.yaml: is not a table of keys"),
        (
            "a.toml",
            "[template]\nsrc = \"a\ndest = 1\n",
            "resource a.toml:2:",
        ),
        (
            "a.toml",
            "src = \"a\"\n",
            "resource a.toml: has no [template] section",
        ),
        (
            "a.toml",
            "[template]\nsrc = \"a\"\n[other]\n",
            "resource a.toml: unknown section \"other\"",
        ),
    ] {
        let shown = shown(parse(file, text, &Defaults::default()).unwrap_err());
        assert!(shown.starts_with(wanted), "{shown}\nwanted {wanted}");
    }
}

#[test]
fn one_destination_obeys_one_resource() {
    let resource =
        |name: &str| parse(&format!("{name}.yaml"), MINIMAL, &Defaults::default()).unwrap();
    let losers = duplicates(&[resource("a"), resource("b")]);
    assert_eq!(losers.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(
        losers["b"].to_string(),
        "resource b: dest /etc/a belongs to resource \"a\" already"
    );
}

#[test]
fn files_that_are_resources() {
    for (name, wanted) in [
        ("a.yaml", true),
        ("a.yml", true),
        ("a.toml", true),
        (".a.yaml", false),
        ("a.yaml~", false),
        ("atoml", false),
    ] {
        assert_eq!(is_resource_file(name), wanted, "{name}");
    }
}

#[test]
fn policies_for_keys_that_do_not_exist() {
    for (text, policy) in [
        ("", MissingKeys::Fail),
        ("missing_keys: error", MissingKeys::Fail),
        ("missing_keys: keep", MissingKeys::Keep),
        (
            "missing_keys: {default: ''}",
            MissingKeys::Default(String::new()),
        ),
    ] {
        let resource = yaml(&format!("{MINIMAL}{text}\n")).unwrap();
        assert_eq!(resource.missing_keys, policy, "{text}");
    }
    for text in ["ignore", "{default: 5}", "{other: x}", "true"] {
        let error = yaml(&format!("{MINIMAL}missing_keys: {text}\n")).unwrap_err();
        assert!(error.hint.unwrap().contains("keep"), "{text}");
    }
}

#[test]
fn backends_of_a_resource_s_own() {
    assert_eq!(yaml(MINIMAL).unwrap().space(), "");
    let some = yaml(&format!("{MINIMAL}backends: [base, live]\n")).unwrap();
    assert_eq!(some.space(), "(base,live)");
    // What it sees is told apart from what all see.
    let ranges = some.scope().ranges();
    assert!(ranges[0].contains(b"(base,live)/a") && !ranges[0].contains(b"/a"));
    let fork = "[template]\nsrc = \"a.tmpl\"\ndest = \"/etc/a\"\nkeys = [\"/a\"]\n\
                [backend]\nbackend = \"redis\"\npassword = \"secret\"\n";
    let fork = parse("a.toml", fork, &Defaults::default()).unwrap();
    assert!(matches!(&fork.layers[..], [Layer::Own(settings)] if settings["backend"] == "redis"));
    assert!(!format!("{fork:?}").contains("secret"));
    for text in ["5", "[[a]]", "['a/b']", "['']"] {
        let error = yaml(&format!("{MINIMAL}backends: {text}\n")).unwrap_err();
        assert!(error.hint.unwrap().contains("[backends.NAME]"), "{text}");
    }
}
