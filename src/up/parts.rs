//! The parts as they run: started one after the other, asked how they are, stopped in the opposite order of who needs
//! whom. Makes the board out of what each part says about itself.

use std::collections::BTreeMap;
use std::time::Duration;

use registrator::{Agent as Registrator, Status as RegistratorStatus};
use store_server::server::Server;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::up::board::{Board, Instance, Part, Resource, Trouble};
use crate::up::settings::{Kind, Settings};

/// Who is stopped first: nobody loses what it still uses. confd reads the store and must not see registrations go;
/// the registrator says its farewell to the store.
const STOP_ORDER: [Kind; 3] = [Kind::Confd, Kind::Registrator, Kind::Store];
/// 1 s: how stale the store's line on the board may be; the store has no news channel, so it is asked.
const ASK_STORE: Duration = Duration::from_secs(1);

/// What runs.
pub(crate) struct Parts {
    store: Option<(Server, String)>,
    registrator: Option<(
        Registrator,
        watch::Receiver<RegistratorStatus>,
        registrator::StopPolicy,
    )>,
    confd: Option<(confd::Agent, watch::Receiver<confd::Status>, String)>,
    notes: Vec<String>,
}

impl Parts {
    /// Starts what the settings name: the store until it serves, the agents in the background.
    ///
    /// # Errors
    /// The first part that does not start; those before it are stopped.
    pub(crate) async fn start(settings: &Settings) -> Result<Self, Failure> {
        let mut parts = Self {
            store: None,
            registrator: None,
            confd: None,
            notes: settings.notes.clone(),
        };
        match parts.start_all(settings).await {
            Ok(()) => Ok(parts),
            Err(failure) => {
                parts.stop().await;
                Err(failure)
            }
        }
    }

    async fn start_all(&mut self, settings: &Settings) -> Result<(), Failure> {
        if let Some(config) = &settings.store {
            let data = config.data_dir.display().to_string();
            let server = Server::start(config.clone())
                .await
                .map_err(|error| Failure::of(&error).maybe_hint(error.hint()))?;
            let server = &self.store.insert((server, data)).0;
            server
                .ready()
                .await
                .map_err(|_| Failure::new("start the store: it stopped before it was ready"))?;
        }
        if let Some(config) = &settings.registrator {
            let policy = config.on_stop;
            let agent = Registrator::start(config.clone())
                .map_err(|error| Failure::of(&error).maybe_hint(error.hint()))?;
            let status = agent.status();
            self.registrator = Some((agent, status, policy));
        }
        if let Some(config) = &settings.confd {
            let place = config.confdir.display().to_string();
            let agent = confd::Agent::start(config.clone())
                .await
                .map_err(|error| Failure::of(&error).maybe_hint(error.hint()))?;
            let status = agent.status();
            self.confd = Some((agent, status, place));
        }
        Ok(())
    }

    /// Stops everything in [`STOP_ORDER`].
    pub(crate) async fn stop(&mut self) {
        for kind in STOP_ORDER {
            match kind {
                Kind::Confd => {
                    if let Some((agent, ..)) = self.confd.take() {
                        agent.stop().await;
                    }
                }
                Kind::Registrator => {
                    if let Some((agent, _, policy)) = self.registrator.take() {
                        agent.stop(policy).await;
                    }
                }
                Kind::Store => {
                    if let Some((server, _)) = self.store.take() {
                        server.stop().await;
                    }
                }
            }
        }
    }

    /// Waits until some part has news, or it is time to ask the store. Safe to cancel.
    pub(crate) async fn changed(&mut self) {
        let registrator = async {
            match &mut self.registrator {
                Some((_, status, _)) => drop(status.changed().await),
                None => std::future::pending().await,
            }
        };
        let confd = async {
            match &mut self.confd {
                Some((_, status, _)) => drop(status.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // All three only wait.
            () = registrator => {}
            () = confd => {}
            () = tokio::time::sleep(ASK_STORE) => {}
        }
    }

    /// Whether every part has done what there was to do at the start.
    pub(crate) fn ready(&self) -> bool {
        let registrator = self
            .registrator
            .as_ref()
            .is_none_or(|(_, status, _)| status.borrow().is_ready());
        let confd = self
            .confd
            .as_ref()
            .is_none_or(|(_, status, _)| status.borrow().ready);
        registrator && confd
    }

    /// How everything is doing.
    pub(crate) async fn board(&self) -> Board {
        let mut board = Board::default();
        if let Some((server, data)) = &self.store {
            add_store(&mut board, server, data).await;
        }
        if let Some((_, status, _)) = &self.registrator {
            add_registrator(&mut board, &status.borrow());
        }
        if let Some((_, status, place)) = &self.confd {
            add_confd(&mut board, &status.borrow(), place);
        }
        board.notes.extend_from_slice(&self.notes);
        board.wrong.sort();
        board
    }
}

async fn add_store(board: &mut Board, server: &Server, data: &str) {
    let addresses: Vec<String> = server
        .client_addrs()
        .iter()
        .map(|address| format!("http://{address}"))
        .collect();
    let state = match server.handle().status().await {
        Ok(answer) => {
            for alarm in &answer.body.alarms {
                board.wrong.push(Trouble {
                    what: format!("store: alarm {alarm:?}"),
                    hint: None,
                });
            }
            if answer.body.leader == 0 {
                "waiting for a leader"
            } else {
                "serving"
            }
        }
        Err(_) => "not answering",
    };
    board.parts.push(Part {
        name: "store",
        place: addresses.join(", "),
        state: format!("{state}, data in {data}"),
    });
}

fn add_registrator(board: &mut Board, status: &RegistratorStatus) {
    let instances: usize = status.services.values().map(Vec::len).sum();
    let state = if !status.engine.up {
        "waiting for the container engine".to_owned()
    } else if !status.store.up {
        "waiting for the store".to_owned()
    } else if status.pending > 0 {
        format!(
            "{} of {instances} instance(s) registered",
            instances.saturating_sub(status.pending)
        )
    } else {
        format!("{instances} instance(s) registered")
    };
    board.parts.push(Part {
        name: "registrator",
        place: status.engine.detail.clone(),
        state,
    });
    let services: BTreeMap<String, Vec<Instance>> = status
        .services
        .iter()
        .map(|(name, instances)| {
            let mut shown: Vec<Instance> = instances
                .iter()
                .map(|instance| Instance {
                    address: std::net::SocketAddr::new(instance.address, instance.port).to_string(),
                    state: if instance.stored {
                        "up".to_owned()
                    } else {
                        "registering".to_owned()
                    },
                })
                .collect();
            shown.sort();
            (name.clone(), shown)
        })
        .collect();
    board.services = services;
    // Ports that somebody meant to be found. Containers without any are no news, nor are those that end.
    board
        .notes
        .extend(status.skipped.iter().filter_map(|skipped| {
            let (container, port) = (&skipped.container, skipped.port.as_ref()?);
            Some(format!(
                "{container} port {port} is not registered: {}",
                skipped.why
            ))
        }));
    if !status.engine.up && status.faults.iter().all(|fault| fault.subject != "engine") {
        board.wrong.push(Trouble {
            what: format!("engine: not reachable, {}", status.engine.detail),
            hint: Some(
                "`docker info` should work here; --docker-host says where the engine is".to_owned(),
            ),
        });
    }
    board
        .wrong
        .extend(status.faults.iter().map(|fault| Trouble {
            what: format!("{}: {}", fault.subject, fault.text),
            hint: fault.hint.clone(),
        }));
}

fn add_confd(board: &mut Board, status: &confd::Status, place: &str) {
    let current = status
        .resources
        .iter()
        .filter(|one| one.state == "current")
        .count();
    let state = match (&status.source.endpoint, status.resources.len()) {
        (None, _) => "waiting for the store".to_owned(),
        (Some(_), 0) => "no resources in conf.d".to_owned(),
        (Some(_), all) => format!("{current} of {all} resources current"),
    };
    board.parts.push(Part {
        name: "confd",
        place: place.to_owned(),
        state,
    });
    for one in &status.resources {
        let state = match &one.stale {
            Some(stale) => format!("{}: {} failed", one.state, stale.step),
            None => one.state.to_owned(),
        };
        board.resources.push(Resource {
            name: one.name.clone(),
            file: one.dest.clone(),
            state,
        });
        for problem in one
            .stale
            .iter()
            .map(|stale| &stale.problem)
            .chain(&one.load_fault)
        {
            let what = format!("{}: {}", one.name, problem.message);
            board.wrong.push(Trouble {
                what,
                hint: problem.hint.clone(),
            });
        }
    }
    board
        .wrong
        .extend(status.problems.iter().map(|what| Trouble {
            what: what.clone(),
            hint: None,
        }));
    if let Some(error) = &status.source.error {
        board.wrong.push(Trouble {
            what: format!("confd: {error}"),
            hint: status.source.hint.clone(),
        });
    }
}
