//! Path MTU discovery, without clock and socket: which size to try next, and what the answers come
//! to.
//!
//! The owner asks [`MtuEngine::poll_transmit`] what to send, sends it in one piece, and says what came
//! of it: [`answered`](MtuEngine::answered), [`refused`](MtuEngine::refused),
//! [`too_big_here`](MtuEngine::too_big_here), [`not_sent`](MtuEngine::not_sent). When nothing is to be
//! sent it waits for an answer or until [`poll_timeout`](MtuEngine::poll_timeout), and then calls
//! [`handle_timeout`](MtuEngine::handle_timeout).
//!
//! What holds:
//!
//! - The largest size goes first. MTUs that errors tell are tried, and so is one byte more; where
//!   errors are missing or tell what cannot be, the search halves what lies between the largest size
//!   that passed and the smallest that did not. There is no table of usual sizes.
//! - One packet is on its way at a time. A size is tried again only while it stays silent, and only
//!   so often as the configuration says.
//! - A size passed if an answer in full size came, however late. It is refused if an error says so, or
//!   this host. Silence only says so once the smallest packet was answered, and never confirms.
//!
//! ```
//! use netsonde::engine::mtu::{MtuEngine, MtuSetup};
//! use netsonde::icmp::EchoError;
//! use netsonde::icmp::mtu::{Evidence, MtuConfig, MtuEnd};
//! use netsonde::FailureKind;
//! use std::net::IpAddr;
//! use std::time::Instant;
//!
//! let (router, target): (IpAddr, IpAddr) = ("192.0.2.1".parse()?, "203.0.113.9".parse()?);
//! let setup = MtuSetup::new(&MtuConfig::default(), target)?.with_interface_mtu(1500);
//! let now = Instant::now();
//! let mut engine = MtuEngine::new(setup, now);
//! let mut sizes = Vec::new();
//! while let Some(packet) = engine.poll_transmit(now) {
//!     sizes.push(packet.size);
//!     if packet.size <= 1492 {
//!         engine.answered(packet.ticket, target, None, packet.size, now);
//!     } else {
//!         let mut error = EchoError::new(FailureKind::FragmentationNeeded, 3, 4, Some(router));
//!         error.mtu = Some(1492);
//!         engine.refused(packet.ticket, error, now);
//!     }
//! }
//! assert_eq!(sizes, [1500, 1492, 1493]);
//! let report = engine.finish(now);
//! assert_eq!((report.mtu, report.confirmed, report.end), (Some(1492), true, MtuEnd::Found));
//! assert_eq!((report.evidence, report.reported_by), (Some(Evidence::Router), Some(router)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod search;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::Error;
use crate::icmp::mtu::{Evidence, MtuAnswer, MtuConfig, MtuFate, MtuReport, MtuStep};
use crate::icmp::{EchoError, Implausible};
use crate::timing::{NetworkTime, duration_ns};
use crate::verdict::FailureKind;
use search::{Next, Search};

/// What one discovery is made with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MtuSetup {
    destination: IpAddr,
    /// What every link must carry.
    floor: u32,
    /// The largest packet that is tried.
    ceiling: u32,
    /// Why nothing larger is tried.
    bound: Evidence,
    tries: u32,
    timeout: Duration,
    packets: u32,
    told: u32,
}

impl MtuSetup {
    /// A discovery of the path to `destination` as the configuration has it.
    ///
    /// # Errors
    /// Those of [`MtuConfig::check`], and [`Error::Config`] if `max` is below what every link of the
    /// destination's family must carry, or above what a packet of it can hold.
    pub fn new(config: &MtuConfig, destination: IpAddr) -> Result<Self, Error> {
        config.check()?;
        // RFC 791, 3.1 and 3.2; RFC 8200, 3 and 5, whose length does not count the header.
        let (floor, largest) =
            if destination.is_ipv4() { (68, 65_535) } else { (1280, 65_535 + 40) };
        if config.max.is_some_and(|max| max < floor) {
            return Err(Error::config("max", "must be at least 1280 in IPv6 (RFC 8200, 5)"));
        }
        if config.max.is_some_and(|max| max > largest) {
            return Err(Error::config("max", "must be at most 65535 in IPv4 (RFC 791, 3.1)"));
        }
        let (ceiling, bound) = match config.max {
            Some(max) if max < largest => (max, Evidence::Configured),
            _ => (largest, Evidence::Protocol),
        };
        Ok(MtuSetup {
            destination,
            floor,
            ceiling,
            bound,
            tries: config.tries,
            timeout: config.query_timeout,
            packets: config.limits.packets,
            told: config.limits.told,
        })
    }

    /// Says what the interface takes, so that nothing larger is tried in vain. Without it this host
    /// refuses what is too large. A figure below what every link must carry is not believed.
    #[must_use]
    pub fn with_interface_mtu(mut self, mtu: u32) -> Self {
        if mtu >= self.floor && mtu <= self.ceiling {
            (self.ceiling, self.bound) = (mtu, Evidence::Host);
        }
        self
    }
}

/// Names one packet of a discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MtuTicket(u32);

impl MtuTicket {
    /// The ticket of this number, as read from an answer. It may be of no packet at all.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        MtuTicket(number)
    }

    /// Its number: the place of the packet, from 0.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// A packet that is to be sent in one piece, whatever path MTU the system believes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MtuTransmit {
    /// Says which packet an answer is to.
    pub ticket: MtuTicket,
    /// Its size in bytes with the IP header.
    pub size: u32,
}

/// One discovery. See the [module](self) for how to run it.
///
/// Every method that takes an instant may be given the same one as before; one that is earlier than
/// the latest so far counts as the latest, but for the arrivals of answers.
#[derive(Debug)]
pub struct MtuEngine {
    setup: MtuSetup,
    origin: Instant,
    now: Instant,
    steps: Vec<MtuStep>,
    /// When the packet under way counts as lost; `None` if none is.
    deadline: Option<Instant>,
    strays: u64,
    done: bool,
}

impl MtuEngine {
    /// A discovery that begins at `origin`, from which the times in its report count.
    #[must_use]
    pub fn new(setup: MtuSetup, origin: Instant) -> Self {
        let (now, steps) = (origin, Vec::new());
        MtuEngine { setup, origin, now, steps, deadline: None, strays: 0, done: false }
    }

    /// The next packet, which counts as sent at `now`. `None` while one is under way, and at the end.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<MtuTransmit> {
        self.now = self.now.max(now);
        if self.done || self.deadline.is_some() {
            return None;
        }
        let Next::Try(size) = Search::of(&self.setup, &self.steps).next else { return None };
        let number = u32::try_from(self.steps.len()).ok()?;
        let sent_ns = duration_ns(self.now.saturating_duration_since(self.origin));
        self.steps.push(MtuStep::new(number, size, sent_ns));
        self.deadline = Some(self.now + self.setup.timeout);
        Some(MtuTransmit { ticket: MtuTicket(number), size })
    }

    /// The packet was answered by one that shows a request of `size` bytes with its IP header; the
    /// answer arrived at `at`.
    pub fn answered(
        &mut self,
        ticket: MtuTicket,
        from: IpAddr,
        rtt: Option<NetworkTime>,
        size: u32,
        at: Instant,
    ) {
        self.receive(ticket, MtuFate::Answered(MtuAnswer::new(from, rtt, size)), at);
    }

    /// An ICMP error came back, of size or another; it arrived at `at`. Whether a told MTU can be true
    /// is found out here.
    pub fn refused(&mut self, ticket: MtuTicket, mut error: EchoError, at: Instant) {
        let size = self.steps.get(ticket.0 as usize).map_or(0, |step| step.size);
        let fate = if error.failure == FailureKind::FragmentationNeeded {
            // Zero is how routers say that they do not say (RFC 1191, 4).
            error.mtu = error.mtu.filter(|mtu| *mtu != 0);
            error.mtu_implausible = self.implausible(error.mtu, size);
            MtuFate::TooBig(error)
        } else {
            MtuFate::Refused(error)
        };
        self.receive(ticket, fate, at);
    }

    /// The system did not take the packet for its size (`EMSGSIZE`). `mtu` is the largest that would
    /// do, if the system says.
    pub fn too_big_here(&mut self, ticket: MtuTicket, mtu: Option<u32>, now: Instant) {
        let size = self.steps.get(ticket.0 as usize).map_or(0, |step| step.size);
        let mtu_implausible = self.implausible(mtu, size);
        self.unsent(ticket, MtuFate::TooBigHere { mtu, mtu_implausible }, now);
    }

    /// The system did not take the packet, for another reason than its size.
    pub fn not_sent(&mut self, ticket: MtuTicket, errno: i32, now: Instant) {
        self.unsent(ticket, MtuFate::NotSent { errno }, now);
    }

    /// Decides the packet under way if its time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.deadline.is_some_and(|deadline| deadline <= self.now) {
            self.deadline = None;
            if let Some(step) = self.steps.last_mut() {
                step.fate = MtuFate::Lost;
            }
            self.settle();
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if nothing is under way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether there is nothing left to find out. It stays so; answers may still be passed in, for
    /// duplicates and late ones.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What is known at `now`: the whole story if the discovery is done. What the engine cannot know
    /// is left empty.
    #[must_use]
    pub fn finish(mut self, now: Instant) -> MtuReport {
        self.handle_timeout(now);
        let mut report = Search::of(&self.setup, &self.steps).report();
        report.address = Some(self.setup.destination);
        report.steps = self.steps;
        report.forgery_suspects = self.strays;
        report
    }

    fn implausible(&self, mtu: Option<u32>, size: u32) -> Option<Implausible> {
        match mtu? {
            mtu if mtu < self.setup.floor => Some(Implausible::TooSmall),
            mtu if mtu >= size => Some(Implausible::NotSmaller),
            _ => None,
        }
    }

    fn receive(&mut self, ticket: MtuTicket, fate: MtuFate, at: Instant) {
        self.now = self.now.max(at);
        let timeout = duration_ns(self.setup.timeout);
        let at_ns = duration_ns(at.saturating_duration_since(self.origin));
        let Some(step) = self.steps.get_mut(ticket.0 as usize) else {
            self.strays += 1;
            return;
        };
        match step.fate {
            MtuFate::Pending => self.deadline = None,
            MtuFate::Lost => {}
            MtuFate::NotSent { .. } | MtuFate::TooBigHere { .. } => {
                self.strays += 1;
                return;
            }
            _ => {
                step.duplicates += 1;
                return;
            }
        }
        step.late = at_ns > step.sent_ns.saturating_add(timeout);
        step.fate = fate;
        self.settle();
    }

    fn unsent(&mut self, ticket: MtuTicket, fate: MtuFate, now: Instant) {
        self.now = self.now.max(now);
        let step = self.steps.get_mut(ticket.0 as usize);
        if let Some(step) = step.filter(|step| step.fate == MtuFate::Pending) {
            step.fate = fate;
            self.deadline = None;
            self.settle();
        }
    }

    fn settle(&mut self) {
        let ended = || matches!(Search::of(&self.setup, &self.steps).next, Next::End(_));
        self.done = self.done || (self.deadline.is_none() && ended());
    }
}
