//! Many datagrams in one system call, with all that the kernel tells about them (recvmmsg(2),
//! sendmmsg(2)).
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

use super::cmsg::{self, ControlMessage};

/// Datagrams that one call takes at most.
pub(in crate::io) const BATCH: usize = 64;

/// Room for the control messages of one datagram: stamps 64 bytes, an error with its sender 64, hop
/// limit, traffic class and overflow 24 each.
const CONTROL: usize = 256;

/// Room for a `sockaddr_in6`.
const NAME: usize = size_of::<libc::sockaddr_in6>();

/// Buffers for a batch of datagrams; by default room for none.
#[derive(Debug, Default)]
pub(in crate::io) struct ReceiveBatch {
    slots: usize,
    size: usize,
    data: Vec<u8>,
    /// In words, since control messages are aligned so.
    control: Vec<[u64; CONTROL / 8]>,
    names: Vec<[u8; NAME]>,
    got: Vec<Got>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Got {
    len: usize,
    name: usize,
    control: usize,
    flags: i32,
}

/// One datagram of a batch.
#[derive(Clone, Copy, Debug)]
pub(in crate::io) struct Message<'a> {
    pub(in crate::io) bytes: &'a [u8],
    pub(in crate::io) from: Option<SocketAddr>,
    control: &'a [u8],
    flags: i32,
}

impl ReceiveBatch {
    /// Room for `slots` datagrams of `size` bytes; longer ones are cut.
    pub(in crate::io) fn new(slots: usize, size: usize) -> Self {
        let slots = slots.clamp(1, BATCH);
        ReceiveBatch {
            slots,
            size,
            data: vec![0; slots * size],
            control: vec![[0; CONTROL / 8]; slots],
            names: vec![[0; NAME]; slots],
            got: Vec::with_capacity(slots),
        }
    }

    pub(in crate::io) fn capacity(&self) -> usize {
        self.slots
    }

    /// What the last call has received.
    pub(in crate::io) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let data = self.data.chunks_exact(self.size.max(1));
        let parts = data.zip(&self.control).zip(&self.names).zip(&self.got);
        parts.map(|(((data, control), name), got)| Message {
            bytes: data.get(..got.len).unwrap_or(data),
            from: name.get(..got.name).and_then(address),
            control: bytes_of(control).get(..got.control).unwrap_or_default(),
            flags: got.flags,
        })
    }
}

/// The bytes of aligned words.
fn bytes_of(words: &[u64; CONTROL / 8]) -> &[u8] {
    // SAFETY: any initialised `u64` is eight initialised bytes, bytes have no alignment, and the
    // lifetime and the length are those of the words.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), CONTROL) }
}

#[cfg(test)]
impl<'a> Message<'a> {
    /// As if it had been received.
    pub(in crate::io) fn of(bytes: &'a [u8], from: SocketAddr, control: &'a [u8]) -> Self {
        Message { bytes, from: Some(from), control, flags: 0 }
    }
}

impl Message<'_> {
    /// The control messages; none if they were cut short, since the last one may then be half.
    pub(in crate::io) fn controls(&self) -> impl Iterator<Item = ControlMessage<'_>> {
        let whole = self.flags & libc::MSG_CTRUNC == 0;
        cmsg::messages(if whole { self.control } else { &[] })
    }

    /// Whether it was longer than the room that there was for it.
    #[cfg(feature = "dns")]
    pub(in crate::io) fn is_cut(&self) -> bool {
        self.flags & libc::MSG_TRUNC != 0
    }
}

/// Receives as many datagrams as there are and fit, without waiting.
///
/// # Errors
/// Those of recvmmsg(2); `WouldBlock` if there are none.
pub(in crate::io) fn receive(
    socket: &impl AsFd,
    batch: &mut ReceiveBatch,
    flags: i32,
) -> io::Result<usize> {
    batch.got.clear();
    // SAFETY: `mmsghdr` and `iovec` are C structures of integers and pointers, for which zero is valid.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut parts: [libc::iovec; BATCH] = unsafe { std::mem::zeroed() };
    let buffers = batch.data.chunks_exact_mut(batch.size.max(1));
    let places = headers.iter_mut().zip(&mut parts);
    for ((((header, part), data), control), name) in
        places.zip(buffers).zip(&mut batch.control).zip(&mut batch.names)
    {
        part.iov_base = data.as_mut_ptr().cast();
        part.iov_len = data.len();
        let header = &mut header.msg_hdr;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_name = name.as_mut_ptr().cast();
        header.msg_namelen = NAME as libc::socklen_t;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
    }
    // SAFETY: the descriptor is borrowed and so open. The first `slots` headers point to buffers of
    // the lengths that they say, each exclusively borrowed from `batch` and `parts` until the call is
    // over; any byte that the kernel writes there is valid. No time limit is given.
    let count = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        let flags = (flags | libc::MSG_DONTWAIT) as _;
        libc::recvmmsg(fd, headers.as_mut_ptr(), batch.slots as u32, flags, std::ptr::null_mut())
    };
    let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
    batch.got.extend(headers.iter().take(count).map(|header| Got {
        len: header.msg_len as usize,
        name: header.msg_hdr.msg_namelen as usize,
        control: control_len(&header.msg_hdr),
        flags: header.msg_hdr.msg_flags,
    }));
    Ok(count)
}

/// Room for the control messages of one datagram.
pub(in crate::io) type ControlSpace = [u64; CONTROL / 8];

/// Receives one datagram, without waiting. What does not fit is cut off.
///
/// # Errors
/// Those of recvmsg(2); `WouldBlock` if there is none.
pub(in crate::io) fn receive_one<'a>(
    socket: &impl AsFd,
    data: &'a mut [u8],
    control: &'a mut ControlSpace,
    flags: i32,
) -> io::Result<Message<'a>> {
    let mut name = [0; NAME];
    let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: `msghdr` is a C structure of integers and pointers, for which zero is valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = NAME as libc::socklen_t;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = CONTROL as _;
    // SAFETY: the descriptor is borrowed and so open. The header points to buffers of the lengths that it
    // says, each exclusively borrowed until the call is over; any byte that the kernel writes there is
    // valid.
    let count = unsafe {
        libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, flags | libc::MSG_DONTWAIT)
    };
    let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
    let from = name.get(..header.msg_namelen as usize).and_then(address);
    let len = control_len(&header);
    Ok(Message {
        bytes: data.get(..count).unwrap_or_default(),
        from,
        control: bytes_of(control).get(..len).unwrap_or_default(),
        flags: header.msg_flags,
    })
}

/// The C libraries do not agree on its type.
#[allow(clippy::unnecessary_cast, reason = "not on all systems")]
fn control_len(header: &libc::msghdr) -> usize {
    header.msg_controllen as usize
}

/// A batch of datagrams that wait to be sent.
#[derive(Debug, Default)]
pub(in crate::io) struct SendBatch {
    bytes: Vec<u8>,
    control: Vec<u64>,
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    /// Where it ends in `bytes`, and where it begins.
    bytes: (usize, usize),
    /// The same in the words of `control`, and how many bytes there are.
    control: (usize, usize),
    to: SocketAddr,
    name: [u8; NAME],
    name_len: usize,
}

impl SendBatch {
    pub(in crate::io) fn is_full(&self) -> bool {
        self.items.len() >= BATCH || self.bytes.len() >= 1 << 20
    }

    pub(in crate::io) fn clear(&mut self) {
        self.bytes.clear();
        self.control.clear();
        self.items.clear();
    }

    /// Where the datagram at this place goes.
    pub(in crate::io) fn address(&self, place: usize) -> Option<SocketAddr> {
        self.items.get(place).map(|item| item.to)
    }

    /// Adds a datagram: `write` appends its bytes and may fail, then nothing is added; `control` gets
    /// what `write` returned and adds control messages.
    pub(in crate::io) fn add<T, E>(
        &mut self,
        to: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
        control: impl FnOnce(&T, &mut Controls<'_>),
    ) -> Result<T, E> {
        let start = self.bytes.len();
        let value = match write(&mut self.bytes) {
            Ok(value) => value,
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        };
        let words = self.control.len();
        let mut controls = Controls { words: &mut self.control, start: words };
        control(&value, &mut controls);
        let (name, name_len) = sockaddr(to);
        let bytes = (start, self.bytes.len());
        let control = (words, (self.control.len() - words) * 8);
        self.items.push(Item { bytes, control, to, name, name_len });
        Ok(value)
    }

    /// Keeps those for which this says so, which is asked in their order.
    pub(in crate::io) fn retain(&mut self, mut keep: impl FnMut() -> bool) {
        self.items.retain(|_| keep());
        if self.items.is_empty() {
            self.clear();
        }
    }

    /// Takes out the first `count`, which have been dealt with.
    pub(in crate::io) fn done(&mut self, count: usize) {
        if count >= self.items.len() {
            self.clear();
        } else {
            self.items.drain(..count);
        }
    }
}

/// The control messages of one datagram, in the making.
pub(in crate::io) struct Controls<'a> {
    words: &'a mut Vec<u64>,
    start: usize,
}

impl Controls<'_> {
    /// Adds one (cmsg(3)).
    pub(in crate::io) fn add(&mut self, level: i32, kind: i32, data: &[u8]) {
        const WORD: usize = size_of::<u64>();
        const LEN: usize = size_of::<usize>();
        debug_assert!(self.start <= self.words.len());
        let header = LEN + 2 * size_of::<i32>();
        // Each begins aligned to the size of a pointer (CMSG_ALIGN); eight bytes do for all.
        let from = self.words.len();
        self.words.resize(from + (header + data.len()).div_ceil(WORD), 0);
        let len = (header + data.len()).to_ne_bytes();
        let (level, kind) = (level.to_ne_bytes(), kind.to_ne_bytes());
        let bytes = len.iter().chain(&level).chain(&kind).chain(data);
        let words = self.words.iter_mut().skip(from);
        let mut bytes = bytes.copied();
        for word in words {
            *word = u64::from_ne_bytes(std::array::from_fn(|_| bytes.next().unwrap_or(0)));
        }
    }
}

/// Sends the datagrams of a batch from `from` on: how many the system took, and why not the next.
pub(in crate::io) fn send(
    socket: &impl AsFd,
    batch: &SendBatch,
    from: usize,
) -> (usize, Option<io::Error>) {
    // SAFETY: `mmsghdr` and `iovec` are C structures of integers and pointers, for which zero is valid.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut parts: [libc::iovec; BATCH] = unsafe { std::mem::zeroed() };
    let mut filled = 0_u32;
    let items = batch.items.iter().skip(from);
    for ((header, part), item) in headers.iter_mut().zip(&mut parts).zip(items) {
        let (start, end) = item.bytes;
        let Some(bytes) = batch.bytes.get(start..end) else { break };
        let (words, len) = item.control;
        let Some(control) = batch.control.get(words..words + len / 8) else { break };
        // The kernel does not write through these pointers when it sends.
        part.iov_base = bytes.as_ptr().cast_mut().cast();
        part.iov_len = bytes.len();
        let header = &mut header.msg_hdr;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_name = item.name.as_ptr().cast_mut().cast();
        header.msg_namelen = item.name_len as libc::socklen_t;
        if len > 0 {
            header.msg_control = control.as_ptr().cast_mut().cast();
            header.msg_controllen = len as _;
        }
        filled += 1;
    }
    if filled == 0 {
        return (0, None);
    }
    // SAFETY: the descriptor is borrowed and so open. The first `filled` headers point to bytes of the
    // lengths that they say, borrowed from `batch` and `parts` until the call is over.
    let count = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        libc::sendmmsg(fd, headers.as_mut_ptr(), filled, libc::MSG_DONTWAIT as _)
    };
    match usize::try_from(count) {
        Ok(count) => (count, None),
        Err(_) => (0, Some(io::Error::last_os_error())),
    }
}

/// A socket address in the layout of the system, and its length.
fn sockaddr(address: SocketAddr) -> ([u8; NAME], usize) {
    let mut name = [0; NAME];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = name.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    match address {
        SocketAddr::V4(v4) => {
            put(0, &(libc::AF_INET as u16).to_ne_bytes());
            put(2, &v4.port().to_be_bytes());
            put(4, &v4.ip().octets());
            (name, size_of::<libc::sockaddr_in>())
        }
        SocketAddr::V6(v6) => {
            put(0, &(libc::AF_INET6 as u16).to_ne_bytes());
            put(2, &v6.port().to_be_bytes());
            put(4, &v6.flowinfo().to_be_bytes());
            put(8, &v6.ip().octets());
            put(24, &v6.scope_id().to_ne_bytes());
            (name, NAME)
        }
    }
}

/// The other way round.
fn address(name: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(cmsg::array(name, 2)?);
    match i32::from(u16::from_ne_bytes(cmsg::array(name, 0)?)) {
        libc::AF_INET => {
            let ip: [u8; 4] = cmsg::array(name, 4)?;
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), port))
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = cmsg::array(name, 8)?;
            let scope = u32::from_ne_bytes(cmsg::array(name, 24)?);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::UdpSocket;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let (a, b) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        (a, b)
    }

    #[test]
    fn addresses_are_those_of_the_system() {
        for text in ["192.0.2.7:80", "[2001:db8::1]:443", "[fe80::1%3]:7"] {
            let there: SocketAddr = text.parse().unwrap();
            let (name, len) = sockaddr(there);
            assert_eq!(address(&name[..len]), Some(there));
            let theirs = socket2::SockAddr::from(there);
            // SAFETY: the storage behind it is initialised for its whole length.
            let bytes = unsafe {
                std::slice::from_raw_parts(theirs.as_ptr().cast::<u8>(), theirs.len() as usize)
            };
            assert_eq!(&name[..len], bytes, "{text}");
        }
        assert_eq!(address(&[]), None);
    }

    #[test]
    fn a_batch_arrives_in_order_with_its_sender() {
        let (from, to) = pair();
        let mut batch = SendBatch::default();
        for number in 0..BATCH as u8 {
            let write = |bytes: &mut Vec<u8>| {
                bytes.extend(std::iter::repeat_n(number, usize::from(number)));
                Ok::<(), Infallible>(())
            };
            batch.add(to.local_addr().unwrap(), write, |(), _| {}).unwrap();
        }
        assert!(batch.is_full());
        let (sent, error) = send(&from, &batch, 3);
        assert!(sent == BATCH - 3 && error.is_none(), "{sent} {error:?}");

        let mut received = ReceiveBatch::new(BATCH, 64);
        assert_eq!(receive(&to, &mut received, 0).unwrap(), BATCH - 3);
        for (message, number) in received.messages().zip(3..) {
            assert_eq!(message.bytes, vec![number; usize::from(number)]);
            assert_eq!(message.from, from.local_addr().ok());
        }
        let error = receive(&to, &mut received, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(received.messages().count(), 0);
    }

    #[test]
    fn what_cannot_be_made_leaves_no_trace() {
        let mut batch = SendBatch::default();
        let to = "127.0.0.1:9".parse().unwrap();
        let write = |bytes: &mut Vec<u8>| {
            bytes.extend(b"half");
            Err::<(), _>("full")
        };
        assert_eq!(batch.add(to, write, |(), _| {}), Err("full"));
        assert_eq!((batch.items.len(), batch.bytes.len()), (0, 0));
    }

    #[test]
    fn a_longer_datagram_is_cut() {
        let (from, to) = pair();
        from.send_to(&[7; 100], to.local_addr().unwrap()).unwrap();
        let mut received = ReceiveBatch::new(1, 10);
        assert_eq!(receive(&to, &mut received, 0).unwrap(), 1);
        assert_eq!(received.messages().next().unwrap().bytes, [7; 10]);
    }

    #[test]
    fn i104_of_control_messages_that_were_cut_short_none_is_read() {
        let mut words = Vec::new();
        let mut controls = Controls { words: &mut words, start: 0 };
        controls.add(libc::IPPROTO_IP, libc::IP_TTL, &64_i32.to_ne_bytes());
        let control: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let message = |flags| Message { bytes: &[], from: None, control: &control, flags };
        assert_eq!(message(0).controls().count(), 1);
        assert_eq!(message(libc::MSG_CTRUNC).controls().count(), 0);
    }
}
