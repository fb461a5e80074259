//! Requests written out, and requests made up.

use end_to_end::wait;

use super::{ask, base, ours, said, same, theirs};

#[test]
fn requests_are_answered_alike() {
    let lines = "GET /
GET /a
PUT /a value=1
GET /a
GET /a/
GET /a?quorum=true
PUT /a value=two
GET /
PUT /a/b value=2
GET /a/b
DELETE /a/b
PUT /d dir=true
PUT /d dir=true
PUT /d value=1
PUT /d value=1&prevExist=true
PUT /d dir=true&prevExist=false
POST /q value=1
POST /q value=2&ttl=100
POST /q dir=true
GET /q?recursive=true&sorted=true
DELETE /q
DELETE /q?dir=true
DELETE /q?recursive=true
DELETE /
DELETE /?recursive=true
PUT / value=x
PUT / dir=true
PUT / value=x&prevExist=true
PUT / value=x&prevValue=y
POST / value=x
PUT /a value=three&prevValue=two
PUT /a value=three&prevValue=two
PUT /a value=3&prevIndex=1
PUT /a value=3&prevExist=false
PUT /a value=3&prevExist=true
PUT /nn value=3&prevExist=true
PUT /nn/mm value=3&prevExist=true
PUT /nn value=3&prevValue=1
PUT /a value=3&prevExist=bogus
PUT /a value=4&prevIndex=99&prevExist=true
PUT /a value=4&prevIndex=99&prevExist=false
PUT /z value=4&prevIndex=99&prevExist=false
PUT /a ttl=x
PUT /a ttl=-1
PUT /a ttl=&value=v
PUT /a prevValue=
PUT /a prevIndex=x
PUT /a refresh=true
PUT /a refresh=true&ttl=5&value=x
PUT /a refresh=true&ttl=50
GET /a
PUT /a refresh=true&ttl=60&prevExist=true
PUT /none refresh=true&ttl=60
PUT /none refresh=true&ttl=60&prevExist=true
PUT /a value=y&noValueOnSuccess=true
PUT /a value=y&wait=true
PUT /a prevExist=true
PUT /a prevExist=true&ttl=70
GET /a
DELETE /a?prevValue=zz
DELETE /a?prevValue=
DELETE /nonex?prevIndex=1
PUT /a value=%3Ca%26b%3E%22%C3%A9
GET /a
DELETE /a?prevValue=%3Ca%26b%3E%22%C3%A9
DELETE /a
PATCH /a
PUT /_h/x value=1
PUT /s/_h/x value=1
PUT /s/t/u/v value=1
PUT /s/t/u-v value=1
PUT /s/t! value=1
GET /?recursive=true&sorted=true
GET /s
GET /_h
GET /s/_h
GET /?recursive=x
GET /?sorted=2
GET /?stream=x
GET /?waitIndex=x&wait=true
PUT /e value=1&x=%zz
PUT /empty
GET /empty
PUT /dv dir=true&value=x
DELETE /s?prevValue=x
PUT /s value=x&prevIndex=1
PUT /empty dir=true
PUT /td?ttl=60 dir=true
GET /td
PUT /td/k value=5
GET /td
GET /td/k
DELETE /td?recursive=true&dir=false
PUT /x/y/z?value=q1&prevIndex=0&noValueOnSuccess=true
PUT /x/y/z?refresh=true&ttl=10&prevExist=true
GET /x/y?recursive=true
DELETE /x/y/z
GET /x?recursive=true
DELETE /x/y?dir=true
GET /x
DELETE /x?recursive=true&prevIndex=3";
    same(lines.lines());
}

/// A sequence over a few names, so that they meet in every way.
pub(super) fn made_up(seed: u64) -> Vec<String> {
    const NAMES: [&str; 7] = ["/a", "/b", "/a/c", "/a/b", "/b/c/d", "/_h/x", "/b/_h"];
    const CONDITIONS: [&str; 7] = [
        "",
        "&prevExist=true",
        "&prevExist=false",
        "&prevValue=v1",
        "&prevValue=v2",
        "&ttl=500",
        "&noValueOnSuccess=true",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut pick = |count: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % count
    };
    (0..150)
        .map(|_| {
            let name = NAMES[pick(NAMES.len())];
            let value = format!("value=v{}", 1 + pick(3));
            match pick(10) {
                0..4 => format!("PUT {name} {value}{}", CONDITIONS[pick(CONDITIONS.len())]),
                4 => format!("PUT {name} dir=true{}", ["", "&prevExist=false"][pick(2)]),
                5 => format!("POST {name} {value}"),
                6 => format!("DELETE {name}?prevValue=v{}", 1 + pick(3)),
                7 => format!(
                    "DELETE {name}{}",
                    ["", "?dir=true", "?recursive=true"][pick(3)]
                ),
                8 => format!("GET {name}?recursive=true"),
                _ => format!("GET {}", ["/", name, "/?recursive=true"][pick(3)]),
            }
        })
        .collect()
}

#[test]
fn made_up_sequences_are_answered_alike() {
    // 4 seeds of 150 requests see each pair of kinds on each pair of names several times.
    for seed in 1..=4_u64 {
        same(made_up(seed).iter().map(String::as_str));
    }
}

/// Events of both, told by index, as far as they say the same: what a write was called is not kept.
#[test]
fn watchers_are_told_alike() {
    let (ours, theirs) = (ours(), theirs());
    let (our_base, their_base) = (base(&ours), base(&theirs));
    let writes = [
        "PUT /w/a value=1",
        "PUT /w/b/c value=2",
        "PUT /w/_hidden value=3",
        "PUT /other value=4",
        "PUT /w/a refresh=true&ttl=100",
        "PUT /w/d dir=true",
        "DELETE /w/a",
        "DELETE /w/b?recursive=true",
        "POST /w/q value=5",
    ];
    for write in writes {
        let (one, two) = (ask(&ours, write), ask(&theirs, write));
        assert_eq!(one.status, two.status, "{write}");
    }
    for path in ["/w", "/w/b", "/w/a", "/"] {
        for recursive in ["true", "false"] {
            // The last index of all is that of an event that all of the recursive ones see.
            let last = if recursive == "true" && path != "/w/b" && path != "/w/a" {
                9
            } else {
                1
            };
            for index in 1..=last {
                let line = |base: i64| {
                    format!(
                        "GET {path}?wait=true&recursive={recursive}&waitIndex={}",
                        base + index
                    )
                };
                // etcd tells of hidden names from history, though not when they change.
                if index == 3 || recursive == "false" && path != "/w/a" {
                    continue;
                }
                let mut told = said(&ask(&ours, &line(our_base)), our_base);
                let mut expected = said(&ask(&theirs, &line(their_base)), their_base);
                for answer in [&mut told.1, &mut expected.1] {
                    // A name below one's own is told once, from where it was asked.
                    if let Some(prev) = answer
                        .get_mut("prevNode")
                        .and_then(|prev| prev.as_object_mut())
                    {
                        prev.remove("modifiedIndex");
                    }
                }
                assert_eq!(told, expected, "{}", line(0));
            }
        }
    }
}

#[test]
fn what_has_a_time_to_live_ends() {
    let store = ours();
    for (write, read) in [
        ("PUT /file value=x&ttl=1", "/file"),
        ("PUT /dir dir=true&ttl=1", "/dir"),
    ] {
        assert_eq!(ask(&store, write).status, 201, "{write}");
        if read == "/dir" {
            assert_eq!(ask(&store, "PUT /dir/below value=x").status, 201);
        }
        let index = base(&store) + 1;
        let gone = wait::until("its end", wait::LONG, || {
            let answer = ask(&store, &format!("GET {read}"));
            if answer.status == 404 {
                Ok(answer)
            } else {
                Err(answer.body)
            }
        });
        assert!(gone.body.contains("\"errorCode\":100"), "{}", gone.body);
        let event = ask(
            &store,
            &format!("GET {read}?wait=true&recursive=true&waitIndex={index}"),
        );
        assert!(
            event.body.starts_with("{\"action\":\"expire\""),
            "{}",
            event.body
        );
        assert_eq!(ask(&store, "GET /dir/below").status, 404);
    }
}
