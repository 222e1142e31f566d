//! A plain sender: frames at a rate, nothing else.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use netsonde_support::netns::Device;
use netsonde_support::packet::{self, Trunk};

use crate::echo;

/// Between two batches.
const TURN: Duration = Duration::from_micros(500);

/// What is made up for.
const STALL: Duration = Duration::from_millis(10);

/// Sends frames through a device, as many a second as said, in batches half a millisecond apart. After
/// a stall of more than 10 ms it goes on at the rate and does not catch up. Returns how long it took.
///
/// # Panics
///
/// The device does not take a frame, or the rate is 0.
pub fn blast(
    device: &Device,
    per_second: u32,
    count: u64,
    frame: impl FnMut(u64) -> Vec<u8>,
) -> Duration {
    let began = Instant::now();
    paced(device, per_second, frame, |sent| count - sent);
    began.elapsed()
}

/// Sends frames at a rate for as long as `left` says, given how many were sent, that some are left.
pub(crate) fn paced(
    device: &Device,
    per_second: u32,
    mut frame: impl FnMut(u64) -> Vec<u8>,
    left: impl Fn(u64) -> u64,
) {
    assert!(per_second > 0, "a rate of 0 never ends");
    let trunk = Trunk::open_incoming(device);
    let (mut next, mut sent, mut allowed) = (Instant::now(), 0, 0.0);
    loop {
        let rest = left(sent);
        if rest == 0 {
            return;
        }
        allowed += f64::from(per_second) * TURN.as_secs_f64();
        let batch = (allowed as u64).min(rest);
        allowed -= batch as f64;
        let frames: Vec<_> = (sent..sent + batch).map(&mut frame).collect();
        trunk.send_all(&frames).expect("the device takes it");
        sent += batch;
        next += TURN;
        let now = Instant::now();
        match next.checked_duration_since(now) {
            Some(left) => std::thread::sleep(left),
            None if now.duration_since(next) > STALL => next = now,
            None => {}
        }
    }
}

/// The frame of echo request number `number`, from one end of a wire to a target behind the other:
/// the low 16 bits are the sequence number, those above are added to the identifier. The payload is
/// the number in 8 bytes.
pub fn echo_request(
    wire: (&Device, &Device),
    source: IpAddr,
    target: IpAddr,
    id: u16,
    number: u64,
) -> Vec<u8> {
    let id = id.wrapping_add((number >> 16) as u16);
    let payload = number.to_be_bytes();
    let body = echo::message(source, target, true, id, number as u16, &payload);
    let packet = packet::ip(source, target, echo::protocol(source), 64, &body);
    echo::frame(wire.1.mac, wire.0.mac, &packet)
}

/// The number that [`echo_request`] has put into a payload.
pub fn number_of(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(payload.get(..8)?.try_into().ok()?))
}
