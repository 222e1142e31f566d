//! Reading of a client hello, for servers that answer with [`raw`](crate::tls::raw) records.

use std::io;

use crate::server::Conn;

/// The parts of a client hello that an answer needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Its random.
    pub random: Vec<u8>,
    /// Its session id, which a TLS 1.3 server has to echo.
    pub session_id: Vec<u8>,
    /// The cipher suites offered.
    pub suites: Vec<u16>,
    /// The server name.
    pub sni: Option<String>,
    /// The versions of `supported_versions`; empty in a TLS 1.2 hello.
    pub versions: Vec<u16>,
    /// The key shares: group and public key.
    pub shares: Vec<(u16, Vec<u8>)>,
    /// Every extension as it came.
    pub extensions: Vec<(u16, Vec<u8>)>,
    /// The length of the handshake message with its header.
    pub length: usize,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self, size: usize) -> Option<usize> {
        Some(self.bytes(size)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    fn vector(&mut self, size: usize) -> Option<&'a [u8]> {
        let length = self.number(size)?;
        self.bytes(length)
    }
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

impl ClientHello {
    /// Parses a handshake message, header included.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut reader = Reader(message);
        let mut hello = Self { length: message.len(), ..Self::default() };
        if reader.number(1)? != 1 {
            return None;
        }
        reader = Reader(reader.vector(3)?);
        reader.number(2)?;
        hello.random = reader.bytes(32)?.to_vec();
        hello.session_id = reader.vector(1)?.to_vec();
        hello.suites = numbers(reader.vector(2)?);
        reader.vector(1)?;
        let mut extensions = Reader(reader.vector(2).unwrap_or_default());
        while !extensions.0.is_empty() {
            let kind = extensions.number(2)? as u16;
            let value = extensions.vector(2)?;
            hello.extensions.push((kind, value.to_vec()));
            let mut inner = Reader(value);
            match kind {
                0 => {
                    let mut list = Reader(inner.vector(2)?);
                    list.number(1)?;
                    hello.sni = Some(String::from_utf8_lossy(list.vector(2)?).into_owned());
                }
                43 => hello.versions = numbers(inner.vector(1)?),
                51 => {
                    let mut list = Reader(inner.vector(2)?);
                    while !list.0.is_empty() {
                        let group = list.number(2)? as u16;
                        hello.shares.push((group, list.vector(2)?.to_vec()));
                    }
                }
                _ => {}
            }
        }
        Some(hello)
    }

    /// Reads a hello, from as many records as it takes.
    ///
    /// # Errors
    ///
    /// The peer closed, or sent something else.
    pub async fn read(conn: &mut Conn) -> io::Result<Self> {
        let mut message = Vec::new();
        loop {
            let header = conn.read(5).await?;
            if header[0] != 22 {
                return Err(io::Error::other(format!("record of type {}, no hello", header[0])));
            }
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            message.extend_from_slice(&conn.read(length).await?);
            let complete = message.len() >= 4 && {
                let size = Reader(&message[1..4]).number(3).unwrap_or_default();
                message.len() >= 4 + size
            };
            if complete {
                return Self::parse(&message).ok_or_else(|| io::Error::other("no client hello"));
            }
        }
    }
}
