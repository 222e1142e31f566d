//! What is wrong with a chain, in our codes.

use std::sync::Arc;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, PeerIncompatible, PeerMisbehaved};
use webpki::Error as Pki;

use super::certificate::{Parsed, is_weak, public_key};
use super::der::Element;
use super::paths::Paths;
use super::roots::Roots;
use crate::tls::{Check, CheckKind, CheckStatus};
use crate::verdict::FailureKind;

/// A check that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: CheckKind,
    pub(super) code: FailureKind,
    pub(super) certificate: Option<u32>,
    pub(super) detail: String,
}

impl Finding {
    pub(super) fn new(check: CheckKind, code: FailureKind, detail: impl Into<String>) -> Self {
        Finding { check, code, certificate: None, detail: detail.into() }
    }

    pub(super) fn at(mut self, place: usize) -> Self {
        self.certificate = u32::try_from(place).ok();
        self
    }

    /// The error to give to rustls, which turns it into the alert for the server.
    pub(super) fn to_rustls(&self) -> rustls::Error {
        use FailureKind as K;
        rustls::Error::InvalidCertificate(match self.code {
            K::TlsExpired => CertificateError::Expired,
            K::TlsNotYetValid => CertificateError::NotValidYet,
            K::TlsNameMismatch => CertificateError::NotValidForName,
            K::TlsRevoked => CertificateError::Revoked,
            K::TlsCrl => CertificateError::UnknownRevocationStatus,
            K::TlsOcsp => CertificateError::InvalidOcspResponse,
            K::TlsUsage => CertificateError::InvalidPurpose,
            K::TlsCriticalExtension => CertificateError::UnhandledCriticalExtension,
            K::TlsCertificateEncoding => CertificateError::BadEncoding,
            K::TlsBadSignature
            | K::TlsSignatureAlgorithm
            | K::TlsWeakKey
            | K::TlsUnsupportedKey => CertificateError::BadSignature,
            K::TlsBudget | K::TlsLimit => CertificateError::ApplicationVerificationFailure,
            _ => CertificateError::UnknownIssuer,
        })
    }

    /// The alert that rustls sends for [`Finding::to_rustls`].
    pub(super) fn alert(&self) -> Option<u8> {
        match self.to_rustls() {
            rustls::Error::InvalidCertificate(error) => {
                Some(u8::from(AlertDescription::from(error)))
            }
            _ => None,
        }
    }
}

impl From<&Finding> for Check {
    fn from(finding: &Finding) -> Self {
        let mut check = Check::new(finding.check, CheckStatus::Failed);
        check.code = Some(finding.code);
        check.certificate = finding.certificate;
        check.detail = (!finding.detail.is_empty()).then(|| finding.detail.clone());
        check
    }
}

/// What the verification was about: needed to say which certificate is to blame.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) served: &'a [Arc<Parsed>],
    pub(super) paths: &'a Paths,
    pub(super) roots: &'a Roots,
}

impl<'a> Scene<'a> {
    /// The leaf and what may stand between it and a root.
    fn involved(self) -> impl Iterator<Item = (usize, &'a Parsed)> {
        let places = std::iter::once(0).chain(self.paths.useful.iter().copied());
        places.filter_map(move |place| Some((place, self.served.get(place)?.as_ref())))
    }

    fn blame(self, guilty: impl Fn(usize, &Parsed) -> bool) -> Option<usize> {
        self.involved().find(|(place, parsed)| guilty(*place, parsed)).map(|(place, _)| place)
    }

    /// Turns what webpki says about the chain into a finding.
    pub(super) fn finding(self, error: &Pki) -> Finding {
        use CheckKind::{Chain, Revocation, Signature, Usage, Validity};
        use FailureKind as K;
        let make = |check, code, detail: &str| Finding::new(check, code, detail);
        let blamed = |finding: Finding, place: Option<usize>| match place {
            Some(place) => finding.at(place),
            None => finding,
        };
        match error {
            Pki::CertExpired { not_after, .. } => {
                let end = seconds(*not_after);
                let place = self.blame(|_, parsed| parsed.report.not_after == end);
                let who = if place.is_none() { "the trusted root " } else { "" };
                let detail = format!("{who}expired on {}", date(end));
                blamed(Finding::new(Validity, K::TlsExpired, detail), place)
            }
            Pki::CertNotValidYet { not_before, .. } => {
                let start = seconds(*not_before);
                let place = self.blame(|_, parsed| parsed.report.not_before == start);
                let who = if place.is_none() { "the trusted root " } else { "" };
                let detail = format!("{who}valid from {}", date(start));
                blamed(Finding::new(Validity, K::TlsNotYetValid, detail), place)
            }
            Pki::UnknownIssuer => self.unknown_issuer(),
            Pki::CertDistrusted => {
                make(Chain, K::TlsUnknownIssuer, "a key on webpki's list of distrusted ones")
            }
            Pki::CaUsedAsEndEntity => {
                make(Usage, K::TlsUsage, "the server's certificate is one of an authority").at(0)
            }
            Pki::RequiredEkuNotFoundContext(_) | Pki::EmptyEkuExtension => {
                let place = self.blame(|_, parsed| !for_servers(parsed));
                let usages = place.and_then(|place| {
                    self.served.get(place)?.report.extended_key_usage.as_ref().map(|u| u.join(", "))
                });
                let detail = format!("only for: {}", usages.unwrap_or_default());
                blamed(Finding::new(Usage, K::TlsUsage, detail), place)
            }
            Pki::EndEntityUsedAsCa => {
                let place = self.blame(|place, parsed| place > 0 && !parsed.report.is_ca);
                blamed(make(Chain, K::TlsNotCa, ""), place)
            }
            Pki::PathLenConstraintViolated => {
                let place = self.blame(|_, parsed| parsed.report.path_len.is_some());
                blamed(make(Chain, K::TlsPathLength, ""), place)
            }
            Pki::MaximumPathDepthExceeded => too_deep(),
            Pki::MaximumNameConstraintComparisonsExceeded
            | Pki::MaximumPathBuildCallsExceeded
            | Pki::MaximumSignatureChecksExceeded => {
                Finding::new(Chain, K::TlsBudget, format!("{error:?}"))
            }
            Pki::NameConstraintViolation | Pki::UnsupportedNameType => {
                make(Chain, K::TlsNameConstraint, "")
            }
            Pki::UnsupportedCriticalExtension => {
                let place = self.blame(|_, parsed| !parsed.report.unknown_critical.is_empty());
                let oids = place.and_then(|place| self.served.get(place));
                let detail = oids.map(|parsed| parsed.report.unknown_critical.join(", "));
                let detail = detail.unwrap_or_default();
                blamed(Finding::new(Chain, K::TlsCriticalExtension, detail), place)
            }
            Pki::InvalidSignatureForPublicKey => self.bad_signature(),
            Pki::UnsupportedSignatureAlgorithmContext(context) => {
                let oid = algorithm_oid(&context.signature_algorithm_id);
                make(Signature, K::TlsSignatureAlgorithm, &oid)
            }
            Pki::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
                let signature = algorithm_oid(&context.signature_algorithm_id);
                let key = algorithm_oid(&context.public_key_algorithm_id);
                let detail = format!("signature {signature} by a key {key}");
                Finding::new(Signature, K::TlsUnsupportedKey, detail)
            }
            Pki::CertRevoked => make(Revocation, K::TlsRevoked, "by a revocation list"),
            Pki::CrlExpired { next_update, .. } => {
                let detail = format!("outdated since {}", date(seconds(*next_update)));
                Finding::new(Revocation, K::TlsCrl, detail)
            }
            Pki::UnknownRevocationStatus => {
                make(Revocation, K::TlsCrl, "no list speaks for a certificate of the chain")
            }
            Pki::InvalidCrlNumber
            | Pki::InvalidCrlSignatureForPublicKey
            | Pki::IssuerNotCrlSigner
            | Pki::UnsupportedCrlIssuingDistributionPoint
            | Pki::UnsupportedCrlSignatureAlgorithmContext(_)
            | Pki::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
            | Pki::UnsupportedCrlVersion
            | Pki::UnsupportedDeltaCrl
            | Pki::UnsupportedIndirectCrl
            | Pki::UnsupportedRevocationReason
            | Pki::UnsupportedRevocationReasonsPartitioning => {
                Finding::new(Revocation, K::TlsCrl, format!("{error:?}"))
            }
            other => {
                let place = self.blame(|_, parsed| parsed.report.decode_error.is_some());
                let decoded = place.and_then(|place| self.served.get(place));
                let decoded = decoded.and_then(|parsed| parsed.report.decode_error.clone());
                let detail = decoded.unwrap_or_else(|| format!("{other:?}"));
                blamed(Finding::new(Chain, K::TlsCertificateEncoding, detail), place)
            }
        }
    }

    /// No chain: because there is none, or because the walk over the names could not find it.
    pub(super) fn unknown_issuer(self) -> Finding {
        let damaged = self.served.iter().enumerate().find_map(|(place, parsed)| {
            let error = parsed.report.decode_error.as_ref()?;
            parsed.subject.is_empty().then_some((place, error.clone()))
        });
        if let Some((place, error)) = damaged {
            return Finding::new(CheckKind::Chain, FailureKind::TlsCertificateEncoding, error)
                .at(place);
        }
        if self.paths.too_deep && !self.paths.anchored {
            return too_deep();
        }
        let mut last = self.served.first();
        for _ in self.served {
            let issuer = |next: &&Arc<Parsed>| last.is_some_and(|last| last.issuer == next.subject);
            match self.served.iter().skip(1).find(issuer) {
                Some(next) if !next.subject.is_empty() => last = Some(next),
                _ => break,
            }
        }
        let detail = match (last, self.served.first()) {
            (_, Some(leaf)) if leaf.report.self_issued => "self-signed".to_owned(),
            (Some(last), _) => {
                let issuer = last.report.issuer.as_deref().unwrap_or_default();
                if last.report.self_issued {
                    format!("not trusted: {issuer}")
                } else {
                    format!("no trusted certificate of: {issuer}")
                }
            }
            (None, _) => String::new(),
        };
        Finding::new(CheckKind::Chain, FailureKind::TlsUnknownIssuer, detail)
    }

    fn bad_signature(self) -> Finding {
        let weak = self.blame(|place, parsed| place > 0 && parsed.has_weak_key());
        if let Some(place) = weak {
            let key = self.served.get(place).and_then(|parsed| parsed.report.key.as_ref());
            let bits = key.and_then(|key| key.bits).unwrap_or_default();
            let detail = format!("RSA of {bits} bits");
            return Finding::new(CheckKind::Signature, FailureKind::TlsWeakKey, detail).at(place);
        }
        let issuers = self.involved().flat_map(|(_, parsed)| self.roots.named(&parsed.issuer));
        let weak_root = issuers.filter_map(|place| self.roots.anchors.get(place)).any(|root| {
            let spki = super::roots::with_header(root.subject_public_key_info.as_ref());
            let key = Element::only(&spki).and_then(|spki| public_key(&spki));
            key.is_ok_and(|key| is_weak(&key))
        });
        if weak_root {
            let detail = "the key of the trusted root";
            return Finding::new(CheckKind::Signature, FailureKind::TlsWeakKey, detail);
        }
        Finding::new(CheckKind::Signature, FailureKind::TlsBadSignature, "in the chain")
    }
}

/// What rustls says about the server's signature over the handshake.
pub(super) fn handshake_signature(error: &rustls::Error, leaf: Option<&Parsed>) -> Finding {
    use CertificateError as C;
    use FailureKind as K;
    let weak = leaf.is_some_and(Parsed::has_weak_key);
    let code = match error {
        rustls::Error::InvalidCertificate(error) => match error {
            C::BadSignature if weak => K::TlsWeakKey,
            C::BadSignature => K::TlsBadSignature,
            C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => K::TlsUnsupportedKey,
            C::UnsupportedSignatureAlgorithmContext { .. } => K::TlsSignatureAlgorithm,
            C::UnhandledCriticalExtension => K::TlsCriticalExtension,
            _ => K::TlsCertificateEncoding,
        },
        rustls::Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme) => {
            K::TlsIllegalParameter
        }
        rustls::Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon) => {
            K::TlsSignatureAlgorithm
        }
        _ => K::TlsBadSignature,
    };
    Finding::new(CheckKind::HandshakeSignature, code, "of the handshake").at(0)
}

/// Whether the extended key usages allow servers; no such extension allows everything.
pub(super) fn for_servers(parsed: &Parsed) -> bool {
    let usages = parsed.report.extended_key_usage.as_ref();
    usages.is_none_or(|usages| usages.iter().any(|usage| usage == "serverAuth"))
}

fn too_deep() -> Finding {
    Finding::new(CheckKind::Chain, FailureKind::TlsDepth, "more than 6 intermediates")
}

fn seconds(time: UnixTime) -> Option<i64> {
    i64::try_from(time.as_secs()).ok()
}

pub(super) fn date(seconds: Option<i64>) -> String {
    seconds.and_then(crate::tls::rfc3339).unwrap_or_else(|| "a time out of range".to_owned())
}

/// The OID in the content of an AlgorithmIdentifier.
fn algorithm_oid(content: &[u8]) -> String {
    let oid = Element::split(content).and_then(|(oid, _)| oid.oid());
    oid.map_or_else(|_| "unreadable".to_owned(), |oid| super::certificate::oid_name(&oid))
}
