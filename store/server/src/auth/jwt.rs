//! JSON web tokens: signed by us, or by somebody whose key we are given, with etcd's claims.
//!
//! The claims are `username`, `revision` (of the users and roles when it was given out) and `exp`. A
//! token of an earlier revision says so where keys are read or written, as etcd has it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use store_machine::auth::{Actor, Auth};
use thiserror::Error;

use super::{Doubt, unix_seconds};
use crate::config::auth::JwtConfig;

/// Tokens remembered as genuine, so that a signature is checked once and not with every request:
/// half a MiB. When there are more, all are forgotten and checked again.
const KNOWN_MAX: usize = 1024;

/// Why the keys are of no use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JwtError {
    /// Nobody knows it, or not this version.
    #[error("sign tokens with the method {method:?}")]
    Method {
        /// As written.
        method: String,
    },
    /// A file cannot be read.
    #[error("read the key of tokens from {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("take the key of tokens from {}: no key for {method}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// For which method.
        method: String,
        /// The library's reason.
        #[source]
        source: jsonwebtoken::errors::Error,
    },
    /// The private key belongs to another public key.
    #[error("take the keys of tokens: the private key does not belong to the public key")]
    Mismatch,
    /// There is none.
    #[error("take the keys of tokens: there is none")]
    Missing,
}

impl JwtError {
    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Method { .. } => {
                "one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, \
                                    EdDSA, HS256, HS384, HS512"
                    .to_owned()
            }
            Self::Read { .. } => "see pub-key= and priv-key= in --auth-token".to_owned(),
            Self::Key { .. } => "a PEM file: PKCS#8, for RSA also PKCS#1, for ECDSA also SEC 1, \
                                 for a public key also a certificate"
                .to_owned(),
            Self::Mismatch => {
                "give the private key alone: the public one follows from it".to_owned()
            }
            Self::Missing => {
                "give priv-key=FILE, or pub-key=FILE to check tokens of others".to_owned()
            }
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    username: String,
    /// A JSON number; others may write it with a fraction of zero.
    revision: f64,
    exp: u64,
}

/// As [`Claims`], in the form they are signed in.
#[derive(Serialize)]
struct NewClaims<'a> {
    exp: u64,
    revision: u64,
    username: &'a str,
}

/// What a genuine token says.
struct Known {
    name: Arc<str>,
    revision: u64,
    exp: u64,
}

/// Makes and checks JSON web tokens.
pub(crate) struct JwtTokens {
    method: Algorithm,
    /// `None` = only checks what others have signed.
    signs: Option<EncodingKey>,
    checks: DecodingKey,
    ttl: Duration,
    known: Mutex<HashMap<String, Known>>,
}

impl JwtTokens {
    /// Reads the keys.
    pub(crate) fn load(config: &JwtConfig) -> Result<Self, JwtError> {
        let method: Algorithm = config.method.parse().map_err(|_| JwtError::Method {
            method: config.method.clone(),
        })?;
        let signs = match &config.private_key {
            Some(path) => Some(key(config, path, |bytes| private_key(method, bytes))?),
            None => None,
        };
        let of_private = match &signs {
            Some(signs) => {
                Some(
                    Jwk::from_encoding_key(signs, method).map_err(|source| JwtError::Key {
                        path: config.private_key.clone().unwrap_or_default(),
                        method: config.method.clone(),
                        source,
                    })?,
                )
            }
            None => None,
        };
        let public = match &config.public_key {
            // The HS methods have one secret for both.
            Some(path) if !is_shared(method) => {
                Some(key(config, path, |bytes| public_key(method, bytes))?)
            }
            _ => None,
        };
        let checks = match (public, of_private) {
            (Some(public), Some(of_private)) => {
                let same = Jwk::from_decoding_key(&public, Some(method))
                    .is_ok_and(|jwk| jwk.algorithm == of_private.algorithm);
                if !same {
                    return Err(JwtError::Mismatch);
                }
                public
            }
            (Some(public), None) => public,
            (None, Some(of_private)) => {
                DecodingKey::from_jwk(&of_private).map_err(|_| JwtError::Mismatch)?
            }
            (None, None) => return Err(JwtError::Missing),
        };
        Ok(Self {
            method,
            signs,
            checks,
            ttl: config.ttl,
            known: Mutex::default(),
        })
    }

    /// A token for a user whose password was shown; `None` when this store only checks tokens.
    pub(crate) fn issue(&self, auth: &Auth, name: &str) -> Option<String> {
        let claims = NewClaims {
            exp: unix_seconds().saturating_add(self.ttl.as_secs()),
            revision: auth.revision(),
            username: name,
        };
        let signs = self.signs.as_ref()?;
        jsonwebtoken::encode(&Header::new(self.method), &claims, signs).ok()
    }

    /// Whose the token is.
    pub(crate) fn check(&self, token: &str) -> Result<Actor, Doubt> {
        let now = unix_seconds();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(it) = known.get(token) {
            return it.actor(now);
        }
        drop(known);
        let mut validation = Validation::new(self.method);
        validation.leeway = 0;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.checks, &validation);
        let claims = claims.map_err(|_| Doubt::Invalid)?.claims;
        let it = Known {
            name: Arc::from(claims.username),
            // Saturates: a negative one is old, a huge one is not old.
            revision: claims.revision as u64,
            exp: claims.exp,
        };
        let actor = it.actor(now);
        known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(token.to_owned(), it);
        actor
    }
}

impl Known {
    fn actor(&self, now: u64) -> Result<Actor, Doubt> {
        if now > self.exp {
            return Err(Doubt::Invalid);
        }
        Ok(Actor::User {
            name: Arc::clone(&self.name),
            revision: self.revision,
        })
    }
}

const fn is_shared(method: Algorithm) -> bool {
    matches!(
        method,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
    )
}

fn key<K>(
    config: &JwtConfig,
    path: &PathBuf,
    parse: impl FnOnce(&[u8]) -> jsonwebtoken::errors::Result<K>,
) -> Result<K, JwtError> {
    let bytes = std::fs::read(path).map_err(|source| JwtError::Read {
        path: path.clone(),
        source,
    })?;
    if bytes.is_empty() {
        return Err(JwtError::Missing);
    }
    parse(&bytes).map_err(|source| JwtError::Key {
        path: path.clone(),
        method: config.method.clone(),
        source,
    })
}

fn private_key(method: Algorithm, bytes: &[u8]) -> jsonwebtoken::errors::Result<EncodingKey> {
    use Algorithm as A;
    match method {
        A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512 => {
            EncodingKey::from_rsa_pem(bytes)
        }
        A::ES256 | A::ES384 => match pkcs8_of_sec1(method, bytes) {
            Some(der) => Ok(EncodingKey::from_ec_der(&der)),
            None => EncodingKey::from_ec_pem(bytes),
        },
        A::EdDSA => EncodingKey::from_ed_pem(bytes),
        _ => Ok(EncodingKey::from_secret(bytes)),
    }
}

fn public_key(method: Algorithm, bytes: &[u8]) -> jsonwebtoken::errors::Result<DecodingKey> {
    use Algorithm as A;
    match method {
        A::ES256 | A::ES384 => DecodingKey::from_ec_pem(bytes),
        A::EdDSA => DecodingKey::from_ed_pem(bytes),
        _ => DecodingKey::from_rsa_pem(bytes),
    }
}

/// OpenSSL writes EC keys in the form of SEC 1, the library reads PKCS#8, which is the same within an
/// envelope that names the curve (RFC 5208, RFC 5915).
fn pkcs8_of_sec1(method: Algorithm, pem: &[u8]) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN EC PRIVATE KEY-----";
    const END: &str = "-----END EC PRIVATE KEY-----";
    /// `AlgorithmIdentifier`: ecPublicKey, then the curve.
    const P256: &[u8] = &[
        0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d,
        3, 1, 7,
    ];
    const P384: &[u8] = &[
        0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22,
    ];
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let body: String = body.split_whitespace().collect();
    let sec1 = STANDARD.decode(body).ok()?;
    let curve = if method == Algorithm::ES384 {
        P384
    } else {
        P256
    };
    let version: &[u8] = &[2, 1, 0];
    let content = [version, curve, &der(0x04, &sec1)].concat();
    Some(der(0x30, &content))
}

/// A DER value of less than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let head = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}

#[cfg(test)]
mod tests;
