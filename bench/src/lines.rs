//! Many connections and the one place that waits for them.
//!
//! Level-triggered epoll on a single thread: the generator never hands work between threads, so
//! its own cost stays the same whatever the server does.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::wire::{Connection, WireError};

/// Readiness events taken per wait; more connections than that are served in turns.
const READY_MAX: usize = 256;

/// Connections to one server, or to the members of one cluster in turn.
pub(crate) struct Lines {
    connections: Vec<Connection>,
    /// Whether epoll also waits for room to write.
    writing: Vec<bool>,
    poll: OwnedFd,
    events: Vec<Event>,
}

impl Lines {
    /// Opens `count` connections, spread evenly over `addresses`.
    pub(crate) fn connect(addresses: &[SocketAddr], count: usize) -> Result<Lines, WireError> {
        let poll = epoll::create(CreateFlags::CLOEXEC).map_err(waiting)?;
        let mut connections = Vec::with_capacity(count);
        for (number, address) in addresses.iter().cycle().take(count).enumerate() {
            let connection = Connection::connect(*address)?;
            let data = EventData::new_u64(number as u64);
            epoll::add(&poll, connection.socket(), data, EventFlags::IN).map_err(waiting)?;
            connections.push(connection);
        }
        Ok(Lines {
            writing: vec![false; connections.len()],
            connections,
            poll,
            events: Vec::with_capacity(READY_MAX),
        })
    }

    /// The connection with this number, counted from 0 in the order of opening.
    pub(crate) fn get(&mut self, number: usize) -> &mut Connection {
        &mut self.connections[number]
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.connections.len()
    }

    /// Sends what is queued on every connection.
    pub(crate) fn flush_all(&mut self) -> Result<(), WireError> {
        (0..self.connections.len()).try_for_each(|number| self.flush(number))
    }

    /// Sends what is queued on one connection; what its socket does not take goes out when it can.
    pub(crate) fn flush(&mut self, number: usize) -> Result<(), WireError> {
        let connection = &mut self.connections[number];
        connection.flush()?;
        let wants = connection.wants_to_write();
        if wants != self.writing[number] {
            self.writing[number] = wants;
            let flags = if wants {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            let data = EventData::new_u64(number as u64);
            epoll::modify(&self.poll, connection.socket(), data, flags).map_err(waiting)?;
        }
        Ok(())
    }

    /// Waits until a connection has something to read or room to write, at most `timeout`, and
    /// puts the numbers of those that have into `ready`.
    pub(crate) fn wait(
        &mut self,
        timeout: Duration,
        ready: &mut Vec<usize>,
    ) -> Result<(), WireError> {
        ready.clear();
        self.events.clear();
        let timeout = Timespec {
            tv_sec: timeout.as_secs().min(3600) as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.poll, spare, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(waiting(error)),
        }
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}

fn waiting(error: rustix::io::Errno) -> WireError {
    WireError::Io {
        operation: "wait for connections",
        source: error.into(),
    }
}
