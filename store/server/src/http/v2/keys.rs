//! `/v2/keys`: a read, or a decision by a read and a transaction that fails if it no longer holds.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use store_machine::auth::{Actor, Need};
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::reply::{KeyValue, RangeReply, Reply};
use store_machine::request::RangeEnd;
use store_machine::revision::LeaseId;
use store_v2::{
    Answer, Code, Error, Listing, Lives, Look, Nameless, Params, Path, Plan, Term, Verb, decide,
};

use super::{Guest, failed, is_read, not_allowed, now_ms, refused, watch, with_index};
use crate::api::Api;
use crate::body::Body;
use crate::grpc::large::{Budget, LARGE_BYTES, PATIENCE, Part, held};
use crate::handle::{Consistency, Failure, Handle};
use crate::http::{JSON, response};

/// Times a write is decided anew because somebody else was quicker: those that come between are done themselves, so
/// that as many writers of one key at once all succeed.
const ATTEMPTS_MAX: usize = 64;

/// Times a request is judged anew because users or roles have changed since: those who change them do so by hand.
const JUDGEMENTS_MAX: usize = 8;

/// Times a listing is begun anew because a compaction has overtaken it.
const LISTINGS_MAX: usize = 8;

/// How often the bytes of a pair are in memory while it is listed: as they are stored, and as text.
const COPIES: u64 = 2;

/// What a pair takes beside them: its place in the tree, its path as a node, and its fields in the text.
const NODE_BYTES: u64 = 1_024;

/// Leases of others whose time to live one answer asks the leader for.
const LIVES_MAX: usize = 256;

/// Answers a request for the node at `raw`, a path as the URL has it.
pub(super) async fn serve(api: &Arc<Api>, raw: &str, request: Request<Incoming>) -> Response<Body> {
    let verb = match request.method() {
        method if is_read(method) => Verb::Get,
        method if *method == Method::PUT => Verb::Put,
        method if *method == Method::POST => Verb::Post,
        method if *method == Method::DELETE => Verb::Delete,
        _ => return not_allowed("HEAD,GET,PUT,POST,DELETE"),
    };
    let answer = perform(api, verb, raw, request).await;
    answer.unwrap_or_else(|error| refused(&error))
}

async fn perform(
    api: &Arc<Api>,
    verb: Verb,
    raw: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let mut guest = Guest::of(api, &request).await?;
    let query = request.uri().query().unwrap_or_default().to_owned();
    let form = match verb {
        Verb::Put | Verb::Post => form(api, request).await?,
        Verb::Get | Verb::Delete => String::new(),
    };
    let params = Params::parse(verb, raw, &[&form, &query])?;
    for _ in 1..JUDGEMENTS_MAX {
        match attempt(api, &guest, &params).await {
            Err(error) if error.code == Code::Unauthorized && guest.renew(api).await? => {}
            answer => return answer,
        }
    }
    attempt(api, &guest, &params).await
}

async fn attempt(api: &Arc<Api>, guest: &Guest, params: &Params) -> Result<Response<Body>, Error> {
    permitted(api, guest, params)?;
    if params.wait {
        return watch::serve(api, guest, params).await;
    }
    if params.verb == Verb::Get {
        let answer = get(api, guest, params).await;
        api.v2.count("get", answer.is_ok());
        return answer.map(|(answer, part)| told(api, &answer, part));
    }
    let answer = write(api, guest, params).await;
    let action = match &answer {
        Ok(answer) => answer.action,
        Err(_) => failed_action(params),
    };
    api.v2.count(action, answer.is_ok());
    answer.map(|answer| told(api, &answer, None))
}

/// The fields of the body, if it is a form.
async fn form(api: &Api, request: Request<Incoming>) -> Result<String, Error> {
    let kind = request.headers().get(CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    if !is_form {
        return Ok(String::new());
    }
    let unread = |cause: String| Error::early(Code::InvalidForm, cause);
    let bytes_max = api.limits.receive_bytes_max;
    let body = api.intake.whole(request.into_body(), bytes_max).await;
    let body = body.map_err(|cause| unread(cause.to_string()))?;
    String::from_utf8(body.into()).map_err(|cause| unread(cause.to_string()))
}

fn permitted(api: &Api, guest: &Guest, params: &Params) -> Result<(), Error> {
    let (key, below) = (params.path.key(), params.path.below());
    if Nameless::holds(&params.path) {
        // They are anywhere, and nowhere to be written.
        return match params.verb {
            Verb::Get => guest.require(api, &Need::Read(b"\0", &RangeEnd::Open)),
            _ => Err(Error::early(Code::RootReadOnly, params.path.as_str())),
        };
    }
    match params.verb {
        Verb::Get if params.recursive => {
            guest.require(api, &Need::Read(&below.start, &below.end))?;
            guest.require(api, &Need::Read(&key, &RangeEnd::Single))
        }
        Verb::Get => guest.require(api, &Need::Read(&key, &RangeEnd::Single)),
        Verb::Post => guest.require(api, &Need::Write(&below.start, &below.end)),
        Verb::Put | Verb::Delete => {
            guest.require(api, &Need::Write(&key, &RangeEnd::Single))?;
            if params.recursive {
                guest.require(api, &Need::Write(&below.start, &below.end))?;
            }
            Ok(())
        }
    }
}

async fn look(handle: &Handle, path: Path, consistency: Consistency) -> Result<Look, Error> {
    let answer = handle
        .read_txn(Look::request(&path), consistency)
        .await
        .map_err(failed)?;
    let revision = answer.header.revision.0;
    Look::of(path, answer.body, revision).ok_or_else(|| failed(Failure::Stopped))
}

/// An answer, and its part of the budget for large ranges.
type Listed = (Answer, Option<Part>);

/// What a listing has of that budget while it grows.
struct Room<'b> {
    budget: &'b Budget,
    part: Option<Part>,
    bytes: u64,
    /// All that its pages count will be kept, so that room for it can be made at once.
    keeps_all: bool,
}

impl<'b> Room<'b> {
    const fn of(budget: &'b Budget, keeps_all: bool) -> Self {
        Self {
            budget,
            part: None,
            bytes: 0,
            keeps_all,
        }
    }

    /// Makes room for one page more.
    async fn add(&mut self, page: &RangeReply) -> Result<(), Error> {
        let taken = |kv: &KeyValue| COPIES * (kv.key.len() + kv.value.len()) as u64 + NODE_BYTES;
        let bytes: u64 = page.kvs.iter().map(taken).sum();
        self.bytes += bytes;
        if self.bytes <= LARGE_BYTES as u64 {
            return Ok(());
        }
        let full = |_| failed(Failure::TooManyRequests);
        match &mut self.part {
            Some(part) => self.budget.grow(part, self.bytes, PATIENCE).await,
            None => {
                let pairs = (page.kvs.len() as u64).max(1);
                let all = (bytes / pairs).saturating_mul(page.count);
                let wanted = if self.keeps_all { all } else { 0 };
                let part = self.budget.take(wanted.max(self.bytes), PATIENCE).await;
                part.map(|part| self.part = Some(part))
            }
        }
        .map_err(full)
    }
}

async fn get(api: &Api, guest: &Guest, params: &Params) -> Result<Listed, Error> {
    let consistency = if params.quorum {
        Consistency::Linearizable
    } else {
        Consistency::Serializable
    };
    let handle = guest.handle(api);
    if let Some(nameless) = Nameless::of(&params.path) {
        return get_nameless(api, &handle, nameless, consistency).await;
    }
    for _ in 0..LISTINGS_MAX {
        let look = look(&handle, params.path.clone(), consistency).await?;
        look.found()?;
        if look.is_dir() {
            // What is in it is shown with its values.
            let below = params.path.below();
            guest.require(api, &Need::Read(&below.start, &below.end))?;
        }
        let mut listing = Listing::new(look, params.recursive);
        let mut room = Room::of(&api.ranges, params.recursive);
        let mut whole = true;
        while let Some(page) = listing.request() {
            match handle.range(page, Consistency::Serializable).await {
                Ok(page) => {
                    room.add(&page.body).await?;
                    listing.take(page.body);
                }
                // Compacted while it was read: what there is now is read instead.
                Err(Failure::Refused(Refusal::Compacted)) => {
                    whole = false;
                    break;
                }
                Err(failure) => return Err(failed(failure)),
            }
        }
        if whole {
            let lives = lives(&handle, &listing.foreign_leases()).await;
            return Ok((listing.done(&lives, now_ms()), room.part));
        }
    }
    Err(failed(Failure::TooManyRequests))
}

async fn get_nameless(
    api: &Api,
    handle: &Handle,
    mut nameless: Nameless,
    mut consistency: Consistency,
) -> Result<Listed, Error> {
    let mut room = Room::of(&api.ranges, false);
    while let Some(page) = nameless.request() {
        let page = handle.range(page, consistency).await.map_err(failed)?;
        room.add(&page.body).await?;
        nameless.take(page.body, page.header.revision.0);
        // What follows is read at the same revision.
        consistency = Consistency::Serializable;
    }
    let answer = nameless.done(&Lives::new(), now_ms())?;
    Ok((answer, room.part))
}

async fn write(api: &Api, guest: &Guest, params: &Params) -> Result<Answer, Error> {
    let handle = &guest.handle(api);
    let mut granted = None;
    for _ in 0..ATTEMPTS_MAX {
        let decided = decide_now(handle, params).await;
        let (plan, index) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                give_back(api, granted).await;
                return Err(error);
            }
        };
        if let (Some((term, seconds)), None) = (plan.lease, granted) {
            granted = Some(grant(handle, term, seconds).await?);
        }
        let txn = plan.txn(granted.filter(|_| plan.lease.is_some()));
        let done = match handle.propose(Command::Txn(txn)).await {
            Ok(done) => done,
            Err(failure) => {
                if matches!(failure, Failure::Refused(_)) {
                    give_back(api, granted).await;
                }
                return Err(Error {
                    index,
                    ..failed(failure)
                });
            }
        };
        if let Reply::Txn(reply) = done.body
            && reply.succeeded
        {
            return Ok(plan.done(reply.revision.0));
        }
    }
    give_back(api, granted).await;
    Err(failed(Failure::TooManyRequests))
}

async fn decide_now(handle: &Handle, params: &Params) -> Result<(Plan, i64), Error> {
    let mut there = look(handle, params.path.clone(), Consistency::Linearizable).await?;
    if params.verb == Verb::Post {
        let path = params.target(there.revision());
        there = look(handle, path, Consistency::Linearizable).await?;
    }
    let lives = lives(handle, &there.foreign_leases()).await;
    let plan = decide(params, &there, &lives, now_ms())?;
    Ok((plan, there.revision()))
}

/// A lease whose id says when it ends; ids that are taken are passed over.
async fn grant(handle: &Handle, term: Term, seconds: i64) -> Result<LeaseId, Error> {
    loop {
        let id = term.lease(rand::random());
        match handle.lease_grant(id, seconds).await {
            Ok(_) => return Ok(id),
            Err(Failure::Refused(Refusal::LeaseExists)) => {}
            Err(failure) => return Err(failed(failure)),
        }
    }
}

/// Ends a lease that came to nothing; one that is not ended now ends by itself.
async fn give_back(api: &Api, lease: Option<LeaseId>) {
    if let Some(id) = lease {
        let _ = api
            .handle
            .by(Actor::Store)
            .propose(Command::LeaseRevoke { id, term: 0 })
            .await;
    }
}

async fn lives(handle: &Handle, leases: &[LeaseId]) -> Lives {
    let mut lives = Lives::new();
    for lease in leases.iter().take(LIVES_MAX) {
        let life = handle.lease_time_to_live(*lease, false).await;
        if let Ok(Some(life)) = life.map(|answer| answer.body) {
            lives.insert(*lease, life.remaining_seconds);
        }
    }
    lives
}

fn told(api: &Api, answer: &Answer, part: Option<Part>) -> Response<Body> {
    let status = if answer.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut told = response(status, JSON, held(answer.json().into(), part));
    with_index(api, &mut told, answer.index);
    told
}

/// What a refused request would have been.
fn failed_action(params: &Params) -> &'static str {
    let conditional = params.prev_index > 0 || params.prev_value.is_some();
    match (params.verb, params.prev_exist) {
        (Verb::Post, _) | (Verb::Put, Some(false)) => "create",
        (Verb::Delete, _) if conditional => "compareAndDelete",
        (Verb::Delete, _) => "delete",
        (_, _) if conditional => "compareAndSwap",
        (_, Some(true)) => "update",
        _ => "set",
    }
}
