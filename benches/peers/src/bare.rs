//! The same job with one bare raw socket and nothing around it: what the kernel takes by itself, and what
//! no prober on such a socket can go below by much.

use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::Result;

/// Packets that are sent before what has come in is read, so that the receive queue cannot overflow.
const TURN: usize = 32;

/// Sends so many packets to each address, and counts the answers.
pub(crate) fn ping(addresses: &[Ipv4Addr], count: u16, interval: Duration) -> Result<u64> {
    let socket = Socket::new(Domain::IPV4, Type::RAW.nonblocking(), Some(Protocol::ICMPV4))?;
    let mut answered = 0;
    let mut due = Instant::now();
    for _ in 0..count {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += interval;
        for (seq, address) in (0_u16..).zip(addresses) {
            socket.send_to(&request(seq), &SocketAddrV4::new(*address, 0).into())?;
            if usize::from(seq) % TURN == TURN - 1 {
                answered += drain(&socket)?;
            }
        }
        // On loopback a packet is answered before the call that sends it returns.
        answered += drain(&socket)?;
    }
    Ok(answered)
}

/// An echo request with 56 bytes of payload.
fn request(seq: u16) -> [u8; 64] {
    let [high, low] = seq.to_be_bytes();
    // All that is not zero: the type, an identifier, the number.
    let sum = 0x0800 + 0x7065 + u32::from(seq);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    let mut packet = [0; 64];
    let [sum_high, sum_low] = sum.to_be_bytes();
    for (place, byte) in packet.iter_mut().zip([8, 0, sum_high, sum_low, 0x70, 0x65, high, low]) {
        *place = byte;
    }
    packet
}

/// Reads all that is there. A raw socket sees the requests as well, as they come in on loopback.
fn drain(socket: &Socket) -> Result<u64> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 1];
    let mut packets = 0;
    loop {
        match socket.recv(&mut buffer) {
            Ok(_) => packets += 1,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(packets / 2)
}
