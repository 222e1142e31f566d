//! Ports that answer in a special way, or not at all.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// A port that refuses: bound, so that nobody else gets it, and never listening, so that the kernel
/// answers RST.
///
/// ```
/// let port = netsonde_support::ClosedPort::v4();
/// let error = std::net::TcpStream::connect(port.addr()).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
/// ```
#[derive(Debug)]
pub struct ClosedPort {
    address: SocketAddr,
    _bound: Socket,
}

impl ClosedPort {
    /// One on 127.0.0.1.
    pub fn v4() -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// One on `::1`.
    pub fn v6() -> Self {
        Self::on((Ipv6Addr::LOCALHOST, 0).into())
    }

    /// One on this address; port 0 takes a free one.
    ///
    /// # Panics
    ///
    /// The address cannot be bound.
    pub fn on(address: SocketAddr) -> Self {
        let bound = bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
        Self { address: local(&bound), _bound: bound }
    }

    /// The address that refuses.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}

/// A listener whose queue is full, so that the kernel drops every further SYN: a connect hangs.
///
/// ```
/// use std::time::Duration;
///
/// let full = netsonde_support::FullBacklog::v4();
/// let outcome = std::net::TcpStream::connect_timeout(&full.addr(), Duration::from_millis(50));
/// assert_eq!(outcome.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
/// ```
#[derive(Debug)]
pub struct FullBacklog {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl FullBacklog {
    /// One on 127.0.0.1.
    pub fn v4() -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// One on `::1`.
    pub fn v6() -> Self {
        Self::on((Ipv6Addr::LOCALHOST, 0).into())
    }

    /// One on this address; port 0 takes a free one.
    ///
    /// # Panics
    ///
    /// The address cannot be bound, or the queue does not fill.
    pub fn on(address: SocketAddr) -> Self {
        let listener =
            bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
        listener.listen(0).expect("a bound socket can listen");
        let address = local(&listener);
        let mut queued = Vec::new();
        // Backlog 0 lets one connection in; the limit is a guard against a kernel that counts
        // otherwise.
        for _ in 0..16 {
            match connect(address) {
                Ok(Some(socket)) => queued.push(socket),
                Ok(None) => return Self { address, _listener: listener, _queued: queued },
                Err(error) => panic!("cannot fill the queue of {address}: {error}"),
            }
        }
        panic!("the queue of {address} does not fill");
    }

    /// The address whose SYNs are dropped.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}

/// A listener that nobody accepts from: the kernel completes the handshake of as many connections as
/// fit into its queue and then leaves them alone. The server's side of such a connection costs no
/// descriptor and no task of the process, so thousands of them measure the client alone.
///
/// ```
/// let silent = netsonde_support::Unaccepted::v4();
/// assert!(silent.capacity() >= 128);
/// std::net::TcpStream::connect(silent.addr())?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Unaccepted {
    address: SocketAddr,
    capacity: usize,
    _listener: Socket,
}

impl Unaccepted {
    /// One on 127.0.0.1.
    pub fn v4() -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// One on this address; port 0 takes a free one.
    ///
    /// # Panics
    ///
    /// The address cannot be bound.
    pub fn on(address: SocketAddr) -> Self {
        let listener =
            bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
        let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
        let capacity = limit.trim().parse().unwrap_or(128);
        listener.listen(i32::MAX).expect("a bound socket can listen");
        Self { address: local(&listener), capacity, _listener: listener }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it takes (`net.core.somaxconn`); later ones hang.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local(socket: &Socket) -> SocketAddr {
    socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound")
}

/// A connected socket, or `None` when the SYN stays without an answer for 50 ms: on loopback the
/// answer comes within the call.
fn connect(address: SocketAddr) -> io::Result<Option<Socket>> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        outcome => return outcome.map(|()| Some(socket)),
    }
    let end = Instant::now() + Duration::from_millis(50);
    while Instant::now() < end {
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        if socket.peer_addr().is_ok() {
            return Ok(Some(socket));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}
