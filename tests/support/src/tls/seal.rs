//! Sealing of records that no TLS library would send, with the keys of a session that one has set up.

use std::io;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use ring::hkdf;
use rustls::{ConnectionTrafficSecrets, ProtocolVersion, ServerConnection};

const APPLICATION_DATA: u8 = 23;

/// HKDF-Expand-Label without a context (RFC 8446, 7.1).
fn expand(hash: hkdf::Algorithm, secret: &[u8], label: &[u8], length: usize) -> Vec<u8> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let size = u16::try_from(length).expect("a short output").to_be_bytes();
    let label_size = [6 + u8::try_from(label.len()).expect("a short label")];
    let info: [&[u8]; 5] = [&size, &label_size, b"tls13 ", label, &[0]];
    let mut out = vec![0; length];
    hkdf::Prk::new_less_safe(hash, secret)
        .expand(&info, Length(length))
        .and_then(|output| output.fill(&mut out))
        .expect("not too long an output");
    out
}

/// The sending half of a session, taken from rustls.
#[derive(Debug)]
pub(crate) struct Sealer {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    tls13: bool,
    /// Whether records carry part of their nonce (AES-GCM in TLS 1.2, RFC 5288).
    explicit_nonce: bool,
}

impl Sealer {
    pub(crate) fn new(session: ServerConnection) -> io::Result<Self> {
        let tls13 = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let (sequence, secrets) = session.dangerous_extract_secrets().map_err(io::Error::other)?.tx;
        let (algorithm, key, iv, gcm) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&CHACHA20_POLY1305, key, iv, false)
            }
            _ => return Err(io::Error::other("no way to seal with this cipher")),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).expect("a key of its algorithm's size");
        let iv = iv.as_ref().try_into().map_err(io::Error::other)?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence, tls13, explicit_nonce: gcm && !tls13 })
    }

    /// Goes on with the keys that follow these (RFC 8446, 7.2): to be called behind a `KeyUpdate`.
    /// `secret` is the server's traffic secret of now, and becomes the next one.
    pub(crate) fn update_keys(&mut self, secret: &mut Vec<u8>) {
        let algorithm = self.key.algorithm();
        let hash = if algorithm == &AES_256_GCM { hkdf::HKDF_SHA384 } else { hkdf::HKDF_SHA256 };
        *secret = expand(hash, secret, b"traffic upd", secret.len());
        let key = expand(hash, secret, b"key", algorithm.key_len());
        let key = UnboundKey::new(algorithm, &key).expect("a key of its algorithm's size");
        self.key = LessSafeKey::new(key);
        self.iv = expand(hash, secret, b"iv", 12).try_into().expect("12 bytes");
        self.sequence = 0;
    }

    /// Appends one sealed record (RFC 8446, 5.2; RFC 5246, 6.2.3.3).
    pub(crate) fn seal(&mut self, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        let tag_length = self.key.algorithm().tag_len();
        let mut body = payload.to_vec();
        let length = |bytes: usize| u16::try_from(bytes).expect("a record's length").to_be_bytes();
        let (header, additional) = if self.tls13 {
            body.push(kind);
            let size = length(body.len() + tag_length);
            let header = [APPLICATION_DATA, 3, 3, size[0], size[1]];
            (header, header.to_vec())
        } else {
            let size = length(payload.len());
            let sealed = body.len() + tag_length + if self.explicit_nonce { 8 } else { 0 };
            let total = length(sealed);
            let counted = self.sequence.to_be_bytes();
            let additional = [&counted[..], &[kind, 3, 3], &size].concat();
            ([kind, 3, 3, total[0], total[1]], additional)
        };
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(additional),
                &mut body,
            )
            .expect("a record is not too long to seal");
        out.extend_from_slice(&header);
        if self.explicit_nonce {
            out.extend_from_slice(&nonce[4..]);
        }
        out.extend_from_slice(&body);
        self.sequence += 1;
    }
}
