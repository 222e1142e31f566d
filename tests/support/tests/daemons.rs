//! Each daemon starts, answers, and is gone afterwards.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use netsonde_support::daemon::dns::{self, Zone};
use netsonde_support::daemon::{self, Daemon, Setup};
use netsonde_support::{Issued, Pki, require_command};
use rustls::{ClientConfig, ClientConnection};

fn pki() -> (Pki, Issued) {
    let pki = Pki::new();
    let leaf = pki.leaf("good.test").issue();
    (pki, leaf)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends a text and returns the first line (or as many bytes as there are of it) that comes back.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line).unwrap();
    String::from_utf8_lossy(&line).into_owned()
}

/// Shakes hands and checks the certificate.
fn speaks_tls(address: SocketAddr, pki: &Pki) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(pki.root.root_store())
        .with_no_client_auth();
    let name = "good.test".try_into().unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = connect(address);
    while session.is_handshaking() {
        session.complete_io(&mut stream).unwrap();
    }
}

fn gone(daemon: Daemon, addresses: &[SocketAddr]) {
    let (pid, folder) = (daemon.pid(), daemon.folder().to_owned());
    drop(daemon);
    assert!(
        !std::path::Path::new(&format!("/proc/{pid}")).exists(),
        "process {pid} is still there"
    );
    assert!(!folder.exists());
    for address in addresses {
        TcpStream::connect(address).unwrap_err();
    }
    // Nothing that was started in the folder may survive its leader.
    let folder = folder.display().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        assert!(!command.contains(&folder), "still there: {command}");
    }
}

#[test]
fn nginx_answers_tls() {
    let (pki, leaf) = pki();
    let Some(daemon) = daemon::nginx(&leaf, "") else { return };
    let address = daemon.addr();
    speaks_tls(address, &pki);
    assert!(ask(address, b"GET / HTTP/1.0\r\n\r\n").contains(" 400 "));
    gone(daemon, &[address]);
}

#[test]
fn haproxy_answers_tls() {
    let (pki, leaf) = pki();
    let Some(daemon) = daemon::haproxy(&leaf, "ssl-max-ver TLSv1.2") else { return };
    let address = daemon.addr();
    speaks_tls(address, &pki);
    gone(daemon, &[address]);
}

#[test]
fn redis_answers_ping() {
    let (pki, leaf) = pki();
    let Some(daemon) = daemon::redis() else { return };
    let address = daemon.addr();
    assert_eq!(ask(address, b"PING\r\n"), "+PONG\r\n");
    gone(daemon, &[address]);
    let Some(daemon) = daemon::redis_tls(&leaf) else { return };
    let address = daemon.addr();
    speaks_tls(address, &pki);
    gone(daemon, &[address]);
}

#[test]
fn openssl_answers_tls_and_takes_arguments() {
    let (pki, leaf) = pki();
    let Some(mut daemon) = daemon::openssl_server(&leaf, &["-tls1_2"]) else { return };
    let address = daemon.addr();
    speaks_tls(address, &pki);
    daemon.type_in("S\n");
    gone(daemon, &[address]);
}

#[test]
fn sshd_sends_its_banner() {
    let Some(daemon) = daemon::sshd() else { return };
    let address = daemon.addr();
    assert!(ask(address, b"").starts_with("SSH-2.0-OpenSSH"));
    gone(daemon, &[address]);
}

#[test]
fn postfix_offers_starttls_only_with_a_certificate() {
    let (_, leaf) = pki();
    for (issued, expected) in [(Some(leaf), "220 2.0.0"), (None, "502 5.5.1")] {
        let Some(daemon) = daemon::postfix(issued.as_ref(), "") else { return };
        let address = daemon.addr();
        let mut stream = BufReader::new(connect(address));
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert_eq!(line, "220 mail.test ESMTP\r\n");
        stream.get_mut().write_all(b"STARTTLS\r\n").unwrap();
        line.clear();
        stream.read_line(&mut line).unwrap();
        assert!(line.starts_with(expected), "{line}");
        gone(daemon, &[address]);
    }
}

#[test]
fn postfix_refuses_the_upgrade_without_its_key() {
    let (_, leaf) = pki();
    let extra = "smtpd_tls_key_file = /nonexistent/key";
    let Some(daemon) = daemon::postfix(Some(&leaf), extra) else { return };
    let mut stream = BufReader::new(connect(daemon.addr()));
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    stream.get_mut().write_all(b"STARTTLS\r\n").unwrap();
    line.clear();
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("454 "), "{line}");
}

#[test]
fn dovecot_greets_on_all_ports() {
    let (pki, leaf) = pki();
    let Some(daemon) = daemon::dovecot(&leaf) else { return };
    assert!(ask(daemon.addr_of("imap"), b"").contains("STARTTLS"));
    assert!(ask(daemon.addr_of("pop3"), b"").starts_with("+OK"));
    speaks_tls(daemon.addr_of("imaps"), &pki);
    speaks_tls(daemon.addr_of("pop3s"), &pki);
    let ports = ["imap", "imaps", "pop3", "pop3s"].map(|port| daemon.addr_of(port));
    gone(daemon, &ports);
}

#[test]
fn postgresql_agrees_to_tls() {
    let (_, leaf) = pki();
    let Some(daemon) = daemon::postgresql(&leaf) else { return };
    let address = daemon.addr();
    let mut stream = connect(address);
    // SSLRequest: length 8, code 80877103.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    gone(daemon, &[address]);
}

#[test]
fn a_daemon_that_ends_shows_its_log() {
    let Some(shell) = require_command("sh") else { return };
    let outcome = std::panic::catch_unwind(|| {
        Setup::new("short").port("none").start(|_| {
            let mut command = std::process::Command::new(&shell);
            command.args(["-c", "echo no luck; exit 3"]);
            command
        })
    });
    let message = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("exit status: 3") && message.contains("no luck"), "{message}");
}

/// A question of class IN with the length in front, for streams.
fn question(name: &str, rtype: u8) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend_from_slice(label.as_bytes());
    }
    query.extend([0, 0, rtype, 0, 1]);
    let len = u16::try_from(query.len()).unwrap();
    [&len.to_be_bytes(), &query[..]].concat()
}

const ZONE: Zone<'static> = Zone {
    name: "example.test",
    text: "@ 300 IN SOA ns host 1 2 3 4 5\n@ 300 IN NS ns\nns 300 IN A 192.0.2.1\n",
};

/// Asks for the address of `ns.example.test` through a stream, and finds it at the end of the answer.
fn resolves(mut stream: impl Read + Write) {
    stream.write_all(&question("ns.example.test", 1)).unwrap();
    let mut len = [0; 2];
    stream.read_exact(&mut len).unwrap();
    let mut answer = vec![0; u16::from_be_bytes(len).into()];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer.windows(6).any(|octets| octets == [0, 4, 192, 0, 2, 1]), "{answer:?}");
}

fn resolves_by_tls(address: SocketAddr, pki: &Pki, protocol: Option<&[u8]>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(pki.root.root_store())
        .with_no_client_auth();
    config.alpn_protocols = protocol.map(<[u8]>::to_vec).into_iter().collect();
    let name = "good.test".try_into().unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(session, connect(address));
    if protocol == Some(b"h2") {
        // The frames of HTTP/2 are for the tests of DNS over HTTPS; here it has to choose the protocol.
        stream.flush().unwrap();
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        assert_eq!(stream.conn.alpn_protocol(), protocol);
    } else {
        resolves(stream);
    }
}

#[test]
fn name_servers_answer_by_every_transport_that_they_have() {
    let (pki, leaf) = pki();
    let Some(knot) = dns::knot(&[ZONE], "") else { return };
    let Some(named) = dns::named(&leaf, &[ZONE], "") else { return };
    let Some(nsd) = dns::nsd(&leaf, &[ZONE], "") else { return };
    let stubs = [("example.test", knot.addr_of("dns"))];
    let Some(unbound) = dns::unbound(&leaf, &stubs, "") else { return };
    let mut all = Vec::new();
    for (daemon, ports) in
        [(nsd, &["dot"][..]), (named, &["dot", "doh"]), (unbound, &["dot", "doh"]), (knot, &[])]
    {
        let v6 = netsonde_support::skip::require_ipv6().map(|()| daemon.addr6_of("dns"));
        for address in std::iter::once(daemon.addr_of("dns")).chain(v6) {
            resolves(connect(address));
        }
        for port in ports {
            let protocol = (*port == "doh").then_some(&b"h2"[..]);
            resolves_by_tls(daemon.addr_of(port), &pki, protocol);
        }
        let addresses = ports.iter().map(|port| daemon.addr_of(port));
        let addresses = addresses.chain([daemon.addr_of("dns")]).collect::<Vec<_>>();
        all.push((daemon, addresses));
    }
    for (daemon, addresses) in all {
        gone(daemon, &addresses);
    }
}

#[test]
fn a_zone_is_signed_and_served() {
    let Some(signed) = dns::sign(ZONE, "ECDSAP256SHA256", &["-3", "AABB", "-H", "5"]) else {
        return;
    };
    assert!(signed.text.contains("NSEC3PARAM") && signed.text.contains("RRSIG"), "{}", signed.text);
    assert!(signed.ds.starts_with("example.test. IN DS "), "{}", signed.ds);
    assert!(signed.key.contains("DNSKEY 257 3 13 "), "{}", signed.key);
    let Some(knot) = dns::knot(&[Zone { text: &signed.text, ..ZONE }], "") else { return };
    resolves(connect(knot.addr_of("dns")));
}
