//! Stapled OCSP responses (RFC 6960): what they say, and whether they may say it.

use std::borrow::Cow;

use rustls::pki_types::SignatureVerificationAlgorithm;
use x509_cert::der::{Error, Tag};

use super::certificate::Parsed;
use super::der::{Element, Elements, hex};
use crate::tls::{OcspReport, OcspSignature, OcspStatus, TlsLimits};

/// A clock that runs ahead of the responder's by this much, in seconds, does no harm.
const SKEW: i64 = 300;

/// Reads a DER OCSP response about the certificate with this serial number (as in
/// [`CertificateReport::serial`](crate::tls::CertificateReport::serial)), or about the first one it
/// speaks of. Total: whatever the bytes, there is a report. The signature is not checked.
///
/// ```
/// let report = netsonde::tls::read_ocsp_response(b"garbage", None, 0);
/// assert!(report.error.is_some() && report.status.is_none());
/// ```
#[must_use]
pub fn read_ocsp_response(der: &[u8], serial: Option<&str>, now: i64) -> OcspReport {
    let mut report =
        OcspReport { der_len: der.len().try_into().unwrap_or(u64::MAX), ..OcspReport::default() };
    match Response::read(der) {
        Ok(Ok(response)) => {
            let outcome = response.fill(serial, &mut report);
            report.error = outcome.err().map(|error| error.to_string());
        }
        Ok(Err(status)) => report.error = Some(format!("the responder says: {status}")),
        Err(error) => report.error = Some(error.to_string()),
    }
    if report.error.is_none() && report.status.is_none() {
        report.error = Some("speaks of other certificates only".to_owned());
    }
    report.outdated = report.this_update.is_some_and(|start| start > now.saturating_add(SKEW))
        || report.next_update.is_some_and(|end| end < now);
    report
}

/// The same, with the signature checked against the issuer's key (content of its
/// SubjectPublicKeyInfo) if that is known.
pub(super) fn check(
    der: &[u8],
    leaf: &Parsed,
    issuer: Option<&[u8]>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: i64,
) -> OcspReport {
    let mut report = read_ocsp_response(der, leaf.report.serial.as_deref(), now);
    if let (Some(issuer), Ok(Ok(response))) = (issuer, Response::read(der)) {
        report.signature = response.signature(issuer, algorithms, now);
    }
    report
}

/// Signed bytes, as certificates and responses have them.
struct Signed<'a> {
    data: Element<'a>,
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn read(parts: &mut Elements<'a>) -> Result<Self, Error> {
        Ok(Signed {
            data: parts.need()?.expect(Tag::Sequence)?,
            algorithm: parts.need()?.expect(Tag::Sequence)?.value,
            signature: parts.need()?.bits()?,
        })
    }

    /// `None` if no algorithm fits signature and key.
    fn verify(
        &self,
        spki: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Option<bool> {
        let mut parts = Elements::of(spki);
        let key_algorithm = parts.need().ok()?.value;
        let key = parts.need().ok()?.bits().ok()?;
        let mut fitting = algorithms.iter().filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm.public_key_alg_id().as_ref() == key_algorithm
        });
        let algorithm = fitting.next()?;
        Some(algorithm.verify_signature(key, self.data.whole, self.signature).is_ok())
    }
}

struct Response<'a> {
    signed: Signed<'a>,
    certificates: Option<Element<'a>>,
}

impl<'a> Response<'a> {
    /// The inner error is the status of an unsuccessful response.
    fn read(der: &'a [u8]) -> Result<Result<Self, Cow<'static, str>>, Error> {
        let mut outer = Element::only(der)?.expect(Tag::Sequence)?.elements();
        let status = outer.need()?.expect(Tag::Enumerated)?.number()?;
        let Some(bytes) = outer.tagged(0) else {
            return Ok(Err(match status {
                1 => "malformed request".into(),
                2 => "internal error".into(),
                3 => "try later".into(),
                5 => "signature required".into(),
                6 => "unauthorized".into(),
                other => format!("status {other}").into(),
            }));
        };
        let mut typed = Element::only(bytes.value)?.expect(Tag::Sequence)?.elements();
        typed.need()?.oid()?;
        let basic = typed.need()?.expect(Tag::OctetString)?;
        let mut parts = Element::only(basic.value)?.expect(Tag::Sequence)?.elements();
        let signed = Signed::read(&mut parts)?;
        Ok(Ok(Response { signed, certificates: parts.tagged(0) }))
    }

    fn fill(&self, serial: Option<&str>, report: &mut OcspReport) -> Result<(), Error> {
        let mut data = self.signed.data.elements();
        let _version = data.tagged(0);
        let _responder = data.need()?;
        report.produced_at = Some(data.need()?.expect(Tag::GeneralizedTime)?.time()?);
        for single in data.need()?.expect(Tag::Sequence)?.elements() {
            let mut single = single?.expect(Tag::Sequence)?.elements();
            let mut id = single.need()?.expect(Tag::Sequence)?.elements();
            let _ = (id.need()?, id.need()?, id.need()?);
            let about = hex(id.need()?.magnitude()?);
            if serial.is_some_and(|serial| serial != about) {
                continue;
            }
            let status = single.need()?;
            let this_update = single.need()?.time()?;
            let next_update =
                single.tagged(0).map(|tagged| Element::only(tagged.value)?.time()).transpose()?;
            report.status = match status.context() {
                Some(0) => Some(OcspStatus::Good),
                Some(1) => {
                    let mut revoked = status.elements();
                    report.revoked_at = Some(revoked.need()?.time()?);
                    let reason = revoked.tagged(0);
                    let reason = reason.map(|tagged| Element::only(tagged.value)?.number());
                    report.reason = reason.transpose()?.map(reason_name);
                    Some(OcspStatus::Revoked)
                }
                Some(2) => Some(OcspStatus::Unknown),
                _ => return Err(status.tag.value_error().into()),
            };
            (report.this_update, report.next_update) = (Some(this_update), next_update);
            return Ok(());
        }
        Ok(())
    }

    fn signature(
        &self,
        issuer: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        now: i64,
    ) -> OcspSignature {
        let direct = self.signed.verify(issuer, algorithms);
        if direct == Some(true) {
            return OcspSignature::Verified;
        }
        // A delegate: issued by the same authority, for just this purpose (RFC 6960, 4.2.2.2).
        let mut outcome = direct;
        let list = self.certificates.and_then(|list| Element::only(list.value).ok());
        for certificate in list.iter().flat_map(Element::elements).flatten() {
            let delegate = Parsed::new(certificate.whole, &TlsLimits::default(), false);
            let report = &delegate.report;
            let appointed = report
                .extended_key_usage
                .as_ref()
                .is_some_and(|usages| usages.iter().any(|usage| usage == "OCSPSigning"));
            let current = report.not_before.is_some_and(|start| start <= now)
                && report.not_after.is_some_and(|end| end >= now);
            let issued = Signed::read(&mut certificate.elements())
                .ok()
                .and_then(|signed| signed.verify(issuer, algorithms));
            match (issued, self.signed.verify(&delegate.spki, algorithms)) {
                (Some(true), Some(true)) if appointed && current => {
                    return OcspSignature::Verified;
                }
                (Some(_), Some(_)) => outcome = Some(false),
                _ => {}
            }
        }
        outcome.map_or(OcspSignature::NotChecked, |_| OcspSignature::Failed)
    }
}

/// RFC 5280, 5.3.1.
fn reason_name(reason: u64) -> Cow<'static, str> {
    Cow::Borrowed(match reason {
        0 => "unspecified",
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        other => return Cow::Owned(other.to_string()),
    })
}
