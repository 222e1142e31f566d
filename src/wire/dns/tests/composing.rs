#![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

use proptest::prelude::*;

use super::super::{DnsName, Message};
use super::*;

fn name(text: &str) -> DnsName {
    text.parse().unwrap()
}

#[test]
fn a_name_that_ends_like_an_earlier_one_points_to_it() {
    let mut bytes = Vec::new();
    let mut composer = Composer::new(&mut bytes, 1, Flags(0));
    composer.question(name("www.Example.org").as_ref(), RecordType::A, Class::IN).unwrap();
    let mut add = |owner: &str, octets: usize| {
        let before = composer.octets();
        let (rtype, class) = (RecordType::A, Class::IN);
        composer.record(Section::Answer, name(owner).as_ref(), rtype, class, 0, &[]).unwrap();
        assert_eq!(composer.octets() - before, octets + 10, "{owner}");
    };
    add("www.example.ORG", 2);
    add("mail.example.org", 5 + 2);
    add("mail.example.org", 2);
    add("example.org", 2);
    add("org", 2);
    add(".", 1);
    add("example.com", 12 + 1);
    composer.finish();
    let message = Message::parse(&bytes).unwrap();
    let owners: Vec<String> =
        message.section(Section::Answer).map(|record| record.unwrap().owner.to_string()).collect();
    // A pointer takes the letters from where it points to.
    assert_eq!(owners[0], "www.Example.org.");
    assert_eq!(owners[1], "mail.Example.org.");
    assert_eq!(owners[5..], [".", "example.com."]);
    assert_eq!(message.check(), Ok(0));
}

#[test]
fn sections_are_in_order_and_what_does_not_fit_leaves_no_trace() {
    let mut bytes = b"before".to_vec();
    let mut composer = Composer::with_prefix(&mut bytes, 1, Flags(0)).limit(60);
    let owner = name("a.example");
    composer.record(Section::Answer, owner.as_ref(), RecordType::A, Class::IN, 0, &[1; 4]).unwrap();
    let too_long =
        composer.record(Section::Answer, owner.as_ref(), RecordType::A, Class::IN, 0, &[1; 60]);
    assert_eq!(too_long, Err(ComposeError::TooLong));
    composer.flags(Flags(0x0200));
    composer
        .record(Section::Additional, owner.as_ref(), RecordType::A, Class::IN, 0, &[2])
        .unwrap();
    let back = composer.record(Section::Answer, owner.as_ref(), RecordType::A, Class::IN, 0, &[]);
    assert_eq!(back, Err(ComposeError::Order));
    let huge = vec![0; 65_536];
    let huge =
        composer.record(Section::Additional, owner.as_ref(), RecordType::A, Class::IN, 0, &huge);
    assert_eq!(huge, Err(ComposeError::Count));
    composer.finish();
    assert_eq!(&bytes[..6], b"before");
    assert_eq!(usize::from(u16::from_be_bytes([bytes[6], bytes[7]])), bytes.len() - 8);
    let message = Message::parse(&bytes[8..]).unwrap();
    assert!(message.header().flags.truncated());
    assert_eq!((message.header().answers, message.header().additionals), (1, 1));
    assert_eq!(message.check(), Ok(0));
}

#[test]
fn nothing_points_where_a_pointer_cannot_reach() {
    let mut bytes = Vec::new();
    let mut composer = Composer::new(&mut bytes, 1, Flags(0));
    let add = |composer: &mut Composer<'_>, owner: &str, data: &[u8]| {
        let (rtype, class) = (RecordType::TXT, Class::IN);
        composer.record(Section::Answer, name(owner).as_ref(), rtype, class, 0, data).unwrap();
    };
    add(&mut composer, "first.example", &vec![0; 16_384]);
    add(&mut composer, "far.away", &[]);
    add(&mut composer, "far.away", &[]);
    add(&mut composer, "second.example", &[]);
    composer.finish();
    let message = Message::parse(&bytes).unwrap();
    let records: Vec<_> = message.section(Section::Answer).map(Result::unwrap).collect();
    let shown: Vec<String> = records.iter().map(|record| record.owner.to_string()).collect();
    assert_eq!(shown, ["first.example.", "far.away.", "far.away.", "second.example."]);
    assert!(!records[2].owner.is_compressed() && records[3].owner.is_compressed());
}

proptest! {
    #[test]
    fn what_is_composed_is_read(owners in proptest::collection::vec("[a-c]{1,2}(\\.[a-c]{1,2}){0,4}", 1..150)) {
        let mut bytes = vec![0xa5; 3];
        let mut composer = Composer::new(&mut bytes, 9, Flags(0x8000));
        for (owner, ttl) in owners.iter().zip(0..) {
            composer
                .record(Section::Authority, name(owner).as_ref(), RecordType(9), Class::HS, ttl, owner.as_bytes())
                .unwrap();
        }
        composer.finish();
        let message = Message::parse(&bytes[3..]).unwrap();
        prop_assert_eq!(message.check(), Ok(0));
        let records: Vec<_> = message.section(Section::Authority).map(Result::unwrap).collect();
        prop_assert_eq!(records.len(), owners.len());
        for ((record, owner), ttl) in records.iter().zip(&owners).zip(0..) {
            prop_assert_eq!(record.owner.to_name(), name(owner));
            prop_assert_eq!((record.ttl(), record.data()), (ttl, owner.as_bytes()));
        }
    }
}
