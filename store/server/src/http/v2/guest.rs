//! Who calls, in version 2: by name and password with each request, as its clients do, by what clients of version 3
//! show, or without either as far as the role `guest` goes.
//!
//! A request of version 2 reads and writes more than it shows, such as whether there are directories above. So its right
//! is judged here, and what is asked of the store says by which state of users and roles: there it stands or falls.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use store_machine::auth::{Actor, Auth, Need};
use store_v2::people::GUEST;
use store_v2::{Code, Error};

use super::failed;
use crate::api::Api;
use crate::auth::Credentials;
use crate::handle::{Consistency, Handle};

/// See the module.
pub(super) struct Guest {
    who: Who,
    /// [`Auth::revision`] by which it is judged.
    revision: u64,
}

/// As far as it was proven.
enum Who {
    /// Nobody asks.
    Anybody,
    /// It does not say.
    Guest,
    /// By a password of that generation.
    User { name: Arc<str>, generation: u64 },
    /// By a token or a certificate.
    Holder(Actor),
}

impl Guest {
    /// # Errors
    /// It is not who it says.
    pub(super) async fn of(api: &Api, request: &Request<Incoming>) -> Result<Self, Error> {
        if !api.handle.auth_view().enabled() {
            return Ok(Self {
                who: Who::Anybody,
                revision: 0,
            });
        }
        let auth = api.handle.auth_view().current();
        let headers = request.headers();
        let basic = headers.get(AUTHORIZATION).and_then(basic);
        let who = match basic {
            Some((name, password)) => user(api, &auth, name, password).await?,
            None => {
                let credentials = Credentials::of(headers, request.extensions());
                match api.guard.actor(&auth, &credentials) {
                    Ok(Some(actor)) => Who::Holder(actor),
                    Ok(None) if auth.role(GUEST).is_some() => Who::Guest,
                    Ok(None) | Err(_) => return Err(unauthorized()),
                }
            }
        };
        let revision = match &who {
            Who::Holder(Actor::User { revision, .. }) => *revision,
            _ => auth.revision(),
        };
        Ok(Self { who, revision })
    }

    /// # Errors
    /// It may not.
    pub(super) fn require(&self, api: &Api, need: &Need<'_>) -> Result<(), Error> {
        let auth = api.handle.auth_view().current();
        let checked = match &self.who {
            Who::Anybody => Ok(()),
            Who::Guest => auth.check_role(GUEST, need),
            Who::User { .. } | Who::Holder(_) => auth.check(self.actor().as_ref(), need),
        };
        checked.map_err(|_| unauthorized())
    }

    /// In whose name users and roles are changed.
    pub(super) fn actor(&self) -> Option<Actor> {
        match &self.who {
            Who::Anybody | Who::Guest => None,
            Who::User { name, .. } => Some(Actor::User {
                name: Arc::clone(name),
                revision: self.revision,
            }),
            Who::Holder(actor) => Some(actor.clone()),
        }
    }

    /// The way to the driver for what was found to be permitted.
    pub(super) fn handle(&self, api: &Api) -> Handle {
        let revision = self.revision;
        match &self.who {
            Who::Anybody => api.handle.clone(),
            _ => api.handle.by(Actor::Judged { revision }),
        }
    }

    /// Catches up with the cluster. Whether users or roles are others than those it was judged by, so that another
    /// attempt is worth while.
    ///
    /// # Errors
    /// It is nobody any more.
    pub(super) async fn renew(&mut self, api: &Api) -> Result<bool, Error> {
        let answer = api.handle.auth(Consistency::Linearizable).await;
        let auth = answer.map_err(failed)?.body;
        let stands = match &self.who {
            Who::Anybody => !auth.enabled(),
            Who::Guest => auth.role(GUEST).is_some(),
            Who::User { name, generation } => auth
                .user(name)
                .is_some_and(|user| user.generation == *generation),
            // A token says itself for how long it stands.
            Who::Holder(_) => return Ok(false),
        };
        if !stands {
            return Err(unauthorized());
        }
        let before = std::mem::replace(&mut self.revision, auth.revision());
        Ok(before != self.revision && !matches!(self.who, Who::Anybody))
    }
}

async fn user(api: &Api, auth: &Auth, name: String, password: String) -> Result<Who, Error> {
    let user = auth.user(&name);
    let hash = user.and_then(|user| user.password.clone());
    let fits = api.guard.passwords.verify(password, hash).await;
    match user.filter(|_| fits.is_ok_and(|fits| fits)) {
        Some(user) => Ok(Who::User {
            name: Arc::from(name),
            generation: user.generation,
        }),
        None => {
            api.guard.refused_password(&name);
            Err(unauthorized())
        }
    }
}

fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let text = header.to_str().ok()?.strip_prefix("Basic ")?;
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

pub(super) fn unauthorized() -> Error {
    Error::early(Code::Unauthorized, "Insufficient credentials")
}
