//! A TCP relay that damages what passes through it.
//!
//! A good server behind a relay makes the faults that are about time, segments and records: the
//! handshake arrives one byte at a time, stops after a message, is cut off, has a bit flipped.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Builder, Entry, Script, Server};
use crate::tls::raw;

/// A place in the bytes of one direction.
#[derive(Clone, Copy, Debug)]
pub enum Point {
    /// After so many bytes.
    Bytes(usize),
    /// After so many whole TLS records.
    Records(usize),
    /// After the first TLS handshake message of this type ([`raw::message`]). Only messages in the
    /// clear can be told: in TLS 1.3 the two hellos, in TLS 1.2 all but Finished.
    Message(u8),
}

/// What happens at a [`Point`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing more is passed on in this direction; the connection stays open.
    Stall,
    /// The receiver sees FIN.
    Fin,
    /// The receiver sees RST.
    Rst,
}

/// What a relay does to one direction.
///
/// ```
/// use netsonde_support::relay::{Fate, Flow, Point, Relay};
/// use netsonde_support::tls::raw::message;
/// # use netsonde_support::{Script, Server};
/// # let server = Server::tcp(Script::new());
///
/// let stall = Flow::new().after(Point::Message(message::SERVER_HELLO), Fate::Stall);
/// let relay = Relay::to(server.addr()).from_server(stall).start();
/// assert_ne!(relay.addr(), server.addr());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Flow {
    end: Option<(Point, Fate)>,
    flip: Option<(Option<u8>, usize)>,
    one_byte_records: bool,
    segments: Option<(usize, Duration)>,
    delay: Duration,
}

impl Flow {
    /// Passes everything on as it comes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets this happen at that point.
    #[must_use]
    pub fn after(mut self, point: Point, fate: Fate) -> Self {
        self.end = Some((point, fate));
        self
    }

    /// Flips the lowest bit of the last byte of the record with this number, from 0.
    #[must_use]
    pub fn flip_record(mut self, number: usize) -> Self {
        self.flip = Some((None, number));
        self
    }

    /// The same, counting only records of this type: in TLS 1.3, record 0 of
    /// [`raw::APPLICATION_DATA`] is the first encrypted one.
    #[must_use]
    pub fn flip_record_of(mut self, kind: u8, number: usize) -> Self {
        self.flip = Some((Some(kind), number));
        self
    }

    /// Splits the handshake messages that are in the clear into records of one byte.
    #[must_use]
    pub fn one_byte_records(mut self) -> Self {
        self.one_byte_records = true;
        self
    }

    /// Passes the bytes on in segments of this size with a pause after each.
    #[must_use]
    pub fn segments(mut self, bytes: usize, pause: Duration) -> Self {
        self.segments = Some((bytes.max(1), pause));
        self
    }

    /// Holds back whatever is read for so long.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn needs_records(&self) -> bool {
        let by_record = matches!(self.end, Some((Point::Records(_) | Point::Message(_), _)));
        by_record || self.flip.is_some() || self.one_byte_records
    }
}

/// A relay, not yet running.
#[derive(Clone, Debug)]
pub struct Relay {
    to: SocketAddr,
    from_client: Flow,
    from_server: Flow,
    listener: Builder,
}

impl Relay {
    /// A relay to this address.
    pub fn to(address: SocketAddr) -> Self {
        Self {
            to: address,
            from_client: Flow::new(),
            from_server: Flow::new(),
            listener: Server::builder(),
        }
    }

    /// What happens to the client's bytes.
    #[must_use]
    pub fn from_client(mut self, flow: Flow) -> Self {
        self.from_client = flow;
        self
    }

    /// What happens to the server's bytes.
    #[must_use]
    pub fn from_server(mut self, flow: Flow) -> Self {
        self.from_server = flow;
        self
    }

    /// Starts it. The log of the [`Server`] is about the client: what it sent (as it came, TLS
    /// records and all) and how it closed.
    pub fn start(self) -> Server {
        let Self { to, from_client, from_server, listener } = self;
        let script = Script::new().run(async move |conn| {
            let mut upstream = TcpStream::connect(to).await?;
            upstream.set_nodelay(true)?;
            let entry = conn.entry();
            let (client, server) = (conn.plain()?, &mut upstream);
            let (client_read, client_write) = tokio::io::split(client);
            let (server_read, server_write) = server.split();
            let outcome = tokio::try_join!(
                pump(client_read, server_write, &from_client, &entry, Way::ToServer),
                pump(server_read, client_write, &from_server, &entry, Way::ToClient),
            );
            match outcome {
                Err(Broken::Reset(Way::ToServer)) => {
                    SockRef::from(&upstream).set_linger(Some(Duration::ZERO))
                }
                Err(Broken::Reset(Way::ToClient)) => conn.rst(),
                Err(Broken::Io(error)) => Err(error),
                Ok(_) => Ok(()),
            }
        });
        listener.script(script).tcp()
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    ToServer,
    ToClient,
}

enum Broken {
    Io(io::Error),
    Reset(Way),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn pump<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut from: R,
    mut to: W,
    flow: &Flow,
    entry: &Entry,
    way: Way,
) -> Result<(), Broken> {
    let mut framer = Framer::new(flow);
    let mut chunk = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            to.write_all(&framer.pending).await?;
            to.shutdown().await?;
            return Ok(());
        }
        if matches!(way, Way::ToServer) {
            entry.received(&chunk[..count]);
        }
        let (out, fate) = framer.take(&chunk[..count]);
        if !flow.delay.is_zero() {
            tokio::time::sleep(flow.delay).await;
        }
        match flow.segments {
            None => to.write_all(&out).await?,
            Some((size, pause)) => {
                for segment in out.chunks(size) {
                    to.write_all(segment).await?;
                    tokio::time::sleep(pause).await;
                }
            }
        }
        match fate {
            None => {}
            Some(Fate::Rst) => return Err(Broken::Reset(way)),
            Some(Fate::Fin) => {
                to.shutdown().await?;
                return Ok(());
            }
            Some(Fate::Stall) => {
                entry.until_ended().await;
                return Ok(());
            }
        }
    }
}

/// The bytes of one direction on their way through: counted, cut into records, altered.
struct Framer<'a> {
    flow: &'a Flow,
    passed: usize,
    /// The start of a record whose end has not come yet.
    pending: Vec<u8>,
    records: usize,
    records_of_kind: usize,
    /// The start of a handshake message whose end has not come yet.
    message: Vec<u8>,
    /// Whether handshake records are encrypted from here on.
    sealed: bool,
}

impl<'a> Framer<'a> {
    fn new(flow: &'a Flow) -> Self {
        Self {
            flow,
            passed: 0,
            pending: Vec::new(),
            records: 0,
            records_of_kind: 0,
            message: Vec::new(),
            sealed: false,
        }
    }

    /// Takes what came, returns what is to be passed on, and what happens then.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, Option<Fate>) {
        if !self.flow.needs_records() {
            return self.take_bytes(bytes);
        }
        self.pending.extend_from_slice(bytes);
        let mut out = Vec::new();
        while let Some(length) = record_length(&self.pending) {
            let rest = self.pending.split_off(length);
            let record = std::mem::replace(&mut self.pending, rest);
            let (passed, fate) = self.take_record(record);
            out.extend(passed);
            if fate.is_some() {
                return (out, fate);
            }
        }
        (out, None)
    }

    fn take_bytes(&mut self, bytes: &[u8]) -> (Vec<u8>, Option<Fate>) {
        if let Some((Point::Bytes(limit), fate)) = self.flow.end {
            let room = limit - self.passed;
            if bytes.len() >= room {
                return (bytes[..room].to_vec(), Some(fate));
            }
        }
        self.passed += bytes.len();
        (bytes.to_vec(), None)
    }

    fn take_record(&mut self, mut record: Vec<u8>) -> (Vec<u8>, Option<Fate>) {
        let kind = record[0];
        if let Some((only, number)) = self.flow.flip {
            let counted = if only.is_some() { self.records_of_kind } else { self.records };
            if only.is_none_or(|only| only == kind) {
                self.records_of_kind += 1;
                if let (true, Some(last)) = (counted == number, record.last_mut()) {
                    *last ^= 1;
                }
            }
        }
        self.records += 1;
        self.sealed |= kind == raw::CHANGE_CIPHER_SPEC;
        let mut fate = None;
        if kind == raw::HANDSHAKE && !self.sealed {
            if let Some(end) = self.message_end(&record[5..]) {
                record.truncate(5 + end);
                let length = (end as u16).to_be_bytes();
                record[3..5].copy_from_slice(&length);
                fate = self.flow.end.map(|(_, fate)| fate);
            }
            if self.flow.one_byte_records {
                let version = u16::from_be_bytes([record[1], record[2]]);
                let single = |byte: &u8| raw::versioned_record(kind, version, &[*byte]);
                record = record[5..].iter().flat_map(single).collect();
            }
        }
        if let Some((Point::Records(limit), end)) = self.flow.end
            && self.records >= limit
        {
            fate = Some(end);
        }
        (record, fate)
    }

    /// Where in this record's payload the message ends after which something is to happen.
    fn message_end(&mut self, payload: &[u8]) -> Option<usize> {
        let Some((Point::Message(wanted), _)) = self.flow.end else { return None };
        let before = self.message.len();
        self.message.extend_from_slice(payload);
        let mut start = 0;
        while let Some(header) = self.message.get(start..start + 4) {
            let length =
                usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
            let end = start + 4 + length;
            if end > self.message.len() {
                break;
            }
            if header[0] == wanted {
                return Some(end - before);
            }
            start = end;
        }
        self.message.drain(..start);
        None
    }
}

/// The length of the whole record at the start of these bytes, if all of it is there.
fn record_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..5)?;
    let length = 5 + usize::from(u16::from_be_bytes([header[3], header[4]]));
    (bytes.len() >= length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::End;
    use crate::tls::raw::message;
    use std::io::{Read, Write};
    use std::time::Instant;

    const SOON: Duration = Duration::from_secs(5);

    /// What a client gets that sends `hello` through a relay to a server which answers with `answer`.
    fn through(answer: &[u8], flow: Flow) -> (Vec<u8>, Option<io::ErrorKind>) {
        let server = Server::tcp(Script::new().expect("hello").send(answer));
        let relay = Relay::to(server.addr()).from_server(flow).start();
        let mut stream = std::net::TcpStream::connect(relay.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut all = Vec::new();
        let mut byte = [0; 64];
        let failure = loop {
            match stream.read(&mut byte) {
                Ok(0) => break None,
                Ok(count) => all.extend_from_slice(&byte[..count]),
                Err(error) => break Some(error.kind()),
            }
        };
        drop(stream);
        for either in [&relay, &server] {
            _ = either.blocking_until(SOON, |all| all[0].outcome.clone());
        }
        assert_eq!(server.connection(0).text(), "hello");
        assert_eq!(relay.connection(0).text(), "hello");
        (all, failure)
    }

    /// Two handshake messages in one record, the second of which goes on in the next.
    fn handshake() -> Vec<u8> {
        let hello = raw::handshake(message::SERVER_HELLO, b"first");
        let certificate = raw::handshake(message::CERTIFICATE, b"second");
        let (head, tail) = certificate.split_at(6);
        let first = raw::record(raw::HANDSHAKE, &[&hello[..], head].concat());
        [first, raw::record(raw::HANDSHAKE, tail), raw::record(raw::ALERT, b"xy")].concat()
    }

    #[test]
    fn bytes_pass_whole_or_up_to_a_point() {
        assert_eq!(through(b"answer", Flow::new()), (b"answer".to_vec(), None));
        let cut = |fate| through(b"answer", Flow::new().after(Point::Bytes(3), fate));
        assert_eq!(cut(Fate::Fin), (b"ans".to_vec(), None));
        assert_eq!(cut(Fate::Stall), (b"ans".to_vec(), Some(io::ErrorKind::WouldBlock)));
        let (got, failure) = cut(Fate::Rst);
        assert_eq!(failure, Some(io::ErrorKind::ConnectionReset));
        assert!(b"ans".starts_with(&got));
    }

    #[test]
    fn segments_come_one_by_one() {
        let start = Instant::now();
        let flow = Flow::new().segments(1, Duration::from_millis(10));
        assert_eq!(through(b"slowly", flow).0, b"slowly");
        assert!(start.elapsed() >= Duration::from_millis(60));
    }

    #[test]
    fn messages_and_records_are_told_apart() {
        let all = handshake();
        let after = |point| through(&all, Flow::new().after(point, Fate::Fin)).0;
        let hello = raw::handshake(message::SERVER_HELLO, b"first");
        assert_eq!(after(Point::Message(message::SERVER_HELLO)), raw::record(22, &hello));
        assert_eq!(after(Point::Message(message::CERTIFICATE)), all[..all.len() - 7]);
        assert_eq!(after(Point::Records(2)), all[..all.len() - 7]);
        assert_eq!(after(Point::Message(message::FINISHED)), all);
    }

    #[test]
    fn one_bit_is_flipped_where_it_should() {
        let all = handshake();
        let mut last = all.clone();
        *last.last_mut().unwrap() ^= 1;
        assert_eq!(through(&all, Flow::new().flip_record(2)).0, last);
        assert_eq!(through(&all, Flow::new().flip_record_of(raw::ALERT, 0)).0, last);
        assert_eq!(through(&all, Flow::new().flip_record_of(raw::ALERT, 1)).0, all);
    }

    #[test]
    fn records_of_one_byte_hold_the_same_messages() {
        let (split, _) = through(&handshake(), Flow::new().one_byte_records());
        let records: Vec<&[u8]> = split[..split.len() - 7].chunks(6).collect();
        assert!(records.iter().all(|record| record[..5] == [22, 3, 3, 0, 1]));
        let bytes: Vec<u8> = records.iter().map(|record| record[5]).collect();
        let hello = raw::handshake(message::SERVER_HELLO, b"first");
        let certificate = raw::handshake(message::CERTIFICATE, b"second");
        assert_eq!(bytes, [hello, certificate].concat());
    }

    #[test]
    fn the_clients_direction_is_damaged_alike() {
        let server = Server::tcp(Script::new().read_to_end().send("bye"));
        let cut = Flow::new().after(Point::Bytes(2), Fate::Rst);
        let relay = Relay::to(server.addr()).from_client(cut).start();
        let mut stream = std::net::TcpStream::connect(relay.addr()).unwrap();
        stream.write_all(b"hello").unwrap();
        let closed = server.blocking_until(SOON, |all| {
            all.first()?.closed().filter(|closed| closed.end == End::Reset)
        });
        assert_eq!(closed.end, End::Reset);
        assert!(b"he".starts_with(&server.connection(0).received));
    }
}
