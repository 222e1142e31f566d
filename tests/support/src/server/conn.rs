//! One connection at work: the steps of a script, and the same as methods for a test's own code.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::server::log::Entry;
use crate::server::script::{Script, Step};
use crate::server::socket::{Plain, Socket};
use crate::tls::{Sealer, TlsServer};

/// How much is read at a time.
const CHUNK: usize = 16 << 10;

/// Whole writes of at least this size keep [`Step::SendForever`] from being bound by system calls.
const FLOOD_CHUNK: usize = 64 << 10;

#[derive(Debug)]
enum Io {
    Plain(Plain),
    Tls(Box<TlsStream<Plain>>),
    Sealed(Plain, Box<Sealer>),
    /// Closed, or in the middle of a change that failed.
    Gone,
}

/// One accepted connection, as the function of [`Script::run`] gets it.
#[derive(Debug)]
pub struct Conn {
    io: Io,
    socket: Arc<Socket>,
    buffer: Vec<u8>,
    entry: Entry,
    /// After a failed handshake what still comes is no text of the peer's.
    mute: bool,
}

fn unexpected(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Conn {
    pub(crate) fn new(socket: Socket, entry: Entry) -> Self {
        let socket = Arc::new(socket);
        let plain = Plain { socket: Arc::clone(&socket), early: Vec::new(), entry: entry.clone() };
        Self { io: Io::Plain(plain), socket, buffer: Vec::new(), entry, mute: false }
    }

    pub(crate) fn entry(&self) -> Entry {
        self.entry.clone()
    }

    /// The stream itself, while it is a plain one.
    pub(crate) fn plain(&mut self) -> io::Result<&mut Plain> {
        match &mut self.io {
            Io::Plain(plain) => Ok(plain),
            _ => Err(unexpected("this needs a plain connection")),
        }
    }

    /// Runs a script to its end, and notes in the log how that went.
    pub(crate) async fn serve(mut self, script: &Script) {
        let socket = Arc::clone(&self.socket);
        let entry = self.entry.clone();
        let work = async {
            let outcome = self.steps(script).await;
            entry.update(|log| log.outcome = Some(outcome.map_err(|error| error.to_string())));
            self.finish().await;
        };
        tokio::select! {
            biased;
            () = socket.watch(&entry) => {}
            () = work => {}
        }
    }

    async fn steps(&mut self, script: &Script) -> io::Result<()> {
        let steps = script.steps();
        let mut index = 0;
        while let Some(step) = steps.get(index) {
            self.entry.update(|log| log.step = index);
            index = match step {
                Step::Repeat(target) => {
                    // A script that never awaits would starve the server.
                    tokio::task::yield_now().await;
                    *target
                }
                step => {
                    self.step(step).await?;
                    if matches!(self.io, Io::Gone) {
                        return Ok(());
                    }
                    index + 1
                }
            };
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Close => self.close(),
            Step::Expect(bytes) => self.expect(bytes).await?,
            Step::Fin => self.fin().await?,
            Step::Hang => self.drain().await,
            Step::NeverRead => self.entry.until_ended().await,
            Step::Pause(duration) => tokio::time::sleep(*duration).await,
            Step::Read(count) => _ = self.read(*count).await?,
            Step::ReadLine => _ = self.read_line().await?,
            Step::ReadToEnd => self.drain().await,
            Step::ReadUntil(pattern) => _ = self.read_until(pattern).await?,
            Step::Repeat(_) => {}
            Step::Rst => self.rst()?,
            Step::Run(custom) => (custom.0)(self).await?,
            Step::Send(bytes) => self.send(bytes).await?,
            Step::SendEach(bytes, pause) => {
                for byte in bytes {
                    self.send(&[*byte]).await?;
                    tokio::time::sleep(*pause).await;
                }
            }
            Step::SendForever(bytes, pause) => self.send_forever(bytes, *pause).await?,
            Step::StartTls(settings) => self.start_tls(settings).await?,
            Step::TlsKeyUpdates => self.key_updates().await?,
            Step::TlsRecords(records) => self.send_records(records).await?,
            Step::TlsRecordsForever(records) => loop {
                self.send_records(records).await?;
            },
            Step::Urgent(byte) => {
                self.socket.send_urgent(*byte)?;
            }
        }
        Ok(())
    }

    /// The orderly end: FIN, then read until the peer closes too.
    async fn finish(&mut self) {
        if !matches!(self.io, Io::Gone) && self.fin().await.is_ok() {
            self.drain().await;
        }
    }

    /// Reads more bytes into the buffer; `false` at the end of the stream.
    async fn fill(&mut self) -> io::Result<bool> {
        let Self { io, buffer, .. } = self;
        let before = buffer.len();
        std::future::poll_fn(|context| {
            // The chunk lives on the stack for one poll only: ten thousand waiting connections are
            // not to hold one each.
            let mut chunk = [0; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            match io {
                Io::Plain(plain) | Io::Sealed(plain, _) => {
                    ready!(Pin::new(plain).poll_read(context, &mut read))?;
                }
                Io::Tls(stream) => ready!(Pin::new(stream).poll_read(context, &mut read))?,
                Io::Gone => {}
            }
            buffer.extend_from_slice(read.filled());
            Poll::Ready(io::Result::Ok(()))
        })
        .await?;
        let came = &self.buffer[before..];
        if !self.mute {
            self.entry.received(came);
        }
        Ok(!came.is_empty())
    }

    async fn fill_or_fail(&mut self, doing: &str) -> io::Result<()> {
        if self.fill().await? {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("the peer closed while the script was {doing}"),
        ))
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    ///
    /// The peer closed or reset the connection.
    pub async fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill_or_fail("reading").await?;
        }
        Ok(self.take(count))
    }

    /// Reads up to and with `pattern`.
    ///
    /// # Errors
    ///
    /// The peer closed or reset the connection.
    pub async fn read_until(&mut self, pattern: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let found = self.buffer.windows(pattern.len()).position(|window| window == pattern);
            if let Some(start) = found {
                return Ok(self.take(start + pattern.len()));
            }
            self.fill_or_fail("waiting for a pattern").await?;
        }
    }

    /// Reads up to and with the next LF.
    ///
    /// # Errors
    ///
    /// The peer closed or reset the connection.
    pub async fn read_line(&mut self) -> io::Result<Vec<u8>> {
        self.read_until(b"\n").await
    }

    /// Reads exactly these bytes.
    ///
    /// # Errors
    ///
    /// Other bytes came, or the peer closed or reset the connection.
    pub async fn expect(&mut self, bytes: &[u8]) -> io::Result<()> {
        let came = self.read(bytes.len()).await?;
        if came == bytes {
            return Ok(());
        }
        Err(unexpected(format!(
            "expected {:?}, received {:?}",
            String::from_utf8_lossy(bytes),
            String::from_utf8_lossy(&came)
        )))
    }

    /// Puts bytes back that were read, to be read again: a script can look at a hello and let
    /// [`Conn::start_tls`] have it.
    pub fn unread(&mut self, bytes: &[u8]) {
        self.buffer.splice(..0, bytes.iter().copied());
    }

    /// Reads and logs until the peer closes, one way or another.
    pub async fn drain(&mut self) {
        loop {
            self.buffer = Vec::new();
            if !matches!(self.fill().await, Ok(true)) {
                break;
            }
        }
        // A close_notify ends the session, not yet the connection below.
        if let Io::Tls(stream) = &mut self.io {
            let plain = &mut stream.get_mut().0;
            let end = std::future::poll_fn(|context| {
                let mut chunk = [0; 1024];
                loop {
                    let mut read = ReadBuf::new(&mut chunk);
                    match ready!(Pin::new(&mut *plain).poll_read(context, &mut read)) {
                        Ok(()) if !read.filled().is_empty() => {}
                        _ => return Poll::Ready(()),
                    }
                }
            });
            end.await;
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// The peer reset the connection, or TLS failed.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.io {
            Io::Plain(plain) => plain.write_all(bytes).await?,
            Io::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await?;
            }
            Io::Sealed(..) => return Err(unexpected("only TlsRecords can follow TlsRecords")),
            Io::Gone => return Err(io::ErrorKind::NotConnected.into()),
        }
        self.entry.sent(bytes.len());
        Ok(())
    }

    /// Sends raw bytes below TLS: in the clear, between the records of a session if there is one.
    ///
    /// # Errors
    ///
    /// The peer reset the connection.
    pub async fn send_below(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.io {
            Io::Plain(plain) | Io::Sealed(plain, _) => plain.write_all(bytes).await,
            Io::Tls(stream) => stream.get_mut().0.write_all(bytes).await,
            Io::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn send_forever(&mut self, bytes: &[u8], pause: Option<Duration>) -> io::Result<()> {
        let repeats = if pause.is_some() { 1 } else { FLOOD_CHUNK.div_ceil(bytes.len().max(1)) };
        let chunk = bytes.repeat(repeats);
        loop {
            self.send(&chunk).await?;
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// Closes the sending side.
    ///
    /// # Errors
    ///
    /// The peer reset the connection.
    pub async fn fin(&mut self) -> io::Result<()> {
        match &mut self.io {
            Io::Plain(plain) | Io::Sealed(plain, _) => plain.shutdown().await,
            Io::Tls(stream) => stream.shutdown().await,
            Io::Gone => Ok(()),
        }
    }

    /// Closes at once.
    pub fn close(&mut self) {
        self.io = Io::Gone;
    }

    /// Closes with RST.
    ///
    /// # Errors
    ///
    /// The kernel refused `SO_LINGER`, which a test machine's does not.
    pub fn rst(&mut self) -> io::Result<()> {
        self.socket.reset_on_close()?;
        self.io = Io::Gone;
        Ok(())
    }

    /// Becomes a TLS server. Bytes that came along with the last plain ones are taken for the start of
    /// the client's hello.
    ///
    /// # Errors
    ///
    /// The handshake failed; the message says how.
    pub async fn start_tls(&mut self, settings: &TlsServer) -> io::Result<()> {
        let Io::Plain(mut plain) = std::mem::replace(&mut self.io, Io::Gone) else {
            return Err(unexpected("start_tls needs a plain connection"));
        };
        plain.early = std::mem::take(&mut self.buffer);
        let socket = Arc::clone(&self.socket);
        match settings.accept(plain, &self.entry).await {
            Ok(stream) => {
                self.io = Io::Tls(Box::new(stream));
                Ok(())
            }
            Err(error) => {
                // The orderly end follows, so that an alert is not overtaken by an RST.
                let entry = self.entry.clone();
                self.io = Io::Plain(Plain { socket, early: Vec::new(), entry });
                self.mute = true;
                Err(error)
            }
        }
    }

    async fn key_updates(&mut self) -> io::Result<()> {
        let Io::Tls(stream) = &mut self.io else {
            return Err(unexpected("key updates need a TLS session"));
        };
        loop {
            stream.get_mut().1.refresh_traffic_keys().map_err(io::Error::other)?;
            stream.flush().await?;
            tokio::task::yield_now().await;
        }
    }

    /// Sends TLS 1.3 `KeyUpdate` messages that ask for nothing in return, until the peer closes: each
    /// makes it compute new keys. A byte of data after every 30 makes rustls forget that it counts
    /// them. `secret` is the server's first traffic secret, which a [`TlsServer::key_log`] gets.
    ///
    /// # Errors
    ///
    /// There is no session, or the peer closed.
    pub async fn key_updates_unasked(&mut self, secret: &[u8]) -> io::Result<()> {
        /// `KeyUpdate` with `update_not_requested`.
        const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
        self.send_records(&[]).await?;
        let Io::Sealed(plain, sealer) = &mut self.io else {
            return Err(unexpected("key updates need a TLS session"));
        };
        let mut secret = secret.to_vec();
        loop {
            let mut sealed = Vec::new();
            for count in 1..=300 {
                sealer.seal(22, &KEY_UPDATE, &mut sealed);
                sealer.update_keys(&mut secret);
                if count % 30 == 0 {
                    sealer.seal(23, b"x", &mut sealed);
                }
            }
            plain.write_all(&sealed).await?;
            tokio::task::yield_now().await;
        }
    }

    /// Seals and sends records of any content and type in the running TLS session.
    ///
    /// # Errors
    ///
    /// There is no session, or the peer reset the connection.
    pub async fn send_records(&mut self, records: &[(u8, Vec<u8>)]) -> io::Result<()> {
        if let Io::Tls(stream) = &mut self.io {
            stream.flush().await?;
            let Io::Tls(stream) = std::mem::replace(&mut self.io, Io::Gone) else {
                return Ok(());
            };
            let (plain, session) = stream.into_inner();
            self.io = Io::Sealed(plain, Box::new(Sealer::new(session)?));
        }
        let Io::Sealed(plain, sealer) = &mut self.io else {
            return Err(unexpected("TlsRecords needs a TLS session"));
        };
        let mut sealed = Vec::new();
        for (kind, payload) in records {
            sealer.seal(*kind, payload, &mut sealed);
        }
        plain.write_all(&sealed).await?;
        tokio::task::yield_now().await;
        Ok(())
    }
}
