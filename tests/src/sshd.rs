//! A server of shells of the test's own on loopback, which lets in the user the test runs as, and settings for its
//! clients. Nothing of the machine's or the user's own settings is read or changed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::{port, programs, wait};

/// The server. Ends with the value.
pub struct Sshd {
    port: u16,
    user: String,
    folder: tempfile::TempDir,
    process: Process,
}

impl Sshd {
    /// Starts one whose shells know `docker_host` as their engine.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn start(docker_host: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let place = |name: &str| folder.path().join(name);
        for name in ["host", "user", "stranger"] {
            make_key(&place(name));
        }
        let port = port::free();
        let public = |name: &str| {
            let path = place(&format!("{name}.pub"));
            std::fs::read_to_string(path).expect("a public key")
        };
        let write = |name: &str, text: &str| {
            std::fs::write(place(name), text).expect("write its settings");
        };
        write("authorized", &public("user"));
        write("known", &format!("[127.0.0.1]:{port} {}", public("host")));
        write("server.conf", &server(port, folder.path(), docker_host));
        for name in ["user", "stranger"] {
            write(&format!("{name}.conf"), &client(folder.path(), name));
        }
        if rustix::process::geteuid().is_root() {
            // Where it locks itself up; made by its service otherwise.
            std::fs::create_dir_all("/run/sshd").expect("a folder for its privileges");
        }
        let mut command = Command::new(programs::system("sshd"));
        command.args(["-D", "-e", "-f"]).arg(place("server.conf"));
        let mut process = Process::spawn("sshd", &mut command);
        process.wait_line("Server listening on", wait::LONG);
        let user = Command::new(programs::system("id")).arg("-un").output();
        let user = String::from_utf8(user.expect("ask who this is").stdout).expect("a name");
        Self {
            port,
            user: user.trim().to_owned(),
            folder,
            process,
        }
    }

    /// `ssh://user@host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ssh://{}@127.0.0.1:{}", self.user, self.port)
    }

    /// Settings (`ssh -F`) of a client that may log in.
    #[must_use]
    pub fn client_settings(&self) -> PathBuf {
        self.folder.path().join("user.conf")
    }

    /// Settings of one that may not.
    #[must_use]
    pub fn stranger_s_settings(&self) -> PathBuf {
        self.folder.path().join("stranger.conf")
    }

    /// The end of what it said.
    #[must_use]
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}

fn server(port: u16, folder: &Path, docker_host: &str) -> String {
    let folder = folder.display();
    format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n\
         PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nPrintMotd no\nMaxStartups 10:30:100\nSetEnv DOCKER_HOST={docker_host}\n"
    )
}

fn client(folder: &Path, key: &str) -> String {
    let folder = folder.display();
    format!(
        "Host *\n  IdentityFile {folder}/{key}\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
         UserKnownHostsFile {folder}/known\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
    )
}

/// A key without a passphrase, and its public half beside it.
fn make_key(path: &Path) {
    let made = Command::new(programs::system("ssh-keygen"))
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .output()
        .unwrap_or_else(|cause| panic!("run ssh-keygen: {cause}"));
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "make a key: {said}");
}
