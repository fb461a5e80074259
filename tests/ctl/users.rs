//! Users, roles, and what either client does on a user's behalf.

use end_to_end::store::{Maker, Store};

use super::{FORMATS, ours, said, same, theirs};

#[test]
fn users_and_roles_are_the_same_in_every_format() {
    let lines = "role add r
role grant-permission r read a b
role grant-permission r readwrite pre --prefix
role grant-permission r write fk --from-key
role grant-permission r read single
role grant-permission r read all --prefix=false
role get r
role list
role revoke-permission r a b
role revoke-permission r fk --from-key
role revoke-permission r single
role revoke-permission r pre --prefix
role revoke-permission r nothing
role add root
role get root
user add u:pw
user add n --no-password
user add with:colon --new-user-password=x
user add typed --interactive=false
user passwd typed --interactive=false
user grant-role u r
user grant-role u root
user get u
user get u --detail
user get n
user list
user revoke-role u r
auth status
user delete u
role delete r
user delete nobody";
    for format in FORMATS {
        let (first, second) = (Store::start(Maker::Etcd), Store::start(Maker::Etcd));
        for line in lines.lines() {
            let words = [&["-w", format][..], &line.split(' ').collect::<Vec<_>>()].concat();
            let told = [
                said(ours(&first, &words), "s3cret\n"),
                said(theirs(&second, &words), "s3cret\n"),
            ];
            // Two stores have two ids.
            let told = told.map(|(status, out, err)| {
                let text = String::from_utf8_lossy(&out).into_owned();
                let text = match format {
                    // What follows the ids: revision 1, term 2.
                    "protobuf" => text
                        .rsplit_once("\x18\x01 \x02")
                        .map_or(String::new(), |(_, rest)| rest.to_owned()),
                    _ => text
                        .split([',', '\n'])
                        .filter(|part| !part.contains("luster") && !part.contains("ember"))
                        .collect::<Vec<_>>()
                        .join("\n"),
                };
                (status, text, err)
            });
            assert_eq!(told[0], told[1], "{format}: {line}");
        }
    }
}

#[test]
fn wrong_arguments_end_the_same_way() {
    let store = Store::start(Maker::Etcd);
    let lines = "auth enable x
auth disable x
auth status x
auth enable
user add
user add a b
user add :x
user get
user get nobody
user delete
user delete nobody
user list x
user passwd
user passwd nobody --interactive=false
user grant-role a
user grant-role a nobody
user revoke-role a
user revoke-role a r
role add
role get
role get nobody
role delete
role delete nobody
role list x
role grant-permission
role grant-permission r read
role grant-permission r bogus k
role grant-permission r read k l --prefix
role grant-permission r read k l --from-key
role grant-permission r read k --from-key --prefix
role grant-permission r read k l m
role revoke-permission
role revoke-permission r
role revoke-permission r a
role revoke-permission r a --prefix --from-key
role revoke-permission r a b --prefix
move-leader
move-leader zz
move-leader 1
lock
elect
elect a
elect a b c
elect -l a b
make-mirror
make-mirror a b
check perf --load zz
check datascale --load zz";
    for line in lines.lines() {
        same(&store, &[(&line.split(' ').collect::<Vec<_>>(), "p\n")]);
    }
}

/// The same steps before and after authentication is on, with the right and the wrong people.
#[test]
fn calls_are_made_on_a_users_behalf() {
    let steps = "user add root:secret
role add root
user grant-role root root
user add u:pw:with:colons
role add r
role grant-permission r readwrite k --prefix
user grant-role u r
--user u:wrong put k1 v
auth enable
put k1 v
--user u:wrong put k1 v
--user nobody:x get k1
--user u:pw:with:colons put k1 v
--user=u --password=pw:with:colons get k1
--user u:pw:with:colons get other
--user u:pw:with:colons get k --prefix
--user u:pw:with:colons del k1
--user u:pw:with:colons lease grant 100 --hex=false -w table
--user u:pw:with:colons endpoint health
--user u:pw:with:colons member list --bogus
--user u:pw:with:colons user list
--user root:secret user list
--user root:secret endpoint hashkv -w table
--user root:secret auth status -w fields
--user root:secret auth disable
--user root:wrong get k1
get k1";
    let (first, second) = (Store::start(Maker::Etcd), Store::start(Maker::Etcd));
    for line in steps.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let told = [
            said(ours(&first, &words), ""),
            said(theirs(&second, &words), ""),
        ];
        let shown = !["health", "hashkv", "--bogus"]
            .iter()
            .any(|word| line.contains(word));
        let told = told.map(|(status, out, err)| {
            let words = shown.then(|| (String::from_utf8_lossy(&out).into_owned(), err));
            (status, words)
        });
        assert_eq!(told[0], told[1], "{line}");
    }
    let by_environment = |mut command: std::process::Command| {
        command
            .env("ETCDCTL_USER", "root:secret")
            .env("ETCDCTL_WRITE_OUT", "json");
        said(command, "")
    };
    let words = ["get", "k1"];
    assert_eq!(
        by_environment(ours(&first, &words)),
        by_environment(theirs(&first, &words))
    );
}
