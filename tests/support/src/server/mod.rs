//! Scripted TCP and Unix servers, each on a thread of its own.
//!
//! A server has its own thread and runtime so that it keeps real time in tests that pause theirs,
//! adds no task to the runtime whose tasks a leak test counts, and can be used from tests without
//! any runtime. Dropping the [`Server`] closes everything and joins the thread.

mod conn;
mod log;
mod ports;
mod script;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

pub use conn::Conn;
pub use log::{Closed, Connection, End, HelloSeen, TlsSeen};
pub use ports::{ClosedPort, FullBacklog, Unaccepted};
pub use script::{Custom, Script, Step};

pub(crate) use log::Entry;
pub(crate) use socket::{Plain, Socket};

use log::Log;

/// Settings of a server, see [`Server::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    scripts: Vec<Script>,
    address: SocketAddr,
    backlog: i32,
    receive_buffer: Option<usize>,
    send_buffer: Option<usize>,
    mss: Option<u32>,
    keep: usize,
}

impl Builder {
    /// Listens on an IPv6 loopback port.
    #[must_use]
    pub fn v6(self) -> Self {
        self.address((Ipv6Addr::LOCALHOST, 0))
    }

    /// Listens on this address; port 0 takes a free one.
    #[must_use]
    pub fn address(mut self, address: impl Into<SocketAddr>) -> Self {
        self.address = address.into();
        self
    }

    /// Length of the listen queue; 1,024 unless set.
    #[must_use]
    pub fn backlog(mut self, length: i32) -> Self {
        self.backlog = length;
        self
    }

    /// `SO_RCVBUF` of the accepted sockets; the kernel doubles it.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// `SO_SNDBUF` of the accepted sockets; the kernel doubles it.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// `TCP_MAXSEG`: the largest segment that the server asks for and sends; Linux takes 88 and more.
    #[must_use]
    pub fn mss(mut self, bytes: u32) -> Self {
        self.mss = Some(bytes);
        self
    }

    /// How many received bytes a [`Connection`] keeps; 1 MiB unless set.
    #[must_use]
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// One more script: the first connection gets the first one, and so on; the last one serves all
    /// connections that follow.
    #[must_use]
    pub fn script(mut self, script: Script) -> Self {
        self.scripts.push(script);
        self
    }

    /// Starts a TCP server.
    ///
    /// # Panics
    ///
    /// The address cannot be bound.
    pub fn tcp(self) -> Server {
        let listener = self.listen().unwrap_or_else(|error| {
            panic!("cannot listen on {}: {error}", self.address);
        });
        let address = listener.local_addr().expect("a bound socket has an address");
        self.start(Place::Tcp(address), Listening::Tcp(listener))
    }

    fn listen(&self) -> io::Result<std::net::TcpListener> {
        let domain = Domain::for_address(self.address);
        let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if self.address.port() != 0 {
            socket.set_reuse_address(true)?;
        }
        // The listener's buffers are those of the sockets it accepts; setting them later is too late
        // for the window that the handshake announces.
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.mss {
            socket.set_tcp_mss(bytes)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&self.address.into())?;
        socket.listen(self.backlog)?;
        Ok(socket.into())
    }

    /// Starts a server on a Unix socket; the file is removed on drop.
    ///
    /// # Panics
    ///
    /// The path cannot be bound.
    pub fn unix(self, path: impl Into<PathBuf>) -> Server {
        let path = path.into();
        let address = std::os::unix::net::SocketAddr::from_pathname(&path)
            .unwrap_or_else(|error| panic!("{} is no socket path: {error}", path.display()));
        self.start_unix(&address, Place::Path(path))
    }

    /// Starts a server on an abstract Unix socket (the name goes without the leading NUL).
    ///
    /// # Panics
    ///
    /// The name is taken.
    pub fn unix_abstract(self, name: &str) -> Server {
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)
            .unwrap_or_else(|error| panic!("{name:?} is no abstract name: {error}"));
        self.start_unix(&address, Place::Abstract(name.to_owned()))
    }

    fn start_unix(self, address: &std::os::unix::net::SocketAddr, place: Place) -> Server {
        let listener = std::os::unix::net::UnixListener::bind_addr(address)
            .unwrap_or_else(|error| panic!("cannot listen on {place:?}: {error}"));
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        self.start(place, Listening::Unix(listener))
    }

    fn start(mut self, place: Place, listening: Listening) -> Server {
        if self.scripts.is_empty() {
            self.scripts.push(Script::new());
        }
        let log = Log::new(self.keep);
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("support-server".to_owned())
            .spawn({
                let log = log.clone();
                move || run(&self, listening, &log, stopped, &ready)
            })
            .expect("a thread can be started");
        // A leak test that starts now is not to see the runtime's descriptors appear.
        is_ready.recv().expect("the server's thread starts");
        Server { place, log, stop: Some(stop), thread: Some(thread) }
    }
}

enum Listening {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

fn run(
    settings: &Builder,
    listening: Listening,
    log: &Log,
    stopped: oneshot::Receiver<()>,
    ready: &std::sync::mpsc::Sender<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        tokio::select! {
            _ = stopped => {}
            () = accept(settings, listening, log, ready) => {}
        }
    });
}

async fn accept(
    settings: &Builder,
    listening: Listening,
    log: &Log,
    ready: &std::sync::mpsc::Sender<()>,
) {
    enum Listener {
        Tcp(TcpListener),
        Unix(UnixListener),
    }
    let listener = match listening {
        Listening::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
        Listening::Unix(listener) => UnixListener::from_std(listener).map(Listener::Unix),
    }
    .expect("the runtime takes a listener");
    _ = ready.send(());
    let scripts: Vec<_> = settings.scripts.iter().cloned().map(Arc::new).collect();
    let mut count = 0;
    loop {
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                // Every send of a script is a segment of its own.
                _ = stream.set_nodelay(true);
                (Socket::Tcp(stream), peer.to_string())
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, peer)| {
                let path = peer.as_pathname().map(|path| path.display().to_string());
                (Socket::Unix(stream), path.unwrap_or_default())
            }),
        };
        let Ok((socket, peer)) = accepted else {
            // Out of descriptors, most likely: the client side of the same process will free some.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let script = Arc::clone(&scripts[usize::min(count, scripts.len() - 1)]);
        count += 1;
        let conn = Conn::new(socket, log.accepted(peer));
        tokio::task::spawn_local(async move { conn.serve(&script).await });
    }
}

#[derive(Debug)]
enum Place {
    Tcp(SocketAddr),
    Path(PathBuf),
    Abstract(String),
}

/// A running server; dropping it closes its sockets and ends its thread.
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use netsonde_support::{End, Script, Server};
///
/// let server = Server::tcp(Script::new().send("hi\n").read_line());
/// let mut client = std::net::TcpStream::connect(server.addr())?;
/// client.write_all(b"bye\n")?;
/// let mut greeting = String::new();
/// client.read_to_string(&mut greeting)?;
/// drop(client);
///
/// assert_eq!(greeting, "hi\n");
/// let closed = server.blocking_closed(0, Duration::from_secs(1));
/// assert_eq!(closed.end, End::Fin);
/// assert_eq!(server.connection(0).text(), "bye\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    place: Place,
    log: Log,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server with settings: `Server::builder().v6().script(..).tcp()`.
    pub fn builder() -> Builder {
        Builder {
            scripts: Vec::new(),
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            backlog: 1024,
            receive_buffer: None,
            send_buffer: None,
            mss: None,
            keep: 1 << 20,
        }
    }

    /// A TCP server on a free port of 127.0.0.1, the same script for every connection.
    pub fn tcp(script: Script) -> Self {
        Self::builder().script(script).tcp()
    }

    /// A TCP server on a free port of `::1`.
    pub fn tcp6(script: Script) -> Self {
        Self::builder().v6().script(script).tcp()
    }

    /// A server on a Unix socket.
    pub fn unix(path: impl Into<PathBuf>, script: Script) -> Self {
        Self::builder().script(script).unix(path)
    }

    /// Where it listens.
    ///
    /// # Panics
    ///
    /// It is a Unix server.
    pub fn addr(&self) -> SocketAddr {
        match &self.place {
            Place::Tcp(address) => *address,
            place => panic!("{place:?} has no internet address"),
        }
    }

    /// The IP address it listens on.
    pub fn ip(&self) -> IpAddr {
        self.addr().ip()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// The abstract name, if it is a Unix server with one.
    pub fn abstract_name(&self) -> Option<&str> {
        match &self.place {
            Place::Abstract(name) => Some(name),
            Place::Tcp(_) | Place::Path(_) => None,
        }
    }

    /// The socket's path, if it is a Unix server with one.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Path(path) => Some(path),
            Place::Tcp(_) | Place::Abstract(_) => None,
        }
    }

    /// All connections so far, in the order of their coming.
    pub fn connections(&self) -> Vec<Connection> {
        self.log.lock().clone()
    }

    /// How many connections came so far.
    pub fn count(&self) -> usize {
        self.log.lock().len()
    }

    /// A connection by its number, from 0.
    ///
    /// # Panics
    ///
    /// There was no such connection (yet).
    #[track_caller]
    pub fn connection(&self, index: usize) -> Connection {
        self.log.lock().get(index).cloned().unwrap_or_else(|| panic!("no connection {index} yet"))
    }

    /// Waits until `look` finds what it looks for in the connections.
    ///
    /// # Panics
    ///
    /// It has not after `timeout`, which is real time even where the runtime's clock is paused.
    pub async fn until<T>(
        &self,
        timeout: Duration,
        mut look: impl FnMut(&[Connection]) -> Option<T>,
    ) -> T {
        let end = Instant::now() + timeout;
        let mut changes = self.log.changes();
        loop {
            if let Some(found) = look(&self.log.lock()) {
                return found;
            }
            assert!(
                Instant::now() < end,
                "the server did not see it in {timeout:?}: {:#?}",
                self.connections()
            );
            _ = tokio::time::timeout(Duration::from_millis(5), changes.changed()).await;
        }
    }

    /// [`Server::until`] for code that is not async.
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn blocking_until<T>(
        &self,
        timeout: Duration,
        mut look: impl FnMut(&[Connection]) -> Option<T>,
    ) -> T {
        let end = Instant::now() + timeout;
        loop {
            if let Some(found) = look(&self.log.lock()) {
                return found;
            }
            assert!(
                Instant::now() < end,
                "the server did not see it in {timeout:?}: {:#?}",
                self.connections()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the peer of a connection has closed or reset it.
    ///
    /// # Panics
    ///
    /// It has not after `timeout`.
    pub async fn closed(&self, index: usize, timeout: Duration) -> Closed {
        self.until(timeout, |all| all.get(index)?.closed()).await
    }

    /// [`Server::closed`] for code that is not async.
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn blocking_closed(&self, index: usize, timeout: Duration) -> Closed {
        self.blocking_until(timeout, |all| all.get(index)?.closed())
    }

    /// Waits until the script of a connection has ended, and returns the connection.
    ///
    /// # Panics
    ///
    /// It has not after `timeout`.
    pub async fn finished(&self, index: usize, timeout: Duration) -> Connection {
        self.until(timeout, |all| all.get(index).filter(|one| one.outcome.is_some()).cloned()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
        if let Place::Path(path) = &self.place {
            _ = std::fs::remove_file(path);
        }
    }
}
