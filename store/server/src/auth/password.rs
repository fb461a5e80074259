//! Passwords: hashed and compared by bcrypt, away from whatever serves requests.
//!
//! A hash takes tens of milliseconds of a core by design. So few run at once, few wait, and all of it
//! happens on threads of their own.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Semaphore;

/// Compared with when there is no user of that name, so that the time does not tell. Its cost is that
/// of real hashes; it fits no password.
const NOBODY: &str = "$2b$";

/// Longest password bcrypt takes into account; longer ones would be cut without a word.
const PASSWORD_BYTES_MAX: usize = 72;

/// Hashes that wait for their turn, at some 50 ms each: whoever comes later is told to come back
/// rather than kept for longer than a request may take.
const WAITING_MAX: usize = 128;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum HashError {
    /// More than bcrypt takes.
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// Too many are being hashed.
    #[error("too many passwords are being hashed")]
    Busy,
    /// The library or the system would not.
    #[error("the password could not be hashed")]
    Failed,
}

/// Hashes passwords.
pub(crate) struct Passwords {
    cost: u32,
    /// As many as may run at once.
    running: Arc<Semaphore>,
    /// As many as may run or wait.
    admitted: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new(cost: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Half of the cores at most: somebody guessing passwords leaves the other half to the rest.
        let running = (cores / 2).max(1);
        Self {
            cost,
            running: Arc::new(Semaphore::new(running)),
            admitted: Arc::new(Semaphore::new(running + WAITING_MAX)),
        }
    }

    /// The hash of a password, in bcrypt's text form.
    pub(crate) async fn hash(&self, password: String) -> Result<String, HashError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(HashError::TooLong);
        }
        let cost = self.cost;
        self.run(move || bcrypt::hash(password, cost).map_err(|_| HashError::Failed))
            .await?
    }

    /// Whether the password is the one of the hash. Without a hash it takes as long and is not.
    pub(crate) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, HashError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| nobody(self.cost));
        let fits = self
            .run(move || bcrypt::verify(password, &hash).unwrap_or(false))
            .await?;
        Ok(fits && known)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned();
        let admitted = admitted.map_err(|_| HashError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|_| HashError::Failed)?;
        // The places go with the work: it does not end when a client that waits for it goes away.
        let placed = move || {
            let _places = (admitted, running);
            work()
        };
        let done = tokio::task::spawn_blocking(placed).await;
        done.map_err(|_| HashError::Failed)
    }
}

/// A well-formed hash of that cost: 22 characters of salt, 31 of digest.
fn nobody(cost: u32) -> String {
    format!("{NOBODY}{cost:02}${}", ".".repeat(22 + 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least bcrypt does.
    const COST: u32 = 4;

    #[tokio::test]
    async fn a_password_fits_its_hash_only() {
        let passwords = Passwords::new(COST);
        let hash = passwords.hash("secret".into()).await.unwrap();
        assert!(hash.starts_with("$2b$04$"), "{hash}");
        for (password, hash, wanted) in [
            ("secret", Some(hash.clone()), true),
            ("other", Some(hash), false),
            ("secret", Some("no hash at all".to_owned()), false),
            ("secret", None, false),
            ("", None, false),
        ] {
            let fits = passwords.verify(password.into(), hash).await.unwrap();
            assert_eq!(fits, wanted, "{password}");
        }
        let long = passwords.hash("x".repeat(73)).await;
        assert_eq!(long, Err(HashError::TooLong));
    }

    /// Made by Go's bcrypt, which writes another letter of the version.
    #[tokio::test]
    async fn hashes_of_etcd_are_understood() {
        let hash = "$2a$04$/jXyoEAuJEUbQmcBUIpbaeGPKzNMTRtKnFyRx8rB3fEmSL0LKZLRG";
        let passwords = Passwords::new(COST);
        assert!(
            !passwords
                .verify("wrong".into(), Some(hash.into()))
                .await
                .unwrap()
        );
    }

    #[test]
    fn comparing_with_nobody_does_the_same_work() {
        assert!(bcrypt::verify("x", &nobody(COST)).is_ok_and(|fits| !fits));
    }

    /// Who asks, goes away and asks again would otherwise have any number of them run at once.
    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_place() {
        let passwords = Passwords::new(COST);
        let places = passwords.running.available_permits();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let mut work = Box::pin(passwords.run(move || ended.recv().is_err()));
        assert!(futures::poll!(&mut work).is_pending());
        drop(work);
        assert_eq!(passwords.running.available_permits(), places - 1);
        drop(end);
        let all = u32::try_from(places).unwrap();
        assert!(passwords.running.acquire_many(all).await.is_ok());
    }

    #[tokio::test]
    async fn more_than_may_wait_are_sent_away() {
        let passwords = Passwords::new(COST);
        let all = u32::try_from(passwords.admitted.available_permits()).unwrap();
        let _held = passwords.admitted.acquire_many(all).await.unwrap();
        let refused = passwords.hash("x".into()).await;
        assert_eq!(refused, Err(HashError::Busy));
    }
}
