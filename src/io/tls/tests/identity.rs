//! Certificates good and bad, once with full verification and once only recording.

use rcgen::{
    BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    NameConstraints, SanType, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::pki::*;
use crate::FailureKind::{self, *};
use crate::tls::{
    AlertDirection, CertificateRole as Role, CheckKind, CheckStatus, CrlPolicy, TlsConfig,
    TlsReport, Verify,
};

/// Connects twice: in full, which must end in `code`, and only recording, which must succeed and
/// find the same. Returns the second report.
async fn refused(
    config: TlsConfig,
    chain: &[&CertificateDer<'static>],
    leaf: &Made,
    host: &str,
    code: FailureKind,
    check: CheckKind,
) -> TlsReport {
    let (outcome, full) = connect(&config, server(chain, leaf), host).await;
    let failure = outcome.expect_err("must be refused");
    assert_eq!(failure.kind, code, "{failure} {:#?}", full.checks);
    assert_eq!(full.failed().next().and_then(|check| check.code), Some(code));
    assert_eq!(full.status(check), Some(CheckStatus::Failed));
    assert_eq!(full.certificates.len(), chain.len());
    let alert = full.alert.as_ref().expect("an alert goes out");
    assert_eq!(alert.direction, AlertDirection::Sent);

    let config = TlsConfig { verify: Verify::DangerRecordOnly, ..config };
    let (outcome, mut seen) = connect(&config, server(chain, leaf), host).await;
    outcome.expect("recording only goes on");
    assert_eq!(seen.status(CheckKind::HandshakeSignature), Some(CheckStatus::Passed));
    let report = seen.clone();
    seen.checks.retain(|check| check.check != CheckKind::HandshakeSignature);
    assert_eq!(seen.checks, full.checks);
    assert_eq!(seen.certificates, full.certificates);
    report
}

#[tokio::test]
async fn a_valid_chain() {
    let root = root("root", |_| {});
    let middle = intermediate("middle", &root, |_| {});
    let leaf = leaf("a.test", &middle, |_| {});
    let config = trusting(&[&root]);
    let chain = [&leaf.der, &middle.der, &root.der];
    let (outcome, report) = connect(&config, server(&chain, &leaf), "a.test").await;
    outcome.unwrap();
    let roles: Vec<Role> = report.certificates.iter().map(|cert| cert.role).collect();
    assert_eq!(roles, [Role::Leaf, Role::Intermediate, Role::Root]);
    for check in &report.checks {
        let skipped = [CheckKind::Revocation, CheckKind::Ocsp].contains(&check.check);
        let wanted = if skipped { CheckStatus::Skipped } else { CheckStatus::Passed };
        assert_eq!(check.status, wanted, "{check}");
    }
    assert_eq!(report.checks.len(), CheckKind::ALL.len());
    assert_eq!(report.verified_chains.len(), 1);
    let chain = &report.verified_chains[0];
    assert_eq!(chain.served, [0, 1]);
    assert_eq!(chain.root.subject.as_deref(), Some("CN=root"));
    assert_eq!(chain.expiry, report.leaf().unwrap().not_after);
    assert_eq!(report.best_chain_expiry, report.leaf().unwrap().not_after);
    assert_eq!(report.earliest_expiry, report.leaf().unwrap().not_after);
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains("\"earliest_expiry\":\"2050-06-07T00:00:00Z\""), "{json}");
    assert_eq!(serde_json::from_str::<TlsReport>(&json).unwrap(), report);
}

#[tokio::test]
async fn dates() {
    let good = root("root", |_| {});
    let past = |params: &mut rcgen::CertificateParams| {
        params.not_before = date_time_ymd(2021, 1, 1);
        params.not_after = date_time_ymd(2022, 3, 4);
    };
    let check = CheckKind::Validity;

    let old = leaf("a.test", &good, past);
    let report = refused(trusting(&[&good]), &[&old.der], &old, "a.test", TlsExpired, check).await;
    let found = report.failed().next().unwrap();
    assert_eq!(found.certificate, Some(0));
    assert_eq!(found.detail.as_deref(), Some("expired on 2022-03-04T00:00:00Z"));
    assert_eq!(report.status(CheckKind::Chain), Some(CheckStatus::Passed));
    assert!(report.verified_chains.is_empty() && report.best_chain_expiry.is_none());

    let young = leaf("a.test", &good, |params| params.not_before = date_time_ymd(2049, 1, 1));
    let config = trusting(&[&good]);
    refused(config, &[&young.der], &young, "a.test", TlsNotYetValid, check).await;

    let middle = intermediate("middle", &good, past);
    let under = leaf("a.test", &middle, |_| {});
    let config = trusting(&[&good]);
    let chain = [&under.der, &middle.der];
    let report = refused(config, &chain, &under, "a.test", TlsExpired, check).await;
    assert_eq!(report.failed().next().unwrap().certificate, Some(1));

    let old_root = root("old", past);
    let under = leaf("a.test", &old_root, |_| {});
    let config = trusting(&[&old_root]);
    let report = refused(config, &[&under.der], &under, "a.test", TlsExpired, check).await;
    let detail = report.failed().next().unwrap().detail.clone().unwrap();
    assert!(detail.contains("trusted root"), "{detail}");
}

#[tokio::test]
async fn names() {
    let root = root("root", |_| {});
    let config = || trusting(&[&root]);
    let check = CheckKind::Name;
    let plain = leaf("a.test", &root, |_| {});
    let chain = [&plain.der];
    let report = refused(config(), &chain, &plain, "b.test", TlsNameMismatch, check).await;
    assert_eq!(report.verified_chains.len(), 1);
    let found = report.failed().next().unwrap();
    assert_eq!(found.detail.as_deref(), Some("asked for b.test; it is for a.test"));

    let wild = leaf("*.a.test", &root, |_| {});
    connect(&config(), server(&[&wild.der], &wild), "x.a.test").await.0.unwrap();
    refused(config(), &[&wild.der], &wild, "x.y.a.test", TlsNameMismatch, check).await;

    let address = leaf("127.0.0.1", &root, |params| {
        params.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
    });
    let (outcome, report) =
        connect(&config(), server(&[&address.der], &address), "127.0.0.1").await;
    outcome.unwrap();
    assert_eq!((report.sni, report.verified_name.as_deref()), (None, Some("127.0.0.1")));

    let text = leaf("127.0.0.1", &root, |params| {
        params.subject_alt_names = vec![SanType::DnsName("127.0.0.1".try_into().unwrap())];
    });
    refused(config(), &[&text.der], &text, "127.0.0.1", TlsNameMismatch, check).await;

    let many = leaf("a.test", &root, |params| {
        let names = (0..1_000).map(|n| SanType::DnsName(format!("n{n}.test").try_into().unwrap()));
        params.subject_alt_names = names.collect();
    });
    let (outcome, report) = connect(&config(), server(&[&many.der], &many), "n999.test").await;
    outcome.unwrap();
    let names = &report.leaf().unwrap().names;
    assert_eq!((names.dns.len(), names.total), (100, 1_000));
    let report = refused(config(), &[&many.der], &many, "no.test", TlsNameMismatch, check).await;
    let detail = report.failed().next().unwrap().detail.clone().unwrap();
    assert!(detail.ends_with("n7.test, ..."), "{detail}");
}

#[tokio::test]
async fn untrusted() {
    let known = root("known", |_| {});
    let stranger = root("stranger", |_| {});
    let config = || trusting(&[&known]);
    let check = CheckKind::Chain;
    let far = leaf("a.test", &stranger, |_| {});
    refused(config(), &[&far.der], &far, "a.test", TlsUnknownIssuer, check).await;
    let chain = [&far.der, &stranger.der];
    let report = refused(config(), &chain, &far, "a.test", TlsUnknownIssuer, check).await;
    assert_eq!(report.failed().next().unwrap().detail.as_deref(), Some("not trusted: CN=stranger"));

    let middle = intermediate("middle", &known, |_| {});
    let cut = leaf("a.test", &middle, |_| {});
    let report = refused(config(), &[&cut.der], &cut, "a.test", TlsUnknownIssuer, check).await;
    let detail = report.failed().next().unwrap().detail.clone().unwrap();
    assert_eq!(detail, "no trusted certificate of: CN=middle");

    // Expired and unknown and for another name: each is told.
    let worst = leaf("a.test", &stranger, |params| params.not_after = date_time_ymd(2022, 1, 1));
    let report = refused(config(), &[&worst.der], &worst, "b.test", TlsUnknownIssuer, check).await;
    let codes: Vec<_> = report.failed().filter_map(|check| check.code).collect();
    assert_eq!(codes, [TlsUnknownIssuer, TlsExpired, TlsNameMismatch]);
}

#[tokio::test]
async fn self_signed() {
    for is_ca in [false, true] {
        let alone = root("a.test", |params| {
            params.is_ca =
                if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
            params.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())];
        });
        let other = root("other", |_| {});
        let config = trusting(&[&other]);
        let check = CheckKind::Chain;
        let chain = [&alone.der];
        let report = refused(config, &chain, &alone, "a.test", TlsUnknownIssuer, check).await;
        assert_eq!(report.failed().next().unwrap().detail.as_deref(), Some("self-signed"));

        // Trusted as such, it is a chain of one.
        let trusted = trusting(&[&alone]);
        let (outcome, report) = connect(&trusted, server(&chain, &alone), "a.test").await;
        outcome.unwrap();
        assert_eq!(report.verified_chains[0].served, [0]);
        assert_eq!(report.best_chain_expiry, report.leaf().unwrap().not_after);
        refused(trusted, &chain, &alone, "b.test", TlsNameMismatch, CheckKind::Name).await;
    }
}

#[tokio::test]
async fn a_chain_that_breaks_a_rule() {
    let top = root("root", |_| {});
    let config = || trusting(&[&top]);

    let client = leaf("a.test", &top, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let usage = CheckKind::Usage;
    let report = refused(config(), &[&client.der], &client, "a.test", TlsUsage, usage).await;
    assert_eq!(report.failed().next().unwrap().detail.as_deref(), Some("only for: clientAuth"));
    assert_eq!(report.status(CheckKind::Chain), Some(CheckStatus::Passed));

    let check = CheckKind::Chain;
    let no_authority = leaf("middle", &top, |_| {});
    let under = leaf("a.test", &no_authority, |_| {});
    let chain = [&under.der, &no_authority.der];
    let report = refused(config(), &chain, &under, "a.test", TlsNotCa, check).await;
    assert_eq!(report.failed().next().unwrap().certificate, Some(1));

    let short = intermediate("short", &top, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let below = intermediate("below", &short, |_| {});
    let under = leaf("a.test", &below, |_| {});
    let chain = [&under.der, &below.der, &short.der];
    refused(config(), &chain, &under, "a.test", TlsPathLength, check).await;

    let narrow = intermediate("narrow", &top, |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("b.test".to_owned())],
            excluded_subtrees: vec![],
        });
    });
    let under = leaf("a.test", &narrow, |_| {});
    let chain = [&under.der, &narrow.der];
    refused(config(), &chain, &under, "a.test", TlsNameConstraint, check).await;

    let odd = leaf("a.test", &top, |params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    });
    // rustls' own server would not load it, so it stands behind a good key check: the raw reader.
    let read = crate::tls::read_certificate(&odd.der);
    assert_eq!(read.unknown_critical, ["1.2.3.4"]);

    let authority = intermediate("a.test", &top, |params| {
        params.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())];
    });
    refused(config(), &[&authority.der], &authority, "a.test", TlsUsage, usage).await;
}

#[tokio::test]
async fn a_chain_too_deep() {
    let top = root("root", |_| {});
    let mut chain = vec![];
    let mut above = intermediate("i0", &top, |_| {});
    for depth in 1..10 {
        let next = intermediate(&format!("i{depth}"), &above, |_| {});
        chain.push(above.der.clone());
        above = next;
    }
    let under = leaf("a.test", &above, |_| {});
    chain.push(above.der.clone());
    chain.push(under.der.clone());
    let chain: Vec<&CertificateDer<'static>> = chain.iter().rev().collect();
    let check = CheckKind::Chain;
    refused(trusting(&[&top]), &chain, &under, "a.test", TlsDepth, check).await;
}

#[tokio::test]
async fn a_ring_of_authorities_costs_little() {
    let top = root("root", |_| {});
    let ring: Vec<Made> = (0..12).map(|n| root(&format!("ring{n}"), |_| {})).collect();
    let under = leaf("a.test", &ring[0], |_| {});
    let mut chain = vec![under.der.clone()];
    for (n, authority) in ring.iter().enumerate() {
        chain.extend((1..5).map(|step| authority.cross_signed_by(&ring[(n + step) % 12])));
    }
    let chain: Vec<&CertificateDer<'static>> = chain.iter().collect();
    let start = std::time::Instant::now();
    let config = trusting(&[&top]);
    let report = refused(config, &chain, &under, "a.test", TlsBudget, CheckKind::Chain).await;
    assert!(start.elapsed().as_millis() < 1_000, "{:?}", start.elapsed());
    assert_eq!(report.certificates.len(), 49);
}

#[tokio::test]
async fn unrelated_certificates_do_no_harm() {
    let top = root("root", |_| {});
    let strangers: Vec<Made> = (0..20).map(|n| root(&format!("other{n}"), |_| {})).collect();
    let under = leaf("a.test", &top, |_| {});
    let mut chain = vec![&under.der];
    chain.extend(strangers.iter().map(|made| &made.der));
    let (outcome, report) = connect(&trusting(&[&top]), server(&chain, &under), "a.test").await;
    outcome.unwrap();
    assert!(report.certificates.iter().skip(1).all(|cert| cert.role == Role::Unrelated));
    let limits = crate::tls::TlsLimits { certificates: 20, ..Default::default() };
    let config = TlsConfig { limits, ..trusting(&[&top]) };
    let (outcome, report) = connect(&config, server(&chain, &under), "a.test").await;
    assert_eq!(outcome.unwrap_err().kind, TlsLimit);
    assert_eq!(report.certificates.len(), 20);
}

#[tokio::test]
async fn every_chain_to_a_root_is_found() {
    let first = root("first", |params| params.not_after = date_time_ymd(2045, 1, 1));
    let second = root("second", |params| params.not_after = date_time_ymd(2040, 1, 1));
    let middle = intermediate("middle", &first, |params| {
        params.not_after = date_time_ymd(2042, 1, 1);
    });
    let cross = middle.cross_signed_by(&second);
    let under = leaf("a.test", &middle, |_| {});
    let chain = [&under.der, &middle.der, &cross];
    let config = trusting(&[&first, &second]);
    let (outcome, report) = connect(&config, server(&chain, &under), "a.test").await;
    outcome.unwrap();
    let mut found: Vec<(Vec<u32>, Option<&str>, Option<i64>)> = report
        .verified_chains
        .iter()
        .map(|chain| (chain.served.clone(), chain.root.subject.as_deref(), chain.expiry))
        .collect();
    found.sort();
    let (in_2042, in_2040) = (2_272_147_200, 2_208_988_800);
    assert_eq!(
        found,
        [
            (vec![0, 1], Some("CN=first"), Some(in_2042)),
            (vec![0, 2], Some("CN=second"), Some(in_2040)),
        ]
    );
    assert_eq!(report.best_chain_expiry, Some(in_2042));

    // An expired root does not spoil the other chain.
    let dead = root("dead", |params| params.not_after = date_time_ymd(2022, 1, 1));
    let cross = middle.cross_signed_by(&dead);
    let chain = [&under.der, &cross, &middle.der];
    let config = trusting(&[&dead, &first]);
    let (outcome, report) = connect(&config, server(&chain, &under), "a.test").await;
    outcome.unwrap();
    assert_eq!(report.verified_chains.len(), 1);
    assert_eq!(report.status(CheckKind::Validity), Some(CheckStatus::Passed));
}

#[tokio::test]
async fn two_roots_of_one_key() {
    let long = root("one", |params| params.not_after = date_time_ymd(2048, 1, 1));
    let mut params = long.params.clone();
    params.not_after = date_time_ymd(2041, 1, 1);
    let short = params.self_signed(&long.key).unwrap().der().clone();
    let under = leaf("a.test", &long, |params| params.not_after = date_time_ymd(2045, 1, 1));
    let chain = [&under.der, &short];
    let pem = format!("{}{}", long.pem(), crate::io::tls::der::pem(&short));
    let config = TlsConfig { trust: crate::tls::Trust::Pem(pem), ..TlsConfig::default() };
    let (outcome, report) = connect(&config, server(&chain, &under), "a.test").await;
    outcome.unwrap();
    assert_eq!(report.earliest_expiry, report.certificates[1].not_after);
    assert_eq!(report.best_chain_expiry, report.certificates[0].not_after);
    assert_eq!(report.verified_chains.len(), 2);
}

#[tokio::test]
async fn a_wrong_signature() {
    let good = root("root", |_| {});
    // Same name, other key: the chain is there by name, the signature is not.
    let twin = root("root", |_| {});
    let under = leaf("a.test", &twin, |_| {});
    let check = CheckKind::Signature;
    let chain = [&under.der];
    let report =
        refused(trusting(&[&good]), &chain, &under, "a.test", TlsBadSignature, check).await;
    assert_eq!(report.status(CheckKind::Chain), Some(CheckStatus::Skipped));
}

#[tokio::test]
async fn revocation_lists() {
    use rcgen::{
        CertificateRevocationListParams, Issuer, KeyIdMethod, RevocationReason, RevokedCertParams,
        SerialNumber,
    };
    let top = root("root", |_| {});
    let serial = SerialNumber::from(77u64);
    let list = |serials: &[u64], next: i32| {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2023, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2022, 1, 1),
            next_update: date_time_ymd(next, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_params(&top.params, &top.key);
        TempFile::new(params.signed_by(&issuer).unwrap().pem().unwrap())
    };
    let under = leaf("a.test", &top, |params| params.serial_number = Some(serial));
    let chain = [&under.der];
    let with = |list: &TempFile, crl_policy| TlsConfig {
        crl_files: vec![list.0.clone()],
        crl_policy,
        ..trusting(&[&top])
    };
    let check = CheckKind::Revocation;
    let strict = CrlPolicy::default();

    let clean = list(&[1, 2], 2049);
    let (outcome, report) = connect(&with(&clean, strict), server(&chain, &under), "a.test").await;
    outcome.unwrap();
    assert_eq!(report.status(check), Some(CheckStatus::Passed));
    // A wrong name does not change what the list says.
    let (_, report) = connect(&with(&clean, strict), server(&chain, &under), "b.test").await;
    assert_eq!(report.status(check), Some(CheckStatus::Passed));

    let hit = list(&[1, 77], 2049);
    let report = refused(with(&hit, strict), &chain, &under, "a.test", TlsRevoked, check).await;
    assert_eq!(report.status(CheckKind::Chain), Some(CheckStatus::Passed));

    let stale = list(&[1], 2023);
    refused(with(&stale, strict), &chain, &under, "a.test", TlsCrl, check).await;
    let lenient = CrlPolicy { allow_expired: true, ..strict };
    connect(&with(&stale, lenient), server(&chain, &under), "a.test").await.0.unwrap();

    let elsewhere = root("elsewhere", |_| {});
    let other = leaf("a.test", &elsewhere, |_| {});
    let mut config = with(&clean, strict);
    config.ca_files = vec![];
    config.trust = crate::tls::Trust::Pem(elsewhere.pem());
    refused(config.clone(), &[&other.der], &other, "a.test", TlsCrl, check).await;
    config.crl_policy.allow_missing = true;
    connect(&config, server(&[&other.der], &other), "a.test").await.0.unwrap();
}
