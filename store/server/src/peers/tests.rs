//! Links between members in one process, over real sockets.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use end_to_end::authority::{Authority, Holder, Pair};
use store_member::answer::MemberInfo;
use store_member::effects::Envelope;
use store_member::peer::PeerMessage;

use store_transport::tls::{Allowed, CertificateFiles, Settings};

use super::*;
use crate::driver::inbox::Knock;
use crate::driver::outbox::Outbox;
use crate::peers::message::samples::{append, heartbeat};

/// Many times what anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// One end of a pair of members.
struct End {
    directory: Arc<Directory>,
    inbox: Arc<Inbox>,
    outbox: Outbox,
    counters: Arc<PeerCounters>,
    peers: Option<Peers>,
}

fn end(own: Identity, listener: TcpListener, other: u64, url: &TcpListener) -> End {
    end_over(None, own, listener, other, url)
}

fn end_over(
    tls: Option<Arc<Keeper>>,
    own: Identity,
    listener: TcpListener,
    other: u64,
    url: &TcpListener,
) -> End {
    let inbox = Arc::new(Inbox::default());
    let directory = Arc::new(Directory::new(own.member, Arc::default()));
    let mut there = member(other, url);
    if tls.is_some() {
        there.peer_urls[0] = there.peer_urls[0].replace("http", "https");
    }
    directory.set(&[there], BTreeSet::new());
    let counters = Arc::clone(&directory.others()[&other].counters);
    let known = Arc::clone(&directory);
    let door = PeerDoor {
        bound: listener.into(),
        secure: tls.is_some(),
    };
    let peers = Peers::start(own, vec![door], tls, known, Arc::clone(&inbox)).unwrap();
    End {
        outbox: Outbox::new(Arc::clone(&directory), Arc::clone(&inbox)),
        directory,
        inbox,
        counters,
        peers: Some(peers),
    }
}

fn member(id: u64, listener: &TcpListener) -> MemberInfo {
    let url = format!("http://{}", listener.local_addr().unwrap());
    MemberInfo {
        id,
        name: "other".to_owned(),
        peer_urls: vec![url],
        client_urls: Vec::new(),
        learner: false,
    }
}

fn listener() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).unwrap()
}

const fn id(cluster: u64, member: u64) -> Identity {
    Identity { cluster, member }
}

/// Member 1 of cluster 7 and the other, who knows it as member 1.
fn pair(other: Identity) -> (End, End) {
    let (one, two) = (listener(), listener());
    let (one_too, two_too) = (one.try_clone().unwrap(), two.try_clone().unwrap());
    (
        end(id(7, 1), one, 2, &two_too),
        end(other, two, 1, &one_too),
    )
}

impl End {
    fn send(&self, to: u64, message: PeerMessage) {
        self.outbox.send([Envelope { to, message }]);
    }

    /// The next facts about peers: what they said, `None` for "unreachable".
    fn heard(&self, until: impl Fn(&[Option<PeerMessage>]) -> bool) -> Vec<Option<PeerMessage>> {
        let deadline = Instant::now() + LONG;
        let mut heard = Vec::new();
        while !until(&heard) {
            assert!(Instant::now() < deadline, "heard only {heard:?}");
            let mut knocks = Vec::new();
            self.inbox.wait(Some(deadline));
            self.inbox.take(&mut knocks);
            heard.extend(knocks.into_iter().filter_map(|knock| match knock {
                Knock::Peer { message, .. } => Some(Some(message)),
                Knock::PeerUnreachable(_) => Some(None),
                _ => None,
            }));
        }
        heard
    }

    fn wait(&self, what: &str, holds: impl Fn(&PeerCounters) -> bool) {
        let deadline = Instant::now() + LONG;
        while !holds(&self.counters) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.counters);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn entries_arrive_in_order_and_pings_are_answered() {
    let (one, two) = pair(id(7, 2));
    one.wait("connected", |counters| counters.connected.get() == 1);
    let sizes = [1, 200_000, 30, 3_000_000, 7];
    for bytes in sizes {
        one.send(2, append(2, 1, bytes));
    }
    let wanted: Vec<_> = sizes
        .iter()
        .map(|&bytes| Some(append(2, 1, bytes)))
        .collect();
    assert_eq!(two.heard(|heard| heard.len() >= sizes.len()), wanted);
    one.wait("a pong", |counters| counters.round_trip.count() > 0);
    two.wait("bytes", |counters| {
        counters.received_bytes.get() > 3_000_000
    });
    assert_eq!(one.counters.sent_failures.get(), 0);
}

#[test]
fn what_is_urgent_waits_for_the_first_stream() {
    let (one, two) = pair(id(7, 2));
    one.send(2, heartbeat(2, 1));
    let heard = two.heard(|heard| !heard.is_empty());
    assert_eq!(heard, [Some(heartbeat(2, 1))]);
}

#[test]
fn a_peer_that_comes_back_is_connected_again() {
    let (one, two) = (listener(), listener());
    let (one_too, two_too) = (one.try_clone().unwrap(), two.try_clone().unwrap());
    let here = end(id(7, 1), one, 2, &two_too);
    let mut there = end(id(7, 2), two, 1, &one_too);
    here.wait("connected", |counters| counters.connected.get() == 1);
    there.peers.take().unwrap().stop();
    here.wait("disconnected", |counters| counters.connected.get() == 0);
    let heard = here.heard(|heard| !heard.is_empty());
    assert_eq!(heard, [None], "raft is told");
    here.send(2, append(2, 1, 1));
    assert_eq!(here.heard(|heard| !heard.is_empty()), [None], "no stream");

    let again = end(id(7, 2), two_too.try_clone().unwrap(), 1, &one_too);
    here.wait("connected again", |counters| counters.connected.get() == 1);
    here.send(2, append(2, 1, 5));
    let heard = again.heard(|heard| !heard.is_empty());
    assert_eq!(heard, [Some(append(2, 1, 5))]);
}

#[test]
fn a_peer_that_moves_is_followed_and_one_that_leaves_is_let_go() {
    let (one, two, elsewhere) = (listener(), listener(), listener());
    let (one_too, two_too) = (one.try_clone().unwrap(), two.try_clone().unwrap());
    let there = elsewhere.try_clone().unwrap();
    let here = end(id(7, 1), one, 2, &two_too);
    let _before = end(id(7, 2), two, 1, &one_too);
    here.wait("connected", |counters| counters.connected.get() == 1);
    let moved = end(id(7, 2), elsewhere, 1, &one_too);
    here.directory.set(&[member(2, &there)], BTreeSet::new());
    here.wait("disconnected or connected again", |_| {
        here.send(2, append(2, 1, 9));
        let mut knocks = Vec::new();
        moved.inbox.take(&mut knocks);
        knocks
            .iter()
            .any(|knock| matches!(knock, Knock::Peer { .. }))
    });
    here.directory.set(&[], BTreeSet::new());
    here.wait("let go", |counters| counters.connected.get() == 0);
}

#[test]
fn members_of_other_clusters_and_other_members_are_not_let_in() {
    for stranger in [id(8, 2), id(7, 3)] {
        let (one, two) = pair(stranger);
        one.wait("refused", |counters| counters.sent_failures.get() > 0);
        assert_eq!(one.counters.connected.get(), 0, "{stranger:?}");
        if stranger.cluster != 7 {
            two.wait("refused", |counters| counters.sent_failures.get() > 0);
            assert_eq!(two.counters.connected.get(), 0);
        }
    }
}

#[test]
fn a_former_member_is_told_and_its_stream_ended() {
    let (one, two) = pair(id(7, 2));
    one.wait("connected", |counters| counters.connected.get() == 1);
    two.wait("connected", |counters| counters.connected.get() == 1);
    one.directory.set(&[], BTreeSet::from([2]));
    let told = |said: &Option<PeerMessage>| *said == Some(PeerMessage::Removed);
    let heard = two.heard(|heard| heard.iter().any(told));
    assert_eq!(heard.into_iter().filter(told).count(), 1);
}

/// Says so much to the one who listens there, and waits until that one has closed.
fn closed(there: SocketAddr, said: &[u8]) {
    let mut stream = TcpStream::connect(there).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    // Closed half way is closed.
    let _ = stream.write_all(said);
    let mut heard = Vec::new();
    if let Err(error) = stream.read_to_end(&mut heard) {
        let waited = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!waited, "{:?} is listened to", &said[..said.len().min(60)]);
    }
}

/// Strangers who speak something else, and such as know the greeting.
#[test]
fn garbage_is_closed_and_harms_no_member() {
    let (one, two) = (listener(), listener());
    let (one_too, two_too) = (one.try_clone().unwrap(), two.try_clone().unwrap());
    let there = one.local_addr().unwrap();
    let here = end(id(7, 1), one, 2, &two_too);
    let other = end(id(7, 2), two, 1, &one_too);
    here.wait("connected", |counters| counters.connected.get() == 1);
    other.wait("connected", |counters| counters.connected.get() == 1);

    let greeting = |cluster: u64, member: u64, to: u64| {
        let hello = hello::Hello {
            version: hello::VERSION,
            from: id(cluster, member),
            to,
        };
        hello.encode().to_vec()
    };
    let frame = |announced: u32, body: &[u8]| {
        let checksum = crc32c::crc32c(body);
        [&announced.to_be_bytes()[..], &checksum.to_be_bytes(), body].concat()
    };
    let mut numbers = 1_u32;
    let random: Vec<u8> = std::iter::repeat_with(|| {
        // The linear congruential generator of Numerical Recipes.
        numbers = numbers.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        numbers.to_be_bytes()[0]
    })
    .take(1 << 20)
    .collect();
    let known = |frame: Vec<u8>| [greeting(7, 9, 1), frame].concat();
    for said in [
        b"GET / HTTP/1.1\r\nHost: somewhere\r\nAccept: anything\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0".to_vec(),
        [b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", &random[..512]].concat(),
        random.clone(),
        vec![0; 1 << 20],
        greeting(8, 2, 1),
        greeting(7, 1, 1),
        greeting(7, 2, 3),
        greeting(0, 0, 0),
        known(frame(0, &[])),
        known(frame(u32::MAX, &[])),
        known(frame((64 << 20) + 1, &random)),
        known(frame(1, &[9])),
        known(frame(9, &random[..9])),
        known([&5_u32.to_be_bytes(), &random[..100]].concat()),
        known(frame(300, &[&[0][..], &random[..299]].concat())),
    ] {
        closed(there, &said);
    }
    // Frames that are never whole, of members that are not known: one is waited for, there is no memory for a second.
    let half = |member: u64| {
        let large = [&[0][..], &random].concat();
        [greeting(7, member, 1), frame(40 << 20, &large)].concat()
    };
    let mut both = [10, 11].map(|member| {
        let mut stream = TcpStream::connect(there).unwrap();
        let _ = stream.write_all(&half(member));
        stream
    });
    let deadline = Instant::now() + LONG;
    while both.iter_mut().all(|stream| stream.write_all(&[0]).is_ok()) {
        assert!(Instant::now() < deadline, "both are listened to");
        std::thread::sleep(Duration::from_millis(5));
    }

    // More who are silent than may be at their greeting.
    let silent: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(there).unwrap())
        .collect();
    other.send(1, append(1, 2, 3_000_000));
    assert_eq!(
        here.heard(|heard| !heard.is_empty()),
        [Some(append(1, 2, 3_000_000))]
    );
    drop((both, silent));
    assert_eq!(here.counters.connected.get(), 1);
    assert_eq!(other.counters.connected.get(), 1);
}

#[tokio::test]
async fn who_is_to_join_is_told_who_is_there() {
    let (here, there) = (listener(), listener());
    let url = Address::http(here.local_addr().unwrap());
    let end = end(id(7, 1), here, 2, &there);
    let told = inquiry::ask(&url, None).await.unwrap();
    assert_eq!(told.by, id(7, 1));
    assert_eq!(told.members, [member(2, &there)]);
    drop(end);
    // Something else listens there.
    let url = Address::http(there.local_addr().unwrap());
    let stranger = std::thread::spawn(move || drop(there.accept()));
    let error = inquiry::ask(&url, None).await.unwrap_err();
    stranger.join().unwrap();
    let refused = matches!(
        error,
        inquiry::AskError::Refused(_) | inquiry::AskError::Connect(_)
    );
    assert!(refused, "{error:?}");
}

/// Two members over TLS, the second one with a certificate of its own making.
fn pair_over_tls(
    folder: &std::path::Path,
    second: impl FnOnce(&mut Authority) -> Pair,
    allowed: &Allowed,
) -> (End, End) {
    let mut authority = Authority::new(folder, "authority");
    let first = authority.issue("first", Holder::default());
    let second = second(&mut authority);
    let keeper = |pair: Pair| {
        let settings = Settings {
            own: Some(CertificateFiles {
                certificate: pair.certificate,
                key: pair.key,
            }),
            authorities: Some(folder.join("authority.pem")),
            allowed: allowed.clone(),
            dials: true,
            ..Settings::default()
        };
        Some(Keeper::new("peer", settings, None).unwrap())
    };
    let (one, two) = (listener(), listener());
    let (one_too, two_too) = (one.try_clone().unwrap(), two.try_clone().unwrap());
    (
        end_over(keeper(first), id(7, 1), one, 2, &two_too),
        end_over(keeper(second), id(7, 2), two, 1, &one_too),
    )
}

#[test]
fn peers_speak_over_tls_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let second = |authority: &mut Authority| authority.issue("second", Holder::default());
    let (one, two) = pair_over_tls(folder.path(), second, &Allowed::All);
    one.wait("connected", |counters| counters.connected.get() == 1);
    two.wait("connected", |counters| counters.connected.get() == 1);
    one.send(2, append(2, 1, 3_000_000));
    assert_eq!(
        two.heard(|heard| !heard.is_empty()),
        [Some(append(2, 1, 3_000_000))]
    );
    two.send(1, append(1, 2, 5));
    assert_eq!(
        one.heard(|heard| !heard.is_empty()),
        [Some(append(1, 2, 5))]
    );
}

#[test]
fn a_peer_with_a_wrong_certificate_is_not_let_in() {
    let names = || Allowed::CommonNames(vec!["somebody".to_owned()]);
    let stranger: fn(&mut Authority) -> Pair = |authority| {
        authority.issue(
            "2",
            Holder {
                name: "stranger",
                ..Holder::default()
            },
        )
    };
    let expired: fn(&mut Authority) -> Pair = |authority| {
        authority.issue(
            "2",
            Holder {
                days: -1,
                ..Holder::default()
            },
        )
    };
    let elsewhere: fn(&mut Authority) -> Pair = |authority| {
        authority.issue(
            "2",
            Holder {
                hosts: &["10.9.8.7"],
                ..Holder::default()
            },
        )
    };
    for (second, allowed) in [
        (stranger, names()),
        (expired, Allowed::All),
        (elsewhere, Allowed::All),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = pair_over_tls(folder.path(), second, &allowed);
        one.wait("refused", |counters| counters.sent_failures.get() > 0);
        two.wait("refused", |counters| counters.sent_failures.get() > 0);
        assert_eq!(one.counters.connected.get(), 0);
        assert_eq!(two.counters.connected.get(), 0);
    }
}

#[test]
fn over_tls_or_not_must_be_the_same_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = Authority::new(folder.path(), "authority");
    let pair = authority.issue("first", Holder::default());
    let settings = Settings {
        own: Some(CertificateFiles {
            certificate: pair.certificate,
            key: pair.key,
        }),
        authorities: Some(folder.path().join("authority.pem")),
        dials: true,
        ..Settings::default()
    };
    let keeper = Keeper::new("peer", settings, None).unwrap();
    let (one, two) = (listener(), listener());
    let (one_too, two_too) = (one.try_clone().unwrap(), two.try_clone().unwrap());
    let secure = end_over(Some(keeper), id(7, 1), one, 2, &two_too);
    let plain = end(id(7, 2), two, 1, &one_too);
    secure.wait("refused", |counters| counters.sent_failures.get() > 0);
    plain.wait("refused", |counters| counters.sent_failures.get() > 0);
    assert_eq!(
        secure.counters.connected.get() + plain.counters.connected.get(),
        0
    );
}
