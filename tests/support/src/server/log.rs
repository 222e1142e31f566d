//! What a server saw, kept for the test to look at.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::{Notify, watch};

/// How the peer ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It closed its sending side in an orderly way.
    Fin,
    /// It reset the connection.
    Reset,
}

/// When and how the peer ended a connection.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// How.
    pub end: End,
    /// When the server's socket learnt of it.
    pub at: Instant,
}

/// What one connection looked like from the server; a snapshot.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The peer's address; for a Unix socket its path, or nothing.
    pub peer: String,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// The bytes that the script read (decrypted, inside TLS), up to the server's `keep` limit.
    pub received: Vec<u8>,
    /// How many bytes the script read.
    pub received_count: u64,
    /// How many bytes the script's writes handed to the kernel, or to TLS.
    pub sent_count: u64,
    /// What the client said in its TLS hello, if the script came so far.
    pub hello: Option<HelloSeen>,
    /// What was agreed on, if a TLS handshake was completed.
    pub tls: Option<TlsSeen>,
    /// Number of the step that is, or was last, at work.
    pub step: usize,
    /// `None` while the script runs, then whether all of its steps worked.
    pub outcome: Option<Result<(), String>>,
    /// When the peer's FIN arrived.
    pub fin_at: Option<Instant>,
    /// When the peer's RST arrived.
    pub reset_at: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(peer: String) -> Self {
        Self {
            peer,
            accepted_at: Instant::now(),
            received: Vec::new(),
            received_count: 0,
            sent_count: 0,
            hello: None,
            tls: None,
            step: 0,
            outcome: None,
            fin_at: None,
            reset_at: None,
        }
    }

    /// How the peer ended the connection, if it did: the time is that of the first sign of it, the
    /// kind is `Reset` if a reset came at all.
    pub fn closed(&self) -> Option<Closed> {
        match (self.fin_at, self.reset_at) {
            (None, None) => None,
            (Some(at), None) => Some(Closed { end: End::Fin, at }),
            (fin, Some(reset)) => {
                Some(Closed { end: End::Reset, at: fin.map_or(reset, |fin| fin.min(reset)) })
            }
        }
    }

    /// The received bytes as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}

/// What a TLS client hello said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelloSeen {
    /// The server name indication.
    pub sni: Option<String>,
    /// The protocols offered, in order.
    pub alpn: Vec<String>,
    /// The cipher suites offered, in order.
    pub suites: Vec<u16>,
    /// The signature schemes offered, in order.
    pub schemes: Vec<u16>,
    /// The key exchange groups offered, in order.
    pub groups: Vec<u16>,
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSeen {
    /// `TLSv1_2` or `TLSv1_3`.
    pub version: String,
    /// The cipher suite's name.
    pub suite: String,
    /// The protocol agreed on.
    pub alpn: Option<String>,
    /// The client's certificates in DER, leaf first.
    pub client_chain: Vec<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// All connections of a server, shared between its thread and the test.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    connections: Arc<Mutex<Vec<Connection>>>,
    version: Arc<watch::Sender<u64>>,
    keep: usize,
}

impl Log {
    pub(crate) fn new(keep: usize) -> Self {
        Self { connections: Arc::default(), version: Arc::new(watch::Sender::new(0)), keep }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Notes a new connection.
    pub(crate) fn accepted(&self, peer: String) -> Entry {
        let index = {
            let mut all = self.lock();
            all.push(Connection::new(peer));
            all.len() - 1
        };
        self.version.send_modify(|version| *version += 1);
        Entry { log: self.clone(), index, ended: Arc::default() }
    }
}

/// The log of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    log: Log,
    index: usize,
    /// Told when the peer has ended the connection. Each has its own: one for all would wake ten
    /// thousand waiting connections for each that closes.
    ended: Arc<Notify>,
}

impl Entry {
    pub(crate) fn update(&self, change: impl FnOnce(&mut Connection)) {
        change(&mut self.log.lock()[self.index]);
        self.log.version.send_modify(|version| *version += 1);
    }

    pub(crate) fn received(&self, bytes: &[u8]) {
        let keep = self.log.keep;
        self.update(|connection| {
            connection.received_count += bytes.len() as u64;
            let room = keep.saturating_sub(connection.received.len());
            connection.received.extend_from_slice(&bytes[..bytes.len().min(room)]);
        });
    }

    pub(crate) fn sent(&self, count: usize) {
        self.update(|connection| connection.sent_count += count as u64);
    }

    pub(crate) fn ended(&self, end: End) {
        let now = Instant::now();
        self.update(|connection| match end {
            End::Fin => _ = connection.fin_at.get_or_insert(now),
            End::Reset => _ = connection.reset_at.get_or_insert(now),
        });
        self.ended.notify_one();
    }

    /// Waits until the peer has ended the connection.
    pub(crate) async fn until_ended(&self) {
        while self.log.lock()[self.index].closed().is_none() {
            self.ended.notified().await;
        }
    }
}
