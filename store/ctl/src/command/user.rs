//! Users: `user add`, `delete`, `get`, `list`, `passwd`, `grant-role` and `revoke-role`.

use clap::{ArgAction, Subcommand};
use store_proto::authpb::UserAddOptions;
use store_proto::etcdserverpb::{
    AuthRoleGetRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
    AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest,
};

use super::auth::client;
use super::in_time;
use crate::failure::Failure;
use crate::flags::{Globals, go_bool};
use crate::format::{Answer, Printer};
use crate::prompt;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Add a user, NAME or NAME:PASSWORD
    Add {
        words: Vec<String>,
        /// Ask for the password; if false, take it from stdin
        #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
              default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set)]
        interactive: bool,
        /// The password; NAME is then a name with all its colons
        #[arg(long, value_name = "PASSWORD", default_value = "")]
        new_user_password: String,
        /// Known by a certificate only
        #[arg(long)]
        no_password: bool,
    },
    /// Take a user away
    Delete { words: Vec<String> },
    /// Roles of a user
    Get {
        words: Vec<String>,
        /// And what each of them may do
        #[arg(long)]
        detail: bool,
    },
    /// All users
    List { words: Vec<String> },
    /// Give a user another password
    Passwd {
        words: Vec<String>,
        /// Ask for the password; if false, take it from stdin
        #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
              default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set)]
        interactive: bool,
    },
    /// Give a user a role
    GrantRole { words: Vec<String> },
    /// Take a role from a user
    RevokeRole { words: Vec<String> },
}

impl User {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        match self {
            Self::Add {
                words,
                interactive,
                new_user_password,
                no_password,
            } => {
                let word = one(&words, "add command")?;
                let (name, password) = if no_password {
                    (word, String::new())
                } else if new_user_password.is_empty() {
                    split(word, interactive)?
                } else {
                    (word, new_user_password)
                };
                let request = AuthUserAddRequest {
                    name: name.to_owned(),
                    password,
                    options: Some(UserAddOptions { no_password }),
                    ..AuthUserAddRequest::default()
                };
                let done = in_time(globals, client(globals).await?.user_add(request)).await?;
                printer.print(&Answer::done(done.header, format!("User {name} created")))
            }
            Self::Delete { words } => {
                let name = one(&words, "delete command")?.to_owned();
                let line = format!("User {name} deleted");
                let request = AuthUserDeleteRequest { name };
                let done = in_time(globals, client(globals).await?.user_delete(request)).await?;
                printer.print(&Answer::done(done.header, line))
            }
            Self::Get { words, detail } => {
                let name = one(&words, "get command")?;
                get(name, detail, globals, printer).await
            }
            Self::List { words } => {
                if !words.is_empty() {
                    return Err(Failure::bad_arguments(
                        "user list command requires no arguments",
                    ));
                }
                let request = AuthUserListRequest {};
                let list = in_time(globals, client(globals).await?.user_list(request)).await?;
                printer.print(&Answer::Users(list))
            }
            Self::Passwd { words, interactive } => {
                let name = one(&words, "passwd command")?.to_owned();
                let password = password(&name, interactive)?;
                let request = AuthUserChangePasswordRequest {
                    name,
                    password,
                    ..AuthUserChangePasswordRequest::default()
                };
                let mut client = client(globals).await?;
                let done = in_time(globals, client.user_change_password(request)).await?;
                printer.print(&Answer::done(done.header, "Password updated".to_owned()))
            }
            Self::GrantRole { words } => {
                let [user, role] = two(words, "grant command")?;
                let line = format!("Role {role} is granted to user {user}");
                let request = AuthUserGrantRoleRequest { user, role };
                let mut client = client(globals).await?;
                let done = in_time(globals, client.user_grant_role(request)).await?;
                printer.print(&Answer::done(done.header, line))
            }
            Self::RevokeRole { words } => {
                let [name, role] = two(words, "revoke-role")?;
                let line = format!("Role {role} is revoked from user {name}");
                let request = AuthUserRevokeRoleRequest { name, role };
                let mut client = client(globals).await?;
                let done = in_time(globals, client.user_revoke_role(request)).await?;
                printer.print(&Answer::done(done.header, line))
            }
        }
    }
}

async fn get(
    name: &str,
    detail: bool,
    globals: &Globals,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = client(globals).await?;
    let request = AuthUserGetRequest {
        name: name.to_owned(),
    };
    let user = in_time(globals, client.user_get(request)).await?;
    if !detail {
        return printer.print(&Answer::User(name.to_owned(), user));
    }
    println!("User: {name}");
    for role in user.roles {
        println!();
        let request = AuthRoleGetRequest { role: role.clone() };
        let found = in_time(globals, client.role_get(request)).await?;
        printer.print(&Answer::Role(role, found))?;
    }
    Ok(())
}

/// A name and a password, both in the word or the latter asked for.
fn split(word: &str, interactive: bool) -> Result<(&str, String), Failure> {
    match word.split_once(':') {
        Some(("", _)) => Err(Failure::bad_arguments("empty user name is not allowed")),
        Some((name, password)) => Ok((name, password.to_owned())),
        None => Ok((word, password(word, interactive)?)),
    }
}

fn password(user: &str, interactive: bool) -> Result<String, Failure> {
    if interactive {
        prompt::new_password(user)
    } else {
        // The first word, as etcdctl reads it.
        let line = prompt::line()?;
        Ok(line
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned())
    }
}

fn one<'a>(words: &'a [String], what: &str) -> Result<&'a str, Failure> {
    match words {
        [word] => Ok(word),
        _ => Err(Failure::bad_arguments(format!(
            "user {what} requires user name as its argument"
        ))),
    }
}

fn two(words: Vec<String>, what: &str) -> Result<[String; 2], Failure> {
    words.try_into().map_err(|_| {
        Failure::bad_arguments(format!(
            "user {what} requires user name and role name as its argument"
        ))
    })
}
