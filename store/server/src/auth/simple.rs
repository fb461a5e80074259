//! Simple tokens: the store's own, signed with a key that every member has.
//!
//! Nothing is kept per token, so one is good on every member and after a restart, and giving one out
//! is no write. It says for whom it is, which password was shown, and when:
//!
//! ```text
//! base64url( 1 | issued, seconds (8 bytes) | generation (8) | name … | HMAC-SHA256 (32) )
//! ```
//!
//! A new password or the end of the user ends it; so does the end of authentication, which forgets the
//! key. Else it lives for a time after its last use, as etcd's do. Who used what is known to this
//! process only, so after a start each token gets its whole time again, as leases do from a new leader.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use store_machine::auth::{Actor, Auth};

use super::{Doubt, unix_seconds};

/// First byte; another layout gets another.
const LAYOUT: u8 = 1;

const HEAD_BYTES: usize = 17;

const MAC_BYTES: usize = 32;

/// Uses remembered: 3 MiB. Beyond it, tokens live from when they were given out.
const USES_MAX: usize = 65_536;

/// A use is noted again after this share of the time to live: the clock of a token is that coarse.
const NOTE_SHARE: u32 = 16;

/// What identifies a token among those in use.
type TokenId = [u8; 16];

/// Makes and checks simple tokens.
pub(crate) struct SimpleTokens {
    ttl: Duration,
    started: Instant,
    /// When each was used last, as far as known.
    uses: Mutex<HashMap<TokenId, Instant>>,
}

impl SimpleTokens {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            started: Instant::now(),
            uses: Mutex::default(),
        }
    }

    /// A token for a user whose password was shown; `None` when there is no such user (any more).
    pub(crate) fn issue(&self, auth: &Auth, name: &str) -> Option<String> {
        let generation = auth.user(name)?.generation;
        Some(sign(auth, name, generation, unix_seconds()))
    }

    /// Whose the token is.
    pub(crate) fn check(&self, auth: &Auth, token: &str) -> Result<Actor, Doubt> {
        self.check_at(auth, token, unix_seconds(), Instant::now())
    }

    fn check_at(
        &self,
        auth: &Auth,
        token: &str,
        unix_seconds: u64,
        now: Instant,
    ) -> Result<Actor, Doubt> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Doubt::Invalid)?;
        let (signed, mac) = bytes
            .split_last_chunk::<MAC_BYTES>()
            .ok_or(Doubt::Invalid)?;
        // Compares in constant time.
        hmac::verify(&key(auth), signed, mac).map_err(|_| Doubt::Invalid)?;
        let (head, name) = signed
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(Doubt::Invalid)?;
        let ([LAYOUT], numbers) = head.split_at(1) else {
            return Err(Doubt::Invalid);
        };
        let [issued, generation] = numbers.as_chunks().0 else {
            return Err(Doubt::Invalid);
        };
        let name = std::str::from_utf8(name).map_err(|_| Doubt::Invalid)?;
        let age = unix_seconds.saturating_sub(u64::from_be_bytes(*issued));
        let id = mac.first_chunk().ok_or(Doubt::Invalid)?;
        if !self.is_alive(id, age, now) {
            return Err(Doubt::Invalid);
        }
        let generation = u64::from_be_bytes(*generation);
        match auth.user(name) {
            Some(user) if user.generation == generation => Ok(Actor::User {
                name: Arc::from(name),
                revision: auth.revision(),
            }),
            // A password that has been changed here is not unknown, it is over.
            Some(user) if user.generation > generation => Err(Doubt::Invalid),
            _ => Err(Doubt::Unknown),
        }
    }

    /// Whether the token's time is not over, and it is in use again.
    fn is_alive(&self, id: &TokenId, age_seconds: u64, now: Instant) -> bool {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let young = Duration::from_secs(age_seconds) <= self.ttl;
        let since = |then: Instant| now.saturating_duration_since(then);
        if let Some(used) = uses.get_mut(id) {
            if since(*used) > self.ttl && !young {
                uses.remove(id);
                return false;
            }
            if since(*used) > self.ttl / NOTE_SHARE {
                *used = now;
            }
            return true;
        }
        let alive = young || since(self.started) <= self.ttl;
        if alive {
            if uses.len() >= USES_MAX {
                uses.retain(|_, used| since(*used) <= self.ttl);
            }
            if uses.len() < USES_MAX {
                uses.insert(*id, now);
            }
        }
        alive
    }
}

fn key(auth: &Auth) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, auth.token_key())
}

fn sign(auth: &Auth, name: &str, generation: u64, issued: u64) -> String {
    let mut bytes = vec![LAYOUT];
    bytes.extend_from_slice(&issued.to_be_bytes());
    bytes.extend_from_slice(&generation.to_be_bytes());
    bytes.extend_from_slice(name.as_bytes());
    let mac = hmac::sign(&key(auth), &bytes);
    bytes.extend_from_slice(mac.as_ref());
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests;
