//! OCSP responses (RFC 6960) for stapling.

use crate::pki::cert::sha1;
use crate::pki::der::{self, Time};
use crate::pki::{Authority, Issued, Key};

/// What a response says about the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OcspStatus {
    /// Not revoked.
    Good,
    /// Revoked at this time, with a reason (RFC 5280, 5.3.1: 1 is key compromise) if given.
    Revoked(Time, Option<u8>),
    /// The responder does not know it.
    Unknown,
}

/// An OCSP response to be made.
///
/// ```
/// use netsonde_support::Pki;
///
/// let pki = Pki::new();
/// let leaf = pki.leaf("good.test").issue();
/// let good = pki.intermediate.ocsp(&leaf).der();
/// let revoked = pki.intermediate.ocsp(&leaf).revoked().der();
/// let expired = pki.intermediate.ocsp(&leaf).days(-9, -2).der();
/// let wrong_signer = pki.intermediate.ocsp(&leaf).signed_by(pki.root.key()).der();
/// assert!(good != revoked && expired != wrong_signer);
/// ```
#[derive(Clone, Debug)]
pub struct OcspSpec {
    authority: Authority,
    serial: Vec<u8>,
    status: OcspStatus,
    this_update: Time,
    next_update: Option<Time>,
    signer: Key,
    certificates: Vec<Vec<u8>>,
}

impl OcspSpec {
    pub(crate) fn new(authority: &Authority, serial: &[u8]) -> Self {
        Self {
            authority: authority.clone(),
            serial: serial.to_vec(),
            status: OcspStatus::Good,
            this_update: Time::from_now(-3600),
            next_update: Some(Time::days(1)),
            signer: authority.key().clone(),
            certificates: Vec::new(),
        }
    }

    /// Says so.
    #[must_use]
    pub fn status(mut self, status: OcspStatus) -> Self {
        self.status = status;
        self
    }

    /// Says that it was revoked two days ago for key compromise.
    #[must_use]
    pub fn revoked(self) -> Self {
        self.status(OcspStatus::Revoked(Time::days(-2), Some(1)))
    }

    /// `thisUpdate` and `nextUpdate` in days from now.
    #[must_use]
    pub fn days(mut self, this_update: i64, next_update: i64) -> Self {
        self.this_update = Time::days(this_update);
        self.next_update = Some(Time::days(next_update));
        self
    }

    /// Any `thisUpdate` and `nextUpdate`.
    #[must_use]
    pub fn times(mut self, this_update: Time, next_update: Option<Time>) -> Self {
        (self.this_update, self.next_update) = (this_update, next_update);
        self
    }

    /// Answers for another serial number.
    #[must_use]
    pub fn serial(mut self, serial: impl Into<Vec<u8>>) -> Self {
        self.serial = serial.into();
        self
    }

    /// Signs with this key instead of the authority's.
    #[must_use]
    pub fn signed_by(mut self, key: &Key) -> Self {
        self.signer = key.clone();
        self
    }

    /// Signs with a delegated responder, whose certificate comes along.
    #[must_use]
    pub fn delegated(mut self, responder: &Issued) -> Self {
        self.signer = responder.key.clone();
        self.certificates.push(responder.der().to_vec());
        self
    }

    /// The finished response in DER.
    pub fn der(&self) -> Vec<u8> {
        let sha1_identifier = der::sequence([der::oid("1.3.14.3.2.26"), der::null()]);
        let id = der::sequence([
            sha1_identifier,
            der::octet_string(sha1(self.authority.subject())),
            der::octet_string(sha1(&self.authority.key().public_key_bits())),
            der::integer(&self.serial),
        ]);
        let status = match &self.status {
            OcspStatus::Good => der::context_primitive(0, []),
            OcspStatus::Revoked(at, reason) => {
                let reason = reason.map(|reason| der::context(0, der::tlv(0x0a, [reason])));
                let at = at.to_generalized().der();
                der::context(1, der::concat([at, reason.unwrap_or_default()]))
            }
            OcspStatus::Unknown => der::context_primitive(2, []),
        };
        let next =
            self.next_update.as_ref().map(|next| der::context(0, next.to_generalized().der()));
        let this_update = self.this_update.to_generalized().der();
        let single = der::sequence([id, status, this_update.clone(), next.unwrap_or_default()]);
        let responder = der::context(2, der::octet_string(sha1(&self.signer.public_key_bits())));
        let data = der::sequence([responder, this_update, der::sequence([single])]);
        let algorithm = self.signer.default_algorithm();
        let signature = self.signer.sign(algorithm, &data);
        let certificates = if self.certificates.is_empty() {
            Vec::new()
        } else {
            der::context(0, der::sequence(&self.certificates))
        };
        let basic =
            der::sequence([data, algorithm.identifier(), der::bit_string(signature), certificates]);
        let bytes = der::sequence([der::oid("1.3.6.1.5.5.7.48.1.1"), der::octet_string(basic)]);
        der::sequence([der::tlv(0x0a, [0]), der::context(0, bytes)])
    }

    /// A response without content that only says why there is none (RFC 6960, 4.2.1: 1 malformed,
    /// 2 internal error, 3 try later, 5 signature required, 6 unauthorized).
    pub fn error(status: u8) -> Vec<u8> {
        der::sequence([der::tlv(0x0a, [status])])
    }
}
