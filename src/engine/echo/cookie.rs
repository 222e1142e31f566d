//! The cookie in the payload, and what fills the rest.
//!
//! A payload of 16 bytes or more begins with a nonce of 8 bytes, which no two packets of an engine
//! share, and 8 bytes of keyed hash (SipHash-2-4) over destination, identifier, sequence number and
//! nonce. From 8 bytes on there is the hash alone, below 8 as much of it as there is room for.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use siphasher::sip::SipHasher24;

/// Bytes of the nonce, and of the hash.
const WORD: usize = 8;

/// What fills the payload behind the cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filler {
    /// Each byte is its own place in the payload, modulo 256.
    #[default]
    Rising,
    /// One byte, over and over.
    Byte(u8),
    /// These bytes, over and over; none are taken as zeros.
    Pattern(Arc<[u8]>),
    /// Looks random, and differs from packet to packet.
    Random,
}

/// The secret of an engine.
#[derive(Clone)]
pub(super) struct Key([u8; 16]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

/// The cookie of one packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cookie {
    nonce: [u8; WORD],
    hash: [u8; WORD],
}

/// What a payload turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// The one that was sent. Weak if there was no room for the whole hash.
    Ours { weak: bool },
    /// The cookie is right, something behind it is not.
    Corrupt,
    /// Shorter than what was sent.
    Short,
    /// Longer than what was sent.
    Long,
    /// The cookie is wrong.
    Foreign,
}

impl Key {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Key(key)
    }

    pub(super) fn cookie(
        &self,
        destination: IpAddr,
        id: u16,
        seq: u16,
        generation: u32,
        slot: u32,
    ) -> Cookie {
        let nonce = (u64::from(generation) << 32 | u64::from(slot)).to_be_bytes();
        Cookie { nonce, hash: self.hash(destination, id, seq, nonce) }
    }

    fn hash(&self, destination: IpAddr, id: u16, seq: u16, nonce: [u8; WORD]) -> [u8; WORD] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        match destination {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher.write(&id.to_be_bytes());
        hasher.write(&seq.to_be_bytes());
        hasher.write(&nonce);
        hasher.finish().to_be_bytes()
    }

    /// Whether a payload has the cookie of some packet that was really sent to this destination with
    /// these numbers, though not of the present one.
    pub(super) fn is_stale(&self, destination: IpAddr, id: u16, seq: u16, payload: &[u8]) -> bool {
        let Some((nonce, rest)) = payload.split_first_chunk::<WORD>() else { return false };
        rest.first_chunk() == Some(&self.hash(destination, id, seq, *nonce))
    }
}

impl Cookie {
    /// As it stands at the beginning of a payload of this size.
    fn bytes(&self, size: usize) -> ([u8; 2 * WORD], usize) {
        let mut bytes = [0; 2 * WORD];
        let (first, second) = bytes.split_at_mut(WORD);
        if size >= 2 * WORD {
            first.copy_from_slice(&self.nonce);
            second.copy_from_slice(&self.hash);
            (bytes, 2 * WORD)
        } else {
            first.copy_from_slice(&self.hash);
            (bytes, size.min(WORD))
        }
    }

    /// Appends a whole payload.
    pub(super) fn write(&self, filler: &Filler, size: usize, out: &mut Vec<u8>) {
        let (bytes, len) = self.bytes(size);
        out.extend(bytes.iter().take(len));
        self.fill(filler, len, size, |bytes| out.extend_from_slice(bytes));
    }

    /// Compares the payload of an answer with what was sent.
    pub(super) fn check(&self, filler: &Filler, size: usize, payload: &[u8]) -> Check {
        if payload.len() < size {
            return Check::Short;
        }
        if payload.len() > size {
            return Check::Long;
        }
        let (bytes, len) = self.bytes(size);
        let Some((cookie, mut rest)) = payload.split_at_checked(len) else { return Check::Short };
        if Some(cookie) != bytes.get(..len) {
            return Check::Foreign;
        }
        let mut same = true;
        self.fill(filler, len, size, |bytes| {
            let (part, behind) = rest.split_at(bytes.len().min(rest.len()));
            same &= part == bytes;
            rest = behind;
        });
        if same { Check::Ours { weak: size < WORD } } else { Check::Corrupt }
    }

    /// Compares as much of the payload as an error quotes: nothing may contradict. Weak unless the whole
    /// hash is there.
    pub(super) fn check_quote(&self, size: usize, quoted: &[u8]) -> Check {
        let (bytes, len) = self.bytes(size);
        let seen = quoted.len().min(len);
        match (quoted.get(..seen), bytes.get(..seen)) {
            (Some(quoted), Some(ours)) if quoted == ours => {
                Check::Ours { weak: seen < len || len < WORD }
            }
            _ => Check::Foreign,
        }
    }

    /// Hands out the bytes from `from` to `to` of the payload, a run at a time.
    fn fill(&self, filler: &Filler, from: usize, to: usize, mut put: impl FnMut(&[u8])) {
        const RUN: usize = 256;
        #[expect(clippy::indexing_slicing, reason = "done when it is compiled")]
        const RISING: [u8; 2 * RUN] = {
            let mut bytes = [0; 2 * RUN];
            let mut at = 0;
            while at < bytes.len() {
                bytes[at] = (at % RUN) as u8;
                at += 1;
            }
            bytes
        };
        let mut random = u64::from_be_bytes(self.hash) ^ u64::from_be_bytes(self.nonce);
        let mut at = from;
        while at < to {
            let want = (to - at).min(RUN);
            match filler {
                Filler::Rising => put(RISING.get(at % RUN..at % RUN + want).unwrap_or_default()),
                Filler::Byte(byte) => put([*byte; RUN].get(..want).unwrap_or_default()),
                Filler::Pattern(pattern) => {
                    let mut run = [0; RUN];
                    let bytes =
                        pattern.iter().copied().cycle().skip((at - from) % pattern.len().max(1));
                    run.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
                    put(run.get(..want).unwrap_or_default());
                }
                Filler::Random => {
                    let mut run = [0; RUN];
                    for word in run.chunks_exact_mut(WORD) {
                        word.copy_from_slice(&next(&mut random).to_be_bytes());
                    }
                    put(run.get(..want).unwrap_or_default());
                }
            }
            at += want;
        }
    }
}

/// SplitMix64: not secret, only unlike anything that compresses.
pub(super) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(slot: u32) -> Cookie {
        Key::new([3; 16]).cookie("192.0.2.1".parse().unwrap(), 7, 9, 1, slot)
    }

    fn payload(cookie: &Cookie, filler: &Filler, size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        cookie.write(filler, size, &mut out);
        out
    }

    fn fillers() -> [Filler; 5] {
        let pattern = |bytes: &[u8]| Filler::Pattern(bytes.into());
        [Filler::Rising, Filler::Byte(0xa5), Filler::Random, pattern(b"abc"), pattern(b"")]
    }

    #[test]
    fn what_was_written_is_ours_at_every_size() {
        for filler in fillers() {
            for size in (0..70).chain([255, 256, 257, 1472, 65_507]) {
                let bytes = payload(&cookie(1), &filler, size);
                assert_eq!(bytes.len(), size);
                let weak = size < 8;
                assert_eq!(cookie(1).check(&filler, size, &bytes), Check::Ours { weak }, "{size}");
                let other = cookie(2).check(&filler, size, &bytes);
                assert_eq!(other == Check::Foreign, size > 0, "{filler:?} {size}");
            }
        }
    }

    #[test]
    fn i5_i6_i8_a_bit_a_cut_and_a_tail_are_seen() {
        for filler in fillers() {
            let bytes = payload(&cookie(1), &filler, 600);
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let expected = if bit / 8 < 16 { Check::Foreign } else { Check::Corrupt };
                assert_eq!(cookie(1).check(&filler, 600, &bad), expected, "{filler:?} {bit}");
            }
            assert_eq!(cookie(1).check(&filler, 600, &bytes[..599]), Check::Short);
            assert_eq!(cookie(1).check(&filler, 600, &[]), Check::Short);
            assert_eq!(cookie(1).check(&filler, 600, &[&bytes[..], b"x"].concat()), Check::Long);
        }
    }

    #[test]
    fn i74_a_quote_is_weak_until_the_whole_cookie_is_in_it() {
        let bytes = payload(&cookie(1), &Filler::Rising, 56);
        for len in 0..bytes.len() {
            let weak = len < 16;
            assert_eq!(cookie(1).check_quote(56, &bytes[..len]), Check::Ours { weak }, "{len}");
        }
        assert_eq!(cookie(2).check_quote(56, &bytes), Check::Foreign);
        assert_eq!(cookie(1).check_quote(0, b"padding"), Check::Ours { weak: true });
    }

    #[test]
    fn i12_an_earlier_cookie_is_known_as_ours_and_a_guess_is_not() {
        let (key, to) = (Key::new([3; 16]), "192.0.2.1".parse().unwrap());
        let old = payload(&cookie(1), &Filler::Rising, 56);
        assert!(key.is_stale(to, 7, 9, &old));
        assert!(
            !key.is_stale(to, 7, 8, &old)
                && !key.is_stale("192.0.2.2".parse().unwrap(), 7, 9, &old)
        );
        assert!(!Key::new([4; 16]).is_stale(to, 7, 9, &old));
        assert!((0..16).all(|len| !key.is_stale(to, 7, 9, &old[..len])));
    }

    #[test]
    fn random_fillers_do_not_repeat() {
        let bytes = payload(&cookie(1), &Filler::Random, 1024);
        let mut words: Vec<_> = bytes[16..].chunks_exact(8).take(32).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 32);
        assert_ne!(bytes[16..], payload(&cookie(2), &Filler::Random, 1024)[16..]);
    }
}
