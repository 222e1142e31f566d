//! `sonde tcp` and `sonde tls`.

use std::time::Duration;

use netsonde::tls::TlsVersion;
use netsonde::{Phase, Report, ResolveSource};
use netsonde_support::{ClosedPort, Pki, Script, Server, TempDir, TlsServer};

use crate::{connections, json, sonde};

/// A TLS server for `www.test`, and the folder with the certificate of its authority.
fn tls(change: impl Fn(TlsServer, &Pki) -> TlsServer) -> (Server, TempDir, Pki) {
    let folder = TempDir::new("tool");
    let pki = Pki::new();
    pki.root.write_pem(folder.join("ca.pem"));
    let settings = change(TlsServer::new(pki.leaf("www.test").issue()), &pki);
    (Server::tcp(Script::new().start_tls(&settings)), folder, pki)
}

fn tls_args<'a>(target: &'a str, ca: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["tls", target, "--resolve", "www.test:127.0.0.1", "--ca", ca];
    args.extend(more);
    args
}

#[test]
fn a_port_that_answers_passes_and_one_that_refuses_fails() {
    let server = Server::tcp(Script::new().hang());
    let run = sonde(&["tcp", &server.addr().to_string()]).ended(0);
    assert!(run.out.starts_with(&format!("PASS tcp {} in ", server.addr())), "{run:?}");
    assert!(run.out.contains("connect") && run.err.is_empty(), "{run:?}");

    let closed = ClosedPort::v4();
    let run = sonde(&["tcp", &closed.addr().to_string()]).ended(1);
    assert!(run.out.starts_with("FAIL tcp ") && run.out.contains("\n  refused: "), "{run:?}");
    sonde(&["tcp", &closed.addr().to_string(), "--expect-failure", "refused"]).ended(0);
    sonde(&["tcp", &server.addr().to_string(), "--expect-failure", "refused"]).ended(1);
}

#[test]
fn unix_sockets_are_targets_too() {
    let folder = TempDir::new("tool");
    let server = Server::unix(folder.join("s.sock"), Script::new().hang());
    let target = format!("unix:{}", server.path().unwrap().display());
    let (run, result) = json(&["tcp", &target]);
    run.ended(0);
    assert!(matches!(result.report, Report::Unix(_)));
    assert_eq!(result.target.to_string(), target);

    let name = format!("sonde-tool-{}", std::process::id());
    let _server = Server::builder().script(Script::new().hang()).unix_abstract(&name);
    sonde(&["tcp", &format!("unix:@{name}")]).ended(0);
    let missing = format!("unix:{}", folder.join("missing").display());
    let run = sonde(&["tcp", &missing]).ended(1);
    assert!(run.out.contains("no_such_socket"), "{run:?}");
}

#[test]
fn the_timeout_is_kept() {
    let server = Server::tcp(Script::new().hang());
    let start = std::time::Instant::now();
    let (run, result) = json(&["tls", &server.addr().to_string(), "--timeout", "200ms"]);
    run.ended(1);
    assert_eq!(result.verdict.code(), Some("timeout"));
    assert_eq!(result.verdict.phase(), Some(Phase::Tls));
    assert!(result.timing.total() >= Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn names_come_from_the_command_line_and_connect_to_keeps_them() {
    let server = Server::tcp(Script::new().hang());
    let target = format!("db.test:{}", server.port());
    let (run, result) = json(&["tcp", &target, "--resolve", "db.test:127.0.0.1"]);
    run.ended(0);
    assert_eq!(result.target.to_string(), target);
    let (run, result) = json(&["tcp", "db.test:1", "--connect-to", &server.addr().to_string()]);
    run.ended(0);
    assert_eq!(result.target.to_string(), "db.test:1");
    assert_eq!(result.attempts[0].address.to_string(), server.addr().to_string());
}

#[test]
fn every_address_is_probed_when_asked() {
    let server = Server::tcp(Script::new().hang());
    let target = format!("two.test:{}", server.port());
    let names = ["--resolve", "two.test:127.0.0.1", "--resolve", "two.test:127.0.0.3"];
    let (run, result) = json(&[&["tcp", &target], &names[..]].concat());
    run.ended(0);
    assert!(result.verdict.is_pass());
    let (run, result) = json(&[&["tcp", &target, "--all-addresses"], &names[..]].concat());
    run.ended(1);
    assert_eq!(result.attempts.len(), 2);
    assert_eq!(result.verdict.code(), Some("refused"));
}

#[test]
fn a_family_can_be_ruled_out() {
    let server = Server::tcp(Script::new().hang());
    let target = server.addr().to_string();
    sonde(&["tcp", &target, "-4"]).ended(0);
    let (_, result) = json(&["tcp", &target, "-6"]);
    assert!(!result.verdict.is_pass(), "{result}");
}

#[test]
fn the_socket_is_set_up_as_asked() {
    let server = Server::tcp(Script::new().hang());
    let target = server.addr().to_string();
    sonde(&["tcp", &target, "--source", "127.0.0.7", "--dscp", "46", "--ttl", "3"]).ended(0);
    let peer = &connections(&server, 1)[0].peer;
    assert!(peer.starts_with("127.0.0.7:"), "{peer}");
    // 192.0.2.0/24 belongs to nobody (RFC 5737).
    let run = sonde(&["tcp", &target, "--source", "192.0.2.1"]).ended(2);
    assert!(run.out.contains("local_address"), "{run:?}");
}

#[test]
fn a_guarded_probe_sends_nothing_and_is_unknown() {
    let server = Server::tcp(Script::new().hang());
    let run = sonde(&["tcp", &server.addr().to_string(), "--guard"]).ended(2);
    assert!(run.out.starts_with("UNKNOWN ") && run.out.contains("policy"), "{run:?}");
    assert_eq!(server.count(), 0);
}

#[test]
fn a_good_certificate_passes_and_is_shown() {
    let (server, folder, _) = tls(|settings, _| settings);
    let target = format!("www.test:{}", server.port());
    let ca = folder.join("ca.pem").display().to_string();
    let run = sonde(&tls_args(&target, &ca, &[])).ended(0);
    for wanted in ["TLS 1.3", "CN=www.test", "Support Intermediate", "days left"] {
        assert!(run.out.contains(wanted), "no {wanted} in {}", run.out);
    }
    assert_eq!(server.connection(0).hello.unwrap().sni.as_deref(), Some("www.test"));
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_by_code() {
    let folder = TempDir::new("tool");
    let pki = Pki::new();
    pki.root.write_pem(folder.join("ca.pem"));
    let ca = folder.join("ca.pem").display().to_string();
    for (issued, trusted, code) in [
        (pki.leaf("www.test").days(-9, -1).issue(), true, "tls_expired"),
        (pki.leaf("www.test").days(1, 9).issue(), true, "tls_not_yet_valid"),
        (pki.leaf("other.test").issue(), true, "tls_name_mismatch"),
        (pki.leaf("www.test").issue(), false, "tls_unknown_issuer"),
    ] {
        let server = Server::tcp(Script::new().start_tls(&TlsServer::new(issued)));
        let target = format!("www.test:{}", server.port());
        let args = tls_args(&target, &ca, &[]);
        let args = if trusted { &args[..] } else { &args[..args.len() - 2] };
        let run = sonde(args).ended(1);
        assert!(run.out.contains(&format!("\n  {code}: ")), "{run:?}");
        assert!(run.out.contains(".test"), "the certificate is shown: {run:?}");
        let run = sonde(&[args, &["--insecure"]].concat()).ended(0);
        assert!(run.out.contains(code), "what was found is shown all the same: {run:?}");
    }
}

#[test]
fn days_left_are_an_expectation() {
    let (server, folder, _) = tls(|settings, _| settings);
    let target = format!("www.test:{}", server.port());
    let ca = folder.join("ca.pem").display().to_string();
    sonde(&tls_args(&target, &ca, &["--min-days-left", "14"])).ended(0);
    let run = sonde(&tls_args(&target, &ca, &["--min-days-left", "4000"])).ended(1);
    assert!(run.out.contains("expectation_failed") && run.out.contains("min_days_left"), "{run:?}");
}

#[test]
fn the_hello_is_as_asked() {
    let (server, folder, _) = tls(|settings, _| settings.alpn(["h2", "http/1.1"]));
    let target = format!("www.test:{}", server.port());
    let ca = folder.join("ca.pem").display().to_string();
    let report = |more: &[&str]| {
        let (run, result) = json(&tls_args(&target, &ca, more));
        run.ended(0);
        let Report::Tcp(report) = result.report else { panic!("{result}") };
        report.tls.unwrap()
    };
    let tls = report(&["--alpn", "h2,http/1.1", "--max-tls", "1.2", "--sni", "www.test"]);
    assert_eq!((tls.alpn.as_deref(), tls.version), (Some("h2"), Some(TlsVersion::Tls12)));
    let tls = report(&["--no-sni", "--min-tls", "1.3"]);
    assert_eq!((tls.sni, tls.version), (None, Some(TlsVersion::Tls13)));
    let hellos: Vec<_> = server.connections().into_iter().map(|one| one.hello.unwrap()).collect();
    assert_eq!(hellos[0].alpn, ["h2", "http/1.1"]);
    assert_eq!(hellos[1].sni, None);
}

#[test]
fn a_client_certificate_is_shown_to_the_server() {
    let (server, folder, pki) = tls(|settings, pki| settings.require_client(&pki.root));
    let target = format!("www.test:{}", server.port());
    let ca = folder.join("ca.pem").display().to_string();
    let client = pki.client("probe.test").issue();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, client.chain_pem()).unwrap();
    client.key.write_pem(&key);
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    // TLS 1.2: there a server refuses within the handshake.
    let run = sonde(&tls_args(&target, &ca, &["--max-tls", "1.2"])).ended(1);
    assert!(run.out.contains("tls_alert"), "{run:?}");
    sonde(&tls_args(&target, &ca, &["--max-tls", "1.2", "--cert", &cert, "--key", &key])).ended(0);
    let seen = server.blocking_until(Duration::from_secs(5), |all| all.get(1)?.tls.clone());
    assert_eq!(seen.client_chain.len(), client.chain.len());
    let run = sonde(&tls_args(&target, &ca, &["--cert", &cert])).ended(2);
    assert!(run.err.contains("key") && run.out.is_empty(), "{run:?}");
}

#[test]
fn starttls_speaks_the_protocol_first() {
    let folder = TempDir::new("tool");
    let pki = Pki::new();
    pki.root.write_pem(folder.join("ca.pem"));
    let settings = TlsServer::new(pki.leaf("www.test").issue());
    let smtp = Script::new()
        .send("220 www.test ESMTP\r\n")
        .read_line()
        .send("250-www.test\r\n250 STARTTLS\r\n")
        .read_line()
        .send("220 go\r\n")
        .start_tls(&settings);
    let server = Server::tcp(smtp);
    let target = format!("www.test:{}", server.port());
    let ca = folder.join("ca.pem").display().to_string();
    let (run, result) = json(&tls_args(&target, &ca, &["--starttls", "smtp"]));
    run.ended(0);
    assert!(
        result.timing.phase(Phase::Script).is_some() && result.timing.phase(Phase::Tls).is_some()
    );
    assert_eq!(server.connection(0).text(), "EHLO www.test\r\nSTARTTLS\r\n");

    let plain = Server::tcp(Script::new().send("220 x\r\n").read_line().send("250 x\r\n").hang());
    let target = format!("www.test:{}", plain.port());
    let run = sonde(&tls_args(&target, &ca, &["--starttls", "smtp"])).ended(1);
    assert!(run.out.contains("starttls_refused"), "{run:?}");
}

#[test]
fn names_go_to_the_resolver_that_is_chosen() {
    let server = Server::tcp(Script::new().hang());
    let target = format!("localhost:{}", server.addr().port());
    let source = |resolver: &str| {
        let (run, result) = json(&["tcp", &target, "--resolver", resolver, "-4"]);
        run.ended(0);
        let Report::Tcp(report) = result.report else { panic!("{:?}", result.report) };
        report.resolution.unwrap().detail.map(|detail| detail.source)
    };
    assert_eq!(source("system"), None);
    let told = source("stub").unwrap();
    assert!(matches!(told, ResolveSource::Hosts | ResolveSource::Local), "{told:?}");
    sonde(&["tcp", &target, "--resolver", "other"]).ended(2);
}
