//! Certificates, CRLs and OCSP responses, made when a test needs them.
//!
//! [`Pki`] is the usual thing: a root, an intermediate, leaves. [`CertSpec`] makes any other
//! certificate, [`chains`] the sets that are meant to wear a verifier out.

mod cert;
pub mod chains;
mod crl;
pub mod der;
mod key;
mod ocsp;
mod rsa;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

pub use cert::{
    CLIENT_AUTH, CertSpec, Extension, Issued, OCSP_SIGNING, SERVER_AUTH, common_name, random_serial,
};
pub use crl::CrlSpec;
pub use der::Time;
pub use key::{Key, SigAlg};
pub use ocsp::{OcspSpec, OcspStatus};

#[derive(Debug)]
struct Inner {
    certificate: Vec<u8>,
    key: Key,
    subject: Vec<u8>,
    chain: Vec<Vec<u8>>,
}

/// Somebody who signs certificates. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authority(Arc<Inner>);

impl Authority {
    /// A new root with a P-256 key, valid for ten years.
    pub fn root(name: &str) -> Self {
        CertSpec::new().common_name(name).ca(None).days(-10, 3650).authority()
    }

    /// A new intermediate below this authority.
    pub fn intermediate(&self, name: &str) -> Self {
        self.intermediate_spec(name).authority()
    }

    /// An intermediate that can still be changed; ends with [`CertSpec::authority`].
    pub fn intermediate_spec(&self, name: &str) -> CertSpec {
        CertSpec::new().common_name(name).ca(None).days(-5, 1825).by(self)
    }

    /// A server certificate for a host name (or an IP address, given as text).
    pub fn leaf(&self, name: &str) -> CertSpec {
        let spec = CertSpec::new().common_name(name).usages(&[SERVER_AUTH]).by(self);
        match name.parse::<std::net::IpAddr>() {
            Ok(address) => spec.ip(address),
            Err(_) => spec.dns(name),
        }
    }

    /// A client certificate.
    pub fn client(&self, name: &str) -> CertSpec {
        CertSpec::new().common_name(name).dns(name).usages(&[CLIENT_AUTH]).by(self)
    }

    /// A CRL of this authority, empty and valid for a week.
    pub fn crl(&self) -> CrlSpec {
        CrlSpec::new(self)
    }

    /// An OCSP response for a certificate of this authority: good, and valid for a day.
    pub fn ocsp(&self, issued: &Issued) -> OcspSpec {
        OcspSpec::new(self, &issued.serial)
    }

    pub(crate) fn from_issued(issued: &Issued, is_root: bool) -> Self {
        Self(Arc::new(Inner {
            certificate: issued.der().to_vec(),
            key: issued.key.clone(),
            subject: issued.subject.clone(),
            chain: if is_root { Vec::new() } else { issued.chain.clone() },
        }))
    }

    /// Its certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.0.certificate
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> String {
        der::pem("CERTIFICATE", self.der())
    }

    /// Writes its certificate to a file in PEM.
    ///
    /// # Panics
    ///
    /// The file cannot be written.
    pub fn write_pem(&self, path: impl AsRef<Path>) {
        std::fs::write(path, self.pem()).expect("the certificate can be written");
    }

    /// Its certificate as rustls wants it.
    pub fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.der().to_vec())
    }

    /// A root store with only this authority.
    ///
    /// # Panics
    ///
    /// webpki does not take the certificate as a trust anchor.
    pub fn root_store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add(self.certificate()).expect("a trust anchor");
        store
    }

    /// Its key.
    pub fn key(&self) -> &Key {
        &self.0.key
    }

    /// Its subject in DER.
    pub fn subject(&self) -> &[u8] {
        &self.0.subject
    }

    /// What a server sends behind a leaf of this authority: its certificate and those above it,
    /// without the root.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.0.chain
    }
}

/// A root and an intermediate, the usual ground for leaves.
///
/// ```
/// use netsonde_support::Pki;
///
/// let pki = Pki::new();
/// let leaf = pki.leaf("good.test").issue();
/// assert_eq!(leaf.chain, [leaf.der(), pki.intermediate.der()]);
/// std::fs::write("/dev/null", pki.root.pem())?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pki {
    /// The trust anchor.
    pub root: Authority,
    /// The authority that signs the leaves.
    pub intermediate: Authority,
}

impl Pki {
    /// A new root and a new intermediate.
    pub fn new() -> Self {
        let root = Authority::root("Support Root");
        let intermediate = root.intermediate("Support Intermediate");
        Self { root, intermediate }
    }

    /// A server certificate of the intermediate; [`CertSpec::issue`] makes it.
    pub fn leaf(&self, name: &str) -> CertSpec {
        self.intermediate.leaf(name)
    }

    /// A client certificate of the intermediate.
    pub fn client(&self, name: &str) -> CertSpec {
        self.intermediate.client(name)
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}
