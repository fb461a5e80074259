//! `/v2/auth`: users and roles in the words of version 2. They are those of version 3, so a request becomes the changes
//! that version 3 has words for, after it was compared with what there is; texts and statuses are etcd 2's.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use store_machine::auth::{Auth, AuthChange, ROOT, TOKEN_KEY_BYTES};

use crate::rights::{self, Patterns};

/// The role of those who do not say who they are.
pub const GUEST: &str = "guest";

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Of HTTP.
    pub status: u16,
    /// Why.
    pub text: String,
}

impl Denied {
    pub(crate) fn new(status: u16, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// One after the other.
    pub changes: Vec<AuthChange>,
    /// Of HTTP, when they are made.
    pub status: u16,
    /// What is answered then.
    pub body: Option<Value>,
}

impl Change {
    fn of(changes: Vec<AuthChange>) -> Self {
        Self {
            changes,
            status: 200,
            body: None,
        }
    }
}

/// Names in a request; nothing if they are something else.
pub(crate) fn names(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(list) => list
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

/// The first value of the body; whatever follows is passed over.
fn parse(body: &[u8]) -> Result<Value, Denied> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let value = values.next().and_then(Result::ok);
    value.filter(Value::is_object).ok_or_else(no_json)
}

fn no_json() -> Denied {
    Denied::new(400, "Invalid JSON in request body.")
}

/// What a user is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRequest {
    name: String,
    /// In the clear, to be hashed before [`UserRequest::change`].
    pub password: Option<String>,
    roles: Vec<String>,
    grant: Vec<String>,
    revoke: Vec<String>,
}

impl UserRequest {
    /// # Errors
    /// It is no JSON, or of somebody else.
    pub fn parse(name: &str, body: &[u8]) -> Result<Self, Denied> {
        let value = parse(body)?;
        let list = |field: &str| names(&value[field]).ok_or_else(no_json);
        let text = |field: &str| match &value[field] {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(no_json()),
        };
        let request = Self {
            name: name.to_owned(),
            password: text("password")?.filter(|password| !password.is_empty()),
            roles: list("roles")?,
            grant: list("grant")?,
            revoke: list("revoke")?,
        };
        if text("user")?.unwrap_or_default() != name {
            let line = "User JSON name does not match the name in the URL";
            return Err(Denied::new(400, line));
        }
        let changes = !request.grant.is_empty() || !request.revoke.is_empty();
        if changes && !request.roles.is_empty() {
            let line = "User JSON contains both roles and grant/revoke";
            return Err(Denied::new(400, line));
        }
        Ok(request)
    }

    /// # Errors
    /// Why not.
    pub fn change(self, auth: &Auth, hash: Option<String>) -> Result<Change, Denied> {
        let name = &self.name;
        let updates = !self.grant.is_empty() || !self.revoke.is_empty();
        match auth.user(name) {
            None if updates => Err(no_user(name)),
            Some(user) if updates || self.roles.is_empty() => {
                let roles = user.roles.clone();
                self.update(auth, roles, hash)
            }
            Some(_) => {
                let text = format!("auth: User {name} already exists.");
                Err(Denied::new(409, text))
            }
            None => self.create(auth, hash),
        }
    }

    fn create(self, auth: &Auth, hash: Option<String>) -> Result<Change, Denied> {
        let name = self.name;
        if hash.is_none() {
            let text = format!("auth: Cannot create user {name} with an empty password");
            return Err(Denied::new(400, text));
        }
        // Asked for with roles it is answered as if it had been there.
        let status = if self.roles.is_empty() { 201 } else { 200 };
        let mut roles: BTreeSet<String> = self.roles.into_iter().collect();
        if name == ROOT {
            roles.insert(ROOT.to_owned());
        }
        let mut changes = vec![AuthChange::UserAdd {
            name: name.clone(),
            password: hash,
        }];
        for role in &roles {
            changes.push(grant(auth, &name, role)?);
        }
        let body = Some(json!({ "user": name, "roles": roles }));
        Ok(Change {
            changes,
            status,
            body,
        })
    }

    fn update(
        self,
        auth: &Auth,
        mut roles: BTreeSet<String>,
        hash: Option<String>,
    ) -> Result<Change, Denied> {
        let (user, mut changes) = (self.name, Vec::new());
        if let Some(password) = hash {
            let name = user.clone();
            changes.push(AuthChange::UserPassword { name, password });
        }
        for role in self.grant {
            changes.push(grant(auth, &user, &role)?);
            if !roles.insert(role.clone()) {
                let text = format!("auth: Granting duplicate role {role} for user {user}");
                return Err(Denied::new(409, text));
            }
        }
        for role in self.revoke {
            if !roles.remove(&role) {
                let text = format!("auth: Revoking ungranted role {role} for user {user}");
                return Err(Denied::new(409, text));
            }
            let user = user.clone();
            changes.push(AuthChange::UserRevoke { user, role });
        }
        if changes.is_empty() {
            let line = "auth: User not updated. Use grant/revoke/password to update the user.";
            return Err(Denied::new(400, line));
        }
        let body = json!({ "user": user, "roles": roles });
        Ok(Change {
            body: Some(body),
            ..Change::of(changes)
        })
    }
}

/// Version 3 knows no role that is none.
fn grant(auth: &Auth, user: &str, role: &str) -> Result<AuthChange, Denied> {
    if role != ROOT && auth.role(role).is_none() {
        return Err(no_role(role));
    }
    Ok(AuthChange::UserGrant {
        user: user.to_owned(),
        role: role.to_owned(),
    })
}

fn no_user(name: &str) -> Denied {
    Denied::new(404, format!("auth: User {name} does not exist."))
}

fn no_role(name: &str) -> Denied {
    Denied::new(404, format!("auth: Role {name} does not exist."))
}

/// All users with what their roles allow.
#[must_use]
pub fn users(auth: &Auth) -> Value {
    let users: Vec<Value> = auth
        .users()
        .filter_map(|(name, _)| shown(auth, name))
        .collect();
    json!({ "users": users })
}

/// # Errors
/// There is none of that name.
pub fn user(auth: &Auth, name: &str) -> Result<Value, Denied> {
    shown(auth, name).ok_or_else(|| no_user(name))
}

fn shown(auth: &Auth, name: &str) -> Option<Value> {
    let user = auth.user(name)?;
    let names = user
        .roles
        .iter()
        .filter_map(|role| rights::shown(auth, role));
    let roles: Vec<Value> = names.collect();
    let mut shown = json!({ "user": name });
    if !roles.is_empty() {
        shown["roles"] = roles.into();
    }
    Some(shown)
}

/// # Errors
/// Why not.
pub fn delete_user(auth: &Auth, name: &str) -> Result<Change, Denied> {
    if auth.enabled() && name == ROOT {
        let line = "auth: Cannot delete root user while auth is enabled.";
        return Err(Denied::new(403, line));
    }
    if auth.user(name).is_none() {
        return Err(Denied::new(
            404,
            format!("auth: User {name} does not exist"),
        ));
    }
    let name = name.to_owned();
    Ok(Change::of(vec![AuthChange::UserDelete { name }]))
}

/// All roles, `root` among them whether or not it was made.
#[must_use]
pub fn roles(auth: &Auth) -> Value {
    let names: BTreeSet<&str> = auth.roles().chain([ROOT]).collect();
    let roles = names
        .into_iter()
        .filter_map(|name| rights::shown(auth, name));
    json!({ "roles": roles.collect::<Vec<_>>() })
}

/// # Errors
/// There is none of that name.
pub fn role(auth: &Auth, name: &str) -> Result<Value, Denied> {
    rights::shown(auth, name).ok_or_else(|| no_role(name))
}

/// Makes a role, or gives it patterns and takes some from it.
///
/// # Errors
/// Why not.
pub fn put_role(auth: &Auth, name: &str, body: &[u8]) -> Result<Change, Denied> {
    let value = parse(body)?;
    let patterns = |field: &str| Patterns::parse(&value[field]).ok_or_else(no_json);
    let [all, grant, revoke] = ["permissions", "grant", "revoke"].map(patterns);
    let (all, grant, revoke) = (all?, grant?, revoke?);
    if value["role"] != name {
        let line = "Role JSON name does not match the name in the URL";
        return Err(Denied::new(400, line));
    }
    let creates = grant.is_empty() && revoke.is_empty();
    if !creates && !all.is_empty() {
        let line = "Role JSON contains both permissions and grant/revoke";
        return Err(Denied::new(400, line));
    }
    not_root(name)?;
    match auth.role(name) {
        Some(_) if creates => {
            let text = format!("auth: Role {name} already exists.");
            Err(Denied::new(409, text))
        }
        None if creates => {
            let mut changes = vec![AuthChange::RoleAdd {
                name: name.to_owned(),
            }];
            changes.extend(rights::changes(name, &[], &all, &revoke)?);
            Ok(Change {
                changes,
                status: 201,
                body: None,
            })
        }
        None => Err(no_role(name)),
        Some(before) => {
            let changes = rights::changes(name, before, &grant, &revoke)?;
            if changes.is_empty() {
                let line = "auth: Role not updated. Use grant/revoke to update the role.";
                return Err(Denied::new(400, line));
            }
            Ok(Change::of(changes))
        }
    }
}

fn not_root(name: &str) -> Result<(), Denied> {
    if name == ROOT {
        let line = "auth: Cannot modify role root: is root role.";
        return Err(Denied::new(403, line));
    }
    Ok(())
}

/// # Errors
/// Why not.
pub fn delete_role(auth: &Auth, name: &str) -> Result<Change, Denied> {
    not_root(name)?;
    if auth.role(name).is_none() {
        return Err(Denied::new(
            404,
            format!("auth: Role {name} doesn't exist."),
        ));
    }
    let name = name.to_owned();
    Ok(Change::of(vec![AuthChange::RoleDelete { name }]))
}

/// From now on people are asked who they are. As with etcd 2 those who do not say go on reading and writing by version
/// 2, until their role is changed.
///
/// # Errors
/// It is so already, or there is no user `root`.
pub fn enable(auth: &Auth, token_key: [u8; TOKEN_KEY_BYTES]) -> Result<Change, Denied> {
    if auth.enabled() {
        return Err(Denied::new(409, "auth: already enabled"));
    }
    let Some(root) = auth.user(ROOT) else {
        let line = "auth: No root user available, please create one";
        return Err(Denied::new(409, line));
    };
    let mut changes = Vec::new();
    if !root.roles.contains(ROOT) {
        changes.push(grant(auth, ROOT, ROOT)?);
    }
    if auth.role(GUEST).is_none() {
        let (name, all) = (
            GUEST.to_owned(),
            json!({ "kv": { "read": ["/*"], "write": ["/*"] } }),
        );
        changes.push(AuthChange::RoleAdd { name });
        let all = Patterns::parse(&all).unwrap_or_default();
        changes.extend(rights::changes(GUEST, &[], &all, &Patterns::default())?);
    }
    changes.push(AuthChange::Enable { token_key });
    Ok(Change::of(changes))
}

/// # Errors
/// It is so already.
pub fn disable(auth: &Auth) -> Result<Change, Denied> {
    if !auth.enabled() {
        return Err(Denied::new(409, "auth: already disabled"));
    }
    Ok(Change::of(vec![AuthChange::Disable]))
}
