//! A wire's end that answers as it is told.

mod data;
mod error;
mod reply;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use netsonde_support::netns::Device;
use netsonde_support::packet::{self, Ip, Seen};

use crate::echo::{self, Echo};
use crate::pump::{Handler, Health, Outbox, Pump};

pub use data::{ErrorReaction, Reaction, program};
pub use error::{Broken, IcmpError, mpls};
pub use reply::{Fragments, Reply};

/// A frame that has come in.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// How many came before it.
    pub number: u64,
    /// When it came, by the kernel's stamp.
    pub at: SystemTime,
    /// All of it.
    pub frame: &'a [u8],
    /// The IP packet in it.
    pub packet: &'a [u8],
    /// The header of that.
    pub ip: Ip,
}

/// An echo request that has come in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// How many echo requests came before it.
    pub number: u64,
    /// When it came, by the kernel's stamp.
    pub at: SystemTime,
    /// The IP packet.
    pub packet: &'a [u8],
    /// What it asks.
    pub echo: Echo<'a>,
}

impl Request<'_> {
    /// The right reply, to be made into any wrong one.
    pub fn reply(&self) -> Reply {
        Reply::to(&self.echo)
    }

    /// An ICMP error about it, from the address that it was sent to, with all of it quoted that
    /// routers quote: as much as the smallest packet that everybody takes has room for.
    pub fn error(&self, kind: u8, code: u8) -> IcmpError {
        IcmpError::about(self.packet, kind, code)
    }
}

/// A packet to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// How long after the packet that it answers came in.
    pub hold: Duration,
    /// The IP packet.
    pub packet: Vec<u8>,
    /// Zeros behind the packet, as Ethernet has them behind short ones.
    pub padding: usize,
}

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The number of the packet that it answers.
    pub number: u64,
    /// When that came in, by the kernel's stamp.
    pub arrived: SystemTime,
    /// How long the answer was to be held.
    pub asked: Duration,
    /// How long it was held, counted from the stamp to just before the system call; `None` if the
    /// device did not take it.
    pub held: Option<Duration>,
}

/// Answers what comes in on a device, each answer after an exact time. A thread of its own does so,
/// before all ordinary threads where the system allows it; it ends with this handle.
///
/// The device is that of a namespace whose kernel does not answer itself, as that of
/// [`Topology::stub`](crate::Topology::stub). Answers may come from any address.
///
/// ```no_run
/// # fn test() {
/// use std::time::Duration;
/// use netsonde_lab::{Net, Responder, Topology};
///
/// let Some(net) = Net::build("example", &Topology::stub()) else { return };
/// // Every third answer has the wrong identifier, all come after 5 ms.
/// let _responder = Responder::start(&net.far, |request| {
///     let mut reply = request.reply().hold(Duration::from_millis(5));
///     if request.number % 3 == 2 {
///         reply.id ^= 1;
///     }
///     reply.answers()
/// });
/// # }
/// ```
#[derive(Debug)]
pub struct Responder {
    pump: Pump,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    log: Mutex<Vec<Answered>>,
}

impl Responder {
    /// Answers echo requests.
    pub fn start(
        device: &Device,
        mut program: impl FnMut(&Request<'_>) -> Vec<Answer> + Send + 'static,
    ) -> Self {
        let mut number = 0;
        Self::packets(device, move |incoming| {
            let request = Echo::parse(incoming.frame).filter(|echo| echo.is_request);
            let Some(echo) = request else { return Vec::new() };
            let request = Request { number, at: incoming.at, packet: incoming.packet, echo };
            number += 1;
            program(&request)
        })
    }

    /// Answers echo requests rightly, after so long.
    pub fn right(device: &Device, hold: Duration) -> Self {
        Self::start(device, move |request| request.reply().hold(hold).answers())
    }

    /// Collects so many echo requests and answers them in reverse order, each `gap` after the other.
    pub fn reversed(device: &Device, batch: usize, gap: Duration) -> Self {
        let mut waiting: Vec<Reply> = Vec::new();
        Self::start(device, move |request| {
            waiting.push(request.reply());
            if waiting.len() < batch {
                return Vec::new();
            }
            let replies = waiting.drain(..).rev().zip(0_u32..);
            replies.flat_map(|(reply, place)| reply.hold(gap * place).answers()).collect()
        })
    }

    /// Answers any IP packets.
    pub fn packets(
        device: &Device,
        program: impl FnMut(&Incoming<'_>) -> Vec<Answer> + Send + 'static,
    ) -> Self {
        let counts = Arc::new(Counts::default());
        let end = End {
            program: Box::new(program),
            mac: device.mac,
            next: 0,
            noted: Vec::new(),
            counts: Arc::clone(&counts),
        };
        Self { pump: Pump::start("lab-responder", &[device], end), counts }
    }

    /// IP packets that came in so far.
    pub fn packets_seen(&self) -> u64 {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// What was answered since the last call, in the order of sending.
    pub fn log(&self) -> Vec<Answered> {
        std::mem::take(&mut *self.counts.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it keeps up.
    pub fn health(&self) -> Health {
        self.pump.health()
    }
}

type Packets = Box<dyn FnMut(&Incoming<'_>) -> Vec<Answer> + Send>;

struct End {
    program: Packets,
    mac: [u8; 6],
    next: u64,
    noted: Vec<Answered>,
    counts: Arc<Counts>,
}

impl Handler for End {
    type Tag = (Answered, Instant);

    fn frame(&mut self, leg: usize, seen: Seen<'_>, out: &mut Outbox<Self::Tag>) {
        let Some(packet) = packet::packet_of(seen.bytes) else { return };
        let Some(ip) = Ip::parse(packet) else { return };
        let number = self.next;
        self.next += 1;
        self.counts.requests.store(self.next, Ordering::SeqCst);
        let incoming = Incoming { number, at: seen.at, frame: seen.bytes, packet, ip };
        let arrived = out.instant(seen.at);
        let peer: [u8; 6] = seen.bytes[6..12].try_into().expect("six bytes");
        for answer in (self.program)(&incoming) {
            let mut frame = echo::frame(peer, self.mac, &answer.packet);
            frame.extend(std::iter::repeat_n(0, answer.padding));
            let answered = Answered { number, arrived: seen.at, asked: answer.hold, held: None };
            out.send(leg, arrived + answer.hold, frame, (answered, arrived));
        }
    }

    fn sent(&mut self, (mut answered, arrived): Self::Tag, at: Instant, taken: bool) {
        answered.held = taken.then(|| at.saturating_duration_since(arrived));
        self.noted.push(answered);
    }

    fn turn(&mut self) {
        if !self.noted.is_empty()
            && let Ok(mut log) = self.counts.log.try_lock()
        {
            log.append(&mut self.noted);
        }
    }
}
