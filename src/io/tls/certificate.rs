//! A certificate's bytes to what it says. Never fails and never panics: see
//! [`CertificateReport::decode_error`].

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::db::DB;
use x509_cert::der::{Decode, Error, Tag};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};

use super::der::{Element, Elements, ascii, hex, pem};
use super::name;
use crate::tls::{
    CertificateNames, CertificateReport, CertificateRole, PublicKeyReport, TlsLimits,
};

/// Reads one DER certificate. Total: whatever the bytes, there is a report.
///
/// ```
/// let report = netsonde::tls::read_certificate(b"not a certificate");
/// assert_eq!(report.der_len, 17);
/// assert!(report.decode_error.is_some());
/// ```
#[must_use]
pub fn read_certificate(der: &[u8]) -> CertificateReport {
    Parsed::new(der, &TlsLimits::default(), true).report
}

/// A decoded certificate, with the raw parts that building chains needs.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) der: Vec<u8>,
    pub(super) report: CertificateReport,
    /// The report once for each role it was asked for, so that results can share it.
    shared: [OnceLock<Arc<CertificateReport>>; 5],
    /// Content of the subject, without its outer header.
    pub(super) subject: Vec<u8>,
    /// Content of the issuer, without its outer header.
    pub(super) issuer: Vec<u8>,
    /// Content of the SubjectPublicKeyInfo, without its outer header.
    pub(super) spki: Vec<u8>,
}

impl Parsed {
    pub(super) fn new(der: &[u8], limits: &TlsLimits, keep_der: bool) -> Self {
        let report = CertificateReport {
            sha256: hex(&Sha256::digest(der)),
            der_len: der.len().try_into().unwrap_or(u64::MAX),
            pem: keep_der.then(|| pem(der)),
            ..CertificateReport::default()
        };
        let names = usize::try_from(limits.names).unwrap_or(usize::MAX);
        let mut reading =
            Reading { names, parsed: Parsed { der: der.to_vec(), report, ..Parsed::default() } };
        let outcome = reading.certificate(der);
        reading.note("certificate", outcome);
        reading.parsed
    }

    /// The report for a certificate that was met in this role.
    pub(super) fn report_as(&self, role: CertificateRole) -> Arc<CertificateReport> {
        let make = || Arc::new(CertificateReport { role, ..self.report.clone() });
        let place = match role {
            CertificateRole::Leaf => 0,
            CertificateRole::Intermediate => 1,
            CertificateRole::Root => 2,
            CertificateRole::Unrelated => 3,
            CertificateRole::Unknown => 4,
        };
        self.shared.get(place).map_or_else(make, |shared| Arc::clone(shared.get_or_init(make)))
    }

    /// Whether the key is too weak for any signature to count.
    pub(super) fn has_weak_key(&self) -> bool {
        self.report.key.as_ref().is_some_and(is_weak)
    }
}

/// Whether a key is below what the verification takes: RSA of less than 2,048 bits, or with an
/// exponent that makes no cipher.
pub(super) fn is_weak(key: &PublicKeyReport) -> bool {
    key.algorithm.starts_with("RSA")
        && (key.bits.is_some_and(|bits| bits < 2_048) || key.exponent.is_some_and(|e| e < 3))
}

struct Reading {
    parsed: Parsed,
    names: usize,
}

impl Reading {
    /// Keeps the first error. What stands behind a damaged field is read all the same.
    fn note(&mut self, what: &str, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            let report = &mut self.parsed.report;
            report.decode_error.get_or_insert_with(|| format!("{what}: {error}"));
        }
    }

    fn certificate(&mut self, der: &[u8]) -> Result<(), Error> {
        let (certificate, rest) = Element::split(der)?;
        let mut parts = certificate.expect(Tag::Sequence)?.elements();
        let tbs = parts.need()?.expect(Tag::Sequence)?;
        self.tbs(tbs.elements())?;
        parts.need()?.expect(Tag::Sequence)?;
        parts.need()?.bits()?;
        if rest.is_empty() && parts.next().is_none() {
            Ok(())
        } else {
            Element::only(der).map(drop)?;
            Err(Tag::Sequence.length_error().into())
        }
    }

    fn tbs(&mut self, mut parts: Elements<'_>) -> Result<(), Error> {
        let report = &mut self.parsed.report;
        let version = parts.tagged(0).map(|tagged| Element::only(tagged.value)?.number());
        let serial = parts.need()?;
        report.serial = serial.magnitude().ok().map(hex);
        let algorithm = parts.need()?.expect(Tag::Sequence)?.elements().need()?.oid()?;
        report.signature_algorithm = Some(oid_name(&algorithm));
        let version = match version.transpose() {
            Ok(version) => {
                report.version = u8::try_from(version.unwrap_or(0).saturating_add(1)).ok();
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.note("version", version);

        let issuer = parts.need()?.expect(Tag::Sequence)?;
        self.parsed.issuer = issuer.value.to_vec();
        let text = name::text(issuer.value);
        let outcome = text.map(|text| self.parsed.report.issuer = Some(text));
        self.note("issuer", outcome);

        let mut validity = parts.need()?.expect(Tag::Sequence)?.elements();
        let (not_before, not_after) = (validity.need()?, validity.need()?);
        let outcome = not_before.time().map(|time| self.parsed.report.not_before = Some(time));
        self.note("notBefore", outcome);
        let outcome = not_after.time().map(|time| self.parsed.report.not_after = Some(time));
        self.note("notAfter", outcome);

        let subject = parts.need()?.expect(Tag::Sequence)?;
        self.parsed.subject = subject.value.to_vec();
        let text = name::text(subject.value);
        let outcome = text.map(|text| self.parsed.report.subject = Some(text));
        self.note("subject", outcome);
        self.parsed.report.self_issued = subject.value == issuer.value;

        let spki = parts.need()?.expect(Tag::Sequence)?;
        self.parsed.spki = spki.value.to_vec();
        let outcome = public_key(&spki).map(|key| self.parsed.report.key = Some(key));
        self.note("subjectPublicKeyInfo", outcome);

        // [1] and [2] are the unique identifiers that nobody uses.
        let _ = (parts.tagged(1), parts.tagged(2));
        if let Some(tagged) = parts.tagged(3) {
            let outcome = self.extensions(&tagged);
            self.note("extensions", outcome);
        }
        parts.next().map_or(Ok(()), |_| Err(Tag::Sequence.length_error().into()))
    }

    fn extensions(&mut self, tagged: &Element<'_>) -> Result<(), Error> {
        for element in Element::only(tagged.value)?.expect(Tag::Sequence)?.elements() {
            let extension = Extension::from_der(element?.whole)?;
            let outcome = self.extension(&extension);
            self.note(&oid_name(&extension.extn_id), outcome);
        }
        Ok(())
    }

    fn extension(&mut self, extension: &Extension) -> Result<(), Error> {
        let value = extension.extn_value.as_bytes();
        let report = &mut self.parsed.report;
        match extension.extn_id.to_string().as_str() {
            "2.5.29.14" => {
                report.subject_key_id =
                    Some(hex(Element::only(value)?.expect(Tag::OctetString)?.value));
            }
            "2.5.29.15" => report.key_usage = Some(key_usage(KeyUsage::from_der(value)?)),
            "2.5.29.17" => report.names = names(value, self.names)?,
            "2.5.29.19" => {
                let constraints = BasicConstraints::from_der(value)?;
                report.is_ca = constraints.ca;
                report.path_len = constraints.path_len_constraint;
            }
            "2.5.29.31" => report.crl_urls = crl_urls(value, self.names)?,
            "2.5.29.35" => {
                let mut parts = Element::only(value)?.expect(Tag::Sequence)?.elements();
                report.authority_key_id = parts.tagged(0).map(|id| hex(id.value));
            }
            "2.5.29.37" => {
                let uses = Element::only(value)?.expect(Tag::Sequence)?.elements();
                let uses = uses.map(|usage| Ok(usage_name(&usage?.oid()?)));
                report.extended_key_usage = Some(uses.collect::<Result<_, Error>>()?);
            }
            "1.3.6.1.5.5.7.1.1" => {
                for access in Element::only(value)?.expect(Tag::Sequence)?.elements() {
                    let mut parts = access?.expect(Tag::Sequence)?.elements();
                    let (method, place) = (parts.need()?.oid()?.to_string(), parts.need()?);
                    let urls = match method.as_str() {
                        "1.3.6.1.5.5.7.48.1" => &mut report.ocsp_urls,
                        "1.3.6.1.5.5.7.48.2" => &mut report.issuer_urls,
                        _ => continue,
                    };
                    if place.context() == Some(URI) && urls.len() < self.names {
                        urls.push(ascii(place.value));
                    }
                }
            }
            // Understood by the verification, or harmless: name constraints, policies.
            "2.5.29.30" | "2.5.29.32" | "2.5.29.33" | "2.5.29.36" | "2.5.29.54" => {}
            other if extension.critical => report.unknown_critical.push(other.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

/// Numbers of the GeneralName choices (RFC 5280, 4.2.1.6).
const EMAIL: u32 = 1;
const DNS: u32 = 2;
const URI: u32 = 6;
const IP: u32 = 7;

fn names(value: &[u8], most: usize) -> Result<CertificateNames, Error> {
    let mut names = CertificateNames::default();
    for name in Element::only(value)?.expect(Tag::Sequence)?.elements() {
        let name = name?;
        names.total = names.total.saturating_add(1);
        match name.context() {
            Some(EMAIL) if names.email.len() < most => names.email.push(ascii(name.value)),
            Some(DNS) if names.dns.len() < most => names.dns.push(ascii(name.value)),
            Some(URI) if names.uri.len() < most => names.uri.push(ascii(name.value)),
            Some(IP) if names.ip.len() < most => names.ip.extend(address(name.value)),
            _ => {}
        }
    }
    Ok(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The URIs among the full names of distribution points (RFC 5280, 4.2.1.13).
fn crl_urls(value: &[u8], most: usize) -> Result<Vec<String>, Error> {
    let mut urls = Vec::new();
    for point in Element::only(value)?.expect(Tag::Sequence)?.elements() {
        let Some(name) = point?.expect(Tag::Sequence)?.elements().tagged(0) else { continue };
        let Some(full) = name.elements().tagged(0) else { continue };
        for name in full.elements() {
            let name = name?;
            if name.context() == Some(URI) && urls.len() < most {
                urls.push(ascii(name.value));
            }
        }
    }
    Ok(urls)
}

fn key_usage(usage: KeyUsage) -> Vec<String> {
    let name = |flag| match flag {
        KeyUsages::DigitalSignature => "digitalSignature",
        KeyUsages::NonRepudiation => "nonRepudiation",
        KeyUsages::KeyEncipherment => "keyEncipherment",
        KeyUsages::DataEncipherment => "dataEncipherment",
        KeyUsages::KeyAgreement => "keyAgreement",
        KeyUsages::KeyCertSign => "keyCertSign",
        KeyUsages::CRLSign => "cRLSign",
        KeyUsages::EncipherOnly => "encipherOnly",
        KeyUsages::DecipherOnly => "decipherOnly",
    };
    usage.0.into_iter().map(|flag| name(flag).to_owned()).collect()
}

/// The name of an algorithm or extension, or its OID.
pub(super) fn oid_name(oid: &ObjectIdentifier) -> String {
    DB.by_oid(oid).map_or_else(|| oid.to_string(), |name| name.to_owned())
}

/// The name of a key purpose as RFC 5280 has it, without the prefix.
fn usage_name(oid: &ObjectIdentifier) -> String {
    let text = oid.to_string();
    match text.as_str() {
        "2.5.29.37.0" => "anyExtendedKeyUsage".to_owned(),
        "1.3.6.1.5.5.7.3.1" => "serverAuth".to_owned(),
        "1.3.6.1.5.5.7.3.2" => "clientAuth".to_owned(),
        "1.3.6.1.5.5.7.3.3" => "codeSigning".to_owned(),
        "1.3.6.1.5.5.7.3.4" => "emailProtection".to_owned(),
        "1.3.6.1.5.5.7.3.8" => "timeStamping".to_owned(),
        "1.3.6.1.5.5.7.3.9" => "OCSPSigning".to_owned(),
        _ => text,
    }
}

/// A SubjectPublicKeyInfo.
pub(super) fn public_key(spki: &Element<'_>) -> Result<PublicKeyReport, Error> {
    let mut key =
        PublicKeyReport { spki_sha256: hex(&Sha256::digest(spki.whole)), ..Default::default() };
    let mut parts = spki.elements();
    let mut algorithm = parts.need()?.expect(Tag::Sequence)?.elements();
    let oid = algorithm.need()?.oid()?.to_string();
    let bits = parts.need()?.bits()?;
    let (name, size) = match oid.as_str() {
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => {
            let mut numbers = Element::only(bits)?.expect(Tag::Sequence)?.elements();
            let modulus = numbers.need()?.magnitude()?;
            key.exponent = numbers.need()?.number().ok();
            let size = modulus.first().map(|first| {
                u32::try_from(modulus.len()).unwrap_or(u32::MAX / 8) * 8 - first.leading_zeros()
            });
            (if oid.ends_with(".10") { "RSA-PSS" } else { "RSA" }, size)
        }
        "1.2.840.10045.2.1" => {
            let curve = algorithm.need()?.oid()?.to_string();
            let known = CURVES.iter().find(|(oid, ..)| *oid == curve);
            key.curve = Some(known.map_or(curve, |(_, name, _)| (*name).to_owned()));
            ("EC", known.map(|(.., size)| *size))
        }
        "1.2.840.10040.4.1" => ("DSA", None),
        "1.3.101.112" => ("Ed25519", Some(256)),
        "1.3.101.113" => ("Ed448", Some(456)),
        "2.16.840.1.101.3.4.3.17" => ("ML-DSA-44", None),
        "2.16.840.1.101.3.4.3.18" => ("ML-DSA-65", None),
        "2.16.840.1.101.3.4.3.19" => ("ML-DSA-87", None),
        other => (other, None),
    };
    key.algorithm = name.to_owned();
    key.bits = size;
    Ok(key)
}

const CURVES: [(&str, &str, u32); 8] = [
    ("1.2.840.10045.3.1.7", "P-256", 256),
    ("1.3.132.0.34", "P-384", 384),
    ("1.3.132.0.35", "P-521", 521),
    ("1.3.132.0.10", "secp256k1", 256),
    ("1.3.132.0.33", "P-224", 224),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1", 256),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1", 384),
    ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1", 512),
];
