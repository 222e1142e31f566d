//! A packet socket.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Device;
use crate::packet::Frame;
use crate::sys;

/// More than the longest frame.
const MAX_FRAME: usize = 65_536;

/// A packet socket on a device: sees every frame, sends any.
#[derive(Debug)]
pub struct Tap {
    socket: Socket,
    mac: [u8; 6],
}

impl Tap {
    /// Opens one on a device of a lab.
    ///
    /// # Panics
    ///
    /// The device is gone.
    pub fn open(device: &Device) -> Self {
        let socket = device.namespace.run(|| Self::socket(&device.name));
        let socket = socket.unwrap_or_else(|error| panic!("{}: {error}", device.name));
        Self { socket, mac: device.mac }
    }

    fn socket(device: &str) -> io::Result<Socket> {
        let all = i32::from((libc::ETH_P_ALL as u16).to_be());
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(all)))?;
        sys::force_receive_buffer(socket.as_fd(), 16 << 20)?;
        socket.bind(&sys::packet_address(sys::interface_index(device)?)?)?;
        _ = sys::last_packet_at(socket.as_fd());
        Ok(socket)
    }

    /// The next frame, or `None` if none comes within `timeout`.
    ///
    /// # Panics
    ///
    /// The device went down.
    pub fn receive(&self, timeout: Duration) -> Option<Frame> {
        match sys::wait_readable(self.socket.as_fd(), timeout) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
            Err(error) => panic!("capture: {error}"),
        }
        let mut buffer = [0; MAX_FRAME];
        let count =
            (&self.socket).read(&mut buffer).unwrap_or_else(|error| panic!("capture: {error}"));
        // A capture may keep thousands of frames: each is only as large as it is.
        let bytes = buffer[..count].to_vec();
        let at = sys::last_packet_at(self.socket.as_fd()).unwrap_or_else(|_| SystemTime::now());
        let outgoing = bytes.get(6..12) == Some(&self.mac);
        Some(Frame { at, outgoing, bytes })
    }

    /// Frames, up to and with the first one that `wanted` takes; all of them if none is within
    /// `timeout`.
    pub fn receive_until(
        &self,
        timeout: Duration,
        mut wanted: impl FnMut(&Frame) -> bool,
    ) -> Vec<Frame> {
        let end = Instant::now() + timeout;
        let mut frames = Vec::new();
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let Some(frame) = self.receive(left) else { break };
            let found = wanted(&frame);
            frames.push(frame);
            if found {
                break;
            }
        }
        frames
    }

    /// Sends a whole frame.
    ///
    /// # Panics
    ///
    /// The device does not take it.
    pub fn send(&self, frame: &[u8]) {
        self.socket.send(frame).unwrap_or_else(|error| panic!("injection: {error}"));
    }
}
