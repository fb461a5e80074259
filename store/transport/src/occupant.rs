//! Who listens on a port, for the error that says it is taken. Linux; elsewhere nobody is known.

use std::fs;
use std::path::Path;

/// The state "listening" in the kernel's tables.
const LISTEN: &str = "0A";

/// Name and process id of the program that listens on this TCP port, where this user may know it.
#[must_use]
pub fn of_port(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| inode_of_listener(&table, port))?;
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc")
        .ok()?
        .flatten()
        .find_map(|process| owner(&process.path(), &socket))
}

/// The socket's number in a table such as `/proc/net/tcp`:
/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`.
fn inode_of_listener(table: &str, port: u16) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let found = state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
        found.then(|| inode.to_owned())
    })
}

/// `name (process id)` when the process holds the socket.
fn owner(process: &Path, socket: &str) -> Option<String> {
    let id: u32 = process.file_name()?.to_str()?.parse().ok()?;
    let holds = fs::read_dir(process.join("fd"))
        .ok()?
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| target.as_os_str() == socket);
    if !holds {
        return None;
    }
    let name = fs::read_to_string(process.join("comm")).ok()?;
    Some(format!("{} (process {id})", name.trim()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_table_of_the_kernel_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:094B 0100007F:8A2C 01 00000000:00000000 00:00000000 00000000     0        0 111 1 0000000000000000 20 4 30 10 -1
   1: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0000000000000000 100 0 0 10 0
   2: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
short line
";
        assert_eq!(inode_of_listener(table, 2379), Some("222".to_owned()));
        assert_eq!(inode_of_listener(table, 22), Some("333".to_owned()));
        assert_eq!(inode_of_listener(table, 23), None);
    }

    #[test]
    fn this_process_finds_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let occupant = of_port(port).unwrap();
        let id = format!("(process {})", std::process::id());
        assert!(occupant.ends_with(&id), "{occupant}");
    }
}
