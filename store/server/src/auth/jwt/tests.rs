//! Against keys as OpenSSL writes them.

use std::path::Path;
use std::process::Command as Program;

use store_machine::{Limits, Machine};

use super::*;

fn openssl(folder: &Path, args: &str) {
    let status = Program::new("openssl")
        .args(args.split(' '))
        .current_dir(folder)
        .stderr(std::process::Stdio::null())
        .status()
        .expect("openssl is installed");
    assert!(status.success(), "openssl {args}");
}

fn machine() -> Machine {
    Machine::new(Limits {
        quota_bytes: u64::MAX,
    })
}

fn config(method: &str, public: Option<PathBuf>, private: Option<PathBuf>) -> JwtConfig {
    JwtConfig {
        method: method.to_owned(),
        public_key: public,
        private_key: private,
        ttl: Duration::from_mins(5),
    }
}

fn user(name: &str, revision: u64) -> Actor {
    Actor::User {
        name: name.into(),
        revision,
    }
}

/// A folder with keys of each kind: `NAME.pem` and `NAME.pub`.
fn keys() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (name, how) in [
        (
            "rsa",
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        ),
        (
            "ec256",
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        ),
        (
            "ec384",
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
        ),
        ("ed", "genpkey -algorithm ed25519"),
        // The older forms: SEC 1 with its parameters before it, PKCS#1.
        ("sec256", "ecparam -name prime256v1 -genkey"),
        ("sec384", "ecparam -name secp384r1 -genkey"),
    ] {
        openssl(path, &format!("{how} -out {name}.pem"));
        openssl(
            path,
            &format!("pkey -in {name}.pem -pubout -out {name}.pub"),
        );
    }
    openssl(path, "rsa -in rsa.pem -traditional -out pkcs1.pem");
    openssl(
        path,
        "req -x509 -new -key rsa.pem -subj /CN=x -days 1 -out certificate.pem",
    );
    std::fs::write(path.join("secret"), "a shared secret").unwrap();
    folder
}

#[test]
fn every_method_signs_and_checks() {
    let folder = keys();
    let file = |name: &str| Some(folder.path().join(name));
    let machine = machine();
    for (method, private, public) in [
        ("RS256", "rsa.pem", Some("rsa.pub")),
        ("RS384", "rsa.pem", None),
        ("RS512", "pkcs1.pem", Some("certificate.pem")),
        ("PS256", "rsa.pem", Some("rsa.pub")),
        ("PS384", "rsa.pem", None),
        ("PS512", "pkcs1.pem", Some("rsa.pub")),
        ("ES256", "ec256.pem", Some("ec256.pub")),
        ("ES256", "sec256.pem", Some("sec256.pub")),
        ("ES384", "ec384.pem", None),
        ("ES384", "sec384.pem", Some("sec384.pub")),
        ("EdDSA", "ed.pem", Some("ed.pub")),
        ("HS256", "secret", None),
        ("HS384", "secret", None),
        ("HS512", "secret", Some("rsa.pub")),
    ] {
        let public = public.and_then(file);
        let tokens = JwtTokens::load(&config(method, public.clone(), file(private)));
        let tokens = tokens.unwrap_or_else(|error| panic!("{method}: {error} {error:?}"));
        let token = tokens.issue(machine.auth(), "u").unwrap();
        for _again in 0..2 {
            assert_eq!(tokens.check(&token), Ok(user("u", 1)), "{method}");
        }
        // Who has the public key alone checks and signs nothing.
        if public.is_some() && !method.starts_with("HS") {
            let checks = JwtTokens::load(&config(method, public, None)).unwrap();
            assert_eq!(checks.check(&token), Ok(user("u", 1)), "{method}");
            assert_eq!(checks.issue(machine.auth(), "u"), None, "{method}");
        }
    }
}

#[test]
fn foreign_expired_and_odd_tokens_are_refused() {
    let folder = keys();
    let file = |name: &str| Some(folder.path().join(name));
    let load = |method, key| JwtTokens::load(&config(method, None, file(key))).unwrap();
    let tokens = load("ES256", "ec256.pem");
    let signs = tokens.signs.as_ref().unwrap();
    let encode = |claims: serde_json::Value| {
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, signs).unwrap()
    };
    let soon = unix_seconds() + 60;
    let claims = |name: &str, revision: f64, exp: u64| {
        encode(serde_json::json!({ "username": name, "revision": revision, "exp": exp }))
    };
    assert_eq!(tokens.check(&claims("u", 3.0, soon)), Ok(user("u", 3)));
    let good = claims("u", 3.0, soon);
    let other = load("ES256", "sec256.pem")
        .issue(machine().auth(), "u")
        .unwrap();
    let shared = load("HS256", "secret")
        .issue(machine().auth(), "u")
        .unwrap();
    // The header of one that says it needs no signature.
    let unsigned = {
        let payload = good.split('.').nth(1).unwrap();
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.")
    };
    for token in [
        String::new(),
        String::from("a.b.c"),
        good[..good.len() - 6].to_owned(),
        claims("u", 3.0, unix_seconds() - 2),
        encode(serde_json::json!({ "username": "u", "exp": soon })),
        encode(serde_json::json!({ "revision": 3, "exp": soon })),
        encode(serde_json::json!({ "username": "u", "revision": 3 })),
        other,
        shared,
        unsigned,
    ] {
        assert_eq!(tokens.check(&token), Err(Doubt::Invalid), "{token}");
    }
}

#[test]
fn a_remembered_token_still_ends() {
    let it = Known {
        name: "u".into(),
        revision: 1,
        exp: 100,
    };
    assert_eq!(it.actor(100), Ok(user("u", 1)));
    assert_eq!(it.actor(101), Err(Doubt::Invalid));
}

#[test]
fn keys_that_do_not_fit_are_refused_with_a_reason() {
    let folder = keys();
    let file = |name: &str| Some(folder.path().join(name));
    for (method, public, private, wanted) in [
        (
            "none",
            None,
            file("rsa.pem"),
            "sign tokens with the method \"none\"",
        ),
        (
            "ES512",
            None,
            file("ec256.pem"),
            "sign tokens with the method \"ES512\"",
        ),
        (
            "RS256",
            None,
            None,
            "take the keys of tokens: there is none",
        ),
        (
            "HS256",
            file("secret"),
            None,
            "take the keys of tokens: there is none",
        ),
        (
            "RS256",
            None,
            file("missing"),
            "read the key of tokens from",
        ),
        ("RS256", None, file("secret"), "no key for RS256"),
        (
            "ES256",
            file("sec256.pub"),
            file("ec256.pem"),
            "does not belong to the public key",
        ),
    ] {
        let Err(error) = JwtTokens::load(&config(method, public, private)) else {
            panic!("{method} should have been refused")
        };
        assert!(error.to_string().contains(wanted), "{error}");
        assert!(!error.hint().is_empty());
    }
}
