//! Crypto providers that break one rule each.
//!
//! rustls wants its suites and groups `'static`, so the altered ones are leaked: a few hundred bytes
//! for each server, in a test.

use rustls::SupportedCipherSuite;
use rustls::crypto::tls12::Prf;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock};
use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom,
    SharedSecret, SupportedKxGroup, hmac,
};
use rustls::{Error, NamedGroup, Tls12CipherSuite, Tls13CipherSuite};

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// HMACs over the transcript come out wrong; everything that keys depend on is right.
struct WrongHkdf(&'static dyn Hkdf);

impl Hkdf for WrongHkdf {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        self.0.extract_from_zero_ikm(salt)
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        self.0.extract_from_secret(salt, secret)
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        self.0.expander_for_okm(okm)
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> hmac::Tag {
        let mut tag = self.0.hmac_sign(key, message).as_ref().to_vec();
        tag[0] ^= 1;
        hmac::Tag::new(&tag)
    }
}

/// The same for TLS 1.2.
struct WrongPrf(&'static dyn Prf);

impl Prf for WrongPrf {
    fn for_key_exchange(
        &self,
        output: &mut [u8; 48],
        exchange: Box<dyn ActiveKeyExchange>,
        peer_public_key: &[u8],
        label: &[u8],
        seed: &[u8],
    ) -> Result<(), Error> {
        self.0.for_key_exchange(output, exchange, peer_public_key, label, seed)
    }

    fn for_secret(&self, output: &mut [u8], secret: &[u8], label: &[u8], seed: &[u8]) {
        self.0.for_secret(output, secret, label, seed);
        if label == b"server finished" {
            output[0] ^= 1;
        }
    }
}

pub(super) fn wrong_finished(provider: &mut CryptoProvider) {
    for suite in &mut provider.cipher_suites {
        *suite = match suite {
            SupportedCipherSuite::Tls13(suite) => {
                SupportedCipherSuite::Tls13(leak(Tls13CipherSuite {
                    common: rustls::crypto::CipherSuiteCommon { ..suite.common },
                    hkdf_provider: leak(WrongHkdf(suite.hkdf_provider)),
                    aead_alg: suite.aead_alg,
                    quic: None,
                }))
            }
            SupportedCipherSuite::Tls12(suite) => {
                SupportedCipherSuite::Tls12(leak(Tls12CipherSuite {
                    common: rustls::crypto::CipherSuiteCommon { ..suite.common },
                    prf_provider: leak(WrongPrf(suite.prf_provider)),
                    kx: suite.kx,
                    sign: suite.sign,
                    aead_alg: suite.aead_alg,
                }))
            }
        };
    }
}

/// A group whose key shares have one coordinate altered.
#[derive(Debug)]
struct OffCurve(&'static dyn SupportedKxGroup);

struct OffCurveExchange {
    real: Box<dyn ActiveKeyExchange>,
    public: Vec<u8>,
}

fn off_curve(mut public: Vec<u8>) -> Vec<u8> {
    if let Some(last) = public.last_mut() {
        *last ^= 1;
    }
    public
}

impl SupportedKxGroup for OffCurve {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let real = self.0.start()?;
        let public = off_curve(real.pub_key().to_vec());
        Ok(Box::new(OffCurveExchange { real, public }))
    }

    fn start_and_complete(&self, peer: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let mut completed = self.0.start_and_complete(peer)?;
        completed.pub_key = off_curve(completed.pub_key);
        Ok(completed)
    }

    fn name(&self) -> NamedGroup {
        self.0.name()
    }
}

impl ActiveKeyExchange for OffCurveExchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        self.real.complete(peer)
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        self.real.group()
    }
}

pub(super) fn invalid_curve_point(provider: &mut CryptoProvider) {
    // Every string of 32 bytes is a point for X25519.
    let curves = [NamedGroup::secp256r1, NamedGroup::secp384r1];
    provider.kx_groups.retain(|group| curves.contains(&group.name()));
    for group in &mut provider.kx_groups {
        *group = leak(OffCurve(*group));
    }
}

/// Randoms of 32 bytes end with the mark for "TLS 1.2, although 1.3 was possible".
#[derive(Debug)]
struct Sentinel(&'static dyn SecureRandom);

impl SecureRandom for Sentinel {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        self.0.fill(buffer)?;
        if buffer.len() == 32 {
            buffer[24..].copy_from_slice(super::raw::DOWNGRADE_TO_12);
        }
        Ok(())
    }
}

pub(super) fn downgrade_sentinel(provider: &mut CryptoProvider) {
    provider.secure_random = leak(Sentinel(provider.secure_random));
}
