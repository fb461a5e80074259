//! The recipes that are no commands of etcdctl: each a command of its own, on the layout that `docs/recipes.md` tells.

mod balance;
mod barrier;
mod monitor;
mod progress;
mod publish;
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
    /// Put a value for all to see
    Publish(publish::Publish),
    /// Read a value and follow it, with a command for each change
    Subscribe(publish::Subscribe),
    /// Who is alive in a group: join, list, watch
    #[command(subcommand)]
    Monitor(monitor::Monitor),
    /// How tasks stand: run, report, show, watch
    #[command(subcommand)]
    Progress(Box<progress::Progress>),
    /// Wait for one another: hold, set, release, wait, enter
    #[command(subcommand)]
    Barrier(barrier::Barrier),
}

impl Recipe {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        match self {
            Self::Service(service) => service.run(globals, printer).await,
            Self::Balance(balance) => balance.run(globals, printer).await,
            Self::Queue(queue) => queue.run(globals, printer).await,
            Self::Publish(publish) => publish.run(globals, printer).await,
            Self::Subscribe(subscribe) => subscribe.run(globals, printer).await,
            Self::Monitor(monitor) => monitor.run(globals, printer).await,
            Self::Progress(progress) => progress.run(globals, printer).await,
            Self::Barrier(barrier) => barrier.run(globals, printer).await,
        }
    }
}
