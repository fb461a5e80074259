//! Who calls: tokens, certificates and passwords made into an actor, for the machine to judge.
//!
//! What an actor may do is the machine's business; which methods need one at all is in `rule.rs`. No
//! token, password or key is ever logged.

mod admission;
mod jwt;
mod password;
pub(crate) mod rule;
mod simple;
mod view;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderValue};
use store_machine::auth::{Actor, Auth};

pub(crate) use admission::{Admission, of_message};
pub use jwt::JwtError;
use jwt::JwtTokens;
pub(crate) use password::{HashError, Passwords};
use simple::SimpleTokens;
pub(crate) use view::View;

use crate::caller::Caller;
use crate::config::auth::{AuthConfig, TokenConfig};
use crate::logging::pace::Pace;

/// Metadata of gRPC clients that carries the token.
const TOKEN: &str = "token";

/// Some clients put this before the token, as HTTP has it.
const BEARER: &str = "Bearer ";

/// Longest token that is looked at: several times what either kind needs.
const TOKEN_BYTES_MAX: usize = 4096;

/// Characters of a name that are logged: whoever guesses may send a megabyte as one.
const NAME_SHOWN_MAX: usize = 64;

/// What a call brings along to say whose it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    token: Option<HeaderValue>,
    caller: Option<Arc<Caller>>,
}

impl Credentials {
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        Self {
            token: headers
                .get(TOKEN)
                .or_else(|| headers.get(AUTHORIZATION))
                .cloned(),
            caller: Caller::of_request(extensions).cloned(),
        }
    }
}

/// Why a token does not say who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Nobody could make anything of it.
    Invalid,
    /// It is genuine, but of a user or a password this member does not know: it may lag.
    Unknown,
}

/// Makes and checks tokens.
enum Tokens {
    /// See [`SimpleTokens`].
    Simple(SimpleTokens),
    /// See [`JwtTokens`].
    Jwt(Box<JwtTokens>),
}

/// Who calls, and by what it is known.
pub(crate) struct Guard {
    tokens: Tokens,
    pub(crate) passwords: Passwords,
    refused: Pace,
}

impl Guard {
    /// # Errors
    /// When keys of tokens cannot be read.
    pub(crate) fn new(config: &AuthConfig) -> Result<Self, JwtError> {
        Ok(Self {
            tokens: match &config.tokens {
                TokenConfig::Simple(ttl) => Tokens::Simple(SimpleTokens::new(*ttl)),
                TokenConfig::Jwt(config) => Tokens::Jwt(Box::new(JwtTokens::load(config)?)),
            },
            passwords: Passwords::new(config.bcrypt_cost),
            refused: Pace::default(),
        })
    }

    /// Somebody showed a password that is not that of the name.
    pub(crate) fn refused_password(&self, name: &str) {
        if let Some(quiet) = self.refused.speak() {
            let user: String = name.chars().take(NAME_SHOWN_MAX).collect();
            tracing::warn!(user, quiet, "refused a password");
        }
    }

    /// Who calls, as far as the state `auth` tells; `None` = nobody says so.
    pub(crate) fn actor(
        &self,
        auth: &Auth,
        credentials: &Credentials,
    ) -> Result<Option<Actor>, Doubt> {
        let Some(token) = &credentials.token else {
            let name = credentials
                .caller
                .as_ref()
                .and_then(|it| it.common_name.as_deref());
            return Ok(name.map(|name| Actor::User {
                name: Arc::from(name),
                revision: auth.revision(),
            }));
        };
        let token = token.to_str().map_err(|_| Doubt::Invalid)?;
        let token = token.strip_prefix(BEARER).unwrap_or(token);
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Doubt::Invalid);
        }
        match &self.tokens {
            Tokens::Simple(tokens) => tokens.check(auth, token).map(Some),
            Tokens::Jwt(tokens) => tokens.check(token).map(Some),
        }
    }

    /// A token for a user whose password was shown.
    pub(crate) fn issue(&self, auth: &Auth, name: &str) -> Option<String> {
        match &self.tokens {
            Tokens::Simple(tokens) => tokens.issue(auth, name),
            Tokens::Jwt(tokens) => tokens.issue(auth, name),
        }
    }
}

/// Tokens carry times that other machines are to understand.
fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
