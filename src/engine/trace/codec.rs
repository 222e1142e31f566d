//! The packets of one trace: what is put into them, and which query an answer belongs to.
//!
//! In all packets of a flow the first four bytes behind the IP header are the same, and so is every
//! address: whatever routers hash on. The number of the query stands where they do not look:
//!
//! | method | constant in a flow | the number of the query |
//! |---|---|---|
//! | ICMP | type, code, checksum; identifier | sequence number |
//! | UDP | both ports | checksum, and the payload |
//! | TCP | both ports | lower half of the sequence number |
//!
//! A payload begins with a word that makes the checksum what it has to be, then come the ticket and
//! eight bytes of keyed hash; in TCP the upper half of the sequence number is a hash. What is quoted
//! without its hash matches weakly.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use super::{SentAs, TraceSetup, TraceTicket, TraceTransmit};
use crate::icmp::trace::{Quoted, TraceMethod};
use crate::wire::WireError;
use crate::wire::checksum::{Addresses, Sum};
use crate::wire::icmp::{Echo, IcmpError, IcmpFamily, IcmpType};
use crate::wire::icmpv6::Icmpv6Type;
use crate::wire::ip::{Protocol, QuotedIp};
use crate::wire::tcp::{Tcp, TcpFlags, TcpRepr, TcpStart};
use crate::wire::udp::{Udp, UdpRepr};

/// Bytes of the checksum word and the ticket, and of the hash behind them.
const NUMBERED: usize = 4;
const HASH: usize = 8;

/// Bytes of the header of ICMP echo and UDP.
const HEADER: usize = 8;

/// What the SYN of an ordinary host offers; some filters drop one without.
const WINDOW: u16 = 64_240;

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Codec {
    method: TraceMethod,
    source: IpAddr,
    destination: IpAddr,
    addresses: Addresses,
    /// The destination port; 0 for ICMP.
    port: u16,
    /// What tells the flows apart, by flow: identifier or source port. A single one is that of all.
    ids: Vec<u16>,
    payload_bytes: usize,
    /// Tickets of each flow.
    per_flow: u32,
    tickets: u32,
    key: [u8; 16],
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec")
            .field("method", &self.method)
            .field("addresses", &self.addresses)
            .field("ids", &self.ids)
            .finish_non_exhaustive()
    }
}

/// Why something that came in is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMatch {
    /// It has nothing to do with this trace.
    Foreign,
    /// It is made as if it were an answer, and cannot be one.
    Suspect,
}

/// Which query something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) ticket: TraceTicket,
    /// It rests on what others can guess.
    pub(crate) weak: bool,
}

impl Codec {
    /// Packets from `source`, with these identifiers or source ports, one for each flow or one for all.
    ///
    /// # Errors
    /// The source is of the other family than the destination.
    pub(crate) fn new(
        setup: &TraceSetup,
        source: IpAddr,
        ids: Vec<u16>,
        key: [u8; 16],
    ) -> Result<Self, WireError> {
        let per_flow = setup.queries * setup.hops();
        Ok(Codec {
            method: setup.method,
            source,
            destination: setup.destination,
            addresses: Addresses::new(source, setup.destination)?,
            port: setup.port.unwrap_or(0),
            ids,
            payload_bytes: setup.payload_bytes as usize,
            per_flow,
            tickets: per_flow * setup.flows,
            key,
        })
    }

    pub(crate) fn destination(&self) -> IpAddr {
        self.destination
    }

    /// The destination port; 0 for ICMP.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn is_v6(&self) -> bool {
        self.destination.is_ipv6()
    }

    fn id(&self, flow: u32) -> u16 {
        self.ids.get(flow as usize).or(self.ids.first()).copied().unwrap_or(0)
    }

    /// Whether packets with this ticket have this identifier or source port.
    fn has_id(&self, ticket: TraceTicket, id: u16) -> bool {
        let number = u32::from(ticket.number());
        number < self.tickets && self.id(number / self.per_flow) == id
    }

    fn hash(&self, ticket: TraceTicket) -> [u8; HASH] {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        match self.destination {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher.write(&ticket.number().to_be_bytes());
        hasher.finish().to_be_bytes()
    }

    /// The sequence number of a SYN: hash and ticket.
    fn sequence(&self, ticket: TraceTicket) -> u32 {
        let [a, b, ..] = self.hash(ticket);
        u32::from(u16::from_be_bytes([a, b])) << 16 | u32::from(ticket.number())
    }

    /// The checksum that a packet has. Neither of the two forms of zero: UDP means "none" by it.
    fn checksum(&self, query: &TraceTransmit) -> u16 {
        let number = match self.method {
            TraceMethod::Udp => u32::from(query.ticket.number()) % self.per_flow,
            _ => {
                // Any that differs from flow to flow.
                let [a, b, ..] = self.hash(TraceTicket::new(0));
                u32::from(u16::from_be_bytes([a, b])) + query.flow
            }
        };
        (number % 0xfffe + 1) as u16
    }

    /// Appends what the socket is given: all behind the IP header, or the payload alone for UDP, whose
    /// header the system makes. Says what leaves.
    pub(crate) fn emit(&self, query: &TraceTransmit, out: &mut Vec<u8>) -> SentAs {
        let start = out.len();
        let id = self.id(query.flow);
        let sum = match self.method {
            TraceMethod::Tcp => {
                let syn = TcpRepr {
                    source: id,
                    destination: self.port,
                    sequence: self.sequence(query.ticket),
                    flags: TcpFlags::SYN,
                    window: WINDOW,
                    mss: Some(if self.is_v6() { 1440 } else { 1460 }),
                    ..TcpRepr::default()
                };
                syn.emit(&self.addresses, &[], out);
                let checksum = out.get(start + 16..start + 18).and_then(|sum| sum.try_into().ok());
                return self.sent_as(u16::from_be_bytes(checksum.unwrap_or_default()), out, start);
            }
            TraceMethod::Udp => {
                self.fill(query.ticket, out);
                let payload = out.get(start..).unwrap_or_default();
                UdpRepr { source: id, destination: self.port }.sum(&self.addresses, payload)
            }
            TraceMethod::Icmp => {
                let kind = if self.is_v6() {
                    Icmpv6Type::ECHO_REQUEST.0
                } else {
                    IcmpType::ECHO_REQUEST.0
                };
                out.extend([kind, 0, 0, 0]);
                out.extend(id.to_be_bytes());
                out.extend(query.ticket.number().to_be_bytes());
                self.fill(query.ticket, out);
                let message = out.get(start..).unwrap_or_default();
                let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
                let sum = match self.is_v6() {
                    true => Sum::pseudo(&self.addresses, Protocol::ICMPV6, length),
                    false => Sum::new(),
                };
                sum.with(message)
            }
        };
        let checksum = self.checksum(query);
        let mut put = |at: usize, value: u16| {
            if let Some(place) = out.get_mut(at..at + 2) {
                place.copy_from_slice(&value.to_be_bytes());
            }
        };
        if self.method == TraceMethod::Icmp {
            put(start + 2, checksum);
            put(start + HEADER, sum.word_for(checksum));
        } else {
            put(start, sum.word_for(checksum));
        }
        self.sent_as(checksum, out, start)
    }

    fn sent_as(&self, checksum: u16, out: &[u8], start: usize) -> SentAs {
        let header = if self.is_v6() { 40 } else { 20 };
        let udp = if self.method == TraceMethod::Udp { HEADER } else { 0 };
        let length = u32::try_from(header + udp + out.len() - start).unwrap_or(u32::MAX);
        SentAs::new(self.source, checksum, length)
    }

    /// Appends a payload whose checksum word is still zero.
    fn fill(&self, ticket: TraceTicket, out: &mut Vec<u8>) {
        let head = [0, 0].into_iter().chain(ticket.number().to_be_bytes());
        let rising = (NUMBERED + HASH..self.payload_bytes).map(|at| at as u8);
        out.extend(head.chain(self.hash(ticket)).chain(rising).take(self.payload_bytes));
    }

    /// The query whose payload this is, as far as it is there; `None` if too little of it is there to
    /// tell.
    fn of_payload(&self, payload: &[u8]) -> Option<Result<Match, NoMatch>> {
        let (head, rest) = payload.split_first_chunk::<NUMBERED>()?;
        let (hash, _) = rest.split_first_chunk::<HASH>()?;
        if self.payload_bytes < NUMBERED + HASH || (*hash == [0; HASH] && head[2..] == [0; 2]) {
            // Zeros are the padding before extensions (RFC 4884, 4).
            return None;
        }
        let ticket = TraceTicket::new(u16::from_be_bytes([head[2], head[3]]));
        let ours = u32::from(ticket.number()) < self.tickets && *hash == self.hash(ticket);
        Some(if ours { Ok(Match { ticket, weak: false }) } else { Err(NoMatch::Suspect) })
    }

    /// The query that an ICMP error is about, and what it quotes of it.
    ///
    /// # Errors
    /// It is about none.
    pub(crate) fn of_error(&self, error: &IcmpError<'_>) -> Result<(Match, Quoted), NoMatch> {
        let v6 = error.family() == IcmpFamily::V6;
        let protocol = match (self.method, v6) {
            (TraceMethod::Icmp, false) => Protocol::ICMP,
            (TraceMethod::Icmp, true) => Protocol::ICMPV6,
            (TraceMethod::Udp, _) => Protocol::UDP,
            (TraceMethod::Tcp, _) => Protocol::TCP,
        };
        let packet = error.quote().map_err(|_| NoMatch::Foreign)?;
        let later = packet.fragment().is_some_and(|fragment| fragment.offset != 0);
        if v6 != self.is_v6()
            || packet.version() != if v6 { 6 } else { 4 }
            || packet.destination() != self.destination
            || packet.protocol() != protocol
            || later
        {
            return Err(NoMatch::Foreign);
        }
        let (query, checksum) = match self.method {
            TraceMethod::Icmp => self.of_quoted_echo(&packet)?,
            TraceMethod::Udp => self.of_quoted_datagram(&packet)?,
            TraceMethod::Tcp => {
                let start = TcpStart::parse(packet.payload()).map_err(|_| NoMatch::Foreign)?;
                let whole = Tcp::parse(packet.payload()).ok().and_then(|_| {
                    let field = packet.payload().get(16..18)?;
                    // Nothing but zeros is padding.
                    Some(u16::from_be_bytes(field.try_into().ok()?)).filter(|sum| *sum != 0)
                });
                (self.of_syn(start.source, start.destination, start.sequence)?, whole)
            }
        };
        let length = u32::from(packet.announced_len()) + if v6 { 40 } else { 0 };
        let quoted = Quoted {
            ttl: Some(packet.ttl()),
            tos: Some(packet.tos()),
            source: Some(packet.source()),
            checksum,
            length: Some(length),
        };
        Ok((query, quoted))
    }

    fn of_quoted_echo(&self, packet: &QuotedIp<'_>) -> Result<(Match, Option<u16>), NoMatch> {
        let request =
            if self.is_v6() { Icmpv6Type::ECHO_REQUEST.0 } else { IcmpType::ECHO_REQUEST.0 };
        let Some((&[kind, 0, c, d, a, b, e, f], payload)) = packet.payload().split_first_chunk()
        else {
            return Err(NoMatch::Foreign);
        };
        if kind != request {
            return Err(NoMatch::Foreign);
        }
        let query =
            self.of_numbers(u16::from_be_bytes([a, b]), u16::from_be_bytes([e, f]), payload)?;
        Ok((query, Some(u16::from_be_bytes([c, d]))))
    }

    /// The query with this identifier and sequence number, if the payload does not contradict.
    fn of_numbers(&self, id: u16, seq: u16, payload: &[u8]) -> Result<Match, NoMatch> {
        if !self.ids.contains(&id) {
            return Err(NoMatch::Foreign);
        }
        let ticket = TraceTicket::new(seq);
        if !self.has_id(ticket, id) {
            return Err(NoMatch::Suspect);
        }
        match self.of_payload(payload) {
            None => Ok(Match { ticket, weak: true }),
            Some(query) => query.and_then(|query| match query.ticket == ticket {
                true => Ok(query),
                false => Err(NoMatch::Suspect),
            }),
        }
    }

    fn of_quoted_datagram(&self, packet: &QuotedIp<'_>) -> Result<(Match, Option<u16>), NoMatch> {
        let udp = Udp::parse(packet.payload()).map_err(|_| NoMatch::Foreign)?;
        let flow = self.ids.iter().position(|id| *id == udp.source()).ok_or(NoMatch::Foreign)?;
        if udp.destination() != self.port {
            return Err(NoMatch::Foreign);
        }
        let checksum =
            Some(udp.checksum()).filter(|sum| *sum != 0 && *sum != unfinished(packet, &udp));
        let query = match self.of_payload(udp.payload()) {
            Some(query) => query?,
            // The checksum is the number, unless the addresses that it covers have changed.
            None if packet.source() == self.source && checksum.is_some() => {
                let number = u32::from(udp.checksum()).checked_sub(1).ok_or(NoMatch::Suspect)?;
                if number >= self.per_flow {
                    return Err(NoMatch::Suspect);
                }
                let ticket =
                    u32::try_from(flow).map_err(|_| NoMatch::Suspect)? * self.per_flow + number;
                let ticket = TraceTicket::new(u16::try_from(ticket).map_err(|_| NoMatch::Suspect)?);
                Match { ticket, weak: true }
            }
            None => return Err(NoMatch::Suspect),
        };
        match self.has_id(query.ticket, udp.source()) {
            true => Ok((query, checksum)),
            false => Err(NoMatch::Suspect),
        }
    }

    fn of_syn(&self, source: u16, destination: u16, sequence: u32) -> Result<Match, NoMatch> {
        if !self.ids.contains(&source) || destination != self.port {
            return Err(NoMatch::Foreign);
        }
        let ticket = TraceTicket::new((sequence & 0xffff) as u16);
        let ours = self.has_id(ticket, source) && self.sequence(ticket) == sequence;
        if ours { Ok(Match { ticket, weak: false }) } else { Err(NoMatch::Suspect) }
    }

    /// The query that an echo reply answers.
    ///
    /// # Errors
    /// It answers none.
    pub(crate) fn of_reply(&self, echo: &Echo<'_>, from: IpAddr) -> Result<Match, NoMatch> {
        // Who answers for another is not believed.
        let query = self.of_numbers(echo.id(), echo.seq(), echo.payload())?;
        let whole = echo.payload().len() == self.payload_bytes && from == self.destination;
        if whole { Ok(query) } else { Err(NoMatch::Suspect) }
    }

    /// The query that a TCP segment answers: one that accepts or refuses the connection.
    ///
    /// # Errors
    /// It answers none.
    pub(crate) fn of_segment(&self, segment: &Tcp<'_>, from: IpAddr) -> Result<Match, NoMatch> {
        let flags = segment.flags();
        let accepts = flags.contains(TcpFlags::SYN.with(TcpFlags::ACK));
        let refuses = flags.contains(TcpFlags::RST.with(TcpFlags::ACK));
        if from != self.destination || !(accepts || refuses) {
            return Err(NoMatch::Foreign);
        }
        let sequence = segment.acknowledgment().wrapping_sub(1);
        self.of_syn(segment.destination(), segment.source(), sequence)
    }

    /// The query whose payload a datagram or an entry of an error queue holds; `None` if it does not tell.
    ///
    /// # Errors
    /// It holds that of another.
    pub(crate) fn of_datagram(&self, flow: u32, payload: &[u8]) -> Result<Option<Match>, NoMatch> {
        let Some(query) = self.of_payload(payload).transpose()? else { return Ok(None) };
        match self.has_id(query.ticket, self.id(flow)) {
            true => Ok(Some(query)),
            false => Err(NoMatch::Suspect),
        }
    }

    /// The query whose echo request an entry of an error queue holds.
    ///
    /// # Errors
    /// It holds that of another.
    pub(crate) fn of_request(&self, echo: &Echo<'_>) -> Result<Match, NoMatch> {
        self.of_numbers(echo.id(), echo.seq(), echo.payload())
    }

    /// The flow of a query.
    pub(crate) fn flow(&self, ticket: TraceTicket) -> u32 {
        u32::from(ticket.number()) / self.per_flow.max(1)
    }
}

/// The checksum field of a datagram whose checksum nobody has computed yet: the sum of the pseudo-header.
/// Between a host and its own virtual machines and containers packets travel so, and are quoted so.
fn unfinished(packet: &QuotedIp<'_>, udp: &Udp<'_>) -> u16 {
    match Addresses::new(packet.source(), packet.destination()) {
        Ok(addresses) => Sum::pseudo(&addresses, Protocol::UDP, udp.announced_len().into()).value(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests;
