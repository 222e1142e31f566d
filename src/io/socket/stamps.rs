//! Getting the kernel to stamp packets.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use super::{Control, ReceiveBatch, receive, sys};

/// How long is waited for the kernel at most.
const LONGEST: Duration = Duration::from_millis(5);

/// Waits until received packets are stamped. The first socket of a host that asks for stamps switches
/// them on, and the kernel takes a moment for it, within which packets come without. A few datagrams
/// from this host to itself tell when it is over; after 5 ms, or if anything goes wrong, it is left at
/// that: results say which stamps they had. Returns how long it took, `None` if no stamp came.
pub(in crate::io) fn wait_for_stamps() -> Option<Duration> {
    let start = Instant::now();
    try_to_wait().ok()?.then(|| start.elapsed())
}

/// Whether a stamp came.
fn try_to_wait() -> io::Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    sys::stamp(&socket, false, true)?;
    socket.connect(socket.local_addr()?)?;
    let end = Instant::now() + LONGEST;
    let mut batch = ReceiveBatch::new(4, 16);
    while Instant::now() < end {
        socket.send(b"stamp")?;
        if receive(&socket, &mut batch, 0).is_ok() {
            let mut controls = batch
                .messages()
                .flat_map(|message| message.controls().map(Control::of).collect::<Vec<_>>());
            if controls.any(|control| matches!(control, Control::Stamp(Some(_)))) {
                return Ok(true);
            }
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_take_long() {
        let start = Instant::now();
        try_to_wait().unwrap();
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
