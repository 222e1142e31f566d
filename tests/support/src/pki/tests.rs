use std::process::Command;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateRevocationListDer, ServerName, UnixTime};
use rustls::{CertificateError, Error};

use super::*;
use crate::skip::require_command;

/// What rustls' own verifier says to a chain.
fn verify(root: &Authority, leaf: &Issued, name: &str, crls: &[Vec<u8>]) -> Result<(), Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(root.root_store()), provider)
            .with_crls(crls.iter().cloned().map(CertificateRevocationListDer::from))
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration()
            .build()
            .unwrap();
    let chain = leaf.certificates();
    let name = ServerName::try_from(name).unwrap();
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now()).map(drop)
}

fn refused(outcome: Result<(), Error>) -> CertificateError {
    match outcome.unwrap_err() {
        Error::InvalidCertificate(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn good_chains_of_every_key_are_taken() {
    let pki = Pki::new();
    for key in [Key::p256(), Key::p384(), Key::ed25519(), Key::rsa(2048), Key::rsa(8192)] {
        let root = CertSpec::new().common_name("Root").ca(None).key(key.clone()).authority();
        let leaf = root.leaf("good.test").key(key).issue();
        verify(&root, &leaf, "good.test", &[]).unwrap();
    }
    let leaf = pki.leaf("good.test").dns("*.wild.test").ip([127, 0, 0, 1]).issue();
    for name in ["good.test", "a.wild.test", "127.0.0.1"] {
        verify(&pki.root, &leaf, name, &[]).unwrap();
    }
    let pss = pki.root.leaf("pss.test").issue();
    verify(&pki.root, &pss, "pss.test", &[]).unwrap();
    let rsa_root = CertSpec::new().common_name("R").ca(None).key(Key::rsa(2048)).authority();
    let pss = rsa_root.leaf("pss.test").algorithm(SigAlg::RsaPssSha256).issue();
    verify(&rsa_root, &pss, "pss.test", &[]).unwrap();
    let sha512 = rsa_root.leaf("x.test").algorithm(SigAlg::RsaSha512).issue();
    verify(&rsa_root, &sha512, "x.test", &[]).unwrap();
}

#[test]
fn every_ordinary_fault_is_the_one_meant() {
    use CertificateError as E;
    let pki = Pki::new();
    let check = |spec: CertSpec| refused(verify(&pki.root, &spec.issue(), "a.test", &[]));
    let leaf = || pki.leaf("a.test");
    assert!(matches!(check(leaf().days(-9, -1)), E::ExpiredContext { .. }));
    assert!(matches!(check(leaf().days(1, 9)), E::NotValidYetContext { .. }));
    assert!(matches!(check(pki.leaf("b.test")), E::NotValidForNameContext { .. }));
    assert!(matches!(check(leaf().usages(&[CLIENT_AUTH])), E::InvalidPurposeContext { .. }));
    assert_eq!(check(leaf().flip_signature_bit()), E::BadSignature);
    assert_eq!(check(leaf().cut_short(3)), E::BadEncoding);
    assert_eq!(check(leaf().append([0])), E::BadEncoding);
    assert!(matches!(
        check(leaf().extension("1.2.3.4", true, der::null())),
        E::Other(_) | E::BadEncoding | E::UnhandledCriticalExtension
    ));
    assert!(matches!(check(leaf().v1()), E::Other(_)));
    assert!(matches!(
        check(leaf().algorithm(SigAlg::EcdsaSha1)),
        E::UnsupportedSignatureAlgorithmContext { .. }
    ));
    assert_eq!(check(CertSpec::self_signed("a.test")), E::UnknownIssuer);
    assert_eq!(
        refused(verify(&pki.root, &leaf().issue().with_chain([]), "a.test", &[])),
        E::UnknownIssuer
    );
    let shallow = pki.root.intermediate_spec("Shallow").ca(Some(0)).authority();
    let deep = shallow.intermediate("Below").leaf("a.test").issue();
    assert!(matches!(refused(verify(&pki.root, &deep, "a.test", &[])), E::Other(_)));
    let limited = pki.root.intermediate_spec("Limited").name_constraints(&["c.test"], &[]);
    let outside = limited.authority().leaf("a.test").issue();
    assert!(matches!(refused(verify(&pki.root, &outside, "a.test", &[])), E::Other(_)));
    let not_ca = pki.leaf("b.test").issue().as_authority();
    let below = not_ca.leaf("a.test").issue();
    assert_eq!(below.chain.len(), 3);
    assert!(matches!(refused(verify(&pki.root, &below, "a.test", &[])), E::Other(_)));
}

#[test]
fn odd_certificates_are_made_and_refused() {
    let pki = Pki::new();
    let with = |key| pki.leaf("a.test").key(key).issue();
    for key in [Key::rsa(512), Key::rsa(1024), Key::rsa_exponent_one(), Key::p521()] {
        // The chain is fine; it is the handshake's signature that a verifier stumbles over.
        verify(&pki.root, &with(key), "a.test", &[]).unwrap();
    }
    for key in [Key::rsa(512), Key::rsa(1024), Key::rsa_exponent_one(), Key::secp256k1()] {
        let root = CertSpec::new().common_name("Root").ca(None).key(key).authority();
        let leaf = root.leaf("a.test").issue();
        assert!(verify(&root, &leaf, "a.test", &[]).is_err());
    }
    let far = Time::generalized("99991231235959Z");
    let far = pki.leaf("a.test").validity(Time::days(-1), far).issue();
    verify(&pki.root, &far, "a.test", &[]).unwrap();
    // webpki knows no time before 1970.
    let early = pki.leaf("a.test").validity(Time::utc("500101000000Z"), Time::days(1)).issue();
    let early = refused(verify(&pki.root, &early, "a.test", &[]));
    assert_eq!(early, CertificateError::BadEncoding);
    let february = pki.leaf("a.test").validity(Time::days(-1), Time::utc("300231000000Z")).issue();
    assert!(verify(&pki.root, &february, "a.test", &[]).is_err());
    let nul = pki.leaf("good.test").no_names().dns("a.test\0.evil.test").issue();
    assert!(verify(&pki.root, &nul, "a.test", &[]).is_err());
}

#[test]
fn revocation_lists_say_what_they_should() {
    let pki = Pki::new();
    let leaf = pki.leaf("a.test").issue();
    let ca = &pki.intermediate;
    let check = |crl: CrlSpec| verify(&pki.root, &leaf, "a.test", &[crl.der()]);
    check(ca.crl()).unwrap();
    check(ca.crl().revoke_serial([1, 2, 3])).unwrap();
    assert_eq!(refused(check(ca.crl().revoke(&leaf))), CertificateError::Revoked);
    let expired = refused(check(ca.crl().days(-9, -1)));
    assert!(matches!(expired, CertificateError::ExpiredRevocationListContext { .. }));
    let forged = check(ca.crl().signed_by(pki.root.key())).unwrap_err();
    let bad_signature = rustls::CertRevocationListError::BadSignature;
    assert_eq!(forged, Error::InvalidCertRevocationList(bad_signature));
    let unknown = refused(check(pki.root.crl()));
    assert_eq!(unknown, CertificateError::UnknownRevocationStatus);
}

#[test]
fn hostile_chains_have_their_size() {
    let pki = Pki::new();
    let (root, leaf) = chains::deep("a.test", 3);
    verify(&root, &leaf, "a.test", &[]).unwrap();
    let (root, leaf) = chains::deep("a.test", 10);
    assert!(verify(&root, &leaf, "a.test", &[]).is_err());

    let crowd = chains::with_unrelated(&pki, "a.test", 20);
    assert_eq!(crowd.chain.len(), 22);
    verify(&pki.root, &crowd, "a.test", &[]).unwrap();

    let many = chains::many_names(&pki, "a.test", 1000);
    verify(&pki.root, &many, "a.test", &[]).unwrap();

    let ring = chains::cross_sign_ring("a.test", 5);
    assert_eq!(ring.chain.len(), 21);
    assert!(verify(&pki.root, &ring, "a.test", &[]).is_err());

    let (root, grid) = chains::constraint_grid("a.test", 100, 100);
    verify(&root, &grid, "a.test", &[]).unwrap();
    let (root, grid) = chains::constraint_grid("a.test", 2048, 2048);
    assert!(grid.chain.iter().map(Vec::len).sum::<usize>() < 0xffff - 100);
    assert!(verify(&root, &grid, "a.test", &[]).is_err());
}

/// OpenSSL as a second opinion on everything that it can print or verify.
#[test]
fn openssl_agrees() {
    let Some(openssl) = require_command("openssl") else { return };
    let folder = crate::TempDir::new("pki");
    let pki = Pki::new();
    let leaf = pki.leaf("a.test").crl_url("http://crl.test/").ocsp_url("http://ocsp.test/").issue();
    let (chain, _) = leaf.write_pem(&folder, "leaf");
    let root = folder.join("root.pem");
    let intermediate = folder.join("intermediate.pem");
    pki.root.write_pem(&root);
    pki.intermediate.write_pem(&intermediate);
    let run = |arguments: &[&str]| {
        let output = Command::new(&openssl).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let path = |path: &Path| path.display().to_string();
    let verified = run(&[
        "verify",
        "-x509_strict",
        "-CAfile",
        &path(&root),
        "-untrusted",
        &path(&intermediate),
        &path(&chain),
    ]);
    assert!(verified.0, "{}", verified.1);
    let (_, text) = run(&["x509", "-in", &path(&chain), "-noout", "-text"]);
    for part in ["DNS:a.test", "TLS Web Server", "http://crl.test/", "http://ocsp.test/"] {
        assert!(text.contains(part), "{text}");
    }

    for (response, status) in [
        (pki.intermediate.ocsp(&leaf), "good"),
        (pki.intermediate.ocsp(&leaf).revoked(), "revoked"),
        (pki.intermediate.ocsp(&leaf).status(OcspStatus::Unknown), "unknown"),
    ] {
        let file = folder.join("ocsp.der");
        std::fs::write(&file, response.der()).unwrap();
        let (done, text) = run(&[
            "ocsp",
            "-respin",
            &path(&file),
            "-issuer",
            &path(&intermediate),
            "-cert",
            &path(&chain),
            "-CAfile",
            &path(&root),
            "-verify_other",
            &path(&intermediate),
        ]);
        assert!(done && text.contains("Response verify OK"), "{text}");
        assert!(text.contains(&format!("leaf.crt: {status}")), "{text}");
    }

    let crl = folder.join("crl.pem");
    std::fs::write(&crl, pki.intermediate.crl().revoke(&leaf).pem()).unwrap();
    let (_, text) = run(&["crl", "-in", &path(&crl), "-noout", "-CAfile", &path(&intermediate)]);
    assert!(text.contains("verify OK"), "{text}");

    for key in [Key::p256(), Key::p384(), Key::ed25519(), Key::rsa(2048), Key::rsa(512)] {
        let file = folder.join("key.pem");
        key.write_pem(&file);
        let (done, text) = run(&["pkey", "-in", &path(&file), "-noout", "-check"]);
        assert!(done, "{key:?}: {text}");
    }
    for key in [Key::p521(), Key::secp256k1()] {
        let file = folder.join("spki.der");
        std::fs::write(&file, key.spki()).unwrap();
        let check =
            ["pkey", "-pubin", "-inform", "DER", "-in", &path(&file), "-noout", "-pubcheck"];
        let (done, text) = run(&check);
        assert!(done, "{key:?}: {text}");
    }
}
