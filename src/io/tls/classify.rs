//! Every way a handshake can end badly, in our codes.

use std::io;

use rustls::{
    AlertDescription, Error, InvalidMessage as Message, PeerIncompatible as Incompatible,
    PeerMisbehaved as Misbehaved,
};

use super::finding::Finding;
use super::tap::{Opening, Tap};
use crate::io::errno;
use crate::timing::Phase;
use crate::tls::alert_name;
use crate::verdict::{Failure, FailureKind, RawCode};

/// The failure that a refused certificate is.
pub(super) fn refused(finding: &Finding) -> Failure {
    let place = finding.certificate.map(|place| format!("certificate {place}"));
    let words: Vec<&str> = place
        .as_deref()
        .into_iter()
        .chain(Some(finding.detail.as_str()).filter(|detail| !detail.is_empty()))
        .collect();
    let failure = tls(finding.code);
    if words.is_empty() { failure } else { failure.with_detail(words.join(": ")) }
}

/// A failure of this kind in the TLS phase.
pub(super) fn tls(kind: FailureKind) -> Failure {
    Failure::new(kind).in_phase(Phase::Tls)
}

/// The failure behind an error of the stream below.
pub(super) fn stream(error: &io::Error) -> Failure {
    let kind = match (error.raw_os_error().and_then(errno::remote), error.kind()) {
        (Some(kind), _) => kind,
        (None, io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => {
            FailureKind::Reset
        }
        (None, io::ErrorKind::TimedOut) => FailureKind::Timeout,
        (None, _) => FailureKind::Closed,
    };
    match error.raw_os_error() {
        Some(value) => tls(kind).with_raw(RawCode::Errno { value }),
        None => tls(kind),
    }
}

/// The failure behind an error of rustls that is not about a certificate. `greeted` says whether
/// the server's hello was seen.
pub(super) fn protocol(error: &Error, tap: &Tap, greeted: bool) -> Failure {
    match (error, tap.opening()) {
        (Error::AlertReceived(alert), opening) => received(*alert, opening, greeted),
        (Error::InvalidMessage(_), Opening::Foreign) => not_tls(tap),
        (_, Opening::Ssl2 | Opening::Record { minor: 0 }) => tls(FailureKind::TlsVersion),
        (error, _) => tls(kind(error)).with_detail(format!("{error:?}")),
    }
}

/// A peer whose first bytes are no TLS.
pub(super) fn not_tls(tap: &Tap) -> Failure {
    tls(FailureKind::TlsNotTls).with_detail(super::der::ascii(&tap.first))
}

/// The failure that a fatal alert of the server is. Before its hello some alerts have a code of
/// their own, because they can only mean that there is nothing in common.
fn received(alert: AlertDescription, opening: Opening, greeted: bool) -> Failure {
    let value = u8::from(alert);
    let kind = match alert {
        _ if greeted => FailureKind::TlsAlert,
        _ if opening == (Opening::Record { minor: 0 }) => FailureKind::TlsVersion,
        AlertDescription::ProtocolVersion => FailureKind::TlsVersion,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            FailureKind::TlsNoSuite
        }
        _ => FailureKind::TlsAlert,
    };
    let name = alert_name(value).unwrap_or("unknown");
    tls(kind).with_raw(RawCode::TlsAlert { value }).with_detail(format!("alert {value} {name}"))
}

fn kind(error: &Error) -> FailureKind {
    use FailureKind as K;
    match error {
        Error::NoCertificatesPresented => K::TlsNoCertificate,
        Error::DecryptError => K::TlsDecrypt,
        Error::PeerSentOversizedRecord => K::TlsLimit,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            K::TlsUnexpectedMessage
        }
        Error::InvalidMessage(message) => match message {
            Message::CertificatePayloadTooLarge
            | Message::HandshakePayloadTooLarge
            | Message::MessageTooLarge => K::TlsLimit,
            Message::InvalidCcs | Message::UnexpectedMessage(_) => K::TlsUnexpectedMessage,
            Message::InvalidEmptyPayload => K::TlsEmptyFragments,
            Message::UnsupportedCompression
            | Message::UnsupportedCurveType
            | Message::UnsupportedKeyExchangeAlgorithm(_)
            | Message::UnknownHelloRetryRequestExtension
            | Message::DuplicateExtension(_) => K::TlsIllegalParameter,
            _ => K::TlsProtocol,
        },
        Error::PeerIncompatible(incompatible) => match incompatible {
            Incompatible::ServerDoesNotSupportTls12Or13
            | Incompatible::ServerTlsVersionIsDisabledByOurConfig
            | Incompatible::SupportedVersionsExtensionRequired
            | Incompatible::Tls12NotOffered
            | Incompatible::Tls12NotOfferedOrEnabled => K::TlsVersion,
            Incompatible::NoCertificateRequestSignatureSchemesInCommon
            | Incompatible::NoCipherSuitesInCommon
            | Incompatible::NoEcPointFormatsInCommon
            | Incompatible::NoKxGroupsInCommon
            | Incompatible::NoSignatureSchemesInCommon => K::TlsNoSuite,
            Incompatible::ServerSentHelloRetryRequestWithUnknownExtension
            | Incompatible::IncorrectCertificateTypeExtension
            | Incompatible::UnsolicitedCertificateTypeExtension => K::TlsIllegalParameter,
            _ => K::TlsProtocol,
        },
        Error::PeerMisbehaved(misbehaved) => match misbehaved {
            Misbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported => K::TlsDowngrade,
            Misbehaved::TooManyEmptyFragments => K::TlsEmptyFragments,
            Misbehaved::TooManyWarningAlertsReceived => K::TlsAlertFlood,
            Misbehaved::IllegalMiddleboxChangeCipherSpec
            | Misbehaved::IllegalTlsInnerPlaintext
            | Misbehaved::KeyEpochWithPendingFragment
            | Misbehaved::MessageInterleavedWithHandshakeMessage
            | Misbehaved::TooManyKeyUpdateRequests
            | Misbehaved::TooManyRenegotiationRequests => K::TlsUnexpectedMessage,
            _ => K::TlsIllegalParameter,
        },
        _ => K::TlsProtocol,
    }
}

/// The alert that rustls sends for an error, where it was sent encrypted. `None` if unsure.
pub(super) fn alert_for(error: &Error) -> Option<AlertDescription> {
    match error {
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            Some(AlertDescription::UnexpectedMessage)
        }
        Error::PeerSentOversizedRecord => Some(AlertDescription::RecordOverflow),
        _ => None,
    }
}
