//! Keys that sign certificates and handshakes, also those that no TLS library would touch.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair,
};
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::pki::der;
use crate::pki::rsa::Private;

/// The algorithm that a signature claims to be made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigAlg {
    /// `ecdsa-with-SHA1`; only a claim, see [`Key::sign`].
    EcdsaSha1,
    /// `ecdsa-with-SHA256`.
    EcdsaSha256,
    /// `ecdsa-with-SHA384`.
    EcdsaSha384,
    /// `ecdsa-with-SHA512`; only a claim, see [`Key::sign`].
    EcdsaSha512,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// `md5WithRSAEncryption`; only a claim, see [`Key::sign`].
    RsaMd5,
    /// `sha1WithRSAEncryption`.
    RsaSha1,
    /// `sha256WithRSAEncryption`.
    RsaSha256,
    /// `sha384WithRSAEncryption`.
    RsaSha384,
    /// `sha512WithRSAEncryption`.
    RsaSha512,
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes.
    RsaPssSha256,
}

impl SigAlg {
    /// The `AlgorithmIdentifier` in DER.
    pub fn identifier(self) -> Vec<u8> {
        let plain = |dotted| der::sequence([der::oid(dotted)]);
        let with_null = |dotted| der::sequence([der::oid(dotted), der::null()]);
        match self {
            Self::EcdsaSha1 => plain("1.2.840.10045.4.1"),
            Self::EcdsaSha256 => plain("1.2.840.10045.4.3.2"),
            Self::EcdsaSha384 => plain("1.2.840.10045.4.3.3"),
            Self::EcdsaSha512 => plain("1.2.840.10045.4.3.4"),
            Self::Ed25519 => plain("1.3.101.112"),
            Self::RsaMd5 => with_null("1.2.840.113549.1.1.4"),
            Self::RsaSha1 => with_null("1.2.840.113549.1.1.5"),
            Self::RsaSha256 => with_null("1.2.840.113549.1.1.11"),
            Self::RsaSha384 => with_null("1.2.840.113549.1.1.12"),
            Self::RsaSha512 => with_null("1.2.840.113549.1.1.13"),
            Self::RsaPssSha256 => {
                let hash = with_null("2.16.840.1.101.3.4.2.1");
                let mask = der::sequence([der::oid("1.2.840.113549.1.1.8"), hash.clone()]);
                let parameters = der::sequence([
                    der::context(0, hash),
                    der::context(1, mask),
                    der::context(2, der::number(32)),
                ]);
                der::sequence([der::oid("1.2.840.113549.1.1.10"), parameters])
            }
        }
    }
}

enum Kind {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Private),
    /// A public key whose private half nobody here has; the other key signs in its place.
    Foreign(Key, SignatureScheme),
}

struct Inner {
    kind: Kind,
    /// `SubjectPublicKeyInfo` in DER.
    spki: Vec<u8>,
    /// PKCS#8 in DER; empty where there is none.
    pkcs8: Vec<u8>,
}

/// A key pair, or a public key that pretends to be one. Cheap to clone.
///
/// ```
/// use netsonde_support::Key;
///
/// assert!(Key::p256().private_pem().starts_with("-----BEGIN PRIVATE KEY-----"));
/// assert_eq!(Key::rsa(8192).bits(), 8192);
/// ```
#[derive(Clone)]
pub struct Key(Arc<Inner>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0.kind {
            Kind::P256(_) => "Key(P-256)",
            Kind::P384(_) => "Key(P-384)",
            Kind::Ed25519(_) => "Key(Ed25519)",
            Kind::Rsa(_) => "Key(RSA)",
            Kind::Foreign(..) => "Key(foreign)",
        })
    }
}

const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";

/// The base point of P-521 (SEC 2, 2.9.1), which as a public key is a valid one.
const P521_BASE: &str = "04\
    00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8\
    de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e\
    662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650";

/// The base point of secp256k1 (SEC 2, 2.4.1).
const K256_BASE: &str = "04\
    79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
    483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn ec_spki(curve: &str, point: &[u8]) -> Vec<u8> {
    let algorithm = der::sequence([der::oid(EC_PUBLIC_KEY), der::oid(curve)]);
    der::sequence([algorithm, der::bit_string(point)])
}

impl Key {
    fn new(kind: Kind, spki: Vec<u8>, pkcs8: &[u8]) -> Self {
        Self(Arc::new(Inner { kind, spki, pkcs8: pkcs8.to_vec() }))
    }

    /// A new ECDSA key on P-256.
    pub fn p256() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a new key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("own key");
        let spki = ec_spki("1.2.840.10045.3.1.7", pair.public_key().as_ref());
        Self::new(Kind::P256(pair), spki, pkcs8.as_ref())
    }

    /// A new ECDSA key on P-384.
    pub fn p384() -> Self {
        let (algorithm, random) = (&ECDSA_P384_SHA384_ASN1_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a new key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("own key");
        let spki = ec_spki("1.3.132.0.34", pair.public_key().as_ref());
        Self::new(Kind::P384(pair), spki, pkcs8.as_ref())
    }

    /// A new Ed25519 key.
    pub fn ed25519() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).expect("a new key");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("own key");
        let algorithm = SigAlg::Ed25519.identifier();
        let spki = der::sequence([algorithm.clone(), der::bit_string(pair.public_key())]);
        // ring writes version 2 with the public key in it, which OpenSSL 3.0 does not read.
        let (_, version_2, _) = der::open(pkcs8.as_ref());
        let (_, _, behind_version) = der::open(version_2);
        let (_, _, behind_algorithm) = der::open(behind_version);
        let (_, seed, _) = der::open(behind_algorithm);
        let pkcs8 = der::sequence([der::number(0), algorithm, der::octet_string(seed)]);
        Self::new(Kind::Ed25519(pair), spki, &pkcs8)
    }

    /// The throw-away RSA key of this size that the crate carries: 512, 1024, 2048, 4096 or 8192 bits.
    /// All of them sign, also where no TLS library would (8192 takes a moment).
    ///
    /// # Panics
    ///
    /// There is no key of that size.
    pub fn rsa(bits: usize) -> Self {
        let pem = match bits {
            512 => include_str!("../../data/rsa-512.pem"),
            1024 => include_str!("../../data/rsa-1024.pem"),
            2048 => include_str!("../../data/rsa-2048.pem"),
            4096 => include_str!("../../data/rsa-4096.pem"),
            8192 => include_str!("../../data/rsa-8192.pem"),
            _ => panic!("no RSA key of {bits} bits is kept"),
        };
        Self::from_rsa(Private::from_pem(pem))
    }

    /// An RSA key of 2,048 bits with the public exponent 1: its signatures are the padded hash itself.
    pub fn rsa_exponent_one() -> Self {
        let key = Private::from_pem(include_str!("../../data/rsa-2048.pem"));
        Self::from_rsa(key.exponent_one())
    }

    fn from_rsa(private: Private) -> Self {
        let algorithm = der::sequence([der::oid("1.2.840.113549.1.1.1"), der::null()]);
        let public =
            der::sequence([der::integer(&private.modulus), der::integer(&private.public_exponent)]);
        let spki = der::sequence([algorithm.clone(), der::bit_string(public)]);
        let pkcs8 = der::sequence([der::number(0), algorithm, der::octet_string(private.pkcs1())]);
        Self::new(Kind::Rsa(private), spki, &pkcs8)
    }

    /// A P-521 public key. Nobody has its private half: a server presents it and signs with another
    /// key, so a client that does not stop at the key stops at the signature.
    pub fn p521() -> Self {
        Self::foreign(
            ec_spki("1.3.132.0.35", &hex(P521_BASE)),
            SignatureScheme::ECDSA_NISTP521_SHA512,
        )
    }

    /// A secp256k1 public key, under the same condition as [`Key::p521`].
    pub fn secp256k1() -> Self {
        Self::foreign(
            ec_spki("1.3.132.0.10", &hex(K256_BASE)),
            SignatureScheme::ECDSA_NISTP256_SHA256,
        )
    }

    /// Any `SubjectPublicKeyInfo`. In a handshake the server claims `scheme` and signs with an unrelated
    /// P-256 key: rustls' server does not check that the key it signs with is that of the
    /// certificate when a `ResolvesServerCert` hands it a ready `CertifiedKey`.
    pub fn foreign(spki: Vec<u8>, scheme: SignatureScheme) -> Self {
        Self::new(Kind::Foreign(Self::p256(), scheme), spki, &[])
    }

    /// The `SubjectPublicKeyInfo` in DER.
    pub fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    /// The bits of the public key as the `SubjectPublicKeyInfo` has them.
    pub fn public_key_bits(&self) -> Vec<u8> {
        let (_, content, _) = der::open(&self.0.spki);
        let (_, _, bits) = der::open(content);
        der::open(bits).1[1..].to_vec()
    }

    /// The size of the key in bits.
    pub fn bits(&self) -> usize {
        match &self.0.kind {
            Kind::P256(_) | Kind::Ed25519(_) => 256,
            Kind::P384(_) => 384,
            Kind::Rsa(private) => private.length() * 8,
            // An uncompressed point is a tag byte and two coordinates.
            Kind::Foreign(..) => self.public_key_bits().len() / 2 * 8,
        }
    }

    /// The private key as PKCS#8 in DER.
    ///
    /// # Panics
    ///
    /// The key has no private half ([`Key::foreign`], [`Key::rsa_exponent_one`]).
    pub fn private_der(&self) -> &[u8] {
        let usable = match &self.0.kind {
            Kind::Rsa(private) => !private.pkcs1().is_empty(),
            Kind::Foreign(..) => false,
            Kind::P256(_) | Kind::P384(_) | Kind::Ed25519(_) => true,
        };
        assert!(usable, "{self:?} has no private half to show");
        &self.0.pkcs8
    }

    /// The private key as PKCS#8 in PEM.
    ///
    /// # Panics
    ///
    /// As [`Key::private_der`].
    pub fn private_pem(&self) -> String {
        der::pem("PRIVATE KEY", self.private_der())
    }

    /// Writes the private key to a file in PEM, readable by its owner only.
    ///
    /// # Panics
    ///
    /// As [`Key::private_der`], or the file cannot be written.
    pub fn write_pem(&self, path: impl AsRef<Path>) {
        use std::os::unix::fs::PermissionsExt;
        let path = path.as_ref();
        std::fs::write(path, self.private_pem()).expect("the key file can be written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("own file");
    }

    /// The algorithm that this key signs certificates with when nothing else is asked for.
    pub fn default_algorithm(&self) -> SigAlg {
        match &self.0.kind {
            Kind::P256(_) | Kind::Foreign(..) => SigAlg::EcdsaSha256,
            Kind::P384(_) => SigAlg::EcdsaSha384,
            Kind::Ed25519(_) => SigAlg::Ed25519,
            Kind::Rsa(_) => SigAlg::RsaSha256,
        }
    }

    /// Signs. RSA keys sign with the hash asked for (MD5 being only a claim over SHA-256); the other
    /// keys sign with their own hash, whatever is claimed.
    pub fn sign(&self, algorithm: SigAlg, message: &[u8]) -> Vec<u8> {
        let private = match &self.0.kind {
            Kind::P256(pair) | Kind::P384(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).expect("a signature");
                return signature.as_ref().to_vec();
            }
            Kind::Ed25519(pair) => return pair.sign(message).as_ref().to_vec(),
            Kind::Foreign(other, _) => return other.sign(algorithm, message),
            Kind::Rsa(private) => private,
        };
        if algorithm == SigAlg::RsaPssSha256 {
            let signature = private.sign_pss(&digest::SHA256, message);
            return signature.unwrap_or_else(|| vec![0x55; private.length()]);
        }
        let (hash, identifier) = match algorithm {
            SigAlg::RsaSha1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, "1.3.14.3.2.26"),
            SigAlg::RsaSha384 => (&digest::SHA384, "2.16.840.1.101.3.4.2.2"),
            SigAlg::RsaSha512 => (&digest::SHA512, "2.16.840.1.101.3.4.2.3"),
            _ => (&digest::SHA256, "2.16.840.1.101.3.4.2.1"),
        };
        let value = digest::digest(hash, message);
        // The DigestInfo, less the hash at its end.
        let algorithm = der::sequence([der::oid(identifier), der::null()]);
        let mut info = der::sequence([algorithm, der::octet_string(value.as_ref())]);
        info.truncate(info.len() - value.as_ref().len());
        private.sign_pkcs1(&info, value.as_ref())
    }

    /// The key as rustls wants it.
    pub fn rustls(&self) -> Arc<dyn SigningKey> {
        Arc::new(self.clone())
    }
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let own: &[SignatureScheme] = match &self.0.kind {
            Kind::P256(_) => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            Kind::P384(_) => &[SignatureScheme::ECDSA_NISTP384_SHA384],
            Kind::Ed25519(_) => &[SignatureScheme::ED25519],
            Kind::Rsa(_) => &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256],
            // The second is a fallback: a client that does not offer the right one is to see the
            // certificate all the same.
            Kind::Foreign(_, scheme) => &[*scheme, SignatureScheme::ECDSA_NISTP256_SHA256],
        };
        let scheme = own.iter().copied().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(Signing { key: self.clone(), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match &self.0.kind {
            Kind::P256(_) | Kind::P384(_) | Kind::Foreign(..) => SignatureAlgorithm::ECDSA,
            Kind::Ed25519(_) => SignatureAlgorithm::ED25519,
            Kind::Rsa(_) => SignatureAlgorithm::RSA,
        }
    }
}

#[derive(Debug)]
struct Signing {
    key: Key,
    scheme: SignatureScheme,
}

impl Signer for Signing {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let algorithm = match self.scheme {
            SignatureScheme::RSA_PSS_SHA256 => SigAlg::RsaPssSha256,
            _ => self.key.default_algorithm(),
        };
        Ok(self.key.sign(algorithm, message))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
