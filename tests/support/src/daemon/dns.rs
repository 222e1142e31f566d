//! Name servers: knot, BIND's named, nsd and unbound. Each answers on its port `dns` over UDP and TCP, on
//! `127.0.0.1` and, where there is IPv6, on the same port of `::1` ([`Daemon::addr6_of`]); those that are
//! given a certificate answer on `dot` (DNS over TLS, RFC 7858) and perhaps on `doh` (DNS over HTTPS,
//! RFC 8484, path `/dns-query`, HTTP/2) as well. All of them listen on loopback only, keep nothing outside
//! their folder, and limit no rate.
//!
//! A server is handed out when it has told its own identity (`id.server`, class CH) and has answered for
//! each of its zones, by UDP and TCP and in both families.
//!
//! ```no_run
//! # fn test() {
//! use netsonde_support::Pki;
//! use netsonde_support::daemon::dns::{self, Zone};
//!
//! let text = "@ 300 IN SOA ns host 1 2 3 4 5\n@ 300 IN NS ns\nns 300 IN A 192.0.2.1\n";
//! let zone = Zone { name: "example.test", text };
//! let certificate = Pki::new().leaf("dns.test").issue();
//! let Some(knot) = dns::knot(&[zone], "") else { return };
//! let stubs = [("example.test", knot.addr_of("dns"))];
//! let Some(unbound) = dns::unbound(&certificate, &stubs, "") else { return };
//! println!("plain: {}, TLS: {}", unbound.addr_of("dns"), unbound.addr_of("dot"));
//! # }
//! ```

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::ready::run;
use super::{Daemon, Place, Setup, has_ipv6};
use crate::TempDir;
use crate::pki::Issued;
use crate::skip::require_command;

/// A zone to be served.
#[derive(Clone, Copy, Debug)]
pub struct Zone<'z> {
    /// Its name, from the root, with or without its final dot.
    pub name: &'z str,
    /// Its master file (RFC 1035, 5). Relative names are relative to the zone.
    pub text: &'z str,
}

impl Zone<'_> {
    /// Writes it into the folder of a daemon; gives the path.
    fn write(&self, number: usize, place: &Place) -> String {
        place.write(&format!("zone-{number}"), self.text)
    }
}

fn text_of<'z>(
    zones: &[Zone<'z>],
    place: &Place,
    one: impl Fn(&Zone<'z>, &str) -> String,
) -> String {
    let numbered = zones.iter().enumerate();
    numbered.map(|(number, zone)| one(zone, &zone.write(number, place))).collect()
}

/// knot's `knotd` with the port `dns`. It knows no DNS over TLS before its version 3.3. Anyone may transfer
/// the zones; `options` are lines for its section `server`, indented by four blanks.
pub fn knot(zones: &[Zone<'_>], options: &str) -> Option<Daemon> {
    let program = require_command("knotd")?;
    let setup = Setup::new("knot").port("dns").ready_when(answers_for(zones));
    Some(setup.start(|place| {
        let folder = place.folder().display();
        let listen = addresses(place, "dns").map(at_port);
        let zones = text_of(zones, place, |zone, path| {
            format!(
                "  - domain: {}\n    file: {path}\n    acl: all\n    semantic-checks: off\n    \
                 zonefile-sync: -1\n    journal-content: none\n",
                zone.name
            )
        });
        let configuration = place.write(
            "knot.conf",
            &format!(
                "server:\n    listen: [ {} ]\n    rundir: {folder}\n    identity: {}\n    \
                 udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n{options}\n\
                 log:\n  - target: stderr\n    any: info\n\
                 database:\n    storage: {folder}/db\n\
                 acl:\n  - id: all\n    action: transfer\n    address: [ 127.0.0.1, ::1 ]\n\
                 zone:\n{zones}",
                listen.collect::<Vec<_>>().join(", "),
                identity(place),
            ),
        );
        let mut command = Command::new(&program);
        command.arg("-c").arg(configuration);
        command
    }))
}

/// BIND's `named` with the ports `dns`, `dot` and `doh`, for these zones only: it asks nobody else. Anyone
/// may transfer the zones; `options` are statements for its block `options`.
pub fn named(issued: &Issued, zones: &[Zone<'_>], options: &str) -> Option<Daemon> {
    let program = require_command("named")?;
    let setup = Setup::new("named").port("dns").port("dot").port("doh");
    Some(setup.ready_when(answers_for(zones)).start(|place| {
        let (certificate, key) = issued.write_pem(place.folder(), "leaf");
        let listen: String = [("dns", ""), ("dot", "tls own"), ("doh", "tls own http default")]
            .into_iter()
            .flat_map(|(port, how)| addresses(place, port).map(move |address| (address, how)))
            .map(|(address, how)| {
                let family = if address.is_ipv6() { "-v6" } else { "" };
                let port = address.port();
                format!("    listen-on{family} port {port} {how} {{ {}; }};\n", address.ip())
            })
            .collect();
        let zones = text_of(zones, place, |zone, path| {
            format!(
                "zone \"{}\" {{ type primary; file \"{path}\"; check-names ignore; \
                 check-integrity no; }};\n",
                zone.name
            )
        });
        let configuration = place.write(
            "named.conf",
            &format!(
                "tls own {{ cert-file \"{}\"; key-file \"{}\"; }};\n\
                 controls {{ }};\n\
                 options {{\n    directory \"{}\";\n    pid-file none;\n    lock-file none;\n    \
                 session-keyfile none;\n    server-id \"{}\";\n    recursion no;\n    notify no;\n    \
                 dnssec-validation no;\n    empty-zones-enable no;\n    allow-transfer {{ any; }};\n\
                 {listen}{options}\n}};\n{zones}",
                certificate.display(),
                key.display(),
                place.folder().display(),
                identity(place),
            ),
        );
        let mut command = Command::new(&program);
        command.args(["-g", "-n", "1", "-c"]).arg(configuration);
        command
    }))
}

/// `nsd` with the ports `dns` and `dot`. Anyone may transfer the zones; `options` are lines for its section
/// `server`.
pub fn nsd(issued: &Issued, zones: &[Zone<'_>], options: &str) -> Option<Daemon> {
    let program = require_command("nsd")?;
    let setup = Setup::new("nsd").port("dns").port("dot").ready_when(answers_for(zones));
    Some(setup.start(|place| {
        let (certificate, key) = issued.write_pem(place.folder(), "leaf");
        let folder = place.folder().display();
        let listen: String = ["dns", "dot"]
            .into_iter()
            .flat_map(|port| addresses(place, port))
            .map(|address| format!("  ip-address: {}\n", at_port(address)))
            .collect();
        let zones = text_of(zones, place, |zone, path| {
            format!(
                "zone:\n  name: {}\n  zonefile: {path}\n  provide-xfr: 127.0.0.1 NOKEY\n  \
                 provide-xfr: ::1 NOKEY\n",
                zone.name
            )
        });
        let configuration = place.write(
            "nsd.conf",
            &format!(
                "server:\n{listen}  identity: \"{}\"\n  username: \"\"\n  chroot: \"\"\n  \
                 zonesdir: \"{folder}\"\n  database: \"\"\n  pidfile: \"\"\n  \
                 xfrdfile: \"{folder}/xfrd.state\"\n  xfrdir: \"{folder}\"\n  \
                 zonelistfile: \"{folder}/zone.list\"\n  server-count: 1\n  rrl-ratelimit: 0\n  \
                 rrl-whitelist-ratelimit: 0\n  tls-service-pem: \"{}\"\n  \
                 tls-service-key: \"{}\"\n  tls-port: {}\n{options}\n\
                 remote-control:\n  control-enable: no\n{zones}",
                identity(place),
                certificate.display(),
                key.display(),
                place.addr("dot").port(),
            ),
        );
        let mut command = Command::new(&program);
        command.arg("-d").arg("-c").arg(configuration);
        command
    }))
}

/// `unbound` with the ports `dns`, `dot` and `doh`: a resolver that asks these servers for what is within
/// these zones, and refuses everything else, so that nothing leaves the host. It does not validate;
/// `options` are lines for its section `server`, for instance another `module-config`.
pub fn unbound(issued: &Issued, stubs: &[(&str, SocketAddr)], options: &str) -> Option<Daemon> {
    let program = require_command("unbound")?;
    let setup = Setup::new("unbound").port("dns").port("dot").port("doh");
    Some(setup.ready_when(answers_for(&[])).start(|place| {
        let (certificate, key) = issued.write_pem(place.folder(), "leaf");
        let listen: String = ["dns", "dot", "doh"]
            .into_iter()
            .flat_map(|port| addresses(place, port))
            .map(|address| format!("  interface: {}\n", at_port(address)))
            .collect();
        let local: String = stubs
            .iter()
            .map(|(name, _)| format!("  local-zone: \"{name}\" transparent\n"))
            .collect();
        let stubs: String = stubs
            .iter()
            .map(|(name, address)| {
                let address = at_port(*address);
                format!("stub-zone:\n  name: \"{name}\"\n  stub-addr: {address}\n")
            })
            .collect();
        let configuration = place.write(
            "unbound.conf",
            &format!(
                "server:\n{listen}  identity: \"{}\"\n  directory: \"{}\"\n  username: \"\"\n  \
                 chroot: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  \
                 do-daemonize: no\n  num-threads: 1\n  so-reuseport: no\n  \
                 do-not-query-localhost: no\n  module-config: \"iterator\"\n  \
                 local-zone: \".\" refuse\n{local}  \
                 access-control: 127.0.0.0/8 allow\n  access-control: ::1 allow\n  \
                 tls-port: {}\n  https-port: {}\n  http-endpoint: \"/dns-query\"\n  \
                 tls-service-pem: \"{}\"\n  tls-service-key: \"{}\"\n{options}\n\
                 remote-control:\n  control-enable: no\n{stubs}",
                identity(place),
                place.folder().display(),
                place.addr("dot").port(),
                place.addr("doh").port(),
                certificate.display(),
                key.display(),
            ),
        );
        let mut command = Command::new(&program);
        command.args(["-d", "-p", "-c"]).arg(configuration);
        command
    }))
}

/// A zone with the records that DNSSEC adds (RFC 4034, RFC 5155), and what its parent has to know of it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The master file, one record in a line, with full names.
    pub text: String,
    /// Delegation signers of its key-signing key, as lines of a master file.
    pub ds: String,
    /// The DNSKEY record of its key-signing key, likewise.
    pub key: String,
}

/// Signs a zone with two fresh keys of an algorithm (`ECDSAP256SHA256`, `ED25519`, `RSASHA256`, ...).
/// `arguments` go to `dnssec-signzone`: `-3 AABB -H 5` for NSEC3, `-s` and `-e` for the times of the
/// signatures. `None`, and the skip is reported, where BIND's tools are not installed.
///
/// # Panics
///
/// The zone cannot be signed.
pub fn sign(zone: Zone<'_>, algorithm: &str, arguments: &[&str]) -> Option<Signed> {
    let keygen = require_command("dnssec-keygen")?;
    let signer = require_command("dnssec-signzone")?;
    let to_ds = require_command("dnssec-dsfromkey")?;
    let folder = TempDir::new("sign");
    let make = |kind: &[&str]| -> PathBuf {
        let mut command = Command::new(&keygen);
        command.args(["-q", "-a", algorithm, "-K"]).arg(&*folder).args(kind).arg(zone.name);
        folder.join(format!("{}.key", output("dnssec-keygen", &mut command).trim()))
    };
    let (secure, _) = (make(&["-f", "KSK"]), make(&[]));
    std::fs::write(folder.join("zone"), zone.text).expect("own folder");
    let mut command = Command::new(signer);
    command.args(["-q", "-S", "-P", "-O", "full", "-o", zone.name, "-f", "signed", "-K"]);
    command.arg(&*folder).args(arguments).arg("zone").current_dir(&*folder);
    run("dnssec-signzone", &mut command);
    let text = std::fs::read_to_string(folder.join("signed")).expect("it was written");
    let ds = output("dnssec-dsfromkey", Command::new(to_ds).arg(&secure));
    let lines = |path: &Path| std::fs::read_to_string(path).expect("it was written");
    let key = lines(&secure).lines().filter(|line| !line.starts_with(';')).collect();
    Some(Signed { text, ds, key })
}

fn output(name: &str, command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where to listen for one of its ports.
fn addresses(place: &Place, port: &str) -> impl Iterator<Item = SocketAddr> + use<> {
    let v6 = has_ipv6().then(|| place.addr6(port));
    std::iter::once(place.addr(port)).chain(v6)
}

/// An address as all of them but BIND write it.
fn at_port(address: SocketAddr) -> String {
    format!("{}@{}", address.ip(), address.port())
}

/// What it answers when it is asked who it is.
fn identity(place: &Place) -> String {
    let name = place.folder().file_name().expect("a folder has a name");
    name.to_string_lossy().into_owned()
}

/// Whether it is this daemon that answers on its port, with all zones loaded.
fn answers_for(zones: &[Zone<'_>]) -> impl Fn(&Place) -> bool + 'static {
    let zones: Vec<String> = zones.iter().map(|zone| zone.name.to_owned()).collect();
    move |place| {
        let identity = identity(place);
        addresses(place, "dns").all(|address| {
            let told = ask(address, "id.server", [16, 3]);
            let itself = told.iter().flatten().any(|answer| holds(answer, identity.as_bytes()));
            let loaded = || zones.iter().all(|zone| has_authority(address, zone));
            itself && loaded()
        })
    }
}

fn holds(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

/// Whether it answers for a zone by UDP and by TCP: with authority, without an error, with a record.
fn has_authority(address: SocketAddr, zone: &str) -> bool {
    let [by_udp, by_tcp] = ask(address, zone, [6, 1]);
    [by_udp, by_tcp].into_iter().all(|answer| {
        answer.is_some_and(|answer| answer[2] & 4 != 0 && answer[3] & 15 == 0 && answer[7] != 0)
    })
}

/// Asks by UDP and by TCP. An answer has a header at least.
fn ask(address: SocketAddr, name: &str, numbers: [u16; 2]) -> [Option<Vec<u8>>; 2] {
    // Somebody else's answers are not ours: each connection and each socket is new.
    let mut query = vec![0x5e, 0xed, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        query.push(u8::try_from(label.len()).expect("a label"));
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    let good =
        |answer: Vec<u8>| (answer.len() >= 12 && answer[..2] == query[..2]).then_some(answer);
    [by_udp(address, &query).and_then(good), by_tcp(address, &query).and_then(good)]
}

/// How long an answer may take. It is asked again and again until the daemon has to be there.
const ANSWER: Duration = Duration::from_millis(500);

fn by_udp(address: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((super::loopback(address), 0)).ok()?;
    socket.connect(address).ok()?;
    socket.set_read_timeout(Some(ANSWER)).ok()?;
    socket.send(query).ok()?;
    let mut answer = vec![0; 4096];
    let len = socket.recv(&mut answer).ok()?;
    answer.truncate(len);
    Some(answer)
}

fn by_tcp(address: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    let len = u16::try_from(query.len()).ok()?;
    stream.write_all(&[&len.to_be_bytes(), query].concat()).ok()?;
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut answer = vec![0; u16::from_be_bytes(len).into()];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}
