use store_machine::auth::AuthChange;
use store_machine::command::Command;
use store_machine::revision::Index;
use store_machine::{Limits, Machine};

use super::*;

const TTL: Duration = Duration::from_secs(300);

/// Some moment.
const NOW: u64 = 1_800_000_000;

/// A store with users `root` and `u`, enabled with this key.
struct Users {
    machine: Machine,
}

impl Users {
    fn new(token_key: [u8; 32]) -> Self {
        let machine = Machine::new(Limits {
            quota_bytes: u64::MAX,
        });
        let mut users = Self { machine };
        users.add("root");
        users.change(AuthChange::UserGrant {
            user: "root".into(),
            role: "root".into(),
        });
        users.add("u");
        users.change(AuthChange::Enable { token_key });
        users
    }

    fn add(&mut self, name: &str) {
        self.change(AuthChange::UserAdd {
            name: name.into(),
            password: Some("hash".into()),
        });
    }

    fn change(&mut self, change: AuthChange) {
        let index = Index(self.machine.applied().0 + 1);
        let command = Command::Auth(change).by(Some(Actor::Store));
        self.machine.apply(index, command).reply.unwrap();
    }

    fn auth(&self) -> &Auth {
        self.machine.auth()
    }

    fn token(&self, name: &str) -> String {
        let generation = self.auth().user(name).unwrap().generation;
        sign(self.auth(), name, generation, NOW)
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_token_says_whose_it_is_on_every_member() {
    let users = Users::new([1; 32]);
    let token = users.token("u");
    for _member in 0..2 {
        let tokens = SimpleTokens::new(TTL);
        let actor = tokens.check_at(users.auth(), &token, NOW, Instant::now());
        let wanted = Actor::User {
            name: "u".into(),
            revision: users.auth().revision(),
        };
        assert_eq!(actor, Ok(wanted));
    }
    let issued = SimpleTokens::new(TTL).issue(users.auth(), "u").unwrap();
    assert!(SimpleTokens::new(TTL).check(users.auth(), &issued).is_ok());
    assert_eq!(SimpleTokens::new(TTL).issue(users.auth(), "none"), None);
}

#[test]
fn it_lives_for_a_time_after_its_last_use() {
    let users = Users::new([1; 32]);
    let tokens = SimpleTokens::new(TTL);
    let start = tokens.started;
    let token = users.token("u");
    let at = |after: u64| {
        let checked = tokens.check_at(users.auth(), &token, NOW + after, start + seconds(after));
        checked.is_ok()
    };
    // Longer than its time, but never unused for so long.
    for after in [0, 100, 390, 680, 970] {
        assert!(at(after), "{after} s");
    }
    assert!(!at(1300));
    assert!(!at(1301), "over is over");
}

#[test]
fn after_a_start_it_gets_its_time_again() {
    let users = Users::new([1; 32]);
    let token = users.token("u");
    let tokens = SimpleTokens::new(TTL);
    let at = |after: u64| {
        let now = tokens.started + seconds(after);
        let checked = tokens.check_at(users.auth(), &token, NOW + 10_000 + after, now);
        checked.is_ok()
    };
    assert!(at(299));
    assert!(at(500));
    let tokens = SimpleTokens::new(TTL);
    let now = tokens.started + seconds(301);
    let late = tokens.check_at(users.auth(), &token, NOW + 10_000, now);
    assert_eq!(late, Err(Doubt::Invalid));
}

#[test]
fn a_new_password_and_the_end_of_the_user_end_it() {
    let mut users = Users::new([1; 32]);
    let tokens = SimpleTokens::new(TTL);
    let token = users.token("u");
    let check = |users: &Users| {
        let checked = tokens.check_at(users.auth(), &token, NOW, Instant::now());
        checked.map(|_| ())
    };
    assert_eq!(check(&users), Ok(()));
    users.change(AuthChange::RoleAdd { name: "r".into() });
    assert_eq!(check(&users), Ok(()), "other changes do not");
    users.change(AuthChange::UserPassword {
        name: "u".into(),
        password: "other".into(),
    });
    assert_eq!(check(&users), Err(Doubt::Invalid));
    users.change(AuthChange::UserDelete { name: "u".into() });
    assert_eq!(check(&users), Err(Doubt::Unknown));
    users.add("u");
    assert_eq!(check(&users), Err(Doubt::Invalid), "another of that name");
}

#[test]
fn only_this_cluster_makes_them() {
    let users = Users::new([1; 32]);
    let others = Users::new([2; 32]);
    let tokens = SimpleTokens::new(TTL);
    let good = users.token("u");
    let mut wrong = vec![
        String::new(),
        String::from("abcdefghijklmnop.12"),
        String::from("!"),
        "A".repeat(80),
        others.token("u"),
        good[..good.len() - 4].to_owned(),
        format!("{good}AAAA"),
    ];
    for at in [0, 10, 30, good.len() / 2, good.len() - 2] {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        wrong.push(String::from_utf8(bytes).unwrap());
    }
    for token in wrong {
        let checked = tokens.check_at(users.auth(), &token, NOW, Instant::now());
        assert_eq!(checked, Err(Doubt::Invalid), "{token}");
    }
    assert!(
        tokens.uses.lock().unwrap().is_empty(),
        "nothing is kept of them"
    );
}

#[test]
fn uses_are_remembered_within_bounds() {
    let users = Users::new([1; 32]);
    let tokens = SimpleTokens::new(TTL);
    let now = tokens.started;
    for number in 0..USES_MAX as u128 {
        assert!(tokens.is_alive(&number.to_be_bytes(), 0, now));
    }
    let token = users.token("u");
    assert!(tokens.check_at(users.auth(), &token, NOW, now).is_ok());
    assert_eq!(tokens.uses.lock().unwrap().len(), USES_MAX);
    let later = now + seconds(301);
    assert!(
        tokens
            .check_at(users.auth(), &token, NOW + 300, later)
            .is_ok()
    );
    assert_eq!(tokens.uses.lock().unwrap().len(), 1);
}
