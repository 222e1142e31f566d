use super::*;
use crate::wire::dns::{Composer, Flags, RecordBuf};

fn read_with(flags: u16, answers: &[&str], authority: &[&str], limits: &AnswerLimits) -> Reading {
    let name: DnsName = "www.example".parse().unwrap();
    let mut bytes = Vec::new();
    let mut composer = Composer::new(&mut bytes, 1, Flags(flags));
    composer.question(name.as_ref(), RecordType::A, Class::IN).unwrap();
    for (section, records) in [(Section::Answer, answers), (Section::Authority, authority)] {
        for record in records {
            let record: RecordBuf = record.parse().unwrap();
            record.compose(&mut composer, section).unwrap();
        }
    }
    composer.finish();
    read_answer(&Message::parse(&bytes).unwrap(), &name, RecordType::A, limits)
}

fn read(flags: u16, answers: &[&str], authority: &[&str]) -> Reading {
    read_with(flags, answers, authority, &AnswerLimits::default())
}

const SOA: &str = "example. 900 IN SOA ns.example. root.example. 1 2 3 4 300";

#[test]
fn the_ttl_is_the_least_along_the_chain() {
    let reading = read(
        0x8180,
        &[
            "b.example. 50 IN A 192.0.2.1",
            "WWW.example. 300 IN CNAME a.example.",
            "a.example. 40 IN CNAME B.example.",
            "b.example. 30 IN A 192.0.2.2",
            "b.example. 30 IN A 192.0.2.2",
            "other.example. 1 IN A 192.0.2.9",
        ],
        &[],
    );
    let Reading::Found { addresses, canonical, omitted: 0 } = &reading else {
        panic!("{reading:?}")
    };
    assert_eq!(canonical.to_string(), "B.example.");
    let found: Vec<_> = addresses.iter().map(|a| (a.address.to_string(), a.ttl_s)).collect();
    assert_eq!(found, [("192.0.2.1".into(), Some(40)), ("192.0.2.2".into(), Some(30))]);
    assert_eq!(reading.ttl(), Some(Duration::from_secs(30)));
}

#[test]
fn d100_addresses_of_this_host_are_reported_as_they_are() {
    let strange = ["www.example. 1 IN A 0.0.0.0", "www.example. 1 IN A 127.0.0.1"];
    let more = "www.example. 1 IN A 169.254.169.254";
    let reading = read(0x8180, &[strange[0], strange[1], more], &[]);
    let Reading::Found { addresses, .. } = reading else { panic!("{reading:?}") };
    assert_eq!(addresses.len(), 3);
}

#[test]
fn how_long_nothing_may_be_kept_says_the_soa() {
    let negative = |reading: Reading| match reading {
        Reading::Negative { kind, ttl_s, .. } => (kind, ttl_s),
        other => panic!("{other:?}"),
    };
    assert_eq!(negative(read(0x8183, &[], &[SOA])), (Negative::NoSuchName, Some(300)));
    assert_eq!(negative(read(0x8180, &[], &[SOA])), (Negative::NoData, Some(300)));
    let short = SOA.replace("900", "20");
    assert_eq!(negative(read(0x8180, &[], &[&short])), (Negative::NoData, Some(20)));
    assert_eq!(negative(read(0x8183, &[], &[])), (Negative::NoSuchName, None));
    let alias = "www.example. 7 IN CNAME gone.example.";
    assert_eq!(negative(read(0x8183, &[alias], &[SOA])), (Negative::NoSuchName, Some(7)));
    let elsewhere = SOA.replace("example. 900", "test. 900");
    assert_eq!(negative(read(0x8180, &[], &[&elsewhere])), (Negative::NoData, None));
}

#[test]
fn servers_that_fail_or_refer_elsewhere_are_of_no_use() {
    for low in [1, 2, 4, 5] {
        let reading = read(0x8180 | low, &[], &[]);
        assert!(matches!(reading, Reading::Useless { rcode: Rcode(code), .. } if code == low));
    }
    let referral = read(0x8100, &[], &["example. 60 IN NS ns.example."]);
    assert!(matches!(referral, Reading::Useless { why: Some("a referral"), .. }), "{referral:?}");
}

#[test]
fn aliases_without_an_end_are_not_followed() {
    let circle = ["www.example. 1 IN CNAME a.example.", "a.example. 1 IN CNAME www.example."];
    let reading = read(0x8180, &circle, &[]);
    assert!(matches!(reading, Reading::Useless { why: Some(why), .. } if why.contains("circles")));
    let chain: Vec<String> = (0..18)
        .map(|n| {
            let owner = if n == 0 { "www".into() } else { format!("a{n}") };
            format!("{owner}.example. 1 IN CNAME a{}.example.", n + 1)
        })
        .collect();
    let mut chain: Vec<&str> = chain.iter().map(String::as_str).collect();
    let reading = read(0x8180, &chain, &[]);
    assert!(matches!(reading, Reading::Useless { why: Some(why), .. } if why.contains("cap")));
    chain.truncate(16);
    chain.push("a16.example. 1 IN A 192.0.2.1");
    assert!(matches!(read(0x8180, &chain, &[]), Reading::Found { .. }));
}

#[test]
fn addresses_beyond_the_cap_are_counted() {
    let all = ["www.example. 1 IN A 192.0.2.1", "www.example. 1 IN A 192.0.2.2"];
    let limits = AnswerLimits { addresses: 1, ..AnswerLimits::default() };
    let reading = read_with(0x8180, &all, &[], &limits);
    assert!(matches!(reading, Reading::Found { omitted: 1, .. }), "{reading:?}");
}
