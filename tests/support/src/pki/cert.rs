//! One certificate, as plain as usual or as odd as wanted.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;

use crate::pki::Authority;
use crate::pki::der::{self, Time};
use crate::pki::key::{Key, SigAlg};

/// An X.509 extension.
#[derive(Clone, Debug)]
pub struct Extension {
    /// Its identifier, dotted.
    pub oid: String,
    /// Whether a verifier that does not know it must refuse.
    pub critical: bool,
    /// The DER inside its OCTET STRING.
    pub value: Vec<u8>,
}

/// Damage done to a certificate after it was signed.
#[derive(Clone, Debug)]
enum Damage {
    FlipSignatureBit,
    CutShort(usize),
    Append(Vec<u8>),
}

/// `serverAuth`, for [`CertSpec::usages`].
pub const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
/// `clientAuth`, for [`CertSpec::usages`].
pub const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
/// `OCSPSigning`, for [`CertSpec::usages`].
pub const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";

/// A certificate to be made. Without an authority it signs itself.
///
/// ```
/// use netsonde_support::{Key, Pki};
///
/// let pki = Pki::new();
/// let expired = pki.leaf("old.test").days(-30, -1).issue();
/// let by_address = pki.leaf("good.test").ip([127, 0, 0, 1]).key(Key::ed25519()).issue();
/// let odd = pki.leaf("odd.test").extension("1.2.3.4", true, b"\x05\x00").issue();
/// let broken = pki.leaf("broken.test").flip_signature_bit().issue();
/// assert_eq!(expired.chain.len(), 2);
/// # drop((by_address, odd, broken));
/// ```
#[derive(Clone, Debug)]
pub struct CertSpec {
    authority: Option<Authority>,
    issuer: Option<Vec<u8>>,
    subject: Vec<u8>,
    key: Key,
    serial: Vec<u8>,
    not_before: Time,
    not_after: Time,
    v1: bool,
    names: Vec<Vec<u8>>,
    usages: Vec<String>,
    ca: Option<Option<u64>>,
    key_usage: Option<Vec<u8>>,
    extensions: Vec<Extension>,
    algorithm: Option<SigAlg>,
    damage: Vec<Damage>,
}

/// A distinguished name with only a common name; empty text gives the empty name.
pub fn common_name(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return der::sequence::<&[u8]>([]);
    }
    let attribute = der::sequence([der::oid("2.5.4.3"), der::utf8(text)]);
    der::sequence([der::set([attribute])])
}

/// A random positive serial number.
pub fn random_serial() -> Vec<u8> {
    let mut serial = vec![0; 16];
    SystemRandom::new().fill(&mut serial).expect("random bytes");
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

impl CertSpec {
    /// A certificate without names, self-signed with a new P-256 key, valid from yesterday for 90 days.
    pub fn new() -> Self {
        Self {
            authority: None,
            issuer: None,
            subject: common_name(""),
            key: Key::p256(),
            serial: random_serial(),
            not_before: Time::days(-1),
            not_after: Time::days(90),
            v1: false,
            names: Vec::new(),
            usages: Vec::new(),
            ca: None,
            key_usage: None,
            extensions: Vec::new(),
            algorithm: None,
            damage: Vec::new(),
        }
    }

    /// A self-signed certificate for this host name.
    pub fn self_signed(name: &str) -> Self {
        Self::new().common_name(name).dns(name).usages(&[SERVER_AUTH])
    }

    /// Who signs it.
    #[must_use]
    pub fn by(mut self, authority: &Authority) -> Self {
        self.authority = Some(authority.clone());
        self
    }

    /// Any issuer name (DER), instead of the authority's subject.
    #[must_use]
    pub fn issuer(mut self, name: Vec<u8>) -> Self {
        self.issuer = Some(name);
        self
    }

    /// The subject's common name; empty text for an empty subject.
    #[must_use]
    pub fn common_name(self, text: &str) -> Self {
        self.subject(common_name(text))
    }

    /// Any subject (DER).
    #[must_use]
    pub fn subject(mut self, name: Vec<u8>) -> Self {
        self.subject = name;
        self
    }

    /// The key.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.key = key;
        self
    }

    /// The serial number, as unsigned big-endian bytes.
    #[must_use]
    pub fn serial(mut self, serial: impl Into<Vec<u8>>) -> Self {
        self.serial = serial.into();
        self
    }

    /// Validity in days from now; before now if negative.
    #[must_use]
    pub fn days(self, from: i64, until: i64) -> Self {
        self.validity(Time::days(from), Time::days(until))
    }

    /// Any validity.
    #[must_use]
    pub fn validity(mut self, from: Time, until: Time) -> Self {
        (self.not_before, self.not_after) = (from, until);
        self
    }

    /// Version 1, which has no extensions.
    #[must_use]
    pub fn v1(mut self) -> Self {
        self.v1 = true;
        self
    }

    /// One more DNS name (any text, also with NUL inside).
    #[must_use]
    pub fn dns(self, name: impl AsRef<[u8]>) -> Self {
        self.name(2, name)
    }

    /// Drops the names that were given so far.
    #[must_use]
    pub fn no_names(mut self) -> Self {
        self.names.clear();
        self
    }

    /// One more IP address.
    #[must_use]
    pub fn ip(self, address: impl Into<IpAddr>) -> Self {
        match address.into() {
            IpAddr::V4(address) => self.name(7, address.octets()),
            IpAddr::V6(address) => self.name(7, address.octets()),
        }
    }

    /// One more `GeneralName` with any primitive context tag (1 mail, 2 DNS, 6 URI, 7 IP) and bytes.
    #[must_use]
    pub fn name(mut self, tag: u8, value: impl AsRef<[u8]>) -> Self {
        self.names.push(der::context_primitive(tag, value));
        self
    }

    /// Extended key usages, dotted; none for no such extension.
    #[must_use]
    pub fn usages(mut self, dotted: &[&str]) -> Self {
        self.usages = dotted.iter().map(|&usage| usage.to_owned()).collect();
        self
    }

    /// Makes it an authority, at most so many intermediates above the leaf if given.
    #[must_use]
    pub fn ca(mut self, path_length: Option<u64>) -> Self {
        self.ca = Some(path_length);
        self
    }

    /// Makes it no authority.
    #[must_use]
    pub fn not_ca(mut self) -> Self {
        self.ca = None;
        self
    }

    /// Key usage bits (RFC 5280, 4.2.1.3: 0 `digitalSignature`, 5 `keyCertSign`, 6 `cRLSign`), instead of
    /// the usual ones.
    #[must_use]
    pub fn key_usage(mut self, bits: &[u8]) -> Self {
        self.key_usage = Some(bits.to_vec());
        self
    }

    /// Name constraints on DNS names, critical.
    #[must_use]
    pub fn name_constraints<T: AsRef<[u8]>>(self, permitted: &[T], excluded: &[T]) -> Self {
        let subtrees = |number, names: &[T]| {
            let list: Vec<_> =
                names.iter().map(|name| der::sequence([der::context_primitive(2, name)])).collect();
            if list.is_empty() { Vec::new() } else { der::context(number, der::concat(list)) }
        };
        let value = der::sequence([subtrees(0, permitted), subtrees(1, excluded)]);
        self.extension("2.5.29.30", true, value)
    }

    /// Where the CRL is.
    #[must_use]
    pub fn crl_url(self, url: &str) -> Self {
        let name = der::context(0, der::context(0, der::context_primitive(6, url)));
        let value = der::sequence([der::sequence([name])]);
        self.extension("2.5.29.31", false, value)
    }

    /// Where the OCSP responder is.
    #[must_use]
    pub fn ocsp_url(self, url: &str) -> Self {
        let access =
            der::sequence([der::oid("1.3.6.1.5.5.7.48.1"), der::context_primitive(6, url)]);
        self.extension("1.3.6.1.5.5.7.1.1", false, der::sequence([access]))
    }

    /// The "must staple" feature (RFC 7633).
    #[must_use]
    pub fn must_staple(self) -> Self {
        self.extension("1.3.6.1.5.5.7.1.24", false, der::sequence([der::number(5)]))
    }

    /// Any extension.
    #[must_use]
    pub fn extension(mut self, oid: &str, critical: bool, value: impl Into<Vec<u8>>) -> Self {
        self.extensions.push(Extension { oid: oid.to_owned(), critical, value: value.into() });
        self
    }

    /// The signature algorithm to claim (and to use, where the key can: [`Key::sign`]).
    #[must_use]
    pub fn algorithm(mut self, algorithm: SigAlg) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Flips the lowest bit of the finished signature.
    #[must_use]
    pub fn flip_signature_bit(mut self) -> Self {
        self.damage.push(Damage::FlipSignatureBit);
        self
    }

    /// Cuts so many bytes off the end of the finished certificate.
    #[must_use]
    pub fn cut_short(mut self, bytes: usize) -> Self {
        self.damage.push(Damage::CutShort(bytes));
        self
    }

    /// Puts bytes behind the finished certificate.
    #[must_use]
    pub fn append(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.damage.push(Damage::Append(bytes.into()));
        self
    }

    fn extensions(&self) -> Vec<u8> {
        let mut list = Vec::new();
        let mut add = |oid: &str, critical: bool, value: Vec<u8>| {
            let critical = if critical { der::yes() } else { Vec::new() };
            list.push(der::sequence([der::oid(oid), critical, der::octet_string(value)]));
        };
        if let Some(path_length) = self.ca {
            let limit = path_length.map(der::number).unwrap_or_default();
            add("2.5.29.19", true, der::sequence([der::yes(), limit]));
        }
        let usual: &[u8] = if self.ca.is_some() { &[5, 6] } else { &[0] };
        let bits = self.key_usage.as_deref().unwrap_or(usual);
        if !bits.is_empty() {
            add("2.5.29.15", true, der::named_bits(bits));
        }
        if !self.usages.is_empty() {
            let usages = self.usages.iter().map(|usage| der::oid(usage));
            add("2.5.29.37", false, der::sequence(usages));
        }
        if !self.names.is_empty() {
            // Critical where the subject is empty (RFC 5280, 4.2.1.6).
            add("2.5.29.17", self.subject.len() == 2, der::sequence(&self.names));
        }
        add("2.5.29.14", false, der::octet_string(key_id(&self.key)));
        if let Some(authority) = &self.authority {
            let id = der::context_primitive(0, key_id(authority.key()));
            add("2.5.29.35", false, der::sequence([id]));
        }
        for extension in &self.extensions {
            add(&extension.oid, extension.critical, extension.value.clone());
        }
        der::context(3, der::sequence(list))
    }

    /// Makes the certificate.
    pub fn issue(self) -> Issued {
        let signer = self.authority.as_ref().map_or(&self.key, Authority::key);
        let algorithm = self.algorithm.unwrap_or_else(|| signer.default_algorithm());
        let issuer = self.issuer.clone().unwrap_or_else(|| {
            self.authority.as_ref().map_or(&self.subject[..], Authority::subject).to_vec()
        });
        let version = if self.v1 { Vec::new() } else { der::context(0, der::number(2)) };
        let extensions = if self.v1 { Vec::new() } else { self.extensions() };
        let body = der::sequence([
            version,
            der::integer(&self.serial),
            algorithm.identifier(),
            issuer,
            der::sequence([self.not_before.der(), self.not_after.der()]),
            self.subject.clone(),
            self.key.spki().to_vec(),
            extensions,
        ]);
        let mut signature = signer.sign(algorithm, &body);
        for damage in &self.damage {
            if let (Damage::FlipSignatureBit, Some(last)) = (damage, signature.last_mut()) {
                *last ^= 1;
            }
        }
        let mut certificate =
            der::sequence([body, algorithm.identifier(), der::bit_string(signature)]);
        for damage in &self.damage {
            match damage {
                Damage::FlipSignatureBit => {}
                Damage::CutShort(bytes) => {
                    certificate.truncate(certificate.len().saturating_sub(*bytes));
                }
                Damage::Append(bytes) => certificate.extend_from_slice(bytes),
            }
        }
        let mut chain = vec![certificate];
        chain.extend(self.authority.iter().flat_map(|authority| authority.chain().to_vec()));
        Issued { chain, key: self.key, serial: self.serial, subject: self.subject }
    }

    /// Makes the certificate and an authority out of it, whatever its extensions say.
    pub fn authority(self) -> Authority {
        let is_root = self.authority.is_none();
        let issued = self.issue();
        Authority::from_issued(&issued, is_root)
    }
}

impl Default for CertSpec {
    fn default() -> Self {
        Self::new()
    }
}

/// The key identifier: SHA-1 of the public key's bits (RFC 5280, 4.2.1.2).
pub(crate) fn key_id(key: &Key) -> Vec<u8> {
    sha1(&key.public_key_bits())
}

pub(crate) fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

/// A finished certificate with its key and the chain that a server sends.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificates in DER: this one, then the intermediates; no root.
    pub chain: Vec<Vec<u8>>,
    /// Its key.
    pub key: Key,
    /// Its serial number.
    pub serial: Vec<u8>,
    pub(crate) subject: Vec<u8>,
}

impl Issued {
    /// The certificate itself in DER.
    pub fn der(&self) -> &[u8] {
        &self.chain[0]
    }

    /// The same certificate with another chain behind it: `with_chain([])` sends the leaf alone.
    #[must_use]
    pub fn with_chain(mut self, rest: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.chain.truncate(1);
        self.chain.extend(rest);
        self
    }

    /// The chain as rustls wants it.
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().cloned().map(CertificateDer::from).collect()
    }

    /// The chain in PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|one| der::pem("CERTIFICATE", one)).collect()
    }

    /// An authority that signs with this certificate, although it is none.
    pub fn as_authority(&self) -> Authority {
        Authority::from_issued(self, false)
    }

    /// Writes `NAME.crt` (the chain) and `NAME.key` into a folder, in PEM.
    ///
    /// # Panics
    ///
    /// The files cannot be written, or the key has no private half.
    pub fn write_pem(&self, folder: impl AsRef<Path>, name: &str) -> (PathBuf, PathBuf) {
        let certificate = folder.as_ref().join(format!("{name}.crt"));
        let key = folder.as_ref().join(format!("{name}.key"));
        std::fs::write(&certificate, self.chain_pem()).expect("the chain can be written");
        self.key.write_pem(&key);
        (certificate, key)
    }
}
