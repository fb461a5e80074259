//! Ports for servers under test: from a block below the kernel's ephemeral range, so that no outgoing connection takes
//! one between being picked and being listened on.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU16, Ordering};

/// 20100 to 21099: outside the ephemeral range (32768 and up) and the registered ports of the programs used here. So many
/// that test processes side by side seldom meet.
const FIRST: u16 = 20_100;
const COUNT: u16 = 1000;

/// A port nobody listens on now, not given out before in this process while others are left.
///
/// # Panics
/// When the whole block is taken.
#[must_use]
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(u16::MAX);
    // Test processes side by side start at different places.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
    let _ = NEXT.compare_exchange(u16::MAX, start, Ordering::Relaxed, Ordering::Relaxed);
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        // Asked by a connection, not by listening for a moment: a program that another thread starts just then would keep
        // that listener until its exec.
        if TcpStream::connect(("127.0.0.1", port)).is_err() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT - 1);
}
