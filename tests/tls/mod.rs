//! Probes of TLS servers, and what their reports have to keep.
#![allow(dead_code, unused_macros, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

#[macro_use]
mod rows;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use netsonde::script::Dialogue;
use netsonde::tcp::{TcpConfig, TcpProber, TcpReport};
use netsonde::tls::{
    CertificateRole, Check, CheckKind, CheckStatus, HandshakeKind, TlsConfig, TlsReport, Trust,
    Verify, read_certificate,
};
use netsonde::{FailureKind, Phase, ProbeContext, ProbeResult, Target};
use netsonde_support::pki::CertSpec;
use netsonde_support::{
    Authority, Issued, Pki, Script, Server, TempDir, TlsServer, daemon, require_command,
};

use crate::check::{checked, within_ms};

/// The name that everything here is about unless a test says otherwise.
pub(crate) const NAME: &str = "a.test";

/// A configuration that trusts this authority alone.
pub(crate) fn trusting(root: &Authority) -> TlsConfig {
    TlsConfig { trust: Trust::Pem(root.pem()), ..TlsConfig::default() }
}

/// The same configuration with verification switched off.
pub(crate) fn recording(config: &TlsConfig) -> TlsConfig {
    TlsConfig { verify: Verify::DangerRecordOnly, ..config.clone() }
}

/// A chain that verifies, with the authority to trust for it.
pub(crate) fn good() -> (Pki, TlsServer) {
    let pki = Pki::new();
    let tls = TlsServer::new(pki.leaf(NAME).issue());
    (pki, tls)
}

/// A server that makes the handshake, says nothing, and waits for the client to leave.
pub(crate) fn silent(tls: &TlsServer) -> Server {
    Server::tcp(Script::new().start_tls(tls).hang())
}

/// A prober whose connections go to this address, whatever they are to be for.
pub(crate) fn prober_to(address: SocketAddr, config: TcpConfig) -> TcpProber {
    let mut config = config;
    config.dialing.connect_to = Some(address.to_string().parse().unwrap());
    TcpProber::new(config).unwrap()
}

/// The target of this name; the port is never dialled.
pub(crate) fn target(name: &str) -> Target {
    let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    format!("{name}:1").parse().unwrap()
}

/// Makes one handshake with the server at this address as if it were `name`.
pub(crate) async fn shake_as(
    name: &str,
    address: SocketAddr,
    config: &TlsConfig,
) -> ProbeResult<TcpReport> {
    shake_within(name, address, config, &within_ms(10_000)).await
}

/// Makes one handshake with the server at this address as if it were [`NAME`].
pub(crate) async fn shake(address: SocketAddr, config: &TlsConfig) -> ProbeResult<TcpReport> {
    shake_as(NAME, address, config).await
}

/// The same with a deadline of its own.
pub(crate) async fn shake_within(
    name: &str,
    address: SocketAddr,
    config: &TlsConfig,
    cx: &ProbeContext,
) -> ProbeResult<TcpReport> {
    let tcp = TcpConfig { tls: Some(config.clone()), ..TcpConfig::default() };
    let result = checked(&prober_to(address, tcp), cx, target(name)).await;
    check_tls(&result);
    result
}

/// Speaks SMTP up to STARTTLS with the server at this address as if it were `name`, and goes on.
pub(crate) async fn starttls_as(
    name: &str,
    address: SocketAddr,
    config: &TlsConfig,
) -> ProbeResult<TcpReport> {
    let dialogue = Dialogue::by_name("smtp");
    let tcp = TcpConfig { tls: Some(config.clone()), dialogue, ..TcpConfig::default() };
    let result = checked(&prober_to(address, tcp), &within_ms(10_000), target(name)).await;
    check_tls(&result);
    result
}

/// The TLS report.
#[track_caller]
pub(crate) fn tls_of(result: &ProbeResult<TcpReport>) -> &TlsReport {
    result.report.tls.as_ref().unwrap_or_else(|| panic!("no TLS report\n{result}"))
}

/// Whether it failed like this in the phase `tls`.
#[track_caller]
pub(crate) fn assert_failed(result: &ProbeResult<TcpReport>, kind: FailureKind) {
    let failure = result.outcome.failure();
    let failure = failure.unwrap_or_else(|| panic!("{kind} expected\n{result}"));
    assert_eq!((failure.kind, failure.phase), (kind, Some(Phase::Tls)), "{result}");
}

#[track_caller]
pub(crate) fn assert_passed(result: &ProbeResult<TcpReport>) {
    assert!(result.verdict.is_pass(), "{result}\n{:#?}", result.report.tls);
}

/// The words of the failure.
#[track_caller]
pub(crate) fn detail(result: &ProbeResult<TcpReport>) -> &str {
    let failure =
        result.outcome.failure().unwrap_or_else(|| panic!("a failure expected\n{result}"));
    failure.detail.as_deref().unwrap_or_default()
}

/// The alert in the report: whether the server sent it, and its number.
#[track_caller]
pub(crate) fn alert(
    result: &ProbeResult<TcpReport>,
) -> Option<(netsonde::tls::AlertDirection, u8)> {
    tls_of(result).alert.as_ref().map(|alert| (alert.direction, alert.code))
}

/// What every TLS report keeps, whatever came of the probe.
#[track_caller]
fn check_tls(result: &ProbeResult<TcpReport>) {
    let Some(tls) = &result.report.tls else { return };
    assert!(tls.certificates.len() <= 64 && tls.verified_chains.len() <= 8);
    // Escaped, a byte takes up to four.
    assert!(tls.peer_first_bytes.as_ref().is_none_or(|text| text.len() <= 4 * 64));
    for certificate in &tls.certificates {
        let names = &certificate.names;
        assert!(names.dns.len() <= 100 && names.ip.len() <= 100);
    }
    let ends = tls.certificates.iter().filter_map(|certificate| certificate.not_after);
    assert_eq!(tls.earliest_expiry, ends.min());
    assert!(tls.best_chain_expiry.is_none() || !tls.verified_chains.is_empty());
    for check in tls.failed() {
        assert!(check.code.is_some(), "{check}");
    }
    let refused = result.outcome.failure().filter(|failure| failure.phase == Some(Phase::Tls));
    if refused.is_none() && tls.version.is_some() && result.outcome.is_pass() {
        assert!(tls.cipher_suite.is_some() && tls.group.is_some() && tls.client_auth.is_some());
        let full = [HandshakeKind::Full, HandshakeKind::FullWithRetry];
        assert!(tls.handshake.is_some_and(|kind| full.contains(&kind)));
        let seen: BTreeSet<CheckKind> = tls.checks.iter().map(|check| check.check).collect();
        assert!(CheckKind::ALL.iter().all(|kind| seen.contains(kind)), "{:?}", tls.checks);
        assert!(tls.client_hello_bytes > 100 && tls.bytes_in > 0);
        assert!(tls.bytes_out >= tls.client_hello_bytes);
    }
}

/// Every certificate that the server has sent is in the report, as it was sent.
#[track_caller]
pub(crate) fn assert_served(result: &ProbeResult<TcpReport>, served: &[Vec<u8>]) {
    let told = tls_of(result).certificates.iter().map(|one| (one.sha256.clone(), one.der_len));
    let sent = served.iter().map(|der| (read_certificate(der).sha256, der.len() as u64));
    assert_eq!(told.collect::<Vec<_>>(), sent.collect::<Vec<_>>(), "{result}");
    let leaf = tls_of(result).certificates.first();
    assert!(leaf.is_none_or(|leaf| leaf.role == CertificateRole::Leaf));
}

/// A server with a certificate, and how to look at it.
pub(crate) struct Case {
    pub(crate) tls: TlsServer,
    pub(crate) served: Vec<Vec<u8>>,
    pub(crate) config: TlsConfig,
    pub(crate) name: &'static str,
    files: Vec<TempDir>,
}

impl Case {
    /// A server with this certificate, looked at by somebody who trusts the authority.
    pub(crate) fn new(root: &Authority, issued: Issued) -> Self {
        Case {
            served: issued.chain.clone(),
            tls: TlsServer::new(issued),
            config: trusting(root),
            name: NAME,
            files: Vec::new(),
        }
    }

    /// The usual authority is trusted.
    pub(crate) fn of(pki: &Pki, spec: CertSpec) -> Self {
        Case::new(&pki.root, spec.issue())
    }

    /// Asks for another name.
    pub(crate) fn asked(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Staples this as OCSP response.
    pub(crate) fn staple(mut self, response: impl Into<Vec<u8>>) -> Self {
        self.tls = self.tls.staple(response);
        self
    }

    /// Other settings.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut TlsConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Looks certificates up in these revocation lists.
    pub(crate) fn crls<const N: usize>(mut self, lists: &[Vec<u8>; N]) -> Self {
        let folder = TempDir::new("crl");
        for (index, list) in lists.iter().enumerate() {
            let file = folder.join(format!("{index}.crl"));
            std::fs::write(&file, list).unwrap();
            self.config.crl_files.push(file);
        }
        self.files.push(folder);
        self
    }
}

/// A leaf below authorities that have all signed each other, each of them also with a certificate that
/// claims to be the trusted root's: by names there are ways up, and a signature has to be looked at to
/// tell that there are none.
pub(crate) fn ring_with_false_ways_up(pki: &Pki, count: usize) -> Issued {
    let name = |n: usize| format!("Ring {n}");
    let members: Vec<Authority> = (0..count).map(|n| Authority::root(&name(n))).collect();
    let certificate = |n: usize| {
        let key = members[n].key().clone();
        CertSpec::new().common_name(&name(n)).ca(None).key(key)
    };
    let mut leaf = members[0].leaf(NAME).issue();
    for n in 0..count {
        let others = members.iter().enumerate().filter(|(other, _)| *other != n);
        leaf.chain.extend(others.map(|(_, other)| certificate(n).by(other).issue().der().to_vec()));
        let claims = certificate(n).issuer(pki.root.subject().to_vec());
        leaf.chain.push(claims.issue().der().to_vec());
    }
    leaf
}

/// What is to come of a [`Case`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    kind: Option<FailureKind>,
    check: CheckKind,
    certificate: Option<u32>,
    detail: &'static str,
    within_ms: Option<u64>,
    reported: Option<FailureKind>,
}

/// Nothing is wrong with it.
pub(crate) const GOOD: Expected = Expected {
    kind: None,
    check: CheckKind::Chain,
    certificate: None,
    detail: "",
    within_ms: None,
    reported: None,
};

/// It fails like this, and in this check.
pub(crate) const fn bad(kind: FailureKind, check: CheckKind) -> Expected {
    Expected { kind: Some(kind), check, ..GOOD }
}

impl Expected {
    /// This certificate is to blame, counted from the leaf.
    pub(crate) const fn at(self, certificate: u32) -> Self {
        Expected { certificate: Some(certificate), ..self }
    }

    /// The words say this.
    pub(crate) const fn saying(self, detail: &'static str) -> Self {
        Expected { detail, ..self }
    }

    /// The handshake takes no longer.
    pub(crate) const fn within_ms(self, ms: u64) -> Self {
        Expected { within_ms: Some(ms), ..self }
    }

    /// It passes, and the stapled response is reported as this.
    pub(crate) const fn reporting(self, code: FailureKind) -> Self {
        Expected { reported: Some(code), ..self }
    }

    #[track_caller]
    fn assert_met(&self, result: &ProbeResult<TcpReport>, case: &Case) {
        assert_served(result, &case.served);
        let tls = tls_of(result);
        match self.kind {
            None => assert_passed(result),
            Some(kind) => {
                assert_failed(result, kind);
                assert!(detail(result).contains(self.detail), "{}", detail(result));
            }
        }
        self.assert_found(tls);
        if let Some(most) = self.within_ms {
            let took = result.timing.phase(Phase::Tls).unwrap();
            assert!(took.as_millis() <= u128::from(most), "took {took:?}");
        }
    }

    #[track_caller]
    fn assert_found(&self, tls: &TlsReport) {
        let Some(kind) = self.kind.or(self.reported) else {
            assert_eq!(tls.failed().collect::<Vec<_>>(), Vec::<&Check>::new());
            return;
        };
        let check = if self.reported.is_some() { CheckKind::Ocsp } else { self.check };
        let found = tls.failed().find(|found| found.check == check);
        let found = found.unwrap_or_else(|| panic!("{:#?}", tls.checks));
        assert_eq!((found.code, found.certificate), (Some(kind), self.certificate), "{found}");
        assert_eq!(tls.status(check), Some(CheckStatus::Failed));
        let words = found.detail.as_deref().unwrap_or_default();
        assert!(words.contains(self.detail), "{words}");
    }
}

/// How a probe of a case goes about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Direct,
    StartTls,
}

/// Runs a row in TLS 1.2 and 1.3, each with verification, and then without: there it passes, with the
/// same findings.
pub(crate) async fn run_row(make: fn(&Pki) -> Case, expected: Expected, way: Way) {
    let case = make(&Pki::new());
    for version in [TlsServer::tls12, TlsServer::tls13] {
        let tls = version(case.tls.clone());
        let server = match way {
            Way::Direct => silent(&tls),
            Way::StartTls => Server::tcp(smtp_until_starttls().start_tls(&tls).hang()),
        };
        let verified = probe(&case, &server, &case.config, way).await;
        expected.assert_met(&verified, &case);

        let recorded = probe(&case, &server, &recording(&case.config), way).await;
        assert_passed(&recorded);
        assert_served(&recorded, &case.served);
        assert_eq!(findings(&recorded), findings(&verified), "{recorded}");
        expected.assert_found(tls_of(&recorded));
        assert_eq!(tls_of(&recorded).verified_chains, tls_of(&verified).verified_chains);
        assert_eq!(tls_of(&recorded).ocsp, tls_of(&verified).ocsp);
    }
}

async fn probe(
    case: &Case,
    server: &Server,
    config: &TlsConfig,
    way: Way,
) -> ProbeResult<TcpReport> {
    match way {
        Way::Direct => shake_as(case.name, server.addr(), config).await,
        Way::StartTls => starttls_as(case.name, server.addr(), config).await,
    }
}

/// All checks but the one that is only made when the handshake goes on; that one only if it failed in
/// both.
fn findings(result: &ProbeResult<TcpReport>) -> Vec<&Check> {
    let passed = |check: &&Check| {
        check.check != CheckKind::HandshakeSignature || check.status == CheckStatus::Failed
    };
    let checks = tls_of(result).checks.iter().filter(passed);
    let others = |check: &&Check| check.check != CheckKind::HandshakeSignature;
    let others_failed =
        checks.clone().filter(others).any(|check| check.status == CheckStatus::Failed);
    checks.filter(|check| !others_failed || others(check)).collect()
}

/// `openssl s_server` with a self-signed certificate for [`NAME`] that `openssl req` makes with these
/// arguments, and the certificate in PEM. `None` where there is no openssl.
pub(crate) fn openssl_self_signed(
    key: &[&str],
    arguments: &[&str],
) -> Option<(daemon::Daemon, String)> {
    let program = require_command("openssl")?;
    let folder = TempDir::new("openssl");
    let path = |name: &str| folder.join(name).display().to_string();
    let (certificate, private) = (path("a.crt"), path("a.key"));
    let made = std::process::Command::new(&program)
        .args(["req", "-x509", "-nodes", "-days", "9", "-subj", "/CN=a.test"])
        .args(["-addext", "subjectAltName=DNS:a.test", "-newkey"])
        .args(key)
        .args(["-keyout", &private, "-out", &certificate])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pem = std::fs::read_to_string(&certificate).unwrap();
    let server = daemon::Setup::new("s_server").port("tls").start(|place| {
        let mut command = std::process::Command::new(&program);
        command.args(["s_server", "-accept", &place.addr("tls").to_string()]);
        command.args(["-cert", &certificate, "-key", &private]).args(arguments);
        command
    });
    Some((server, pem))
}

/// The plain part of an SMTP session, up to where the client's hello is due.
pub(crate) fn smtp_until_starttls() -> Script {
    Script::new()
        .send("220 mail.test ESMTP\r\n")
        .read_line()
        .send("250-mail.test\r\n250-SIZE 1000\r\n250 STARTTLS\r\n")
        .expect("STARTTLS\r\n")
        .send("220 go ahead\r\n")
}
