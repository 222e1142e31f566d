//! Certificates and staples that no honest tool makes.

use std::time::Duration;

use netsonde_support::pki::{Authority, Issued, Key, SigAlg, Time, chains};
use netsonde_support::{Pki, Script, Server, TlsServer};

use crate::FailureKind::{self, *};
use crate::tls::{
    CheckKind, CheckStatus, OcspPolicy, OcspSignature, OcspStatus, TlsConfig, TlsConnector,
    TlsReport, Trust, Verify, read_ocsp_response,
};
use crate::{Failure, Phase};

fn trusting(root: &Authority) -> TlsConfig {
    TlsConfig { trust: Trust::Pem(root.pem()), ..TlsConfig::default() }
}

async fn meet(config: &TlsConfig, server: &TlsServer) -> (Result<(), Failure>, TlsReport) {
    let server = Server::tcp(Script::new().start_tls(server).read_to_end());
    let connector = TlsConnector::new(config).unwrap();
    let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let mut report = TlsReport::default();
    let host = "a.test".parse().unwrap();
    let outcome = connector.handshake(Some(&host), stream, &mut report);
    let outcome = tokio::time::timeout(Duration::from_secs(20), outcome).await.unwrap();
    (outcome.map(drop), report)
}

/// Fails in full with the code, and finds it as well when only recording.
async fn fails(root: &Authority, leaf: Issued, code: FailureKind, check: CheckKind) -> TlsReport {
    let server = TlsServer::new(leaf);
    let (outcome, report) = meet(&trusting(root), &server).await;
    let failure = outcome.expect_err("must be refused");
    assert_eq!((failure.kind, failure.phase), (code, Some(Phase::Tls)), "{failure}");
    assert_eq!(report.status(check), Some(CheckStatus::Failed), "{:#?}", report.checks);
    let config = TlsConfig { verify: Verify::DangerRecordOnly, ..trusting(root) };
    let (outcome, seen) = meet(&config, &server).await;
    outcome.expect("recording only goes on");
    assert_eq!(seen.failed().next().and_then(|check| check.code), Some(code));
    report
}

#[tokio::test]
async fn weak_and_strange_keys() {
    let pki = Pki::new();
    let leaf = |key: Key| pki.leaf("a.test").key(key).issue();
    let check = CheckKind::HandshakeSignature;
    let report = fails(&pki.root, leaf(Key::rsa(1024)), TlsWeakKey, check).await;
    assert_eq!(report.status(CheckKind::Chain), Some(CheckStatus::Passed));
    assert_eq!(report.leaf().unwrap().key.as_ref().unwrap().bits, Some(1024));

    // The key of an authority counts as much.
    let weak = pki.root.intermediate_spec("Weak").key(Key::rsa(1024)).authority();
    let under = weak.leaf("a.test").issue();
    let report = fails(&pki.root, under, TlsWeakKey, CheckKind::Signature).await;
    assert_eq!(report.failed().next().unwrap().certificate, Some(1));

    let large = TlsServer::new(leaf(Key::rsa(4096)));
    meet(&trusting(&pki.root), &large).await.0.unwrap();

    let odd = pki.root.intermediate_spec("Odd").key(Key::secp256k1()).authority();
    let under = odd.leaf("a.test").issue();
    let report = fails(&pki.root, under, TlsUnsupportedKey, CheckKind::Signature).await;
    let key = report.certificates[1].key.as_ref().unwrap();
    assert_eq!(key.curve.as_deref(), Some("secp256k1"));
}

#[tokio::test]
async fn old_algorithms_and_broken_signatures() {
    let pki = Pki::new();
    let check = CheckKind::Signature;
    let rsa = Authority::root("RSA");
    let rsa = rsa.intermediate_spec("x").key(Key::rsa(2048)).authority();
    let old = rsa.leaf("a.test").algorithm(SigAlg::RsaSha1).issue();
    // Trust the intermediate itself: an anchor need not be self-signed.
    let report = fails(&rsa, old, TlsSignatureAlgorithm, check).await;
    let algorithm = report.leaf().unwrap().signature_algorithm.as_deref();
    assert_eq!(algorithm, Some("sha1WithRSAEncryption"));

    let flipped = pki.leaf("a.test").flip_signature_bit().issue();
    fails(&pki.root, flipped, TlsBadSignature, check).await;
}

#[tokio::test]
async fn damaged_certificates() {
    let pki = Pki::new();
    let check = CheckKind::Chain;
    let cut = pki.leaf("a.test").cut_short(20).issue();
    let report = fails(&pki.root, cut, TlsCertificateEncoding, check).await;
    assert!(report.leaf().unwrap().decode_error.is_some());
    assert_eq!(report.failed().next().unwrap().certificate, Some(0));

    let longer = pki.leaf("a.test").append([0, 0]).issue();
    let report = fails(&pki.root, longer, TlsCertificateEncoding, check).await;
    assert_eq!(report.leaf().unwrap().names.dns, ["a.test"]);

    let cut = pki.root.intermediate_spec("Cut").cut_short(20).authority();
    let under = cut.leaf("a.test").issue();
    let report = fails(&pki.root, under, TlsCertificateEncoding, check).await;
    assert_eq!(report.failed().next().unwrap().certificate, Some(1));

    let first = pki.leaf("a.test").v1().issue();
    fails(&pki.root, first, TlsCertificateEncoding, check).await;
    let odd = pki.leaf("a.test").extension("1.2.3.4", true, [5, 0]).issue();
    let report = fails(&pki.root, odd, TlsCriticalExtension, check).await;
    assert_eq!(report.failed().next().unwrap().detail.as_deref(), Some("1.2.3.4"));

    let dates = (Time::utc("210231000000Z"), Time::days(9));
    let nonsense = pki.leaf("a.test").validity(dates.0, dates.1).issue();
    let report = fails(&pki.root, nonsense, TlsCertificateEncoding, check).await;
    assert!(report.earliest_expiry.is_some());
}

#[tokio::test]
async fn chains_that_cost_too_much() {
    let start = std::time::Instant::now();
    let pki = Pki::new();
    let ring = chains::cross_sign_ring("a.test", 8);
    let made = start.elapsed();
    let (outcome, _) = meet(&trusting(&pki.root), &TlsServer::new(ring)).await;
    assert_eq!(outcome.unwrap_err().kind, TlsBudget);
    assert!(start.elapsed() - made < Duration::from_secs(2));

    let (root, grid) = chains::constraint_grid("a.test", 2_048, 2_048);
    let start = std::time::Instant::now();
    let (outcome, report) = meet(&trusting(&root), &TlsServer::new(grid)).await;
    assert_eq!(outcome.unwrap_err().kind, TlsBudget);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(report.leaf().unwrap().names.total, 2_048);
}

#[tokio::test]
async fn staples() {
    let pki = Pki::new();
    let leaf = pki.leaf("a.test").issue();
    let ocsp = || pki.intermediate.ocsp(&leaf);
    let ask = async |staple: Vec<u8>, policy: OcspPolicy| {
        let config = TlsConfig { ocsp: policy, ..trusting(&pki.root) };
        meet(&config, &TlsServer::new(leaf.clone()).staple(staple)).await
    };
    let check = |report: &TlsReport| report.status(CheckKind::Ocsp);

    let (outcome, report) = ask(ocsp().der(), OcspPolicy::Fail).await;
    outcome.unwrap();
    let seen = report.ocsp.as_ref().unwrap();
    assert_eq!((seen.status, seen.signature), (Some(OcspStatus::Good), OcspSignature::Verified));
    assert!(seen.is_good() && seen.this_update.is_some() && seen.next_update.is_some());
    assert_eq!(check(&report), Some(CheckStatus::Passed));

    let responder = pki.intermediate.leaf("ocsp.test").usages(&["1.3.6.1.5.5.7.3.9"]).issue();
    let (outcome, report) = ask(ocsp().delegated(&responder).der(), OcspPolicy::Fail).await;
    outcome.unwrap();
    assert_eq!(report.ocsp.unwrap().signature, OcspSignature::Verified);

    // A certificate for servers may not answer, nor may one of another authority.
    let server = pki.intermediate.leaf("ocsp.test").issue();
    let foreign = Authority::root("x").leaf("ocsp.test").usages(&["1.3.6.1.5.5.7.3.9"]).issue();
    let unappointed = [
        ocsp().delegated(&server).der(),
        ocsp().delegated(&foreign).der(),
        ocsp().signed_by(pki.root.key()).der(),
    ];
    for staple in unappointed {
        let (outcome, report) = ask(staple, OcspPolicy::Fail).await;
        assert_eq!(outcome.unwrap_err().kind, TlsOcsp);
        assert_eq!(report.ocsp.unwrap().signature, OcspSignature::Failed);
    }

    for (staple, code) in [
        (ocsp().revoked().der(), TlsRevoked),
        (ocsp().days(-9, -2).der(), TlsOcsp),
        (ocsp().serial([1, 2, 3]).der(), TlsOcsp),
        (b"garbage".to_vec(), TlsOcsp),
    ] {
        let (outcome, report) = ask(staple.clone(), OcspPolicy::Fail).await;
        assert_eq!(outcome.unwrap_err().kind, code);
        assert_eq!(check(&report), Some(CheckStatus::Failed));
        let (outcome, report) = ask(staple, OcspPolicy::Report).await;
        outcome.unwrap();
        assert_eq!(report.failed().next().unwrap().code, Some(code));
    }
    let (_, report) = ask(ocsp().revoked().der(), OcspPolicy::Report).await;
    let seen = report.ocsp.unwrap();
    assert_eq!(seen.status, Some(OcspStatus::Revoked));
    assert_eq!(seen.reason.as_deref(), Some("keyCompromise"));
    assert!(seen.revoked_at.is_some());
}

#[test]
fn a_response_cut_short() {
    let pki = Pki::new();
    let leaf = pki.leaf("a.test").issue();
    let der = pki.intermediate.ocsp(&leaf).revoked().der();
    assert!(read_ocsp_response(&der, None, 0).error.is_none());
    for length in 0..der.len() {
        assert!(read_ocsp_response(&der[..length], None, 0).error.is_some(), "{length}");
    }
    // tryLater, without a body.
    let report = read_ocsp_response(&[0x30, 3, 0x0a, 1, 3], None, 0);
    assert_eq!(report.error.as_deref(), Some("the responder says: try later"));
}
