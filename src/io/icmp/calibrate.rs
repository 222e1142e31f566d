//! What a calibration holds measured times against.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::io::socket::{
    self as sys, Control, ExtendedError, Message, ReceiveBatch, filter, wait_for_stamps,
};
use crate::wire::icmp::Icmp;
use crate::wire::ip::{Ipv4, Ipv6, Protocol as Next};

/// Receive buffer that is asked for: enough for 10,000 echoes, each of which loopback shows four times.
const BUFFER: u32 = 64 << 20;

/// Bytes of a packet that are looked at: headers, cookie and marker.
const BYTES: usize = 256;

/// A packet capture on all devices (packet(7)), which knows our packets by a marker in their payload.
#[derive(Debug)]
pub(crate) struct Capture {
    socket: Socket,
    batch: ReceiveBatch,
    marker: [u8; 8],
}

/// An echo as the capture has seen it, in nanoseconds of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    left_ns: i64,
    came_ns: Option<i64>,
}

impl Seen {
    /// From the request that left to the reply that came.
    pub(crate) fn rtt_ns(&self) -> Option<u64> {
        u64::try_from(self.came_ns?.checked_sub(self.left_ns)?).ok()
    }
}

impl Capture {
    /// Begins to capture.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`, `PermissionDenied`.
    pub(crate) fn open(marker: [u8; 8]) -> io::Result<Self> {
        // ETH_P_ALL in the order of the network: other protocols do not show what leaves.
        let all = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), Some(all))?;
        socket.attach_filter(&filter::icmp())?;
        sys::set_receive_buffer(&socket, BUFFER)?;
        sys::stamp(&socket, false, true)?;
        wait_for_stamps();
        let batch = ReceiveBatch::new(sys::BATCH, BYTES);
        Ok(Capture { socket, batch, marker })
    }

    /// The echoes with the marker since the last call, in the order in which they left.
    pub(crate) fn take(&mut self) -> Vec<Seen> {
        let mut echoes = Echoes::default();
        while sys::receive(&self.socket, &mut self.batch, 0).is_ok() {
            for message in self.batch.messages() {
                let Some(stamp) = message.receive_stamp() else { continue };
                if let Some(sight) = sight(&message, self.marker) {
                    echoes.note(sight, stamp.wall_ns);
                }
            }
        }
        echoes.seen
    }
}

/// A message that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    is_request: bool,
    id: u16,
    seq: u16,
}

/// What it is, if it is ours.
fn sight(message: &Message<'_>, marker: [u8; 8]) -> Option<Sight> {
    let bytes = message.bytes;
    let icmp = match bytes.first()? >> 4 {
        4 => {
            let packet = Ipv4::parse(bytes).ok().filter(|ip| ip.protocol() == Next::ICMP)?;
            Icmp::parse(packet.payload()).ok()?
        }
        _ => {
            let packet = Ipv6::parse(bytes).ok().filter(|ip| ip.next_header() == Next::ICMPV6)?;
            Icmp::parse_v6(packet.payload()).ok()?
        }
    };
    let (is_request, echo) = match icmp {
        Icmp::EchoRequest(echo) => (true, echo),
        Icmp::EchoReply(echo) => (false, echo),
        _ => return None,
    };
    let is_ours = echo.payload().windows(marker.len()).any(|window| window == marker);
    is_ours.then(|| Sight { is_request, id: echo.id(), seq: echo.seq() })
}

#[derive(Default)]
struct Echoes {
    seen: Vec<Seen>,
    /// The last one with this identifier and sequence number, which are used again.
    last: HashMap<(u16, u16), usize>,
}

impl Echoes {
    fn note(&mut self, sight: Sight, at_ns: i64) {
        let key = (sight.id, sight.seq);
        let last = self.last.get(&key).and_then(|place| self.seen.get_mut(*place));
        match (sight.is_request, last) {
            // Loopback shows each packet twice, when it leaves and when it comes: of a request the first
            // counts, of a reply the last.
            (true, Some(seen)) if seen.came_ns.is_none() => {}
            (true, _) => {
                self.last.insert(key, self.seen.len());
                self.seen.push(Seen { left_ns: at_ns, came_ns: None });
            }
            (false, Some(seen)) => seen.came_ns = Some(at_ns),
            (false, None) => {}
        }
    }
}

/// How long it took datagrams from being scheduled to being stamped as sent, in nanoseconds: between the
/// two they left. Over loopback, `at_once` at a time; those whose stamps do not come are left out.
///
/// # Errors
/// Those of the sockets.
pub(crate) async fn send_path(
    count: u32,
    at_once: u32,
    interval: Duration,
) -> io::Result<Vec<u64>> {
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(sink.local_addr()?)?;
    sys::stamp_twice(&socket)?;
    let mut stamps = Stamped::default();
    let mut batch = ReceiveBatch::new(sys::BATCH, BYTES);
    let mut sent = 0;
    while sent < count {
        for _ in 0..at_once.min(count - sent) {
            // A queue that is full: its stamp does not come.
            let _ = socket.send(&[0; 56]);
            sent += 1;
            if sent % 64 == 0 {
                stamps.take(&socket, &mut batch);
            }
        }
        tokio::time::sleep(interval).await;
        stamps.take(&socket, &mut batch);
    }
    Ok(stamps.spans)
}

#[derive(Default)]
struct Stamped {
    scheduled: HashMap<u32, i64>,
    spans: Vec<u64>,
}

impl Stamped {
    fn take(&mut self, socket: &UdpSocket, batch: &mut ReceiveBatch) {
        while sys::receive(socket, batch, libc::MSG_ERRQUEUE).is_ok() {
            for message in batch.messages() {
                let (mut stamp, mut which) = (None, None);
                for control in message.controls().map(Control::of) {
                    match control {
                        Control::Stamp(found) => stamp = found,
                        Control::Error(error) if error.origin == ExtendedError::TIMESTAMPING => {
                            which = Some((error.info, error.data));
                        }
                        _ => {}
                    }
                }
                let (Some(stamp), Some((kind, number))) = (stamp, which) else { continue };
                match kind {
                    sys::SCM_TSTAMP_SCHED => {
                        self.scheduled.insert(number, stamp.wall_ns);
                    }
                    sys::SCM_TSTAMP_SND => {
                        let scheduled = self.scheduled.remove(&number);
                        let span = scheduled.map(|at| stamp.wall_ns.saturating_sub(at));
                        self.spans.extend(span.and_then(|span| u64::try_from(span).ok()));
                    }
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a25_what_loopback_shows_twice_is_one_echo_and_numbers_are_used_again() {
        let mut echoes = Echoes::default();
        let mut note = |is_request, seq, at| echoes.note(Sight { is_request, id: 1, seq }, at);
        // A reply to what was sent before.
        note(false, 9, 1);
        for (is_request, seq, at) in [
            (true, 1, 10),
            (true, 1, 12),
            (true, 2, 20),
            (true, 2, 21),
            (false, 1, 30),
            (false, 1, 35),
            (true, 1, 40),
            (true, 1, 42),
            (false, 1, 50),
            (false, 1, 51),
        ] {
            note(is_request, seq, at);
        }
        let rtts: Vec<_> = echoes.seen.iter().map(Seen::rtt_ns).collect();
        assert_eq!(rtts, [Some(25), None, Some(11)]);
    }

    #[tokio::test]
    async fn a25_datagrams_are_scheduled_before_they_are_stamped_as_sent() {
        let spans = send_path(50, 1, Duration::from_millis(1)).await.unwrap();
        assert!(spans.len() >= 45, "{}", spans.len());
        assert!(spans.iter().all(|span| *span < 100_000_000), "{spans:?}");
        assert_eq!(send_path(200, 200, Duration::from_millis(1)).await.unwrap().len(), 200);
    }
}
