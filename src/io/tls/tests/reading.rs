//! Certificates to reports: against an independent reader, and against damage.

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::pki::{leaf, leaf_params, root};
use crate::io::tls::der::hex;
use crate::tls::{CertificateReport, read_certificate};

fn made(edit: impl FnOnce(&mut CertificateParams)) -> CertificateReport {
    let params = {
        let mut params = leaf_params("a.test");
        edit(&mut params);
        params
    };
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().clone();
    agrees_with_x509_parser(&der);
    read_certificate(&der)
}

/// Everything that both readers know must be the same.
fn agrees_with_x509_parser(der: &[u8]) {
    let ours = read_certificate(der);
    let (_, theirs) = X509Certificate::from_der(der).unwrap();
    assert_eq!(ours.decode_error, None, "{ours:?}");
    assert_eq!(ours.version.map(u32::from), Some(theirs.version.0 + 1));
    let serial = theirs.serial.to_bytes_be();
    let serial = if serial == [0] { String::new() } else { hex(&serial) };
    assert_eq!(ours.serial.as_deref(), Some(serial.as_str()));
    assert_eq!(ours.not_before, Some(theirs.validity.not_before.timestamp()));
    assert_eq!(ours.not_after, Some(theirs.validity.not_after.timestamp()));
    assert_eq!(ours.self_issued, theirs.subject.as_raw() == theirs.issuer.as_raw());
    for (text, name) in [(&ours.subject, &theirs.subject), (&ours.issuer, &theirs.issuer)] {
        let text = text.as_deref().unwrap();
        let parts = name.iter_attributes().count();
        let mut escaped = false;
        let borders = text.chars().filter(|c| {
            let border = !escaped && matches!(c, ',' | '+');
            escaped = !escaped && *c == '\\';
            border
        });
        let count = borders.count() + usize::from(!text.is_empty());
        assert_eq!(count, parts, "{text}");
        let cn = name.iter_common_name().next().and_then(|cn| cn.as_str().ok());
        if let Some(cn) = cn.filter(|cn| cn.bytes().all(|b| b.is_ascii_alphanumeric())) {
            assert!(text.contains(&format!("CN={cn}")), "{text}");
        }
    }

    let key = ours.key.as_ref().unwrap();
    match theirs.public_key().parsed().unwrap() {
        PublicKey::RSA(rsa) => {
            assert_eq!(key.algorithm, "RSA");
            assert_eq!(key.exponent, rsa.try_exponent().ok());
            let modulus = rsa.modulus.iter().skip_while(|byte| **byte == 0);
            let modulus: Vec<u8> = modulus.copied().collect();
            let bits = u32::try_from(modulus.len()).unwrap() * 8 - modulus[0].leading_zeros();
            assert_eq!(key.bits, Some(bits));
        }
        PublicKey::EC(point) => {
            assert_eq!(key.algorithm, "EC");
            assert_eq!(key.bits, u32::try_from(point.key_size()).ok());
        }
        _ => assert_eq!(key.algorithm, "Ed25519"),
    }
    use sha2::{Digest, Sha256};
    assert_eq!(key.spki_sha256, hex(&Sha256::digest(theirs.public_key().raw)));
    assert_eq!(ours.sha256, hex(&Sha256::digest(der)));

    let mut names = (Vec::new(), Vec::new(), Vec::new(), 0);
    let (mut is_ca, mut path_len, mut usages, mut flags) = (false, None, None, None);
    let (mut subject_key, mut authority_key, mut urls) = (None, None, Vec::new());
    for extension in theirs.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(san) => {
                names.3 = san.general_names.len();
                for name in &san.general_names {
                    match name {
                        GeneralName::DNSName(name) => names.0.push((*name).to_owned()),
                        GeneralName::RFC822Name(name) => names.1.push((*name).to_owned()),
                        GeneralName::URI(name) => names.2.push((*name).to_owned()),
                        _ => {}
                    }
                }
            }
            ParsedExtension::BasicConstraints(constraints) => {
                is_ca = constraints.ca;
                path_len = constraints.path_len_constraint;
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                usages = Some((usage.server_auth, usage.client_auth, usage.other.len()));
            }
            ParsedExtension::KeyUsage(usage) => flags = Some(usage.flags.count_ones()),
            ParsedExtension::SubjectKeyIdentifier(id) => subject_key = Some(hex(id.0)),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                authority_key = id.key_identifier.as_ref().map(|id| hex(id.0));
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                use x509_parser::extensions::DistributionPointName;
                for point in points.iter() {
                    if let Some(DistributionPointName::FullName(names)) = &point.distribution_point
                    {
                        urls.extend(names.iter().filter_map(|name| match name {
                            GeneralName::URI(uri) => Some((*uri).to_owned()),
                            _ => None,
                        }));
                    }
                }
            }
            _ => {}
        }
    }
    names.0.truncate(100);
    assert_eq!(
        (&ours.names.dns, &ours.names.email, &ours.names.uri),
        (&names.0, &names.1, &names.2)
    );
    assert_eq!(ours.names.total, u32::try_from(names.3).unwrap());
    assert_eq!((ours.is_ca, ours.path_len.map(u32::from)), (is_ca, path_len));
    let has = |usages: &Vec<String>, name: &str| usages.iter().any(|usage| usage == name);
    let known = ours.extended_key_usage.as_ref();
    let known = known.map(|known| (has(known, "serverAuth"), has(known, "clientAuth")));
    assert_eq!(known, usages.map(|(server, client, _)| (server, client)));
    let count = ours.key_usage.as_ref().map(|usages| u32::try_from(usages.len()).unwrap());
    assert_eq!(count, flags);
    assert_eq!((ours.subject_key_id, ours.authority_key_id), (subject_key, authority_key));
    assert_eq!(ours.crl_urls, urls);
}

#[test]
fn a_full_certificate() {
    let report = made(|params| {
        params.serial_number = Some(SerialNumber::from_slice(&[0x0b, 0xff, 0x01]));
        params.distinguished_name.push(DnType::OrganizationName, "Acme, \"Ltd\"+<x>;=\\ ");
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationalUnitName, "#1 \u{1F600}");
        params.distinguished_name.push(DnType::from_oid(&[2, 5, 4, 41]), "name");
        params
            .distinguished_name
            .push(DnType::LocalityName, DnValue::BmpString("Köln".try_into().unwrap()));
        params.subject_alt_names.extend([
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::Rfc822Name("me@a.test".try_into().unwrap()),
            SanType::URI("spiffe://a.test/x".try_into().unwrap()),
        ]);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(3));
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::Other(vec![1, 2, 3]));
        params.crl_distribution_points =
            vec![CrlDistributionPoint { uris: vec!["http://a.test/l.crl".into()] }];
        let access = [0x30, 0x1c, 0x30, 0x1a, 6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 0x86, 14];
        let access = [&access[..], b"http://o.test/"].concat();
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access));
    });
    assert_eq!(report.version, Some(3));
    assert_eq!(report.serial.as_deref(), Some("0bff01"));
    let subject = report.subject.as_deref().unwrap();
    assert!(subject.ends_with("CN=a.test"), "{subject}");
    assert!(subject.contains("O=Acme\\, \\\"Ltd\\\"\\+\\<x\\>\\;=\\\\\\ ,"), "{subject}");
    assert!(subject.contains("OU=\\#1 \u{1F600}"), "{subject}");
    assert!(subject.contains("2.5.4.41=#0c046e616d65"), "{subject}");
    assert!(subject.contains("L=Köln"), "{subject}");
    assert_eq!(report.common_name(), Some("a.test"));
    assert_eq!(report.names.ip.len(), 2);
    assert_eq!(report.names.email, ["me@a.test"]);
    assert_eq!(report.names.uri, ["spiffe://a.test/x"]);
    assert_eq!((report.is_ca, report.path_len), (true, Some(3)));
    assert_eq!(report.key_usage.as_ref().unwrap(), &["digitalSignature", "keyCertSign"]);
    assert_eq!(report.extended_key_usage.as_ref().unwrap(), &["serverAuth", "1.2.3"]);
    assert_eq!(report.crl_urls, ["http://a.test/l.crl"]);
    assert_eq!(report.ocsp_urls, ["http://o.test/"]);
    assert_eq!(report.signature_algorithm.as_deref(), Some("ecdsa-with-SHA256"));
    let key = report.key.as_ref().unwrap();
    assert_eq!((key.algorithm.as_str(), key.curve.as_deref()), ("EC", Some("P-256")));
    assert!(report.self_issued);
    let pem = report.pem.as_deref().unwrap();
    use rustls::pki_types::pem::PemObject;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    assert_eq!(read_certificate(&der), report);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<CertificateReport>(&json).unwrap(), report);
}

#[test]
fn keys_of_other_kinds() {
    for (algorithm, name, bits) in
        [(&rcgen::PKCS_ED25519, "Ed25519", 256), (&rcgen::PKCS_ECDSA_P384_SHA384, "EC", 384)]
    {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = leaf_params("a.test").self_signed(&key).unwrap().der().clone();
        agrees_with_x509_parser(&der);
        let key = read_certificate(&der).key.unwrap();
        assert_eq!((key.algorithm.as_str(), key.bits), (name, Some(bits)));
    }
}

#[test]
fn the_roots_of_this_system_read_alike() {
    if !cfg!(feature = "native-roots") {
        println!("skipped: needs the feature `native-roots`");
        return;
    }
    #[cfg(feature = "native-roots")]
    for der in rustls_native_certs::load_native_certs().certs {
        // x509-parser refuses negative serial numbers and the like; ours must read them all.
        let ours = read_certificate(&der);
        assert_eq!(ours.decode_error, None, "{ours:?}");
        if X509Certificate::from_der(&der).is_ok() {
            agrees_with_x509_parser(&der);
        }
    }
}

#[test]
fn dates_far_away() {
    let far = made(|params| params.not_after = date_time_ymd(9999, 12, 31));
    assert_eq!(far.not_after, Some(253_402_214_400));
    let json = serde_json::to_string(&far).unwrap();
    assert!(json.contains("\"not_after\":\"9999-12-31T00:00:00Z\""), "{json}");

    let key = KeyPair::generate().unwrap();
    let der = leaf_params("a.test").self_signed(&key).unwrap().der().to_vec();
    let dated = |text: &[u8; 13]| {
        let at = der.windows(13).position(|window| window == b"210101000000Z").unwrap();
        let mut der = der.clone();
        der[at..at + 13].copy_from_slice(text);
        read_certificate(&der)
    };
    assert_eq!(dated(b"500101000000Z").not_before, Some(-631_152_000));
    assert_eq!(dated(b"491231235959Z").not_before, Some(2_524_607_999));
    for bad in [b"210231000000Z", b"211301000000Z", b"2101010000000", b"2101 1000000Z"] {
        let report = dated(bad);
        assert_eq!(report.not_before, None);
        assert!(report.decode_error.as_ref().unwrap().starts_with("notBefore"), "{report:?}");
        // All else is there.
        assert!(report.not_after.is_some() && report.key.is_some());
        assert_eq!(report.names.dns, ["a.test"]);
    }
}

#[test]
fn a_certificate_cut_short_or_followed_by_more() {
    let der = leaf("a.test", &root("root", |_| {}), |_| {}).der;
    for length in 0..der.len() {
        let report = read_certificate(&der[..length]);
        assert!(report.decode_error.is_some(), "{length}");
        assert_eq!(report.der_len, u64::try_from(length).unwrap());
        assert_eq!(report.sha256.len(), 64);
    }
    let longer = [&der[..], &[0]].concat();
    let report = read_certificate(&longer);
    assert!(report.decode_error.is_some());
    assert_eq!(report.names.dns, ["a.test"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_certificate(&bytes);
    }

    #[test]
    fn no_damage_panics(place in 0usize..700, value: u8, second in 0usize..700) {
        thread_local! {
            static DER: Vec<u8> = {
                let key = KeyPair::generate().unwrap();
                leaf_params("a.test").self_signed(&key).unwrap().der().to_vec()
            };
        }
        let mut der = DER.with(Clone::clone);
        let length = der.len();
        der[place % length] = value;
        der[second % length] ^= value;
        let report = read_certificate(&der);
        let json = serde_json::to_string(&report).unwrap();
        prop_assert_eq!(serde_json::from_str::<CertificateReport>(&json).unwrap(), report);
    }

    #[test]
    fn any_names_read_alike(
        names in proptest::collection::vec("[a-z]{1,20}\\.test", 0..20),
        organisation in "[ -~]{1,40}",
        serial in proptest::collection::vec(any::<u8>(), 1..20),
    ) {
        made(|params| {
            params.subject_alt_names =
                names.iter().map(|name| SanType::DnsName(name.as_str().try_into().unwrap())).collect();
            params.distinguished_name.push(DnType::OrganizationName, organisation);
            params.serial_number = Some(SerialNumber::from_slice(&serial));
        });
    }
}
