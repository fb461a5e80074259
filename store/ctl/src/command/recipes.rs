//! The recipes that are no commands of etcdctl: each a command of its own, on the layout that `docs/recipes.md` tells.

mod balance;
mod queue;
mod service;

use clap::Subcommand;

use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::Printer;

/// What a store is used for.
#[derive(Debug, Subcommand)]
pub enum Recipe {
    /// Services and their instances: register, list, watch, resolve
    #[command(subcommand)]
    Service(service::Service),
    /// Choose among the instances of a service, in turn or by weight
    #[command(subcommand)]
    Balance(balance::Balance),
    /// Items in order, each worked on by one consumer: push, pop, work, list
    #[command(subcommand)]
    Queue(Box<queue::Queue>),
}

impl Recipe {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        match self {
            Self::Service(service) => service.run(globals, printer).await,
            Self::Balance(balance) => balance.run(globals, printer).await,
            Self::Queue(queue) => queue.run(globals, printer).await,
        }
    }
}
