//! Pure: How a token is had from Vault: which request each method makes, and what the answer says of the token.

use std::time::Duration;

use serde_json::{Value, json};

/// Who we say we are. The names are the original's.
#[derive(Clone)]
pub enum Login {
    /// A token that somebody gave us.
    Token(String),
    /// An application and who it runs for.
    AppId {
        /// The application.
        app_id: String,
        /// The one it runs for.
        user_id: String,
    },
    /// A role and its secret.
    AppRole {
        /// The role.
        role_id: String,
        /// The secret; some roles need none.
        secret_id: Option<String>,
    },
    /// Name and password.
    UserPass {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// A personal token of GitHub.
    GitHub(String),
    /// The service account of the pod we run in.
    Kubernetes {
        /// The role asked for.
        role: String,
        /// The account's token; read anew at each login, as it changes.
        token: std::path::PathBuf,
    },
    /// The client certificate.
    Certificate,
}

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Behind `/v1/`.
    pub(super) path: String,
    pub(super) body: Value,
}

impl Login {
    /// What is asked for a token, at the method's mount, or its usual one. `account` is the token of a service account.
    /// `None` if there is a token already.
    pub(super) fn request(&self, mount: Option<&str>, account: &str) -> Option<Request> {
        let (usual, rest, body) = match self {
            Self::Token(_) => return None,
            Self::AppId { app_id, user_id } => (
                "app-id",
                format!("login/{app_id}"),
                json!({"user_id": user_id}),
            ),
            Self::AppRole { role_id, secret_id } => {
                let mut body = json!({"role_id": role_id});
                if let (Some(secret), Value::Object(body)) = (secret_id, &mut body) {
                    body.insert("secret_id".to_owned(), json!(secret));
                }
                ("approle", "login".to_owned(), body)
            }
            Self::UserPass { name, password } => (
                "userpass",
                format!("login/{name}"),
                json!({"password": password}),
            ),
            Self::GitHub(token) => ("github", "login".to_owned(), json!({"token": token})),
            Self::Kubernetes { role, .. } => (
                "kubernetes",
                "login".to_owned(),
                json!({"role": role, "jwt": account}),
            ),
            Self::Certificate => ("cert", "login".to_owned(), json!({})),
        };
        let mount = mount.unwrap_or(usual).trim_matches('/');
        Some(Request {
            path: format!("auth/{mount}/{rest}"),
            body,
        })
    }

    /// The method's name, for people.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::AppId { .. } => "app-id",
            Self::AppRole { .. } => "app-role",
            Self::UserPass { .. } => "userpass",
            Self::GitHub(_) => "github",
            Self::Kubernetes { .. } => "kubernetes",
            Self::Certificate => "cert",
        }
    }
}

/// A token and how long it lives.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) token: String,
    /// Time until it ends; `None` if it does not.
    pub(super) lives: Option<Duration>,
    /// Whether it can be made to live longer.
    pub(super) renewable: bool,
}

impl Granted {
    /// What a login or a renewal answers.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let auth = answer.get("auth")?;
        Some(Self {
            token: auth.get("client_token")?.as_str()?.to_owned(),
            lives: seconds(auth.get("lease_duration")),
            renewable: auth.get("renewable").and_then(Value::as_bool) == Some(true),
        })
    }

    /// What the server says of a token that was given to us.
    pub(super) fn looked_up(token: &str, answer: &Value) -> Option<Self> {
        let data = answer.get("data")?;
        Some(Self {
            token: token.to_owned(),
            lives: seconds(data.get("ttl")),
            renewable: data.get("renewable").and_then(Value::as_bool) == Some(true),
        })
    }

    /// When to see to it: at two thirds of its life, so that a try that fails is not the last.
    pub(super) fn care(&self) -> Option<Duration> {
        self.lives.map(|lives| lives * 2 / 3)
    }
}

/// 0 stands for a token that never ends.
fn seconds(value: Option<&Value>) -> Option<Duration> {
    let seconds = value?.as_u64().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_asks_its_own_way() {
        let text = str::to_owned;
        for (login, mount, path, body) in [
            (
                Login::AppId {
                    app_id: text("a"),
                    user_id: text("u"),
                },
                None,
                "auth/app-id/login/a",
                json!({"user_id": "u"}),
            ),
            (
                Login::AppRole {
                    role_id: text("r"),
                    secret_id: Some(text("s")),
                },
                Some("/team/approle/"),
                "auth/team/approle/login",
                json!({"role_id": "r", "secret_id": "s"}),
            ),
            (
                Login::AppRole {
                    role_id: text("r"),
                    secret_id: None,
                },
                None,
                "auth/approle/login",
                json!({"role_id": "r"}),
            ),
            (
                Login::UserPass {
                    name: text("n"),
                    password: text("p"),
                },
                None,
                "auth/userpass/login/n",
                json!({"password": "p"}),
            ),
            (
                Login::GitHub(text("t")),
                None,
                "auth/github/login",
                json!({"token": "t"}),
            ),
            (
                Login::Kubernetes {
                    role: text("r"),
                    token: "/x".into(),
                },
                None,
                "auth/kubernetes/login",
                json!({"role": "r", "jwt": "j"}),
            ),
            (Login::Certificate, None, "auth/cert/login", json!({})),
        ] {
            let request = login.request(mount, "j").unwrap();
            assert_eq!((request.path.as_str(), request.body), (path, body));
        }
        assert_eq!(Login::Token(text("t")).request(None, ""), None);
    }

    #[test]
    fn what_is_said_of_a_token() {
        let answer =
            json!({"auth": {"client_token": "t", "lease_duration": 60, "renewable": true}});
        let granted = Granted::read(&answer).unwrap();
        assert_eq!(granted.care(), Some(Duration::from_secs(40)));
        assert!(granted.renewable);
        let answer = json!({"data": {"ttl": 0, "renewable": false}});
        let granted = Granted::looked_up("root", &answer).unwrap();
        assert_eq!(granted.care(), None);
        assert!(Granted::read(&json!({"auth": null})).is_none());
    }
}
