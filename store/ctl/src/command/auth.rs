//! Whether users are asked for: `auth enable`, `disable` and `status`.

use clap::Subcommand;
use store_proto::etcdserverpb::auth_client::AuthClient;
use store_proto::etcdserverpb::{AuthDisableRequest, AuthEnableRequest, AuthStatusRequest};

use super::in_time;
use crate::connect::{Connection, connect};
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Printer};

/// What to do about users being asked for.
#[derive(Debug, Subcommand)]
pub enum Auth {
    /// Ask for users from now on
    Enable { words: Vec<String> },
    /// Ask for nobody
    Disable { words: Vec<String> },
    /// Whether users are asked for
    Status { words: Vec<String> },
}

/// The way to what is about users and roles.
pub(super) async fn client(globals: &Globals) -> Result<AuthClient<Connection>, Failure> {
    Ok(AuthClient::new(connect(globals).await?))
}

impl Auth {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let (words, name) = match &self {
            Self::Enable { words } => (words, "enable"),
            Self::Disable { words } => (words, "disable"),
            Self::Status { words } => (words, "status"),
        };
        if !words.is_empty() {
            return Err(Failure::bad_arguments(format!(
                "auth {name} command does not accept any arguments"
            )));
        }
        let mut client = client(globals).await?;
        match self {
            Self::Enable { .. } => {
                in_time(globals, client.auth_enable(AuthEnableRequest {})).await?;
                println!("Authentication Enabled");
                Ok(())
            }
            Self::Disable { .. } => {
                in_time(globals, client.auth_disable(AuthDisableRequest {})).await?;
                println!("Authentication Disabled");
                Ok(())
            }
            Self::Status { .. } => {
                let status = in_time(globals, client.auth_status(AuthStatusRequest {})).await?;
                printer.print(&Answer::AuthStatus(status))
            }
        }
    }
}
