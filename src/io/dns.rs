//! Questions to name servers over sockets: the engine of [`crate::engine::query`] with a transport under
//! it.

mod ask;
mod probe;
mod stream;
mod udp;

pub(crate) use ask::{Ask, Note};
pub(crate) use probe::{DnsPlan, probe};

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::socket;
use super::tls::TlsConnector;
use crate::dns::DnsTransport;
use crate::engine::query::Protocol;
use crate::target::Host;
use crate::tcp::SocketOptions;

/// How messages go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) transport: DnsTransport,
    pub(crate) server: SocketAddr,
    pub(crate) socket: &'a SocketOptions,
    /// Whom TLS verifies.
    pub(crate) host: Option<&'a Host>,
    /// For the transports over TLS.
    pub(crate) tls: Option<&'a TlsConnector>,
    pub(crate) random: &'a RandomBits,
    /// Whether the kernel is asked for stamps.
    pub(crate) stamps: bool,
    /// When all of it is over.
    pub(crate) deadline: Instant,
    pub(crate) datagram_bytes: usize,
    pub(crate) message_bytes: usize,
}

/// Drives the questions until each is decided, or the deadline ends them. What was learnt stays in them when
/// the future is dropped.
pub(crate) async fn drive(asks: &mut [Ask<'_>], way: &Way<'_>) {
    match way.transport {
        DnsTransport::Udp => match asks {
            [ask] => one(ask, way).await,
            asks => super::join::all(asks.iter_mut().map(|ask| one(ask, way))).await,
        },
        // In a box: a question over UDP need not hold what one over a stream would.
        _ => Box::pin(stream::run(asks, way)).await,
    }
}

/// A question over UDP, and over TCP where its answer was cut short.
async fn one(ask: &mut Ask<'_>, way: &Way<'_>) {
    while !ask.engine.is_done() {
        match ask.engine.next() {
            Some(Protocol::Stream) => {
                let way = Way { transport: DnsTransport::Tcp, tls: None, ..*way };
                Box::pin(stream::run(std::slice::from_mut(ask), &way)).await;
            }
            _ => udp::run(ask, way).await,
        }
    }
}

/// Bits that nobody can guess, fetched from the system a few at a time. Each is given out once.
#[derive(Debug, Default)]
pub(crate) struct RandomBits(Mutex<Vec<u64>>);

/// Words that are fetched at once.
const FETCH: usize = 32;

impl RandomBits {
    /// The next 64 of them.
    ///
    /// The system's source of randomness does not fail once it has been seeded (getrandom(2)); where it
    /// cannot be asked, the keys of hash tables come from elsewhere.
    pub(crate) fn next(&self) -> u64 {
        use std::hash::{BuildHasher, RandomState};
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if words.is_empty() {
            let mut bytes = [0; FETCH * 8];
            if getrandom::fill(&mut bytes).is_err() {
                return RandomState::new().hash_one(());
            }
            words.extend(bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)));
        }
        words.pop().unwrap_or_default()
    }
}

/// A socket that keeps the kernel stamping packets between one query and the next: the first that wants
/// stamps switches them on, which takes a moment, and the last takes them away.
#[derive(Debug)]
pub(crate) struct StampKeeper(
    #[expect(dead_code, reason = "it is there to be open")] std::net::UdpSocket,
);

impl StampKeeper {
    /// `None` if the system gives no socket or no stamps: results then say which source they had.
    pub(crate) fn open() -> Option<Self> {
        let keeper = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).ok()?;
        socket::stamp(&keeper, false, true).ok()?;
        socket::wait_for_stamps()?;
        Some(StampKeeper(keeper))
    }
}
