use store_client::mirror::Event;

use super::*;

fn files(paths: &[&Path], filter: &str) -> Files {
    Files {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        filter: Glob::parse(filter).unwrap(),
    }
}

fn keys(files: &Files) -> Vec<String> {
    let keys = files.read().unwrap();
    keys.iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

async fn next(source: &mut Box<dyn Source>) -> Event {
    let next = std::future::poll_fn(|context| source.poll_next(context));
    tokio::time::timeout(Duration::from_secs(30), next)
        .await
        .expect("an event")
        .expect("the source goes on")
}

#[test]
fn names_are_paths_and_later_files_win() {
    let home = tempfile::tempdir().unwrap();
    let (low, high) = (home.path().join("low.yaml"), home.path().join("high.json"));
    std::fs::write(
        &low,
        "app:\n  name: low\n  ports: [80, 443]\n  on: true\n  none:\n  rate: 1.5\n1: one\n",
    )
    .unwrap();
    std::fs::write(
        &high,
        "{\"app\": {\"name\": \"high\"}, \"/slash/\": {\"x\": \"y\"}}",
    )
    .unwrap();
    assert_eq!(
        keys(&files(&[&low, &high], "*")),
        [
            "/1=one",
            "/app/name=high",
            "/app/on=true",
            "/app/ports/0=80",
            "/app/ports/1=443",
            "/app/rate=1.5",
            "/slash/x=y",
        ]
    );
}

#[test]
fn directories_are_read_through_the_filter() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("sub")).unwrap();
    for (name, text) in [
        ("a.yaml", "a: 1"),
        ("b.txt", "{"),
        ("sub/c.yaml", "c: 3"),
        (".hidden.yaml", "h: 4"),
    ] {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    assert_eq!(keys(&files(&[home.path()], "*.yaml")), ["/a=1", "/c=3"]);
    let fault = files(&[home.path()], "*").read().unwrap_err().to_string();
    assert!(fault.contains("b.txt: "), "{fault}");
    let fault = files(&[Path::new("/nonexistent.yaml")], "*")
        .read()
        .unwrap_err();
    assert!(fault.to_string().starts_with("/nonexistent.yaml: "));
}

#[test]
fn faults_of_content_name_the_file() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("x.yaml");
    let nested = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    for (text, part) in [
        ("a: [", "x.yaml: "),
        ("? [1]\n: 2\n", "no text"),
        (nested.as_str(), "nested deeper"),
    ] {
        std::fs::write(&path, text).unwrap();
        let fault = files(&[&path], "*").read().unwrap_err().to_string();
        assert!(fault.contains(part), "{fault}");
    }
}

#[tokio::test]
async fn a_saved_file_is_told_and_a_broken_one_is_not() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("x.yaml");
    std::fs::write(&path, "a: 1\nb: 2\n").unwrap();
    let backend = files(&[&path], "*");
    let mut source = backend.open(vec![KeyRange::tree("/")]);
    let Event::Listed { changes, .. } = next(&mut source).await else {
        panic!("a listing comes first");
    };
    assert_eq!(changes.len(), 2);
    // A new file in place of the old one, as editors do it; broken in between.
    let save = |text: &str| {
        let new = home.path().join("x.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
    };
    save("a: [");
    let mut status = source.status();
    status
        .wait_for(|status| status.error.is_some())
        .await
        .unwrap();
    save("a: 1\nc: 3\n");
    let Event::Advanced { snapshot, changes } = next(&mut source).await else {
        panic!("then changes");
    };
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.key.as_ref(), change.after.is_some()))
        .collect();
    assert_eq!(told, [(&b"/c"[..], true), (b"/b", false)]);
    assert_eq!(snapshot.iter().count(), 2);
    assert!(
        status
            .wait_for(|status| status.error.is_none())
            .await
            .is_ok()
    );
}
