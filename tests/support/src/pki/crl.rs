//! Certificate revocation lists (RFC 5280, section 5).

use crate::pki::der::{self, Time};
use crate::pki::{Authority, Issued, Key, cert};

/// A CRL to be made.
///
/// ```
/// use netsonde_support::Pki;
///
/// let pki = Pki::new();
/// let leaf = pki.leaf("gone.test").issue();
/// let crl = pki.intermediate.crl().revoke(&leaf).der();
/// let expired = pki.intermediate.crl().days(-30, -1).pem();
/// assert!(!crl.is_empty() && expired.starts_with("-----BEGIN X509 CRL-----"));
/// ```
#[derive(Clone, Debug)]
pub struct CrlSpec {
    authority: Authority,
    signer: Key,
    revoked: Vec<Vec<u8>>,
    this_update: Time,
    next_update: Time,
}

impl CrlSpec {
    pub(crate) fn new(authority: &Authority) -> Self {
        Self {
            authority: authority.clone(),
            signer: authority.key().clone(),
            revoked: Vec::new(),
            this_update: Time::days(-1),
            next_update: Time::days(7),
        }
    }

    /// Lists a certificate as revoked.
    #[must_use]
    pub fn revoke(self, issued: &Issued) -> Self {
        self.revoke_serial(issued.serial.clone())
    }

    /// Lists a serial number as revoked.
    #[must_use]
    pub fn revoke_serial(mut self, serial: impl Into<Vec<u8>>) -> Self {
        self.revoked.push(serial.into());
        self
    }

    /// `thisUpdate` and `nextUpdate` in days from now.
    #[must_use]
    pub fn days(mut self, this_update: i64, next_update: i64) -> Self {
        (self.this_update, self.next_update) = (Time::days(this_update), Time::days(next_update));
        self
    }

    /// Signs with this key instead of the authority's.
    #[must_use]
    pub fn signed_by(mut self, key: &Key) -> Self {
        self.signer = key.clone();
        self
    }

    /// The finished CRL in DER.
    pub fn der(&self) -> Vec<u8> {
        let algorithm = self.signer.default_algorithm();
        let entries: Vec<_> = self
            .revoked
            .iter()
            .map(|serial| der::sequence([der::integer(serial), self.this_update.der()]))
            .collect();
        let list = if entries.is_empty() { Vec::new() } else { der::sequence(entries) };
        let id = der::context_primitive(0, cert::key_id(self.authority.key()));
        let extension =
            |oid, value: Vec<u8>| der::sequence([der::oid(oid), der::octet_string(value)]);
        let extensions = der::sequence([
            extension("2.5.29.35", der::sequence([id])),
            extension("2.5.29.20", der::number(1)),
        ]);
        let body = der::sequence([
            der::number(1),
            algorithm.identifier(),
            self.authority.subject().to_vec(),
            self.this_update.der(),
            self.next_update.der(),
            list,
            der::context(0, extensions),
        ]);
        let signature = self.signer.sign(algorithm, &body);
        der::sequence([body, algorithm.identifier(), der::bit_string(signature)])
    }

    /// The finished CRL in PEM.
    pub fn pem(&self) -> String {
        der::pem("X509 CRL", &self.der())
    }
}
