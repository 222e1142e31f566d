//! Queries over TCP and over TLS, all of a set one behind the other on one connection (RFC 7766).

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{Ask, Way};
use crate::dns::DnsTransport;
use crate::engine::query::Protocol;
use crate::io::connect::{Connected, Connecting};
use crate::io::errno;
use crate::io::tls::TlsStream;
use crate::io::wire::Wire;
use crate::tcp::TcpConnection;
use crate::timing::{NetworkTime, Phase, StampSource};
use crate::tls::TlsReport;
use crate::verdict::{Failure, FailureKind, Verdict};
use crate::wire::dns::{Deframer, FrameError};

/// Octets read at once.
const READ: usize = 16 * 1024;

/// How far the kernel's round-trip sample may lie from the truth; as for the TCP prober.
const TCP_INFO_UNCERTAINTY: Duration = Duration::from_micros(50);

/// Makes a connection for the questions that have something to send, until none has.
pub(super) async fn run(asks: &mut [Ask<'_>], way: &Way<'_>) {
    loop {
        let mut line = Line::default();
        for (place, ask) in asks.iter_mut().enumerate() {
            if ask.engine.next() == Some(Protocol::Stream) {
                let begun = ask.begin(way, &mut line.out);
                line.asked.extend(begun.map(|transmit| (place, transmit.attempt)));
            }
        }
        if line.asked.is_empty() {
            return;
        }
        line.go(asks, way).await;
    }
}

/// One connection and the questions on it.
#[derive(Default)]
struct Line {
    out: Vec<u8>,
    /// Places of questions and the numbers of their attempts.
    asked: Vec<(usize, usize)>,
    sent: Option<Instant>,
    /// Whether anybody was answered on it.
    answered: bool,
}

enum Channel {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl Line {
    /// Connects, asks and listens until every question on it is decided or the connection is of no more
    /// use.
    async fn go(&mut self, asks: &mut [Ask<'_>], way: &Way<'_>) {
        if let Err(why) = self.talk(asks, way).await {
            let now = crate::io::time::now();
            for &(place, number) in &self.asked {
                let Some(ask) = asks.get_mut(place) else { continue };
                // A server need not answer all that was sent on one connection (RFC 7766, 6.2.4).
                let closed = why.failure().is_some_and(|why| why.kind == FailureKind::Closed);
                if !(closed && self.answered && ask.engine.closed(number, now)) {
                    ask.refused(number, why.clone(), now);
                } else if let Some(note) = ask.note(number) {
                    note.verdict = Some(why.clone());
                }
            }
        }
    }

    fn enter(&self, asks: &mut [Ask<'_>], phase: Phase) {
        let now = crate::io::time::now();
        for &(place, _) in &self.asked {
            if let Some(ask) = asks.get_mut(place).filter(|ask| !ask.engine.is_done()) {
                ask.enter(phase, now);
            }
        }
    }

    /// Whether a question on this line waits for something.
    fn is_awaited(&self, asks: &[Ask<'_>]) -> bool {
        self.asked.iter().any(|&(place, number)| {
            asks.get(place).is_some_and(|ask| {
                let newest = number + 1 == ask.engine.attempts().len();
                newest && !ask.engine.is_done() && ask.engine.next().is_none()
            })
        })
    }

    /// Waits for something, but no longer than a question on this line does. `None` if none waits any more.
    async fn within<T>(
        &self,
        asks: &mut [Ask<'_>],
        way: &Way<'_>,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let mut future = pin!(future);
        loop {
            if !self.is_awaited(asks) {
                return None;
            }
            let dues =
                self.asked.iter().filter_map(|(place, _)| asks.get(*place)?.engine.poll_timeout());
            let due = dues.min()?.min(way.deadline);
            if let Ok(done) = tokio::time::timeout_at(due.into(), future.as_mut()).await {
                return Some(done);
            }
            let now = crate::io::time::now();
            for (place, _) in &self.asked {
                if let Some(ask) = asks.get_mut(*place) {
                    ask.expire(now);
                    if now >= way.deadline {
                        ask.give_up(now);
                    }
                }
            }
        }
    }

    async fn talk(&mut self, asks: &mut [Ask<'_>], way: &Way<'_>) -> Result<(), Verdict> {
        self.enter(asks, Phase::Connect);
        let now = crate::io::time::now;
        let mut connecting =
            Connecting::start(way.server, way.socket, &now).map_err(|error| error.verdict())?;
        if !connecting.is_settled()
            && self.within(asks, way, connecting.settle(&now)).await.is_none()
        {
            return Ok(());
        }
        let connected = connecting.finish(&now).map_err(|error| error.verdict())?;
        for &(place, number) in &self.asked {
            let Some(ask) = asks.get_mut(place) else { continue };
            ask.connection = Some(Box::new(connection(&connected)));
            if let Some(note) = ask.note(number) {
                note.port = Some(connected.local().port());
            }
        }
        let stream = connected.into_stream();
        let mut wire = Wire::Tcp(stream.map_err(|error| errno::verdict(&error, Phase::Connect))?);
        let mut channel = match way.tls.filter(|_| way.transport == DnsTransport::Tls) {
            None => Channel::Plain(wire),
            Some(connector) => {
                self.enter(asks, Phase::Tls);
                let mut report = TlsReport::default();
                let shaken = {
                    let shaking = connector.shake(way.host, &mut wire, &mut report);
                    self.within(asks, way, shaking).await
                };
                for (place, _) in &self.asked {
                    if let Some(ask) = asks.get_mut(*place) {
                        ask.tls = Some(Box::new(report.clone()));
                    }
                }
                match shaken {
                    None => return Ok(()),
                    Some(session) => Channel::Tls(Box::new(TlsStream::over(wire, session?))),
                }
            }
        };
        self.enter(asks, Phase::Request);
        let out = std::mem::take(&mut self.out);
        let written = async {
            channel.write_all(&out).await?;
            channel.flush().await
        };
        match self.within(asks, way, written).await {
            None => return Ok(()),
            Some(written) => written.map_err(|error| broken(&error, Phase::Request))?,
        }
        let sent = now();
        self.sent = Some(sent);
        for &(place, number) in &self.asked {
            if let Some(ask) = asks.get_mut(place) {
                ask.engine.left(number, sent);
                if let Some(note) = ask.note(number) {
                    note.sent = true;
                }
            }
        }
        self.enter(asks, Phase::Processing);
        let result = self.listen(asks, way, &mut channel).await;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // Whether a good-bye goes out is the peer's business: the measurement is over.
        let _ = Pin::new(&mut channel).poll_shutdown(&mut cx);
        result
    }

    async fn listen(
        &mut self,
        asks: &mut [Ask<'_>],
        way: &Way<'_>,
        channel: &mut Channel,
    ) -> Result<(), Verdict> {
        let mut deframer = Deframer::new(way.message_bytes);
        let mut first = None;
        loop {
            let read = {
                // The buffer lives on the stack of one poll, so that a question that waits holds none.
                let deframer = &mut deframer;
                let reading = poll_fn(|cx| {
                    let mut space = [std::mem::MaybeUninit::uninit(); READ];
                    let mut buffer = ReadBuf::uninit(&mut space);
                    std::task::ready!(Pin::new(&mut *channel).poll_read(cx, &mut buffer))?;
                    deframer.feed(buffer.filled());
                    Poll::Ready(io::Result::Ok(buffer.filled().len()))
                });
                self.within(asks, way, reading).await
            };
            let count = match read {
                None => {
                    self.misspoken(asks, deframer.partial());
                    return Ok(());
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                Some(Err(error)) => return Err(broken(&error, self.phase(asks))),
                Some(Ok(count)) => count,
            };
            let now = crate::io::time::now();
            let arrived = *first.get_or_insert(now);
            if count > 0 {
                self.enter(asks, Phase::Transfer);
            }
            loop {
                match deframer.next_message() {
                    Ok(None) => break,
                    Ok(Some(message)) => self.heard(asks, way, &message, arrived, now),
                    Err(error) => return Err(length(error, self.phase(asks))),
                }
                first = None;
            }
            if !self.is_awaited(asks) {
                return Ok(());
            }
            if count == 0 {
                return Err(ended(deframer.partial(), self.answered, self.phase(asks)));
            }
        }
    }

    /// Hands a message to the question with its id, or else to any that waits, which counts it.
    fn heard(
        &mut self,
        asks: &mut [Ask<'_>],
        way: &Way<'_>,
        message: &[u8],
        arrived: Instant,
        now: Instant,
    ) {
        let id = message.first_chunk::<2>().map(|id| u16::from_be_bytes(*id));
        let has_id = |&&(place, number): &&(usize, usize)| {
            let attempt = asks.get(place).and_then(|ask| ask.engine.attempts().get(number));
            attempt.map(|attempt| attempt.id) == id
        };
        let found = self.asked.iter().find(has_id).or_else(|| {
            let waits = |&&(place, _): &&(usize, usize)| {
                asks.get(place).is_some_and(|ask| !ask.engine.is_done())
            };
            self.asked.iter().find(waits).or_else(|| self.asked.first())
        });
        let Some(&(place, number)) = found else { return };
        let Some(ask) = asks.get_mut(place) else { return };
        if ask.engine.received(number, way.server, message, now).is_ok() {
            self.answered = true;
            if let (Some(sent), Some(note)) = (self.sent, ask.notes.get_mut(number)) {
                let time = arrived.saturating_duration_since(sent);
                note.network = Some(NetworkTime::new(time, time, StampSource::User));
            }
        }
    }

    fn phase(&self, asks: &[Ask<'_>]) -> Phase {
        let waiting =
            self.asked.iter().filter_map(|&(place, number)| asks.get(place)?.notes.get(number));
        waiting.map(|note| note.phase).max().unwrap_or(Phase::Processing)
    }

    /// What has come speaks another protocol: that, and not the time, is what went wrong.
    fn misspoken(&self, asks: &mut [Ask<'_>], partial: &[u8]) {
        let Some(failure) = other_protocol(partial, Phase::Transfer) else { return };
        for &(place, number) in &self.asked {
            if let Some(note) = asks.get_mut(place).and_then(|ask| ask.note(number)) {
                note.verdict = Some(failure.clone().into());
            }
        }
    }
}

fn connection(connected: &Connected) -> TcpConnection {
    let rtt = connected.handshake_rtt_ns().map(Duration::from_nanos);
    TcpConnection {
        peer: connected.remote(),
        local: connected.local(),
        rtt: rtt.map(|rtt| NetworkTime::new(rtt, TCP_INFO_UNCERTAINTY, StampSource::TcpInfo)),
        syn_retransmits: connected.syn_retransmits(),
        at_connect: connected.info().cloned(),
        at_end: None,
    }
}

fn broken(error: &io::Error, phase: Phase) -> Verdict {
    match TlsStream::<Wire>::failure_of(error) {
        Some(failure) => failure.clone().in_phase(phase).into(),
        None => errno::verdict(error, phase),
    }
}

fn length(error: FrameError, phase: Phase) -> Verdict {
    Failure::new(FailureKind::DnsLength).in_phase(phase).with_detail(error.to_string()).into()
}

/// The peer has closed; `partial` is what it had said since the last whole message.
fn ended(partial: &[u8], answered: bool, phase: Phase) -> Verdict {
    if let Some(failure) = other_protocol(partial, phase) {
        return failure.into();
    }
    let detail = match (partial.is_empty(), answered) {
        (false, _) => "in the middle of a message",
        (true, false) => "without an answer",
        (true, true) => "before all was answered",
    };
    Failure::new(FailureKind::Closed).in_phase(phase).with_detail(detail).into()
}

/// A length that reads as the beginning of HTTP or of a TLS record is none (RFC 9112, 4; RFC 8446, 5.1).
fn other_protocol(partial: &[u8], phase: Phase) -> Option<Failure> {
    let what = match partial {
        [b'H', b'T', b'T', b'P', b'/', ..] => "the server speaks HTTP",
        [20..=23, 3, 0..=4, ..] => "the server speaks TLS",
        _ => return None,
    };
    Some(Failure::new(FailureKind::Protocol).in_phase(phase).with_detail(what))
}

impl AsyncRead for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Channel::Plain(wire) => Pin::new(wire).poll_read(cx, buffer),
            Channel::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Channel::Plain(wire) => Pin::new(wire).poll_write(cx, bytes),
            Channel::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Channel::Plain(wire) => Pin::new(wire).poll_flush(cx),
            Channel::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Channel::Plain(wire) => Pin::new(wire).poll_shutdown(cx),
            Channel::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
