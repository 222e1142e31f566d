//! What happens on a connection: TLS, then the script, whichever of them is asked for.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::errno;
use super::record::Record;
use super::tls::{TlsConnector, TlsStream};
use super::wire::Wire;
use crate::engine::script::{Action, CompiledScript, ScriptEngine};
use crate::script::{ScriptFailure, ScriptFailureKind, ScriptReport};
use crate::target::Host;
use crate::tcp::PeerEnd;
use crate::timing::Phase;
use crate::tls::TlsReport;
use crate::verdict::{Failure, FailureKind, LimitHit, Verdict, printable};

/// What a prober does on each of its connections; made once, when the prober is built.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The script; `None` if it has no steps.
    pub(crate) script: Option<Arc<CompiledScript>>,
    /// TLS, from the first byte or where the script starts it.
    pub(crate) tls: Option<TlsConnector>,
    /// Whether the script starts TLS.
    pub(crate) starttls: bool,
}

/// The conversation on one connection. It keeps what was learnt when the future of
/// [`Talk::run`] is dropped at a deadline.
#[derive(Debug)]
pub(crate) struct Talk<'p> {
    plan: &'p Plan,
    channel: Channel,
    engine: Option<ScriptEngine>,
    tls: Option<TlsReport>,
    /// A read or a write has told of a reset.
    reset: bool,
}

/// Bytes read at once: a full TLS record, or about what a socket has ready.
const READ: usize = 16 * 1024;

#[derive(Debug)]
enum Channel {
    None,
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl<'p> Talk<'p> {
    pub(crate) fn new(plan: &'p Plan) -> Self {
        Talk { plan, channel: Channel::None, engine: None, tls: None, reset: false }
    }

    /// Whether there is anything to say or to wait for.
    pub(crate) fn is_silent(&self) -> bool {
        self.plan.script.is_none() && self.plan.tls.is_none()
    }

    /// The connection, while there is one.
    pub(crate) fn wire(&self) -> Option<&Wire> {
        match &self.channel {
            Channel::None => None,
            Channel::Plain(wire) => Some(wire),
            Channel::Tls(stream) => Some(stream.inner()),
        }
    }

    /// Goes through all of it. `host` is whom TLS verifies and what scripts know as `${host}`.
    pub(crate) async fn run(
        &mut self,
        record: &mut Record<'_>,
        host: Option<&Host>,
        wire: Wire,
    ) -> Result<(), Verdict> {
        self.channel = Channel::Plain(wire);
        if !self.plan.starttls {
            self.start_tls(record, host).await?;
        }
        let Some(script) = &self.plan.script else { return Ok(()) };
        record.enter(Phase::Script, record.now());
        let mut engine = ScriptEngine::new(Arc::clone(script), record.started());
        if let Some(host) = host {
            let name = host.name().map(|name| name.without_dot().to_owned());
            engine = engine.with_variable("host", &name.unwrap_or_else(|| host.to_string()));
        }
        self.engine = Some(engine);
        self.converse(record, host).await
    }

    async fn converse(
        &mut self,
        record: &mut Record<'_>,
        host: Option<&Host>,
    ) -> Result<(), Verdict> {
        loop {
            let Some(engine) = &mut self.engine else { return Ok(()) };
            match engine.step(record.now()) {
                Action::Read => match self.channel.read(engine, record).await {
                    Ok(()) => {}
                    Err(error) => return Err(self.broken(&error, record)),
                },
                Action::Write(bytes) => {
                    // The engine may be given bytes while a write blocks, so it cannot lend these.
                    let chunk = bytes.get(..READ).unwrap_or(bytes).to_vec();
                    match self.channel.write(&chunk, engine, record).await {
                        Ok(()) => {}
                        Err(error) => return Err(self.broken(&error, record)),
                    }
                }
                Action::StartTls => {
                    self.start_tls(record, host).await?;
                    let now = record.now();
                    record.enter(Phase::Script, now);
                    if let Some(engine) = &mut self.engine {
                        engine.tls_started(now);
                    }
                }
                Action::Done => return Ok(()),
                Action::Failed(failure) => {
                    let refused = self.plan.starttls && self.tls.is_none();
                    return Err(script_failure(failure, refused).into());
                }
            }
        }
    }

    async fn start_tls(
        &mut self,
        record: &mut Record<'_>,
        host: Option<&Host>,
    ) -> Result<(), Verdict> {
        let Some(connector) = &self.plan.tls else { return Ok(()) };
        let Channel::Plain(wire) = &mut self.channel else { return Ok(()) };
        record.enter(Phase::Tls, record.now());
        let report = self.tls.insert(TlsReport::default());
        let session = connector.shake(host, wire, report).await?;
        let wait =
            if self.plan.script.is_none() { connector.may_be_turned_down(report) } else { None };
        // The wire stays in place until here, so that its figures survive a handshake that fails.
        let Channel::Plain(wire) = std::mem::replace(&mut self.channel, Channel::None) else {
            return Ok(());
        };
        let mut stream = Box::new(TlsStream::over(wire, session));
        let settled = match wait {
            Some(wait) => tokio::time::timeout(wait, stream.settle()).await.unwrap_or(Ok(())),
            None => Ok(()),
        };
        self.channel = Channel::Tls(stream);
        settled.map_err(Verdict::from)
    }

    /// What an error of the stream means for the probe.
    fn broken(&mut self, error: &io::Error, record: &Record<'_>) -> Verdict {
        if let (Channel::Tls(_), Some(failure)) =
            (&self.channel, TlsStream::<Wire>::failure_of(error))
        {
            return self.at_step(failure.clone().in_phase(record.phase())).into();
        }
        match errno::verdict(error, record.phase()) {
            Verdict::Fail(failure) => {
                self.reset |= failure.kind == FailureKind::Reset;
                self.at_step(failure).into()
            }
            other => other,
        }
    }

    /// Adds the step that is under way.
    fn at_step(&self, failure: Failure) -> Failure {
        let step = self.engine.as_ref().and_then(ScriptEngine::waiting).map(|waiting| waiting.step);
        match step.and_then(|step| u32::try_from(step).ok()) {
            Some(step) => failure.at_step(step),
            None => failure,
        }
    }

    /// Turns the failure of a passed deadline into one that says what was waited for.
    pub(crate) fn timed_out(&self, failure: Failure) -> Failure {
        if failure.phase == Some(Phase::Script) { self.at_step(failure) } else { failure }
    }

    /// Ends the conversation: how the peer has ended its side by now, if anybody can tell. TLS says
    /// good-bye as far as that goes without waiting.
    pub(crate) fn end(&mut self) -> Option<PeerEnd> {
        if self.is_silent() {
            return None;
        }
        let end = self.wire()?.peer_end();
        // A reset is told once, and has been by then; afterwards it looks like a close.
        let end = if self.reset { Some(PeerEnd::Reset) } else { end };
        if let Channel::Tls(stream) = &mut self.channel {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            // Whether it goes out is the peer's business: the measurement is over.
            let _ = Pin::new(stream).poll_shutdown(&mut cx);
        }
        end
    }

    /// What was learnt.
    pub(crate) fn into_reports(mut self) -> (Option<TlsReport>, Option<ScriptReport>) {
        if let (Channel::Tls(stream), Some(report)) = (&self.channel, &mut self.tls) {
            report.alert = stream.alert().cloned().or_else(|| report.alert.take());
        }
        (self.tls, self.engine.map(|engine| engine.report()))
    }
}

impl Channel {
    fn poll_read(
        &mut self,
        cx: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Channel::None => Poll::Ready(Ok(())),
            Channel::Plain(wire) => Pin::new(wire).poll_read(cx, buffer),
            Channel::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    /// Hands the engine what arrives next. The buffer lives on the stack of one poll, so that a
    /// probe that waits holds none.
    fn poll_receive(
        &mut self,
        cx: &mut std::task::Context<'_>,
        engine: &mut ScriptEngine,
        record: &Record<'_>,
    ) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        let read = ready!(self.poll_read(cx, &mut buffer));
        let now = record.now();
        match read {
            Ok(()) if buffer.filled().is_empty() => engine.closed(now),
            Ok(()) => engine.received(buffer.filled(), now),
            // TLS that ends without its good-bye: what was said so far still counts.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => engine.closed(now),
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }

    async fn read(&mut self, engine: &mut ScriptEngine, record: &Record<'_>) -> io::Result<()> {
        poll_fn(|cx| self.poll_receive(cx, engine, record)).await
    }

    /// Writes some of the bytes and tells the engine how many. While the peer does not take them,
    /// what it says is read, since it may be waiting for just that.
    async fn write(
        &mut self,
        bytes: &[u8],
        engine: &mut ScriptEngine,
        record: &Record<'_>,
    ) -> io::Result<()> {
        let written = poll_fn(|cx| {
            loop {
                let written = match self {
                    Channel::None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                    Channel::Plain(wire) => Pin::new(wire).poll_write(cx, bytes),
                    Channel::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
                };
                if written.is_ready() {
                    return written;
                }
                if engine.waiting().is_none() {
                    return Poll::Ready(Ok(0));
                }
                ready!(self.poll_receive(cx, engine, record))?;
            }
        })
        .await?;
        if let Channel::Tls(stream) = self {
            poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await?;
        }
        engine.written(written, record.now());
        Ok(())
    }
}

/// A failed step as a failure of the probe. `refused`: TLS was to start and has not.
fn script_failure(failure: &ScriptFailure, refused: bool) -> Failure {
    use ScriptFailureKind as Script;
    let kind = match failure.kind {
        Script::Rejected | Script::Unmatched | Script::Mismatch if refused => {
            FailureKind::StarttlsRefused
        }
        Script::Rejected => FailureKind::ScriptRejected,
        Script::Unmatched | Script::Mismatch => FailureKind::ScriptUnmatched,
        Script::Eof => FailureKind::Closed,
        Script::BadFrame => FailureKind::Protocol,
        Script::LineTooLong | Script::FrameTooLong => FailureKind::LimitLine,
        Script::TooManyLines => FailureKind::LimitLines,
        Script::RawTooLong | Script::TooManyBytes => FailureKind::LimitBytes,
        Script::SendTooLong => FailureKind::LimitSend,
        Script::InjectedPlaintext => FailureKind::InjectedPlaintext,
        Script::UnsafeExpansion => FailureKind::UnsafeExpansion,
    };
    let mut out = Failure::new(kind).in_phase(Phase::Script);
    out.step = u32::try_from(failure.step).ok();
    if let (Some(cap), Some(seen)) = (failure.limit, failure.seen) {
        out = out.with_limit(LimitHit::new(cap, seen));
    }
    match (&failure.name, &failure.evidence) {
        (Some(name), Some(seen)) => {
            out.with_detail(format!("{name}: \"{}\"", printable(seen, 300)))
        }
        (None, Some(seen)) => out.with_detail(format!("\"{}\"", printable(seen, 300))),
        (Some(name), None) => out.with_detail(name),
        (None, None) => out,
    }
}
