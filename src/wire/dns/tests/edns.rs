#![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

use proptest::prelude::*;

use super::super::{DnsName, Flags, Header};
use super::*;

fn composed(repr: &EdnsRepr<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut composer = Composer::new(&mut bytes, 1, Flags(0x8003));
    composer.edns(repr).unwrap();
    composer.finish();
    bytes
}

/// A message with an OPT record of these data.
fn with_data(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut composer = Composer::new(&mut bytes, 1, Flags(0x8000));
    let (section, rtype) = (Section::Additional, RecordType::OPT);
    composer.record(section, NameRef::ROOT, rtype, Class(1232), 0, data).unwrap();
    composer.finish();
    bytes
}

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    [&code.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}

fn kind(bytes: &[u8]) -> DnsErrorKind {
    Message::parse(bytes).unwrap().edns().unwrap_err().kind
}

#[test]
fn every_kind_of_option_comes_back() {
    let name: DnsName = "example.org".parse().unwrap();
    let options = [
        EdnsOption::Nsid(b"here"),
        EdnsOption::ClientSubnet {
            address: "192.0.2.0".parse().unwrap(),
            source_prefix: 23,
            scope_prefix: 24,
        },
        EdnsOption::ClientSubnet {
            address: "2001:db8::".parse().unwrap(),
            source_prefix: 56,
            scope_prefix: 0,
        },
        EdnsOption::Cookie { client: *b"12345678", server: b"" },
        EdnsOption::Cookie { client: *b"12345678", server: b"87654321" },
        EdnsOption::Keepalive(None),
        EdnsOption::Keepalive(Some(100)),
        EdnsOption::Padding(7),
        EdnsOption::Chain(name.as_ref()),
        EdnsOption::ExtendedError { code: ExtendedErrorCode::DNSSEC_BOGUS, text: b"why" },
        EdnsOption::Other { code: OptionCode(65001), data: b"\0\xff" },
    ];
    let repr =
        EdnsRepr { dnssec_ok: true, extended_rcode: 1, options: &options, ..EdnsRepr::default() };
    let bytes = composed(&repr);
    let message = Message::parse(&bytes).unwrap();
    let edns = message.edns().unwrap().unwrap();
    assert!(edns.dnssec_ok() && edns.version == 0 && edns.udp_payload == 1232);
    assert_eq!(message.rcode(Some(&edns)), Rcode(19));
    let read: Vec<_> = edns.options().map(|(code, option)| (code, option.unwrap())).collect();
    assert_eq!(read.iter().map(|(_, option)| *option).collect::<Vec<_>>(), options);
    assert!(read.iter().all(|(code, option)| *code == option.code()));
}

#[test]
fn a_message_without_an_opt_record_does_not_speak_it() {
    let bytes = Header { flags: Flags(0x8003), ..Header::default() }.to_bytes();
    let message = Message::parse(&bytes).unwrap();
    assert!(message.edns().unwrap().is_none());
    assert_eq!(message.rcode(None), Rcode::NXDOMAIN);
}

#[test]
fn d101_d102_options_that_are_longer_than_they_can_be() {
    let whole = option(3, b"here");
    for len in 1..whole.len() {
        assert_eq!(kind(&with_data(&whole[..len])), DnsErrorKind::Short, "{len}");
    }
    let mut beyond = whole.clone();
    beyond[3] = 5;
    assert_eq!(kind(&with_data(&beyond)), DnsErrorKind::Short);
    // The record itself beyond the message.
    let mut bytes = with_data(&whole);
    let at = bytes.len() - whole.len() - 1;
    bytes[at] += 1;
    assert_eq!(kind(&bytes), DnsErrorKind::Short);
}

#[test]
fn d104_d105_an_opt_record_belongs_to_the_root_and_is_the_only_one_of_the_additional_section() {
    let add = |places: &[(Section, &str)]| {
        let mut bytes = Vec::new();
        let mut composer = Composer::new(&mut bytes, 1, Flags(0x8000));
        for (section, owner) in places {
            let owner: DnsName = owner.parse().unwrap();
            let (rtype, class) = (RecordType::OPT, Class(1232));
            composer.record(*section, owner.as_ref(), rtype, class, 0, &[]).unwrap();
        }
        composer.finish();
        bytes
    };
    assert!(Message::parse(&add(&[(Section::Additional, ".")])).unwrap().edns().unwrap().is_some());
    assert_eq!(kind(&add(&[(Section::Additional, "a")])), DnsErrorKind::Opt);
    assert_eq!(kind(&add(&[(Section::Answer, ".")])), DnsErrorKind::Opt);
    assert_eq!(kind(&add(&[(Section::Authority, ".")])), DnsErrorKind::Opt);
    assert_eq!(kind(&add(&[(Section::Additional, ".")].repeat(2))), DnsErrorKind::Opt);
}

#[test]
fn d106_another_version_is_told_as_it_is() {
    let bytes = composed(&EdnsRepr { version: 1, extended_rcode: 1, ..EdnsRepr::default() });
    let message = Message::parse(&bytes).unwrap();
    let edns = message.edns().unwrap().unwrap();
    assert_eq!((edns.version, edns.extended_rcode), (1, 1));
}

#[test]
fn d108_cookies_have_8_or_16_to_40_octets() {
    for len in 0..50 {
        let bytes = with_data(&option(10, &vec![7; len]));
        let edns = Message::parse(&bytes).unwrap().edns().unwrap().unwrap();
        let (code, read) = edns.options().next().unwrap();
        assert_eq!(code, OptionCode::COOKIE);
        match len {
            8 | 16..=40 => assert!(read.is_ok(), "{len}"),
            _ => assert_eq!(read.unwrap_err().kind, DnsErrorKind::Cookie, "{len}"),
        }
    }
}

#[test]
fn broken_options_are_errors_and_harm_no_other() {
    let broken = [
        option(8, &[0, 1, 33, 0, 1, 2, 3, 4, 5]), // more bits than an address has
        option(8, &[0, 1, 23, 0, 192, 0, 3]),     // a bit behind the prefix
        option(8, &[0, 1, 24, 0, 192, 0]),        // too few octets
        option(8, &[0, 3, 0, 0]),                 // an unknown family
        option(11, &[1]),
        option(13, &[1, b'a']),
        option(15, &[0]),
    ];
    let data = [broken.concat(), option(3, b"here")].concat();
    let bytes = with_data(&data);
    let edns = Message::parse(&bytes).unwrap().edns().unwrap().unwrap();
    let read: Vec<_> = edns.options().map(|(_, option)| option).collect();
    assert_eq!(read.len(), broken.len() + 1);
    assert!(read[..broken.len()].iter().all(Result::is_err), "{read:?}");
    assert!(read[..broken.len()].iter().all(|r| r.is_err_and(|e| e.offset <= bytes.len())));
    assert_eq!(read[broken.len()], Ok(EdnsOption::Nsid(b"here")));
}

proptest! {
    #[test]
    fn any_data_are_options_or_an_error(data in proptest::collection::vec(any::<u8>(), 0..80)) {
        let bytes = with_data(&data);
        if let Ok(Some(edns)) = Message::parse(&bytes).unwrap().edns() {
            let mut again = Vec::new();
            for (code, option) in edns.options() {
                if let Ok(option) = option {
                    prop_assert_eq!(option.code(), code);
                    option.write(&mut again).unwrap();
                }
            }
            prop_assert!(again.len() <= data.len());
        }
    }
}
