//! A ZooKeeper server of the test's own, alone in its ensemble, on a data folder that outlives its process.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::{port, programs, wait};

/// 500 ms: sessions last 1 to 10 s, from two to twenty ticks.
const TICK_MS: u32 = 500;

/// The server.
pub struct ZooKeeper {
    port: u16,
    folder: tempfile::TempDir,
    process: Option<Process>,
}

impl ZooKeeper {
    /// A started server that serves.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let port = port::free();
        let data = folder.path().join("data");
        let settings = format!(
            "tickTime={TICK_MS}\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\n4lw.commands.whitelist=ruok,srvr\n",
            data.display()
        );
        std::fs::create_dir(&data).expect("its data folder");
        std::fs::write(folder.path().join("zoo.cfg"), settings).expect("write its settings");
        let log = "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n\
                   log4j.appender.out.layout=org.apache.log4j.SimpleLayout\n";
        std::fs::write(folder.path().join("log4j.properties"), log).expect("write its settings");
        let mut server = Self {
            port,
            folder,
            process: None,
        };
        server.restart();
        server
    }

    /// Where its clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Ends it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Ends it and starts it again on its data.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = None;
        let folder = self.folder.path();
        let mut command = Command::new(programs::system("java"));
        command
            .args([
                "-Xmx128m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
            ])
            .arg(format!(
                "{}:{}",
                folder.display(),
                programs::zookeeper().display()
            ))
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(folder.join("zoo.cfg"));
        let address = self.address();
        let process = self
            .process
            .insert(Process::spawn("zookeeper", &mut command));
        wait::until("ZooKeeper to serve", wait::LONG * 3, || {
            if let Some(status) = process.exited() {
                return Ok(Err(format!("it ended: {status}\n{}", process.tail())));
            }
            match are_you_serving(address) {
                Ok(answer) if answer.contains("Mode: standalone") => Ok(Ok(())),
                other => Err(format!("{other:?}")),
            }
        })
        .unwrap_or_else(|why| panic!("{why}"));
    }
}

/// Its answer to the word `srvr`.
fn are_you_serving(address: SocketAddr) -> std::io::Result<String> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"srvr")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
