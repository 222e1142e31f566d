//! A packet socket for many frames.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Device;
use crate::sys;
use crate::sys::batch::{self, BATCH, Received};

/// Room for one frame: the longest that IPv4 has, and an Ethernet header.
const STRIDE: usize = 65_536 + 64;

/// A frame on 64-bit Linux takes 768 bytes of a receive buffer or more: room for 80,000.
const RECEIVE_BUFFER: i32 = 64 << 20;

const PACKET_OUTGOING: u8 = 4;
const PACKET_IGNORE_OUTGOING: i32 = 23;

/// A packet socket for many frames: reads them in batches, each with the kernel's stamp beside it, and
/// counts those that the kernel had no room for. [`Tap`](crate::packet::Tap) is the simple one.
#[derive(Debug)]
pub struct Trunk {
    socket: Socket,
    buffer: Vec<u8>,
    received: Vec<Received>,
    statistics: Statistics,
}

/// A frame that a [`Trunk`] has read.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When the kernel saw it, on the wall clock.
    pub at: SystemTime,
    /// Whether the kernel gave no stamp, and `at` is when it was read.
    pub unstamped: bool,
    /// Whether it left through the device, rather than came in.
    pub outgoing: bool,
    /// The frame, from its destination address on.
    pub bytes: &'a [u8],
}

/// What a [`Trunk`] has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames, lost ones included.
    pub frames: u64,
    /// Frames lost because the receive buffer was full.
    pub dropped: u64,
}

/// The first stamps of a system may be those of reading, for the kernel begins to stamp a moment after
/// the first socket has asked for it. One that stays open makes that moment pass once.
fn stamps_on() {
    static KEPT: OnceLock<Option<Socket>> = OnceLock::new();
    KEPT.get_or_init(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
        batch::set_option(socket.as_fd(), level, name, 1).ok()?;
        std::thread::sleep(Duration::from_millis(20));
        Some(socket)
    });
}

impl Trunk {
    /// Opens one on a device of a lab, which sees what comes in and what leaves.
    ///
    /// # Panics
    ///
    /// The device is gone.
    pub fn open(device: &Device) -> Self {
        Self::open_with(device, false)
    }

    /// [`Trunk::open`], which does not see what leaves, such as the frames that it sends itself.
    ///
    /// # Panics
    ///
    /// As there.
    pub fn open_incoming(device: &Device) -> Self {
        Self::open_with(device, true)
    }

    fn open_with(device: &Device, incoming_only: bool) -> Self {
        stamps_on();
        let socket = device.namespace.run(|| Self::socket(&device.name, incoming_only));
        let socket = socket.unwrap_or_else(|error| panic!("{}: {error}", device.name));
        Self {
            socket,
            buffer: vec![0; STRIDE * BATCH],
            received: Vec::with_capacity(BATCH),
            statistics: Statistics::default(),
        }
    }

    fn socket(device: &str, incoming_only: bool) -> io::Result<Socket> {
        // Protocol 0 receives nothing before bind(2), so no frame of another device gets in.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        sys::force_receive_buffer(socket.as_fd(), RECEIVE_BUFFER)?;
        batch::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 8 << 20)?;
        batch::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        if incoming_only {
            batch::set_option(socket.as_fd(), libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)?;
        }
        socket.bind(&sys::packet_address(sys::interface_index(device)?)?)?;
        Ok(socket)
    }

    /// Hands on the frames that are there, up to 32 of them, and returns how many there were; does not
    /// wait.
    ///
    /// # Panics
    ///
    /// The device went down.
    pub fn receive(&mut self, mut each: impl FnMut(Seen<'_>)) -> usize {
        let Self { socket, buffer, received, .. } = self;
        let count = batch::receive(socket.as_fd(), buffer, STRIDE, received)
            .unwrap_or_else(|error| panic!("capture: {error}"));
        for (room, one) in buffer.chunks_exact(STRIDE).zip(received.iter()) {
            assert!(!one.cut, "a frame longer than any packet");
            each(Seen {
                at: one.at.unwrap_or_else(SystemTime::now),
                unstamped: one.at.is_none(),
                outgoing: one.kind == PACKET_OUTGOING,
                bytes: &room[..one.length],
            });
        }
        count
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    ///
    /// The device does not take it: it is too long, down, or its queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    /// Sends frames in as few system calls as it takes.
    ///
    /// # Errors
    ///
    /// As [`Trunk::send`]; frames before the one that was refused are on their way.
    pub fn send_all<T: AsRef<[u8]>>(&self, frames: &[T]) -> io::Result<()> {
        let mut rest = frames;
        while !rest.is_empty() {
            let sent = batch::send(self.socket.as_fd(), rest.iter().map(AsRef::as_ref))?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// What it has seen so far.
    ///
    /// # Panics
    ///
    /// The kernel does not tell.
    pub fn statistics(&mut self) -> Statistics {
        let (frames, dropped) = batch::statistics(self.socket.as_fd()).expect("a packet socket");
        self.statistics.frames += u64::from(frames);
        self.statistics.dropped += u64::from(dropped);
        self.statistics
    }

    /// Waits until one of them has a frame, for `timeout` at most.
    ///
    /// # Panics
    ///
    /// poll(2) fails.
    pub fn wait(trunks: &[&Self], timeout: Duration) {
        let sockets: Vec<_> = trunks.iter().map(|trunk| trunk.socket.as_fd()).collect();
        batch::wait_any(&sockets, timeout).unwrap_or_else(|error| panic!("capture: {error}"));
    }
}

/// Puts the calling thread before all ordinary ones and has its timers wake it on the microsecond;
/// `false` where the system does not allow the former (sched(7), `SCHED_FIFO`).
pub fn run_first() -> bool {
    const PRIORITY: i32 = 50;
    batch::run_first(PRIORITY).is_ok()
}
