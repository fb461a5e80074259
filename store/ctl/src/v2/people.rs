//! Users, roles, and whether anybody is asked who they are: `user`, `role` and `auth`. As etcdctl does, each prints a
//! refusal as the store words it, without `Error:` before it, and ends with status 1.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, escaped};
use super::refused;
use crate::failure::Failure;
use crate::prompt;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Add a user: NAME, or NAME:PASSWORD
    Add(Name),
    /// Show the roles of a user
    Get(Name),
    /// All users
    List(Name),
    /// Take a user out
    Remove(Name),
    /// Give a user roles
    Grant(Roles),
    /// Take roles from a user
    Revoke(Roles),
    /// Give a user another password
    Passwd(Name),
}

/// What to do with roles.
#[derive(Debug, Subcommand)]
pub(super) enum Role {
    /// Add a role
    Add(Name),
    /// Show what a role may
    Get(Name),
    /// All roles
    List(Name),
    /// Take a role out
    Remove(Name),
    /// Let a role read or write what a pattern matches
    Grant(Permission),
    /// Take that from a role again
    Revoke(Permission),
}

/// Whether users are asked who they are.
#[derive(Debug, Subcommand)]
pub(super) enum Auth {
    /// Ask them
    Enable(Name),
    /// Let everybody do everything
    Disable(Name),
}

/// Who or what it is about; for some commands nothing.
#[derive(Debug, Args)]
pub(super) struct Name {
    words: Vec<String>,
}

/// Roles of a user.
#[derive(Debug, Args)]
pub(super) struct Roles {
    words: Vec<String>,
    /// A role; may be given several times
    #[arg(long)]
    roles: Vec<String>,
}

/// A permission of a role.
#[derive(Debug, Args)]
pub(super) struct Permission {
    words: Vec<String>,
    /// Pattern of keys: a path, or the beginning of one and `*`
    #[arg(long, default_value = "")]
    path: String,
    /// To be read
    #[arg(long)]
    read: bool,
    /// To be written
    #[arg(long)]
    write: bool,
    /// Both
    #[arg(long, alias = "rw")]
    readwrite: bool,
}

impl Name {
    fn one(&self, what: &str) -> Result<&str, Failure> {
        one(&self.words, what)
    }

    fn none(&self) -> Result<(), Failure> {
        match self.words.is_empty() {
            true => Ok(()),
            false => Err(refused("No arguments accepted")),
        }
    }
}

fn one<'w>(words: &'w [String], what: &str) -> Result<&'w str, Failure> {
    match words {
        [word] => Ok(word),
        _ => Err(refused(format_args!("Please provide a {what}"))),
    }
}

/// Asks for a user, a role, a list or the switch.
async fn ask(client: &Client, method: Method, path: &str, body: &str) -> Result<Value, Failure> {
    let path = format!("/v2/auth/{path}");
    let (status, text) = client.plain(method, &path, body).await?;
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    if status == 200 || status == 201 {
        return Ok(value);
    }
    Err(refused(value["message"].as_str().unwrap_or(text.trim())))
}

fn at(kind: &str, name: &str) -> String {
    format!("{kind}/{}", escaped(name, b""))
}

/// Names in a list of texts, or of objects that have them.
fn names<'v>(list: &'v Value, field: &'v str) -> impl Iterator<Item = &'v str> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(move |one| one.as_str().or_else(|| one[field].as_str()))
}

impl User {
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        match self {
            Self::Add(name) => add_user(client, name.one("username")?).await,
            Self::Get(name) => {
                let path = at("users", name.one("username")?);
                let user = ask(client, Method::GET, &path, "").await?;
                let roles: Vec<_> = names(&user["roles"], "role").collect();
                println!("User: {}", user["user"].as_str().unwrap_or_default());
                // etcdctl has a nameless role before them for each that the store tells more of than its name.
                let list = user["roles"].as_array().into_iter().flatten();
                let nameless = list.filter(|role| role.is_object()).count();
                println!("Roles: {}{}", " ".repeat(nameless), roles.join(" "));
                Ok(())
            }
            Self::List(name) => {
                name.none()?;
                let list = ask(client, Method::GET, "users", "").await?;
                names(&list["users"], "user").for_each(|user| println!("{user}"));
                Ok(())
            }
            Self::Remove(name) => {
                let name = name.one("username")?;
                ask(client, Method::DELETE, &at("users", name), "").await?;
                println!("User {name} removed");
                Ok(())
            }
            Self::Grant(roles) => roles.change(client, "grant").await,
            Self::Revoke(roles) => roles.change(client, "revoke").await,
            Self::Passwd(name) => {
                let name = name.one("username")?;
                let path = at("users", name);
                let password = prompt::hidden("New password: ")?;
                let body = json!({ "user": name, "password": password, "roles": null });
                ask(client, Method::PUT, &path, &body.to_string()).await?;
                println!("Password updated");
                Ok(())
            }
        }
    }
}

async fn add_user(client: &Client, word: &str) -> Result<(), Failure> {
    let (name, password) = match word.split_once(':') {
        Some((name, password)) => (name, Some(password.to_owned())),
        None => (word, None),
    };
    let path = at("users", name);
    // One that is there already gets another password, as with etcdctl.
    let password = match password {
        Some(password) => password,
        None => prompt::hidden("New password: ")?,
    };
    let body = json!({ "user": name, "password": password, "roles": null });
    ask(client, Method::PUT, &path, &body.to_string()).await?;
    println!("User {name} created");
    Ok(())
}

impl Roles {
    async fn change(self, client: &Client, how: &str) -> Result<(), Failure> {
        if self.roles.is_empty() {
            return Err(refused("No roles specified; please use `--roles`"));
        }
        let name = one(&self.words, "username")?;
        let path = at("users", name);
        let body = json!({ "user": name, "roles": null, how: self.roles });
        ask(client, Method::PUT, &path, &body.to_string()).await?;
        println!("User {name} updated");
        Ok(())
    }
}

impl Role {
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        match self {
            Self::Add(name) => {
                let name = name.one("role name")?;
                let path = at("roles", name);
                // A store that says no for another reason says it again when it is asked to add it.
                let asked = format!("/v2/auth/{path}");
                if client.plain(Method::GET, &asked, "").await?.0 == 200 {
                    return Err(refused(format_args!("Role {name} already exists")));
                }
                let kv = json!({ "kv": { "read": null, "write": null } });
                let body = json!({ "role": name, "permissions": kv });
                ask(client, Method::PUT, &path, &body.to_string()).await?;
                println!("Role {name} created");
                Ok(())
            }
            Self::Get(name) => {
                let path = at("roles", name.one("role name")?);
                let role = ask(client, Method::GET, &path, "").await?;
                println!("Role: {}", role["role"].as_str().unwrap_or_default());
                for (title, kind) in [("KV Read:", "read"), ("KV Write:", "write")] {
                    println!("{title}");
                    let patterns = &role["permissions"]["kv"][kind];
                    names(patterns, "").for_each(|pattern| println!("\t{pattern}"));
                }
                Ok(())
            }
            Self::List(name) => {
                name.none()?;
                let list = ask(client, Method::GET, "roles", "").await?;
                names(&list["roles"], "role").for_each(|role| println!("{role}"));
                Ok(())
            }
            Self::Remove(name) => {
                let name = name.one("role name")?;
                ask(client, Method::DELETE, &at("roles", name), "").await?;
                println!("Role {name} removed");
                Ok(())
            }
            Self::Grant(permission) => permission.change(client, "grant").await,
            Self::Revoke(permission) => permission.change(client, "revoke").await,
        }
    }
}

impl Permission {
    async fn change(self, client: &Client, how: &str) -> Result<(), Failure> {
        if self.path.is_empty() {
            return Err(refused("No path specified; please use `--path`"));
        }
        let canonical = canonical(&self.path);
        if canonical != self.path {
            return Err(refused(format_args!(
                "Not canonical path; please use `--path={canonical}`"
            )));
        }
        let (read, write) = match (self.read, self.write, self.readwrite) {
            (true, false, false) => (true, false),
            (false, true, false) => (false, true),
            (false, false, true) => (true, true),
            _ => {
                return Err(refused(
                    "Please specify exactly one of --read, --write or --readwrite",
                ));
            }
        };
        let name = one(&self.words, "role name")?;
        let path = at("roles", name);
        let before = ask(client, Method::GET, &path, "").await?;
        let pattern = |yes: bool| yes.then_some([&self.path]);
        let kv = json!({ "kv": { "read": pattern(read), "write": pattern(write) } });
        let none = json!({ "kv": { "read": null, "write": null } });
        let body = json!({ "role": name, "permissions": none, how: kv });
        let after = ask(client, Method::PUT, &path, &body.to_string()).await?;
        if after == before {
            // Without an end of line, as etcdctl has it.
            print!(
                "Role unchanged; already {}",
                match how {
                    "grant" => "granted",
                    _ => "revoked",
                }
            );
        }
        println!("Role {name} updated");
        Ok(())
    }
}

impl Auth {
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let (name, method, told) = match self {
            Self::Enable(name) => (name, Method::PUT, "Authentication Enabled"),
            Self::Disable(name) => (name, Method::DELETE, "Authentication Disabled"),
        };
        name.none()?;
        ask(client, method, "enable", "").await?;
        println!("{told}");
        Ok(())
    }
}

/// A path with one slash at its beginning and between names, without `.` and `..`, as Go's `path.Clean` makes it; one
/// slash at the end stays.
fn canonical(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let slash = if path.ends_with('/') && !names.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn paths_are_made_canonical_as_go_does() {
        for (path, wanted) in [
            ("a", "/a"),
            ("/a", "/a"),
            ("/a/*", "/a/*"),
            ("/a/", "/a/"),
            ("//a//b", "/a/b"),
            ("/a/../b/.", "/b"),
            ("/..", "/"),
            ("/", "/"),
            ("*", "/*"),
        ] {
            assert_eq!(canonical(path), wanted, "{path}");
        }
    }
}
