//! DNS messages beside hickory-proto: made ones and broken ones, from a seed. `NETSONDE_DNS_MESSAGES` says
//! how many, `NETSONDE_DNS_SEED` from which seed.
#![cfg(feature = "dns")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::collections::BTreeMap;

use netsonde::wire::dns::rdata::from_text;
use netsonde::wire::dns::{
    Class, Composer, DnsName, EdnsOption, EdnsRepr, ExtendedErrorCode, Flags, Message, RecordType,
    Section,
};
use trust_dns_proto::op::Message as Theirs;

#[path = "../fuzz/src/dns.rs"]
#[allow(dead_code, unreachable_pub, reason = "the fuzz targets use all of it")]
#[allow(clippy::expect_used, clippy::indexing_slicing, reason = "a panic is what this looks for")]
mod dns;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn octets(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
    }
}

/// Data of every type of the library, as text.
const DATA: &[(u16, &str)] = &[
    (1, "192.0.2.1"),
    (2, "ns1.example.org."),
    (5, "www.example.net."),
    (6, "ns1.example.org. hostmaster.example.org. 1 7200 3600 1209600 300"),
    (12, "host.example.org."),
    (13, "\"cpu\" \"os\""),
    (15, "10 mail.example.org."),
    (16, "\"v=spf1 -all\" \"more\""),
    (17, "box.example.org. text.example.org."),
    (28, "2001:db8::1"),
    (29, "52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000.00m 10.00m"),
    (33, "1 2 443 srv.example.org."),
    (35, "10 20 \"u\" \"E2U+sip\" \"!^.*$!sip:a@example.org!\" ."),
    (39, "other.example.net."),
    (43, "12345 13 2 0011223344556677"),
    (44, "4 2 00112233445566778899"),
    (46, "A 13 2 300 20300101000000 20250101000000 12345 example.org. AAECAwQF"),
    (47, "next.example.org. A MX RRSIG NSEC TYPE1234"),
    (48, "257 3 13 AAECAwQFBgc="),
    (50, "1 0 10 AABB 0P9MHAVEQVM6T7VBL5LOP2U3T2RP3TOM A RRSIG"),
    (51, "1 0 10 -"),
    (52, "3 1 1 00112233"),
    (53, "3 0 0 00112233"),
    (59, "12345 13 2 0011"),
    (60, "257 3 13 AAEC"),
    (61, "AAECAwQF"),
    (62, "66 3 A NS AAAA"),
    (63, "1 1 1 00112233445566778899AABB"),
    (64, "0 svc.example.org."),
    (64, "1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1 key7=\"/dns\""),
    (65, "1 . mandatory=alpn,port alpn=h2 port=443 ech=AAEC ipv6hint=2001:db8::1"),
    (99, "\"v=spf1\""),
    (256, "10 1 \"https://example.org/\""),
    (257, "0 issue \"ca.example.net\""),
    (65_280, "\\# 3 010203"),
];

fn name(random: &mut Random) -> DnsName {
    let labels = ["www", "a", "EXAMPLE", "example", "org", "x\\000y", "_tcp", "\\255", "b\\.c"];
    let mut text = String::new();
    for _ in 0..random.below(6) {
        match random.below(20) {
            0 => text += &"l".repeat(1 + random.below(63)),
            _ => text += random.pick::<&str>(&labels),
        }
        text.push('.');
    }
    text.parse().unwrap_or_else(|_| DnsName::root())
}

fn well_formed(random: &mut Random, data: &[(RecordType, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let flags = Flags(random.next() as u16);
    let mut composer = Composer::new(&mut bytes, random.next() as u16, flags);
    let asked = name(random);
    if random.below(10) > 0 {
        composer
            .question(asked.as_ref(), RecordType(random.next() as u16 & 0xff), Class::IN)
            .unwrap();
    }
    for section in [Section::Answer, Section::Authority, Section::Additional] {
        for _ in 0..random.below(4) {
            let owner = if random.below(2) == 0 { asked.clone() } else { name(random) };
            let (rtype, data) = random.pick(data);
            let mut data = data.clone();
            // Names in the data of old types may be compressed (RFC 3597, 4).
            if matches!(rtype.0, 2 | 5 | 12 | 15) && random.below(2) == 0 {
                data.pop();
                data.extend([0xc0, 12 + random.below(20) as u8]);
            }
            let class =
                if random.below(20) == 0 { Class(random.next() as u16 & 3) } else { Class::IN };
            composer
                .record(section, owner.as_ref(), *rtype, class, random.next() as u32, &data)
                .unwrap();
        }
    }
    if random.below(2) == 0 {
        let (client, other) = (random.next().to_be_bytes(), random.octets(20));
        let options = [
            EdnsOption::Nsid(&other),
            EdnsOption::Cookie { client, server: &[7; 16] },
            EdnsOption::Keepalive(Some(random.next() as u16)),
            EdnsOption::Padding(random.below(30)),
            EdnsOption::ClientSubnet {
                address: "192.0.2.0".parse().unwrap(),
                source_prefix: random.below(33) as u8,
                scope_prefix: 0,
            },
            EdnsOption::ExtendedError { code: ExtendedErrorCode(15), text: b"why" },
        ];
        let options = &options[random.below(6)..];
        let udp_payload = random.next() as u16;
        composer.edns(&EdnsRepr { udp_payload, options, ..EdnsRepr::default() }).unwrap();
    }
    composer.finish();
    bytes
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len());
        match random.below(9) {
            _ if bytes.len() < 14 => return,
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => {
                let more = random.octets(6);
                bytes.splice(at..at, more);
            }
            3 => {
                let place = 4 + random.below(8);
                bytes[place] = random.below(4) as u8;
            }
            4 if at + 1 < bytes.len() => {
                let target = if random.below(8) == 0 {
                    random.next() as u16
                } else {
                    random.below(bytes.len()) as u16
                };
                bytes[at..at + 2].copy_from_slice(&(0xc000 | target).to_be_bytes());
            }
            5 => bytes[at] = random.below(64) as u8,
            6 => {
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => {
                let end = (at + random.below(4)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => bytes[at] = random.next() as u8,
        }
    }
}

fn typed() -> Vec<(RecordType, Vec<u8>)> {
    DATA.iter()
        .map(|&(number, text)| {
            let rtype = RecordType(number);
            (rtype, from_text(rtype, Class::IN, text).unwrap_or_else(|why| panic!("{text}: {why}")))
        })
        .collect()
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn messages_are_read_as_hickory_reads_them() {
    let count = setting("NETSONDE_DNS_MESSAGES", 100_000);
    let seed = setting("NETSONDE_DNS_SEED", 4);
    println!("{count} messages from seed {seed}");
    let (data, mut random) = (typed(), Random(seed));
    let mut classes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut accepted = 0_u64;
    let mut last = vec![0; 12];
    for number in 0..count {
        let made = well_formed(&mut random, &data);
        let mut bytes = made.clone();
        if number % 4 != 0 {
            mutate(&mut random, &mut bytes, &last);
        }
        dns::compare(&bytes, &mut |class| *classes.entry(class).or_default() += 1);
        accepted += u64::from(Message::parse(&bytes).is_ok_and(|message| message.check().is_ok()));
        last = made;
    }
    println!("{accepted} with outlines that can be read");
    for (class, times) in &classes {
        println!("{class}: {times}");
    }
    assert!(accepted > count / 4 && accepted < count);
}

#[test]
fn what_hickory_writes_is_read_as_the_same() {
    let (data, mut random) = (typed(), Random(5));
    let mut written = 0;
    for _ in 0..5_000 {
        let ours = well_formed(&mut random, &data);
        let Ok(theirs) = Theirs::from_vec(&ours) else { continue };
        let Ok(emitted) = theirs.to_vec() else { continue };
        let message = Message::parse(&emitted).unwrap();
        assert_eq!(message.check(), Ok(0));
        let before = Message::parse(&ours).unwrap();
        let list = |message: &Message<'_>| -> Vec<_> {
            let mut all: Vec<String> = message
                .records()
                .map(|item| item.unwrap())
                .filter(|(_, record)| record.rtype != RecordType::OPT)
                .map(|(section, record)| format!("{section} {record}"))
                .collect();
            all.sort();
            all
        };
        assert_eq!(list(&message), list(&before));
        assert_eq!(Theirs::from_vec(&emitted).unwrap().to_string(), theirs.to_string());
        written += 1;
    }
    assert!(written > 2_000, "{written}");
}

#[test]
fn the_seeds_of_the_fuzz_targets_pass() {
    type Run = fn(&[u8]);
    let targets: [(&str, Run); 4] = [
        ("message", dns::message),
        ("rdata", dns::rdata),
        ("text", dns::text),
        ("stream", dns::stream),
    ];
    for (target, check) in targets {
        let folder = format!("{}/fuzz/corpus/dns_{target}", env!("CARGO_MANIFEST_DIR"));
        let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            check(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }
    for (rtype, data) in typed() {
        dns::rdata(&[&rtype.0.to_be_bytes()[..], &data].concat());
    }
    let mut random = Random(6);
    for _ in 0..20_000 {
        let (rtype, data) = random.pick(&typed()[..3]).clone();
        let mut input = [&rtype.0.to_be_bytes()[..], &data].concat();
        let at = random.below(input.len());
        input[at] = random.next() as u8;
        dns::rdata(&input);
        dns::stream(&random.octets(40));
    }
}
