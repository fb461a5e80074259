//! One container in every layout at once, and what Prometheus is told about it.

use end_to_end::{http, wait};
use registrator_catalog::layout::Layout;

use crate::scene::{GENTLE, Running, Scene};

#[test]
fn one_container_in_every_layout() {
    let scene = Scene::new();
    let node = &scene.service;
    let mut config = scene.config();
    config.layouts = [
        "native",
        "registrator=/compat",
        "skydns=test.local",
        "grpc",
        "traefik",
    ]
    .map(|text| Layout::parse(text, "/services").unwrap())
    .into();
    config.listen = Some(([127, 0, 0, 1], 0).into());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("targets.json");
    config.file_sd = Some(file.clone());
    let agent = Running::start(config).ready();
    let container = scene.container(&[], GENTLE);
    let at = container.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    let prefixes = [
        format!("/services/{node}/"),
        format!("/compat/{node}/"),
        format!("/skydns/local/test/{node}/"),
        format!("grpc/{node}/"),
        format!("traefik/http/services/{node}/loadbalancer/servers/"),
    ];
    let found = |count: usize| {
        wait::until("the keys of every layout", wait::LONG, || {
            let keys: Vec<_> = prefixes.iter().map(|p| scene.keys_below(p)).collect();
            if keys.iter().all(|keys| keys.len() == count) {
                Ok(keys)
            } else {
                Err(format!("{keys:?}"))
            }
        })
    };
    let values: Vec<String> = found(1).into_iter().map(|keys| keys[0].1.clone()).collect();
    assert_eq!(
        values[1..],
        [
            format!("{at}:80"),
            format!(r#"{{"host":"{at}","port":80,"priority":10,"weight":100,"ttl":5}}"#),
            format!(r#"{{"Op":0,"Addr":"{at}:80","Metadata":null}}"#),
            format!("http://{at}:80"),
        ]
    );
    let targets = |want: &str| {
        wait::until("the targets", wait::LONG, || {
            let answer = http::get(agent.listening(), "/prometheus/targets")?;
            let text = answer.body;
            // The engine is everybody's: only what this test made counts.
            let list: serde_json::Value = serde_json::from_str(&text).unwrap();
            let of_scene = list.as_array().unwrap().iter();
            let mut of_scene = of_scene.filter(|group| group["labels"]["job"] == **node);
            let target = of_scene.next().map(|group| group["targets"][0].clone());
            // The file follows the same list.
            let kept = std::fs::read_to_string(&file).unwrap_or_default();
            if kept.contains(&format!("{at}:80")) == want.is_empty() {
                return Err(kept);
            }
            if target.as_ref().and_then(|t| t.as_str()).unwrap_or_default() == want {
                Ok(())
            } else {
                Err(text)
            }
        });
    };
    targets(&format!("{at}:80"));
    container.does(&["stop"]);
    found(0);
    targets("");
}
