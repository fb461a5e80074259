//! The client: sends requests through nginx from start to end and counts, step by step, what was answered and what
//! failed. Step 0 is the time before there is anybody to serve: failures are expected then. Every request has a connection of its own, so none can hide behind a client's retry of an idle one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use end_to_end::http;

use crate::journal::Journal;

/// 3 quick ones and a slow one: enough to meet every moment of a reload, little enough to leave the machine idle.
const QUICK_SENDERS: usize = 3;
/// 4 ms between two requests of a sender: about 600 requests a second in all.
const PAUSE: Duration = Duration::from_millis(4);
/// The slow sender's answers take 200 ms, so that there is always a request under way when something stops.
const SLOW_PATH: &str = "/slow/200";
/// 5 examples of what went wrong are as good as thousands.
const FAILURES_KEPT: usize = 5;

/// What happened within one step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    /// Answered with 200.
    pub(crate) answered: u64,
    /// Not answered, or with another status.
    pub(crate) failed: u64,
    /// The longest a quick request took.
    pub(crate) slowest: Duration,
    /// The first few failures.
    pub(crate) failures: Vec<String>,
}

/// The senders.
pub(crate) struct Client {
    stop: Arc<AtomicBool>,
    steps: Arc<Mutex<Vec<Count>>>,
    senders: Vec<JoinHandle<()>>,
}

impl Client {
    /// Starts sending to `proxy`, counting into step 0.
    pub(crate) fn start(proxy: SocketAddr, journal: &Journal) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let steps = Arc::new(Mutex::new(vec![Count::default()]));
        let senders = (0..=QUICK_SENDERS)
            .map(|sender| {
                let (stop, steps, journal) =
                    (Arc::clone(&stop), Arc::clone(&steps), journal.clone());
                let path = if sender == QUICK_SENDERS {
                    SLOW_PATH
                } else {
                    "/"
                };
                std::thread::spawn(move || send(proxy, path, &stop, &steps, &journal))
            })
            .collect();
        Self {
            stop,
            steps,
            senders,
        }
    }

    /// Requests begun from now on count into a new step.
    pub(crate) fn next_step(&self) {
        self.steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Count::default());
    }

    /// The count of a step; of one yet to come, zeros.
    pub(crate) fn count(&self, step: usize) -> Count {
        self.steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(step)
            .cloned()
            .unwrap_or_default()
    }

    /// All steps but step 0 together: answered and failed.
    pub(crate) fn total(&self) -> (u64, u64) {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        (
            steps.iter().skip(1).map(|step| step.answered).sum(),
            steps.iter().skip(1).map(|step| step.failed).sum(),
        )
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            let _ = sender.join();
        }
    }
}

fn send(
    proxy: SocketAddr,
    path: &str,
    stop: &AtomicBool,
    steps: &Mutex<Vec<Count>>,
    journal: &Journal,
) {
    while !stop.load(Ordering::Relaxed) {
        // A request belongs to the step in which it began.
        let step = steps.lock().unwrap_or_else(PoisonError::into_inner).len() - 1;
        let began = Instant::now();
        let outcome = http::get(proxy, path);
        let (took, now) = (began.elapsed(), SystemTime::now());
        let outcome = match outcome {
            Ok(response) if response.status == 200 => {
                if let Some(instance) = response.header("x-instance") {
                    journal.answered(instance, now);
                }
                Ok(())
            }
            Ok(response) => Err(format!("status {}", response.status)),
            Err(reason) => Err(reason),
        };
        let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
        let count = &mut steps[step];
        match outcome {
            Ok(()) => {
                count.answered += 1;
                if path == "/" {
                    count.slowest = count.slowest.max(took);
                }
            }
            Err(reason) => {
                count.failed += 1;
                if count.failures.len() < FAILURES_KEPT {
                    count.failures.push(format!(
                        "GET {path}: {reason} after {} ms",
                        took.as_millis()
                    ));
                }
            }
        }
        drop(steps);
        std::thread::sleep(PAUSE);
    }
}
