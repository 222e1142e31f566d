//! IANA names where rustls has its own.

use std::borrow::Cow;

use rustls::{CipherSuite, HandshakeKind as Kind, NamedGroup, ProtocolVersion, SignatureScheme};

use crate::tls::{HandshakeKind, TlsVersion};

pub(super) fn version(version: ProtocolVersion) -> Option<TlsVersion> {
    match version {
        ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
        ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
        _ => None,
    }
}

pub(super) fn handshake(kind: Kind) -> HandshakeKind {
    match kind {
        Kind::Full => HandshakeKind::Full,
        Kind::FullWithHelloRetryRequest => HandshakeKind::FullWithRetry,
        Kind::Resumed => HandshakeKind::Resumed,
    }
}

pub(super) fn suite(suite: CipherSuite) -> Cow<'static, str> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256".into(),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384".into(),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256".into(),
        other => named(other.as_str(), u16::from(other)),
    }
}

pub(super) fn group(group: NamedGroup) -> Cow<'static, str> {
    match group {
        NamedGroup::X25519 => "x25519".into(),
        NamedGroup::secp256r1MLKEM768 => "SecP256r1MLKEM768".into(),
        other => named(other.as_str(), u16::from(other)),
    }
}

pub(super) fn scheme(scheme: SignatureScheme) -> Cow<'static, str> {
    match scheme {
        SignatureScheme::RSA_PKCS1_SHA1 => "rsa_pkcs1_sha1".into(),
        SignatureScheme::RSA_PKCS1_SHA256 => "rsa_pkcs1_sha256".into(),
        SignatureScheme::RSA_PKCS1_SHA384 => "rsa_pkcs1_sha384".into(),
        SignatureScheme::RSA_PKCS1_SHA512 => "rsa_pkcs1_sha512".into(),
        SignatureScheme::RSA_PSS_SHA256 => "rsa_pss_rsae_sha256".into(),
        SignatureScheme::RSA_PSS_SHA384 => "rsa_pss_rsae_sha384".into(),
        SignatureScheme::RSA_PSS_SHA512 => "rsa_pss_rsae_sha512".into(),
        SignatureScheme::ECDSA_SHA1_Legacy => "ecdsa_sha1".into(),
        SignatureScheme::ECDSA_NISTP256_SHA256 => "ecdsa_secp256r1_sha256".into(),
        SignatureScheme::ECDSA_NISTP384_SHA384 => "ecdsa_secp384r1_sha384".into(),
        SignatureScheme::ECDSA_NISTP521_SHA512 => "ecdsa_secp521r1_sha512".into(),
        SignatureScheme::ED25519 => "ed25519".into(),
        SignatureScheme::ED448 => "ed448".into(),
        SignatureScheme::ML_DSA_44 => "mldsa44".into(),
        SignatureScheme::ML_DSA_65 => "mldsa65".into(),
        SignatureScheme::ML_DSA_87 => "mldsa87".into(),
        other => named(None, u16::from(other)),
    }
}

fn named(name: Option<&'static str>, number: u16) -> Cow<'static, str> {
    name.map_or_else(|| format!("0x{number:04x}").into(), Cow::Borrowed)
}
