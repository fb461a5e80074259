//! One call of a client: all that a handler can reach, on behalf of whoever called.

use std::ops::Deref;
use std::sync::Arc;

use store_machine::auth::{Actor, Need};

use crate::api::Api;
use crate::auth::{Credentials, of_message};
use crate::grpc::errors::ApiError;
use crate::handle::Handle;

/// A call. What is asked over [`Call::handle`] is asked on the caller's behalf; over the handle of
/// [`Api`] it would be on nobody's, and refused while authentication is on.
#[derive(Clone)]
pub(crate) struct Call {
    api: Arc<Api>,
    /// `None` = nobody's: nobody asks, or the method is open to all.
    whose: Option<Arc<Whose>>,
}

/// Whose a call is.
pub(crate) enum Whose {
    /// A user's: asks on its behalf.
    User(Handle),
    /// To be found out with each message.
    Stream(Credentials),
}

impl Whose {
    pub(crate) fn user(api: &Api, actor: Option<Actor>) -> Option<Arc<Self>> {
        actor.map(|actor| Arc::new(Self::User(api.handle.by(actor))))
    }
}

impl Call {
    pub(crate) const fn new(api: Arc<Api>, whose: Option<Arc<Whose>>) -> Self {
        Self { api, whose }
    }

    /// The way to the driver on the caller's behalf.
    pub(crate) fn handle(&self) -> &Handle {
        match self.whose.as_deref() {
            Some(Whose::User(handle)) => handle,
            None | Some(Whose::Stream(_)) => &self.api.handle,
        }
    }

    /// Refuses a caller that has not what is needed, by the state as this member knows it.
    ///
    /// # Errors
    /// What the caller is told.
    pub(crate) fn require(&self, need: &Need<'_>) -> Result<(), ApiError> {
        if !self.api.handle.auth_view().enabled() {
            return Ok(());
        }
        let auth = self.api.handle.auth_view().current();
        auth.check(self.handle().actor(), need)
            .map_err(ApiError::from)
    }

    /// The call as of this moment, for a message on a stream: who opened it may not be anybody any
    /// more.
    ///
    /// # Errors
    /// What the caller is told.
    pub(crate) async fn message(&self) -> Result<Self, ApiError> {
        match self.whose.as_deref() {
            Some(Whose::Stream(credentials)) => {
                let actor = of_message(&self.api, credentials).await?;
                let whose = Whose::user(&self.api, actor);
                Ok(Self::new(Arc::clone(&self.api), whose))
            }
            None | Some(Whose::User(_)) => Ok(self.clone()),
        }
    }
}

impl Deref for Call {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// For handlers whose rule says all there is to say about their callers.
impl From<Call> for Arc<Api> {
    fn from(call: Call) -> Self {
        call.api
    }
}
