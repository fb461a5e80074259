//! What `--auth-token`, `--auth-token-ttl` and `--bcrypt-cost` say.

use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::error::ConfigError;

const FLAG: &str = "auth-token";

/// etcd's for both kinds of tokens: five minutes.
const TTL_DEFAULT: Duration = Duration::from_mins(5);

/// bcrypt's own bounds, and its default where a cost lies outside of them: as in etcd.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
const COST_DEFAULT: u32 = 10;

/// How clients prove who they are.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Which tokens are given out.
    pub tokens: TokenConfig,
    /// Work per password, as a power of two: 4 to 31.
    pub bcrypt_cost: u32,
}

/// See [`AuthConfig`].
#[derive(Clone, Debug)]
pub enum TokenConfig {
    /// The store's own, which live so long after their last use.
    Simple(Duration),
    /// JSON web tokens.
    Jwt(JwtConfig),
}

/// What `--auth-token=jwt,…` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// The signing method, in the spelling of the standard.
    pub method: String,
    /// PEM file of the public key.
    pub public_key: Option<PathBuf>,
    /// PEM file of the private key; the secret itself, as bytes, for the HS methods.
    pub private_key: Option<PathBuf>,
    /// How long a token lives.
    pub ttl: Duration,
}

impl AuthConfig {
    pub(super) fn checked(
        token: &str,
        ttl_seconds: u64,
        bcrypt_cost: u32,
    ) -> Result<Self, ConfigError> {
        let ttl = match ttl_seconds {
            0 => TTL_DEFAULT,
            seconds => Duration::from_secs(seconds),
        };
        let (kind, options) = token.split_once(',').unwrap_or((token, ""));
        let tokens = match kind {
            "simple" | "" => TokenConfig::Simple(ttl),
            "jwt" => TokenConfig::Jwt(jwt(options)?),
            _ => return Err(wrong(token, "simple, or jwt,sign-method=…,priv-key=FILE")),
        };
        let bcrypt_cost = if COSTS.contains(&bcrypt_cost) {
            bcrypt_cost
        } else {
            COST_DEFAULT
        };
        Ok(Self {
            tokens,
            bcrypt_cost,
        })
    }
}

fn jwt(options: &str) -> Result<JwtConfig, ConfigError> {
    let mut config = JwtConfig {
        method: String::new(),
        public_key: None,
        private_key: None,
        ttl: TTL_DEFAULT,
    };
    let mut seen = std::collections::BTreeSet::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        const KNOWN: &str = "sign-method=…, pub-key=FILE, priv-key=FILE, ttl=DURATION, each once";
        let (name, value) = option.split_once('=').ok_or_else(|| wrong(option, KNOWN))?;
        if !seen.insert(name) {
            return Err(wrong(option, KNOWN));
        }
        match name {
            "sign-method" => value.clone_into(&mut config.method),
            "pub-key" if !value.is_empty() => config.public_key = Some(value.into()),
            "priv-key" if !value.is_empty() => config.private_key = Some(value.into()),
            "pub-key" | "priv-key" => {}
            "ttl" => {
                let ttl = duration::parse(value);
                config.ttl = ttl.map_err(|_| wrong(option, "a duration such as 5m"))?;
            }
            _ => return Err(wrong(option, KNOWN)),
        }
    }
    if config.method.is_empty() {
        return Err(wrong(options, "sign-method=… among the options of jwt"));
    }
    Ok(config)
}

fn wrong(value: &str, known: &'static str) -> ConfigError {
    ConfigError::NotOneOf {
        flag: FLAG,
        value: value.to_owned(),
        known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(flag: &str) -> Result<TokenConfig, String> {
        let checked = AuthConfig::checked(flag, 0, 10);
        checked
            .map(|it| it.tokens)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn simple_tokens_live_as_long_as_is_said() {
        for (seconds, wanted) in [(0, 300), (7, 7)] {
            let checked = AuthConfig::checked("simple", seconds, 10).unwrap();
            let TokenConfig::Simple(ttl) = checked.tokens else {
                panic!("{checked:?}")
            };
            assert_eq!(ttl.as_secs(), wanted);
        }
    }

    #[test]
    fn the_options_of_jwt_are_read() {
        let read = tokens("jwt,sign-method=RS256,priv-key=a.pem,ttl=10m").unwrap();
        let TokenConfig::Jwt(jwt) = read else {
            panic!("{read:?}")
        };
        let wanted = JwtConfig {
            method: "RS256".to_owned(),
            public_key: None,
            private_key: Some("a.pem".into()),
            ttl: Duration::from_mins(10),
        };
        assert_eq!(jwt, wanted);
        for flag in [
            "other",
            "jwt",
            "jwt,priv-key=a.pem",
            "jwt,sign-method",
            "jwt,sign-method=RS256,sign-method=RS256",
            "jwt,sign-method=RS256,ttl=soon",
            "jwt,sign-method=RS256,key=a.pem",
        ] {
            let refused = tokens(flag).unwrap_err();
            assert!(refused.contains("auth-token"), "{flag}: {refused}");
        }
    }

    #[test]
    fn a_cost_out_of_bounds_is_the_default() {
        for (cost, wanted) in [(3, 10), (4, 4), (10, 10), (31, 31), (32, 10)] {
            let checked = AuthConfig::checked("simple", 0, cost).unwrap();
            assert_eq!(checked.bcrypt_cost, wanted);
        }
    }
}
