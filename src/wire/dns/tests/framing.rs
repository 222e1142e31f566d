//! Messages out of streams.

use super::*;
use proptest::prelude::*;

fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let mut stream = Vec::new();
    for message in messages {
        stream.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
        stream.extend_from_slice(message);
    }
    stream
}

#[test]
fn d128_a_message_that_comes_octet_by_octet_is_whole_with_its_last_one() {
    let stream = framed(&[b"hello"]);
    let mut deframer = Deframer::new(512);
    for (at, octet) in stream.iter().enumerate() {
        assert_eq!(deframer.next_message(), Ok(None), "{at}");
        deframer.feed(&[*octet]);
    }
    assert_eq!(deframer.next_message(), Ok(Some(b"hello".to_vec())));
    assert!(deframer.partial().is_empty());
}

#[test]
fn d130_no_message_has_zero_octets() {
    let mut deframer = Deframer::new(512);
    deframer.feed(&[0, 0, 0, 1, 7]);
    assert_eq!(deframer.next_message(), Err(FrameError::Empty));
    assert_eq!(deframer.next_message(), Err(FrameError::Empty));
}

#[test]
fn d132_a_promise_of_65535_octets_makes_no_room() {
    let mut deframer = Deframer::new(65_535);
    deframer.feed(&[0xff, 0xff, 1]);
    assert_eq!(deframer.next_message(), Ok(None));
    assert!(deframer.buffer.capacity() < 64);
    let mut small = Deframer::new(4096);
    small.feed(&[0xff, 0xff]);
    assert_eq!(small.next_message(), Err(FrameError::TooLong { length: 65_535 }));
}

#[test]
fn d133_d134_what_is_left_at_the_end_tells_whether_a_message_was_begun() {
    let mut deframer = Deframer::new(512);
    assert!(deframer.partial().is_empty());
    deframer.feed(&[0, 9, 1, 2]);
    assert_eq!(deframer.next_message(), Ok(None));
    assert_eq!(deframer.partial(), [0, 9, 1, 2]);
}

#[test]
fn d137_two_messages_in_one_segment_are_two() {
    let mut deframer = Deframer::new(512);
    deframer.feed(&framed(&[b"one", b"two"]));
    assert_eq!(deframer.next_message(), Ok(Some(b"one".to_vec())));
    assert_eq!(deframer.next_message(), Ok(Some(b"two".to_vec())));
    assert_eq!(deframer.next_message(), Ok(None));
}

proptest! {
    #[test]
    fn messages_are_the_same_however_the_stream_is_cut(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..8),
        cuts in proptest::collection::vec(1_usize..400, 1..20),
    ) {
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let stream = framed(&messages);
        let mut deframer = Deframer::new(65_535);
        let mut got = Vec::new();
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            deframer.feed(piece);
            while let Some(message) = deframer.next_message().unwrap() {
                got.push(message);
            }
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(got, messages);
        prop_assert!(deframer.partial().is_empty());
    }
}
