//! The one buffer of a script, and the last bytes that left it.

/// Bytes received and not yet used. Holds at most as many bytes as may be received in all.
#[derive(Debug)]
pub(super) struct Buffer {
    data: Vec<u8>,
    head: usize,
    /// Room left, over the whole script.
    room: usize,
    /// Bytes came for which there was no room.
    overflowed: bool,
    used: Tail,
}

/// Used bytes are moved out once they are this many and half of the buffer.
const COMPACT: usize = 4096;

impl Buffer {
    pub(super) fn new(room: usize, evidence: usize) -> Self {
        let used = Tail { data: Vec::new(), keep: evidence };
        Self { data: Vec::new(), head: 0, room, overflowed: false, used }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let taken = bytes.get(..self.room).unwrap_or(bytes);
        self.data.extend_from_slice(taken);
        self.room -= taken.len();
        self.overflowed |= taken.len() < bytes.len();
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.data.get(self.head..).unwrap_or_default()
    }

    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Drops the first `count` pending bytes. With `secret`, nothing that was used so far stays.
    pub(super) fn consume(&mut self, count: usize, secret: bool) {
        let count = count.min(self.pending().len());
        if secret {
            self.used.data.clear();
        } else {
            let end = self.head.saturating_add(count);
            self.used.push(self.data.get(self.head..end).unwrap_or_default());
        }
        self.head = self.head.saturating_add(count);
        if self.head == self.data.len() {
            self.data.clear();
            self.head = 0;
        } else if self.head >= COMPACT && self.head >= self.data.len() / 2 {
            self.data.drain(..self.head);
            self.head = 0;
        }
    }

    /// The last bytes received, used or not; about as many as fit into a text for people.
    pub(super) fn tail(&self) -> Vec<u8> {
        let mut tail = Tail { data: self.used.last().to_vec(), keep: self.used.keep };
        tail.push(self.pending());
        tail.last().to_vec()
    }
}

/// The last bytes of a stream.
#[derive(Debug)]
struct Tail {
    data: Vec<u8>,
    keep: usize,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let skip = bytes.len().saturating_sub(self.keep);
        self.data.extend_from_slice(bytes.get(skip..).unwrap_or_default());
        // Moving bytes only when as many again have come keeps this linear.
        if self.data.len() > self.keep.saturating_mul(2) {
            let surplus = self.data.len().saturating_sub(self.keep);
            self.data.drain(..surplus);
        }
    }

    fn last(&self) -> &[u8] {
        let skip = self.data.len().saturating_sub(self.keep);
        self.data.get(skip..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    #[test]
    fn bytes_leave_in_order_and_no_more_come_than_there_is_room_for() {
        let mut buffer = Buffer::new(10_000, 4);
        let mut next = 0;
        for round in 0_u16..100 {
            buffer.push(&[round as u8; 99]);
            while buffer.pending().len() > 50 {
                assert_eq!(u16::from(buffer.pending()[0]), next / 99);
                buffer.consume(1, false);
                next += 1;
            }
            assert!(buffer.data.len() < 8500);
        }
        assert!(!buffer.overflowed());
        buffer.push(&[1; 100]);
        assert!(!buffer.overflowed());
        buffer.push(&[]);
        assert!(!buffer.overflowed());
        buffer.push(&[1]);
        assert!(buffer.overflowed());
        assert_eq!(buffer.pending().len(), 150);
    }

    #[test]
    fn the_tail_spans_used_and_pending_bytes_but_no_secret_ones() {
        let mut buffer = Buffer::new(100, 4);
        buffer.push(b"abcdefgh");
        assert_eq!(buffer.tail(), b"efgh");
        buffer.consume(5, false);
        assert_eq!(buffer.tail(), b"efgh");
        buffer.consume(2, true);
        assert_eq!(buffer.tail(), b"h");
        buffer.consume(1, false);
        assert_eq!(buffer.tail(), b"h");
    }
}
