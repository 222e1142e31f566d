//! TLS records written by hand, for servers that only pretend.
//!
//! ```
//! use netsonde_support::{Script, Server};
//! use netsonde_support::tls::hello::ClientHello;
//! use netsonde_support::tls::raw::{self, ServerHello};
//!
//! // Chooses a cipher suite that no client of today offers.
//! let server = Server::tcp(Script::new().run(async |conn| {
//!     let hello = ClientHello::read(conn).await?;
//!     conn.send(&ServerHello::tls12(&hello).suite(0x0005).record()).await
//! }));
//! // Sends empty records without end, after the client's hello.
//! let empty = raw::record(raw::HANDSHAKE, b"");
//! let flood = Server::tcp(Script::new().read(1).send_forever(empty));
//! # drop((server, flood));
//! ```

use ring::rand::{SecureRandom, SystemRandom};

use crate::tls::hello::ClientHello;

/// Record type.
pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// Record type.
pub const ALERT: u8 = 21;
/// Record type.
pub const HANDSHAKE: u8 = 22;
/// Record type.
pub const APPLICATION_DATA: u8 = 23;

/// Alert level.
pub const WARNING: u8 = 1;
/// Alert level.
pub const FATAL: u8 = 2;

/// Alert description.
pub const HANDSHAKE_FAILURE: u8 = 40;
/// Alert description.
pub const PROTOCOL_VERSION: u8 = 70;
/// Alert description.
pub const NO_RENEGOTIATION: u8 = 100;
/// Alert description.
pub const UNRECOGNIZED_NAME: u8 = 112;
/// Alert description.
pub const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Handshake message types.
pub mod message {
    /// `HelloRequest` of TLS 1.2: asks for a renegotiation.
    pub const HELLO_REQUEST: u8 = 0;
    /// `ServerHello`, also a retry request.
    pub const SERVER_HELLO: u8 = 2;
    /// `NewSessionTicket`.
    pub const NEW_SESSION_TICKET: u8 = 4;
    /// `EncryptedExtensions`.
    pub const ENCRYPTED_EXTENSIONS: u8 = 8;
    /// `Certificate`.
    pub const CERTIFICATE: u8 = 11;
    /// `ServerKeyExchange` of TLS 1.2.
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    /// `CertificateRequest`.
    pub const CERTIFICATE_REQUEST: u8 = 13;
    /// `ServerHelloDone` of TLS 1.2.
    pub const SERVER_HELLO_DONE: u8 = 14;
    /// `Finished`.
    pub const FINISHED: u8 = 20;
    /// `KeyUpdate` of TLS 1.3.
    pub const KEY_UPDATE: u8 = 24;
}

/// The end of a server random that says "TLS 1.2, although 1.3 was possible" (RFC 8446, 4.1.3).
pub const DOWNGRADE_TO_12: &[u8; 8] = b"DOWNGRD\x01";

/// The random that makes a server hello a retry request: SHA-256 of "HelloRetryRequest".
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

fn vector(size: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - size..], content].concat()
}

/// A record of TLS 1.2's form.
///
/// # Panics
///
/// The payload does not fit into 16 bits of length.
pub fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    versioned_record(kind, 0x0303, payload)
}

/// A record with any version.
///
/// # Panics
///
/// As [`record`].
pub fn versioned_record(kind: u8, version: u16, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= usize::from(u16::MAX), "too long for a record");
    [&[kind][..], &version.to_be_bytes(), &vector(2, payload)].concat()
}

/// A handshake message with its header, without a record around it.
pub fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector(3, body)].concat()
}

/// The header of a handshake message that says it is so long, in a record.
pub fn handshake_header(kind: u8, length: u32) -> Vec<u8> {
    let size = length.to_be_bytes();
    record(HANDSHAKE, &[kind, size[1], size[2], size[3]])
}

/// An alert in the clear.
pub fn alert(level: u8, description: u8) -> Vec<u8> {
    record(ALERT, &[level, description])
}

/// A change-cipher-spec record.
pub fn change_cipher_spec() -> Vec<u8> {
    record(CHANGE_CIPHER_SPEC, &[1])
}

/// A TLS 1.2 `Certificate` message with these certificates (DER), in a record; none for an empty list.
pub fn certificates<T: AsRef<[u8]>>(chain: &[T]) -> Vec<u8> {
    let list: Vec<u8> = chain.iter().flat_map(|one| vector(3, one.as_ref())).collect();
    record(HANDSHAKE, &handshake(message::CERTIFICATE, &vector(3, &list)))
}

/// A `ServerHelloDone` message in a record.
pub fn server_hello_done() -> Vec<u8> {
    record(HANDSHAKE, &handshake(message::SERVER_HELLO_DONE, b""))
}

/// An alert as an SSL 3.0 server sends it.
pub fn ssl3_alert(level: u8, description: u8) -> Vec<u8> {
    versioned_record(ALERT, 0x0300, &[level, description])
}

/// A server hello of SSL 2.0 with an empty certificate (the protocol as published in 1995).
pub fn ssl2_server_hello() -> Vec<u8> {
    // Message type 4, no session, no certificate type, version 0.2, lengths, a connection id.
    let body = [&[4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 16, 1, 0, 0x80][..], &[7; 16]].concat();
    [&(0x8000 | body.len() as u16).to_be_bytes()[..], &body].concat()
}

/// A server hello, or a retry request.
#[derive(Clone, Debug)]
pub struct ServerHello {
    version: u16,
    random: [u8; 32],
    session_id: Vec<u8>,
    suite: u16,
    compression: u8,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl ServerHello {
    /// A TLS 1.2 answer with `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`.
    pub fn tls12(hello: &ClientHello) -> Self {
        let mut random = [0; 32];
        SystemRandom::new().fill(&mut random).expect("random bytes");
        let mut this = Self {
            version: 0x0303,
            random,
            session_id: Vec::new(),
            suite: 0xc02b,
            compression: 0,
            extensions: Vec::new(),
        };
        // rustls demands the extended master secret of a server only if told so; others always.
        if hello.extensions.iter().any(|(kind, _)| *kind == 23) {
            this.extensions.push((23, Vec::new()));
        }
        this
    }

    /// A TLS 1.3 answer with `TLS_AES_128_GCM_SHA256` and this key share.
    pub fn tls13(hello: &ClientHello, group: u16, public_key: &[u8]) -> Self {
        let share = [&group.to_be_bytes()[..], &vector(2, public_key)].concat();
        let mut this = Self::tls12(hello);
        this.suite = 0x1301;
        this.session_id.clone_from(&hello.session_id);
        this.extensions = vec![(43, vec![3, 4]), (51, share)];
        this
    }

    /// A request to come again with a share for this group.
    pub fn retry(hello: &ClientHello, group: u16) -> Self {
        let mut this = Self::tls13(hello, group, b"");
        this.random = RETRY_RANDOM;
        this.extensions = vec![(43, vec![3, 4]), (51, group.to_be_bytes().to_vec())];
        this
    }

    /// Another legacy version (0x0300 is SSL 3.0, 0x0302 TLS 1.1).
    #[must_use]
    pub fn version(mut self, version: u16) -> Self {
        self.version = version;
        self
    }

    /// Another cipher suite.
    #[must_use]
    pub fn suite(mut self, suite: u16) -> Self {
        self.suite = suite;
        self
    }

    /// Another compression method.
    #[must_use]
    pub fn compression(mut self, method: u8) -> Self {
        self.compression = method;
        self
    }

    /// Another session id.
    #[must_use]
    pub fn session_id(mut self, id: &[u8]) -> Self {
        self.session_id = id.to_vec();
        self
    }

    /// The last eight bytes of the random, [`DOWNGRADE_TO_12`] for instance.
    #[must_use]
    pub fn random_end(mut self, end: &[u8; 8]) -> Self {
        self.random[24..].copy_from_slice(end);
        self
    }

    /// One more extension.
    #[must_use]
    pub fn extension(mut self, kind: u16, value: &[u8]) -> Self {
        self.extensions.push((kind, value.to_vec()));
        self
    }

    /// The handshake message.
    pub fn message(&self) -> Vec<u8> {
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|(kind, value)| [&kind.to_be_bytes()[..], &vector(2, value)].concat())
            .collect();
        let mut body = [&self.version.to_be_bytes()[..], &self.random].concat();
        body.extend(vector(1, &self.session_id));
        body.extend(self.suite.to_be_bytes());
        body.push(self.compression);
        if !extensions.is_empty() {
            body.extend(vector(2, &extensions));
        }
        handshake(message::SERVER_HELLO, &body)
    }

    /// The message in a record.
    pub fn record(&self) -> Vec<u8> {
        versioned_record(HANDSHAKE, self.version, &self.message())
    }
}
