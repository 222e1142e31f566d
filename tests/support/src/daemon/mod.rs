//! Real daemons as peers: each one private, in a folder of its own, on free loopback ports, gone with
//! its [`Daemon`].
//!
//! ```no_run
//! # fn test() {
//! use netsonde_support::{Pki, daemon};
//!
//! let pki = Pki::new();
//! let Some(nginx) = daemon::nginx(&pki.leaf("good.test").issue(), "") else { return };
//! println!("probe {}", nginx.addr());
//! # }
//! ```
//!
//! Do not keep one in a `static`: those are never dropped. A daemon is killed by the kernel when the
//! test process dies without a chance to clean up.

pub mod dns;
mod ready;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::TempDir;
use crate::sys;

pub use ready::{
    dovecot, haproxy, nginx, openssl_server, postfix, postgresql, redis, redis_tls, sshd,
};

/// How long a daemon may take to listen.
const START: Duration = Duration::from_secs(20);
/// How long it may take to end when asked to.
const STOP: Duration = Duration::from_secs(5);
/// How often another set of ports is tried when somebody else was faster.
const TRIES: usize = 3;

/// A daemon to be started: what it is called, and which ports it wants.
///
/// ```no_run
/// # fn test() {
/// use std::process::Command;
/// use netsonde_support::daemon::Setup;
/// use netsonde_support::require_command;
///
/// let Some(program) = require_command("openssl") else { return };
/// let daemon = Setup::new("s_server").port("tls").start(|place| {
///     let mut command = Command::new(&program);
///     command.args(["s_server", "-nocert", "-accept", &place.addr("tls").to_string()]);
///     command
/// });
/// # drop(daemon);
/// # }
/// ```
pub struct Setup {
    name: String,
    ports: Vec<String>,
    stop: i32,
    ready: Box<dyn Fn(&Place) -> bool>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("name", &self.name).field("ports", &self.ports).finish()
    }
}

/// Where a daemon is to live.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    ports: BTreeMap<String, SocketAddr>,
    _claims: Vec<UnixListener>,
}

impl Place {
    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The address of one of its ports.
    ///
    /// # Panics
    ///
    /// The set-up has no such port.
    #[track_caller]
    pub fn addr(&self, port: &str) -> SocketAddr {
        *self.ports.get(port).unwrap_or_else(|| panic!("no port named {port}"))
    }

    /// The same port on `::1`: it was free there as well, where there is IPv6.
    ///
    /// # Panics
    ///
    /// The set-up has no such port.
    #[track_caller]
    pub fn addr6(&self, port: &str) -> SocketAddr {
        (Ipv6Addr::LOCALHOST, self.addr(port).port()).into()
    }

    /// Writes a file into the folder and returns its path.
    ///
    /// # Panics
    ///
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).expect("a file can be written into the daemon's folder");
        path.display().to_string()
    }
}

impl Setup {
    /// A daemon of this name; the name shows in messages only.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ports: Vec::new(),
            stop: libc::SIGTERM,
            ready: Box::new(|_| true),
        }
    }

    /// One more port that it listens on.
    #[must_use]
    pub fn port(mut self, name: &str) -> Self {
        self.ports.push(name.to_owned());
        self
    }

    /// The signal that ends it; SIGTERM unless set.
    #[must_use]
    pub fn stop_signal(mut self, signal: i32) -> Self {
        self.stop = signal;
        self
    }

    /// What has to hold besides listening: some daemons listen before they serve.
    #[must_use]
    pub fn ready_when(mut self, ready: impl Fn(&Place) -> bool + 'static) -> Self {
        self.ready = Box::new(ready);
        self
    }

    /// Starts it and waits until it listens on all of its ports and is ready. The command must stay in the
    /// foreground; its output goes to a log file.
    ///
    /// # Panics
    ///
    /// It ends or is not ready within 20 seconds, also on other ports; the message has its log.
    pub fn start(self, command: impl Fn(&Place) -> Command) -> Daemon {
        let mut failures = String::new();
        for _ in 0..TRIES {
            let (ports, claims) = free_ports(&self.ports);
            let place = Place { folder: TempDir::new(&self.name), ports, _claims: claims };
            let mut daemon = self.spawn(place, &command);
            match daemon.wait_until_ready(&self.ready) {
                Ok(()) => return daemon,
                Err(why) => failures = format!("{} {why}; its log:\n{}", self.name, daemon.log()),
            }
        }
        panic!("{failures}");
    }

    fn spawn(&self, place: Place, command: impl Fn(&Place) -> Command) -> Daemon {
        let mut command = command(&place);
        let log = File::create(place.folder.join("log")).expect("a log file can be made");
        let errors = log.try_clone().expect("a descriptor can be duplicated");
        command.stdin(Stdio::piped()).stdout(log).stderr(errors).process_group(0);
        sys::die_with_thread(&mut command);
        let (started, child) = mpsc::channel();
        let (keeper, released) = mpsc::channel::<()>();
        std::thread::Builder::new()
            .name("support-daemon".to_owned())
            .spawn(move || {
                _ = started.send(command.spawn());
                // The daemon dies with this thread, which therefore lives as long as the handle.
                _ = released.recv();
            })
            .expect("a thread can be started");
        let child = child.recv().expect("the thread answers");
        let child = child.unwrap_or_else(|error| panic!("cannot start {}: {error}", self.name));
        Daemon { place, child, stop: self.stop, _keeper: keeper }
    }
}

/// Free loopback ports, all different because they are all bound at the same time, and claims to them.
///
/// A port is free for TCP and UDP and in both families. Daemons that let others bind their ports
/// (SO_REUSEPORT) would share one with another daemon of another test without a word: the claim, which every
/// test process can see, keeps such a port from being given out twice.
fn free_ports(names: &[String]) -> (BTreeMap<String, SocketAddr>, Vec<UnixListener>) {
    let mut held: Vec<Held> = Vec::new();
    while held.len() < names.len() {
        held.extend(Held::any());
    }
    let ports = names.iter().zip(&held);
    let ports = ports.map(|(name, held)| (name.clone(), held.address)).collect();
    (ports, held.into_iter().map(|held| held.claim).collect())
}

struct Held {
    address: SocketAddr,
    claim: UnixListener,
    _tcp: Vec<TcpListener>,
    _udp: Vec<UdpSocket>,
}

impl Held {
    /// A free port, if the first that the kernel thinks of is free everywhere.
    fn any() -> Option<Self> {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = first.local_addr().expect("bound");
        let port = address.port();
        let name = format!("netsonde-port-{port}");
        let claim = UnixAddr::from_abstract_name(name).expect("a short name");
        let claim = UnixListener::bind_addr(&claim).ok()?;
        let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
        let (mut tcp, mut udp) = (vec![first], vec![UdpSocket::bind((v4, port)).ok()?]);
        if has_ipv6() {
            tcp.push(TcpListener::bind((v6, port)).ok()?);
            udp.push(UdpSocket::bind((v6, port)).ok()?);
        }
        Some(Held { address, claim, _tcp: tcp, _udp: udp })
    }
}

/// The loopback address of the same family.
fn loopback(like: SocketAddr) -> IpAddr {
    match like {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Whether `::1` can be bound.
pub(crate) fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Whether somebody listens on this address, without a connection that would disturb him.
fn is_listening(address: SocketAddr) -> bool {
    const LISTEN: &str = "0A";
    let port = format!(":{:04X}", address.port());
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        table.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().unwrap_or_default();
            let state = fields.nth(1).unwrap_or_default();
            local.ends_with(&port) && state == LISTEN
        })
    })
}

/// A running daemon. Dropping it ends the process group and removes the folder.
#[derive(Debug)]
pub struct Daemon {
    place: Place,
    child: Child,
    stop: i32,
    _keeper: mpsc::Sender<()>,
}

impl Daemon {
    /// The address of its only port.
    ///
    /// # Panics
    ///
    /// It has several: use [`Daemon::addr_of`].
    #[track_caller]
    pub fn addr(&self) -> SocketAddr {
        let mut ports = self.place.ports.values();
        match (ports.next(), ports.next()) {
            (Some(only), None) => *only,
            _ => panic!("not exactly one port: {:?}", self.place.ports),
        }
    }

    /// The address of a port by its name.
    ///
    /// # Panics
    ///
    /// It has no such port.
    #[track_caller]
    pub fn addr_of(&self, port: &str) -> SocketAddr {
        self.place.addr(port)
    }

    /// The address of a port by its name on `::1`, for those that listen there too: the DNS servers.
    ///
    /// # Panics
    ///
    /// It has no such port.
    #[track_caller]
    pub fn addr6_of(&self, port: &str) -> SocketAddr {
        self.place.addr6(port)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.place.folder()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.place.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes to its standard input: `openssl s_server` takes commands there (`R` renegotiates).
    ///
    /// # Panics
    ///
    /// It has ended.
    pub fn type_in(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("a pipe was set up");
        input.write_all(text.as_bytes()).expect("the daemon is there to read");
    }

    fn wait_until_ready(&mut self, ready: &dyn Fn(&Place) -> bool) -> Result<(), String> {
        let end = Instant::now() + START;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended with {status}"));
            }
            let listening = self.place.ports.values().all(|address| is_listening(*address));
            if listening && ready(&self.place) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(format!("was not ready within {START:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_for_end(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                _ if Instant::now() >= end => return None,
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        sys::signal_group(self.child.id(), self.stop);
        _ = self.wait_for_end(STOP);
        // Whoever of the group has not followed its leader.
        sys::signal_group(self.child.id(), libc::SIGKILL);
        _ = self.child.wait();
    }
}
