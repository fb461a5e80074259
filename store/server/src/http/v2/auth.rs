//! `/v2/auth`: users and roles. What requests mean is `store-v2`'s affair; here passwords are hashed and changes made.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use store_machine::auth::{Auth, AuthChange, Need};
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_v2::people::{self, Change, Denied, UserRequest};

use super::cluster::{message, value};
use super::{Guest, not_allowed};
use crate::api::Api;
use crate::body::Body;
use crate::grpc::errors::{ApiError, status};
use crate::handle::{Consistency, Failure, Handle};
use crate::http::{JSON, response};

/// What a path is about.
#[derive(Clone, Copy)]
enum About<'p> {
    Enabled,
    Users,
    User(&'p str),
    Roles,
    Role(&'p str),
}

impl<'p> About<'p> {
    fn of(rest: &'p str) -> Result<Self, Denied> {
        let names: Vec<&str> = rest.split('/').filter(|name| !name.is_empty()).collect();
        match names[..] {
            ["enable"] => Ok(Self::Enabled),
            ["users"] => Ok(Self::Users),
            ["users", name] => Ok(Self::User(name)),
            ["roles"] => Ok(Self::Roles),
            ["roles", name] => Ok(Self::Role(name)),
            ["users" | "roles", ..] => Err(denied(400, "Invalid path")),
            _ => Err(denied(404, "")),
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Enabled | Self::User(_) | Self::Role(_) => "GET,PUT,DELETE",
            Self::Users | Self::Roles => "GET",
        }
    }
}

fn denied(status: u16, text: impl Into<String>) -> Denied {
    let text = text.into();
    Denied { status, text }
}

/// Answers what stands behind `/v2/auth`.
pub(super) async fn serve(
    api: &Arc<Api>,
    rest: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let about = match About::of(rest) {
        Ok(about) => about,
        Err(Denied { status: 404, .. }) => return super::cluster::unknown(),
        Err(refused) => return told(&refused),
    };
    let method = request.method().clone();
    let methods = about.methods();
    if !methods.split(',').any(|one| one == method.as_str()) {
        return not_allowed(methods);
    }
    let answer = if method == Method::GET {
        show(api, about, &request).await
    } else {
        change(api, about, request).await
    };
    answer.unwrap_or_else(|refused| told(&refused))
}

fn told(denied: &Denied) -> Response<Body> {
    let status = StatusCode::from_u16(denied.status).unwrap_or(StatusCode::BAD_REQUEST);
    message(status, &denied.text)
}

/// Whoever may look at and change users and roles.
async fn root(api: &Api, request: &Request<Incoming>) -> Result<Handle, Denied> {
    let stranger = |_| denied(401, "Insufficient credentials");
    let guest = Guest::of(api, request).await.map_err(stranger)?;
    guest.require(api, &Need::Root).map_err(stranger)?;
    Ok(match guest.actor() {
        Some(actor) => api.handle.by(actor),
        None => api.handle.clone(),
    })
}

/// Users and roles as they are now, wherever they were changed.
async fn now(handle: &Handle) -> Result<Arc<Auth>, Denied> {
    let answer = handle.auth(Consistency::Linearizable).await;
    answer.map(|answer| answer.body).map_err(failed)
}

async fn show(
    api: &Api,
    about: About<'_>,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Denied> {
    if matches!(about, About::Enabled) {
        let enabled = now(&api.handle).await?.enabled();
        return Ok(value(StatusCode::OK, &json!({ "enabled": enabled })));
    }
    let handle = root(api, request).await?;
    let auth = now(&handle).await?;
    let shown = match about {
        About::Users => people::users(&auth),
        About::User(name) => people::user(&auth, name)?,
        About::Role(name) => people::role(&auth, name)?,
        About::Roles | About::Enabled => people::roles(&auth),
    };
    Ok(value(StatusCode::OK, &shown))
}

async fn change(
    api: &Api,
    about: About<'_>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Denied> {
    let handle = root(api, &request).await?;
    let puts = *request.method() == Method::PUT;
    let body = if puts {
        read(api, request).await?
    } else {
        Bytes::new()
    };
    let made = match about {
        About::User(name) if puts => {
            let mut user = UserRequest::parse(name, &body)?;
            let hash = match user.password.take() {
                Some(password) => Some(hash(api, password).await?),
                None => None,
            };
            user.change(&*now(&handle).await?, hash)?
        }
        About::User(name) => people::delete_user(&*now(&handle).await?, name)?,
        About::Role(name) if puts => people::put_role(&*now(&handle).await?, name, &body)?,
        About::Role(name) => people::delete_role(&*now(&handle).await?, name)?,
        _ if puts => people::enable(&*now(&handle).await?, rand::random())?,
        _ => people::disable(&*now(&handle).await?)?,
    };
    let Change {
        changes,
        status,
        mut body,
    } = made;
    make(&handle, changes).await?;
    if let (About::Role(name), true, None) = (about, puts, &body) {
        body = Some(people::role(&*now(&api.handle).await?, name)?);
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    Ok(match body {
        Some(body) => value(status, &body),
        None => response(status, JSON, Body::Empty),
    })
}

/// One after the other: version 3 has a word for each only.
async fn make(handle: &Handle, changes: Vec<AuthChange>) -> Result<(), Denied> {
    for change in changes {
        handle
            .propose(Command::Auth(change))
            .await
            .map_err(failed)?;
    }
    Ok(())
}

async fn hash(api: &Api, password: String) -> Result<String, Denied> {
    let hashed = api.guard.passwords.hash(password).await;
    hashed.map_err(|cause| denied(400, format!("auth: {}", ApiError::from(cause).text())))
}

async fn read(api: &Api, request: Request<Incoming>) -> Result<Bytes, Denied> {
    let bytes_max = api.limits.receive_bytes_max;
    let body = api.intake.whole(request.into_body(), bytes_max).await;
    body.map_err(|_| denied(400, "Invalid JSON in request body."))
}

/// A failure of the store; what somebody else was quicker with is a conflict.
fn failed(failure: Failure) -> Denied {
    let code = match failure {
        Failure::Refused(Refusal::PermissionDenied | Refusal::UserEmpty) => 401,
        Failure::Refused(_) => 409,
        _ => 500,
    };
    denied(code, format!("auth: {}", status(failure).message()))
}
