//! The way in: who calls, and whether the method is for them.

use std::sync::Arc;

use http::{Extensions, HeaderMap};
use store_machine::auth::{Actor, Auth, Need};

use super::rule::Rule;
use super::{Credentials, Doubt};
use crate::api::Api;
use crate::call::{Call, Whose};
use crate::grpc::errors::ApiError;
use crate::grpc::method::Method;
use crate::handle::Consistency;

/// What is known of a caller before the request is read.
pub(crate) enum Admission {
    /// Come in.
    Pass(Option<Arc<Whose>>),
    /// Only a member that does not lag can say.
    Ask(Box<Credentials>),
    /// No.
    Refused(ApiError),
}

impl Admission {
    /// Looks at the head of a request. While authentication is off that costs one look at a flag.
    pub(crate) fn of(
        api: &Api,
        method: Method,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Self {
        let rule = Rule::of(method);
        if rule == Rule::Stream {
            let credentials = Credentials::of(headers, extensions);
            return Self::Pass(Some(Arc::new(Whose::Stream(credentials))));
        }
        if rule == Rule::Open || !api.handle.auth_view().enabled() {
            return Self::Pass(None);
        }
        let credentials = Credentials::of(headers, extensions);
        let auth = api.handle.auth_view().current();
        match api.guard.actor(&auth, &credentials) {
            Ok(actor) => match judge(rule, &auth, actor.as_ref()) {
                Ok(()) => Self::Pass(Whose::user(api, actor)),
                Err(refused) => Self::Refused(refused),
            },
            Err(Doubt::Unknown) => Self::Ask(Box::new(credentials)),
            Err(Doubt::Invalid) => Self::Refused(ApiError::InvalidAuthToken),
        }
    }

    /// The call, once it is clear whose it is.
    ///
    /// # Errors
    /// What the caller is told.
    pub(crate) async fn call(self, api: &Arc<Api>, method: Method) -> Result<Call, ApiError> {
        let whose = match self {
            Self::Pass(whose) => whose,
            Self::Refused(refused) => return Err(refused),
            // In a box: few calls come here, and all would be larger.
            Self::Ask(credentials) => {
                let actor = Box::pin(ask(api, Rule::of(method), &credentials)).await?;
                Whose::user(api, actor)
            }
        };
        Ok(Call::new(Arc::clone(api), whose))
    }
}

/// Catches up with the cluster and looks again.
pub(super) async fn ask(
    api: &Api,
    rule: Rule,
    credentials: &Credentials,
) -> Result<Option<Actor>, ApiError> {
    let auth = api.handle.auth(Consistency::Linearizable).await?.body;
    if !auth.enabled() {
        return Ok(None);
    }
    let actor = api.guard.actor(&auth, credentials);
    let actor = actor.map_err(|_| ApiError::InvalidAuthToken)?;
    judge(rule, &auth, actor.as_ref())?;
    Ok(actor)
}

fn judge(rule: Rule, auth: &Auth, actor: Option<&Actor>) -> Result<(), ApiError> {
    let need = match rule {
        Rule::Open => return Ok(()),
        Rule::Identity | Rule::Content | Rule::Stream => Need::Identity,
        Rule::Root => Need::Root,
    };
    auth.check(actor, &need).map_err(ApiError::from)
}

/// Who is behind a message on a stream, now.
///
/// # Errors
/// `invalid auth token`, or `user name is empty` for nobody.
pub(crate) async fn of_message(
    api: &Api,
    credentials: &Credentials,
) -> Result<Option<Actor>, ApiError> {
    if !api.handle.auth_view().enabled() {
        return Ok(None);
    }
    let auth = api.handle.auth_view().current();
    match api.guard.actor(&auth, credentials) {
        Ok(actor) => {
            judge(Rule::Stream, &auth, actor.as_ref())?;
            Ok(actor)
        }
        Err(Doubt::Unknown) => Box::pin(ask(api, Rule::Stream, credentials)).await,
        Err(Doubt::Invalid) => Err(ApiError::InvalidAuthToken),
    }
}
