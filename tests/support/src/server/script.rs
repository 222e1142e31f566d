//! What a server does on a connection, as data.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::server::conn::Conn;
use crate::tls::TlsServer;

/// One step of a [`Script`].
#[derive(Clone, Debug)]
pub enum Step {
    /// Closes at once with close(2). Bytes not yet read make the kernel send RST instead of FIN.
    Close,
    /// Reads exactly these bytes; the connection ends with an error when others come.
    Expect(Vec<u8>),
    /// Shuts down the sending side: the peer sees FIN (under TLS, close_notify first).
    Fin,
    /// Does nothing more, but reads and logs until the peer closes.
    Hang,
    /// Does nothing more and leaves the received bytes in the kernel, so that the peer's window
    /// closes. A small receive buffer ([`Server::builder`](crate::Server::builder)) makes that soon.
    NeverRead,
    /// Waits.
    Pause(Duration),
    /// Reads exactly so many bytes.
    Read(usize),
    /// Reads up to and with the next LF.
    ReadLine,
    /// Reads until the peer closes its sending side.
    ReadToEnd,
    /// Reads up to and with this pattern.
    ReadUntil(Vec<u8>),
    /// Jumps back to step number `.0`, for ever.
    Repeat(usize),
    /// Closes with RST (`SO_LINGER` 0).
    Rst,
    /// A function of the test's own.
    Run(Custom),
    /// Sends these bytes in one write.
    Send(Vec<u8>),
    /// Sends these bytes one by one, each in a segment (or TLS record) of its own, with a pause after
    /// each.
    SendEach(Vec<u8>, Duration),
    /// Sends these bytes again and again until the peer closes; without a pause as fast as they go.
    SendForever(Vec<u8>, Option<Duration>),
    /// Becomes a TLS server on this connection.
    StartTls(Arc<TlsServer>),
    /// Sends TLS `KeyUpdate` messages until the peer closes.
    TlsKeyUpdates,
    /// Seals these (content type, payload) pairs as TLS records of the running session and sends
    /// them: whatever a TLS library would never send. The session is of no use afterwards, except for
    /// more such records.
    TlsRecords(Vec<(u8, Vec<u8>)>),
    /// The same records again and again until the peer closes.
    TlsRecordsForever(Vec<(u8, Vec<u8>)>),
    /// Sends one byte as urgent data (`MSG_OOB`).
    Urgent(u8),
}

type LocalFuture<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;

/// A function that a script runs: see [`Script::run`].
#[derive(Clone)]
pub struct Custom(pub(crate) Arc<dyn for<'a> Fn(&'a mut Conn) -> LocalFuture<'a> + Send + Sync>);

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custom(..)")
    }
}

/// The steps for one connection.
///
/// When the last step is done the server closes its sending side and reads until the peer closes, so
/// that a peer that is still sending sees FIN and no RST. End with [`Script::close`],
/// [`Script::rst`] or [`Script::hang`] for anything else.
///
/// ```
/// use std::time::Duration;
/// use netsonde_support::Script;
///
/// let smtp = Script::new()
///     .send("220 mail.test ESMTP\r\n")
///     .read_line()
///     .send_each("250 slow\r\n", Duration::from_millis(5))
///     .expect("QUIT\r\n")
///     .send("221 bye\r\n");
/// assert_eq!(smtp.steps().len(), 5);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<Step>,
}

impl Script {
    /// No steps: accept, FIN.
    pub fn new() -> Self {
        Self::default()
    }

    /// The steps so far.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Adds any step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds the steps of another script.
    #[must_use]
    pub fn then(mut self, other: &Self) -> Self {
        self.steps.extend_from_slice(&other.steps);
        self
    }

    /// See [`Step::Close`].
    #[must_use]
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// See [`Step::Expect`].
    #[must_use]
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Expect(bytes.as_ref().to_vec()))
    }

    /// See [`Step::Fin`].
    #[must_use]
    pub fn fin(self) -> Self {
        self.step(Step::Fin)
    }

    /// See [`Step::Hang`].
    #[must_use]
    pub fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// See [`Step::NeverRead`].
    #[must_use]
    pub fn never_read(self) -> Self {
        self.step(Step::NeverRead)
    }

    /// See [`Step::Pause`].
    #[must_use]
    pub fn pause(self, duration: Duration) -> Self {
        self.step(Step::Pause(duration))
    }

    /// See [`Step::Read`].
    #[must_use]
    pub fn read(self, count: usize) -> Self {
        self.step(Step::Read(count))
    }

    /// See [`Step::ReadLine`].
    #[must_use]
    pub fn read_line(self) -> Self {
        self.step(Step::ReadLine)
    }

    /// See [`Step::ReadToEnd`].
    #[must_use]
    pub fn read_to_end(self) -> Self {
        self.step(Step::ReadToEnd)
    }

    /// See [`Step::ReadUntil`].
    #[must_use]
    pub fn read_until(self, pattern: impl AsRef<[u8]>) -> Self {
        self.step(Step::ReadUntil(pattern.as_ref().to_vec()))
    }

    /// Repeats everything so far until the peer closes: an echo or a line server.
    #[must_use]
    pub fn repeat(self) -> Self {
        self.step(Step::Repeat(0))
    }

    /// See [`Step::Rst`].
    #[must_use]
    pub fn rst(self) -> Self {
        self.step(Step::Rst)
    }

    /// Runs a function of the test's own on the connection.
    ///
    /// ```
    /// use netsonde_support::Script;
    ///
    /// let echo = Script::new().run(async |conn| {
    ///     let line = conn.read_line().await?;
    ///     conn.send(&line).await
    /// });
    /// # drop(echo);
    /// ```
    #[must_use]
    pub fn run<F>(self, function: F) -> Self
    where
        F: AsyncFn(&mut Conn) -> io::Result<()> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.step(Step::Run(Custom(Arc::new(move |conn| {
            let function = Arc::clone(&function);
            Box::pin(async move { function(conn).await })
        }))))
    }

    /// See [`Step::Send`].
    #[must_use]
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(bytes.as_ref().to_vec()))
    }

    /// See [`Step::SendEach`].
    #[must_use]
    pub fn send_each(self, bytes: impl AsRef<[u8]>, pause: Duration) -> Self {
        self.step(Step::SendEach(bytes.as_ref().to_vec(), pause))
    }

    /// See [`Step::SendForever`].
    #[must_use]
    pub fn send_forever(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::SendForever(bytes.as_ref().to_vec(), None))
    }

    /// See [`Step::SendForever`].
    #[must_use]
    pub fn send_every(self, bytes: impl AsRef<[u8]>, pause: Duration) -> Self {
        self.step(Step::SendForever(bytes.as_ref().to_vec(), Some(pause)))
    }

    /// See [`Step::StartTls`].
    #[must_use]
    pub fn start_tls(self, settings: &TlsServer) -> Self {
        self.step(Step::StartTls(Arc::new(settings.clone())))
    }

    /// See [`Step::TlsKeyUpdates`].
    #[must_use]
    pub fn tls_key_updates(self) -> Self {
        self.step(Step::TlsKeyUpdates)
    }

    /// See [`Step::TlsRecords`].
    #[must_use]
    pub fn tls_records(self, records: impl Into<Vec<(u8, Vec<u8>)>>) -> Self {
        self.step(Step::TlsRecords(records.into()))
    }

    /// See [`Step::TlsRecordsForever`].
    #[must_use]
    pub fn tls_records_forever(self, records: impl Into<Vec<(u8, Vec<u8>)>>) -> Self {
        self.step(Step::TlsRecordsForever(records.into()))
    }

    /// See [`Step::Urgent`].
    #[must_use]
    pub fn urgent(self, byte: u8) -> Self {
        self.step(Step::Urgent(byte))
    }
}
