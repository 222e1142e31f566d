//! Networks of one's own: namespaces, wires between them, routes, filters. Needs root.
//!
//! Each [`Lab`] has names that no other has, so tests with labs run side by side; all of it is
//! removed on drop, and what a killed test left behind by the next lab that starts.
//!
//! A lab's addresses mean something only inside of it. Dial them through [`Namespace::run`] or
//! [`Namespace::block_on`], never from the test's own thread: out there they are somebody else's.
//!
//! ```no_run
//! # fn test() {
//! use netsonde_support::{Lab, Script, Server};
//!
//! let Some(lab) = Lab::new("example") else { return };
//! let (client, router, server) = (lab.namespace("c"), lab.namespace("r"), lab.namespace("s"));
//! lab.link((&client, "10.1.0.1/24"), (&router, "10.1.0.2/24"));
//! lab.link((&router, "10.2.0.1/24"), (&server, "10.2.0.2/24"));
//! client.ip("route add default via 10.1.0.2");
//! server.ip("route add default via 10.2.0.1");
//! router.forward();
//! router.nft("add table ip t; add chain ip t f { type filter hook forward priority 0; }; \
//!             add rule ip t f tcp dport 81 reject with icmp type admin-prohibited");
//! let service = server.run(|| {
//!     Server::builder().address(([10, 2, 0, 2], 80)).script(Script::new().send("hi")).tcp()
//! });
//! // A probe runs in the client's namespace, on a runtime and a thread of its own.
//! let connected = client.block_on(async || tokio::net::TcpStream::connect(service.addr()).await);
//! assert!(connected.is_ok());
//! # }
//! ```

use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::skip::{require_command, require_root};
use crate::sys;

/// Every name of a namespace begins so, then come process id and lab number.
const PREFIX: &str = "netsonde-lab-";

/// Where `ip netns` keeps the namespaces (ip-netns(8)).
const NAMESPACES: &str = "/run/netns";

/// A set of namespaces that live and die together.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    number: u8,
    links: AtomicU8,
    names: Mutex<Vec<String>>,
}

/// A network namespace of a [`Lab`].
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    word: String,
}

/// One end of a link.
#[derive(Clone, Debug)]
pub struct Device {
    /// The namespace that it is in.
    pub namespace: Namespace,
    /// Its name there, `to-` and the word of the namespace at the other end.
    pub name: String,
    /// Its hardware address.
    pub mac: [u8; 6],
}

fn run_command(command: &mut Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let what = format!("{command:?}");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        output.status.success() && written.is_none_or(|outcome| outcome.is_ok()),
        "{what}: {}{input}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ip(arguments: &str) -> String {
    run_command(Command::new("ip").args(arguments.split_whitespace()), "")
}

/// Removes the namespaces of labs whose processes are no more, and returns their names. Each new
/// [`Lab`] does so first.
pub fn remove_leftovers() -> Vec<String> {
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let is_over = process.is_some_and(|id| !PathBuf::from(format!("/proc/{id}")).exists());
        if is_over {
            // Another test may be at the same.
            _ = Command::new("ip").args(["netns", "delete", &name]).output();
            removed.push(name);
        }
    }
    removed
}

/// The namespaces of all labs of this process that exist.
pub fn existing() -> Vec<String> {
    let own = format!("{PREFIX}{}-", std::process::id());
    let entries = std::fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(&own)).collect();
    names.sort();
    names
}

impl Lab {
    /// A new lab; `None`, with the skip reported, where there is no root, no `ip` or no `nft`. The word
    /// shows in the names.
    pub fn new(word: &str) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        require_root()?;
        require_command("ip")?;
        require_command("nft")?;
        remove_leftovers();
        let number = COUNT.fetch_add(1, Ordering::Relaxed) as u8;
        let prefix = format!("{PREFIX}{}-{number}-{word}-", std::process::id());
        Some(Self { prefix, number, links: AtomicU8::new(0), names: Mutex::default() })
    }

    /// A new namespace, its loopback up, IPv6 addresses usable at once.
    ///
    /// # Panics
    ///
    /// It cannot be made.
    pub fn namespace(&self, word: &str) -> Namespace {
        let name = format!("{}{word}", self.prefix);
        ip(&format!("netns add {name}"));
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        let namespace = Namespace { name, word: word.to_owned() };
        for scope in ["all", "default"] {
            namespace.sysctl(&format!("ipv6/conf/{scope}/accept_dad"), "0");
            namespace.sysctl(&format!("ipv6/conf/{scope}/router_solicitations"), "0");
        }
        namespace.ip("link set lo up");
        namespace
    }

    /// A wire (veth pair) between two namespaces, with an address for each end, as in `10.0.0.1/24`
    /// or `fd00::1/64`; an empty one for none. Offloads are off: what a capture shows is what a real
    /// wire would carry.
    ///
    /// # Panics
    ///
    /// It cannot be made, for instance because there is one already.
    pub fn link(&self, one: (&Namespace, &str), other: (&Namespace, &str)) -> (Device, Device) {
        let number = self.links.fetch_add(1, Ordering::Relaxed) + 1;
        let device = |from: &Namespace, to: &Namespace, end: u8| Device {
            namespace: from.clone(),
            name: format!("to-{}", to.word).chars().take(15).collect(),
            mac: [2, 0, 0, self.number, number, end],
        };
        let (first, second) = (device(one.0, other.0, 1), device(other.0, one.0, 2));
        one.0.ip(&format!(
            "link add {} address {} type veth peer name {} address {} netns {}",
            first.name,
            first.mac_text(),
            second.name,
            second.mac_text(),
            other.0.name,
        ));
        for (device, address) in [(&first, one.1), (&second, other.1)] {
            device.offloads_off();
            device.namespace.ip(&format!("link set {} up", device.name));
            if !address.is_empty() {
                device.address(address);
            }
        }
        (first, second)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in self.names.get_mut().unwrap_or_else(PoisonError::into_inner) {
            _ = Command::new("ip").args(["netns", "delete", name]).output();
        }
    }
}

impl Namespace {
    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The word that it was made with.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// Runs `ip` with these arguments inside, and returns what it prints.
    ///
    /// # Panics
    ///
    /// It fails.
    pub fn ip(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.name))
    }

    /// Runs any command inside, and returns what it prints.
    ///
    /// # Panics
    ///
    /// It fails.
    pub fn exec(&self, program: &str, arguments: &str) -> String {
        self.run(|| run_command(Command::new(program).args(arguments.split_whitespace()), ""))
    }

    /// Feeds nftables commands (nft(8), `nft -f`) to the namespace.
    ///
    /// # Panics
    ///
    /// nft refuses them.
    pub fn nft(&self, commands: &str) {
        self.run(|| run_command(Command::new("nft").args(["-f", "-"]), commands));
    }

    /// Drops the first `count` packets that leave this namespace and match, for instance
    /// `tcp flags syn / syn,ack`; later ones pass.
    ///
    /// # Panics
    ///
    /// nft refuses the expression.
    pub fn drop_first_out(&self, count: usize, matching: &str) {
        // The counter begins at 0 and would take until the sun is cold to come round.
        self.nft(&format!(
            "add table inet lost\nadd chain inet lost out {{ type filter hook output priority 0; }}\n\
             add rule inet lost out {matching} numgen inc mod 4294967295 < {count} drop\n"
        ));
    }

    /// Writes a setting below `/proc/sys/net`, for instance `ipv4/tcp_timestamps`.
    ///
    /// # Panics
    ///
    /// There is no such setting, or it does not take the value.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        self.run(|| std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}")));
    }

    /// Makes it a router.
    ///
    /// # Panics
    ///
    /// The kernel refuses.
    pub fn forward(&self) {
        self.sysctl("ipv4/ip_forward", "1");
        self.sysctl("ipv6/conf/all/forwarding", "1");
        // Otherwise ICMP errors are rationed, one a second to each peer.
        self.sysctl("ipv4/icmp_ratelimit", "0");
        self.sysctl("ipv6/icmp/ratelimit", "0");
    }

    /// Runs a function on a new thread inside the namespace. Servers, daemons and threads that it
    /// starts live there too.
    ///
    /// # Panics
    ///
    /// The function panics, or the namespace is gone.
    pub fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        let path = PathBuf::from(NAMESPACES).join(&self.name);
        let inside = || {
            let namespace = File::open(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            sys::enter_network_namespace(namespace.as_fd()).expect("root may");
            function()
        };
        std::thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Runs an async function inside the namespace, on a current-thread runtime of its own.
    ///
    /// # Panics
    ///
    /// As [`Namespace::run`].
    pub fn block_on<T: Send>(&self, function: impl AsyncFnOnce() -> T + Send) -> T {
        self.run(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().build().expect("a runtime can be made").block_on(function())
        })
    }
}

impl Device {
    /// Its hardware address as text.
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }

    /// Gives it one more address, as in `10.0.0.1/24` or `fd00::1/64`.
    ///
    /// # Panics
    ///
    /// The address is no good.
    pub fn address(&self, address: &str) {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.namespace.ip(&format!("address add {address} dev {}{nodad}", self.name));
    }

    /// Tells it who has an address at the other end, so that nobody has to ask: for a peer that is a
    /// [`Tap`](crate::packet::Tap).
    ///
    /// # Panics
    ///
    /// The address is no good.
    pub fn neighbour(&self, address: &str, other_end: &Self) {
        self.namespace.ip(&format!(
            "neighbour add {address} lladdr {} dev {} nud permanent",
            other_end.mac_text(),
            self.name
        ));
    }

    /// Its index in its namespace (netdevice(7)).
    ///
    /// # Panics
    ///
    /// It is gone.
    pub fn index(&self) -> u32 {
        let index = self.namespace.run(|| sys::interface_index(&self.name));
        index.unwrap_or_else(|error| panic!("{}: {error}", self.name)).cast_unsigned()
    }

    fn offloads_off(&self) {
        // ETHTOOL_SRXCSUM, STXCSUM, SSG, STSO, SGSO, SGRO of linux/ethtool.h.
        const OFFLOADS: [u32; 6] = [0x15, 0x17, 0x19, 0x1f, 0x24, 0x2c];
        self.namespace.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket in the namespace");
            for offload in OFFLOADS {
                sys::ethtool_set(socket.as_fd(), &self.name, offload, 0)
                    .unwrap_or_else(|error| panic!("offload {offload:#x}: {error}"));
            }
        });
    }
}
