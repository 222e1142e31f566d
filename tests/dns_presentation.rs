//! Records as text and as octets beside real name servers (knot, BIND, nsd) and beside what `kdig` and `dig`
//! show of the same answers. Where they differ from each other, `docs/design.md` says whom we follow; the
//! functions `like_kdig` and `like_dig` hold these differences and nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

#[path = "dns/exchange.rs"]
mod exchange;
#[path = "dns/tools.rs"]
mod tools;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use exchange::{Responder, answers, ask, transfer};
use netsonde::wire::dns::rdata::{RData, from_text};
use netsonde::wire::dns::{
    Class, DataReader, Edns, EdnsOption, Message, RecordBuf, RecordType, Section,
};
use netsonde_support::daemon::dns::{self, Zone};
use netsonde_support::{Pki, require_command, skip};
use tools::{Tool, like_dig, like_kdig};

const ZONE: Zone<'static> =
    Zone { name: "netsonde.test", text: include_str!("dns/netsonde.test.zone") };

/// What DNSSEC adds records to: owners of many types, of types without a name, and a delegation.
const SMALL: Zone<'static> =
    Zone { name: "signed.test", text: include_str!("dns/signed.test.zone") };

/// Everything that has to hold of a record by itself: its text and its octets come back from each other.
fn comes_back(record: &RecordBuf) {
    let text = record.to_string();
    let data = record.rdata().unwrap_or_else(|why| panic!("{text}: {why}"));
    let again = from_text(record.rtype, record.class, &data.to_string());
    assert_eq!(again.as_deref(), Ok(&record.data[..]), "{text}");
    let mut octets = Vec::new();
    data.write(&mut octets);
    assert_eq!(octets, *record.data, "{text}");
    identical(&text.parse().unwrap_or_else(|why| panic!("{text}: {why}")), record);
}

#[track_caller]
fn identical(one: &RecordBuf, other: &RecordBuf) {
    assert!(one.owner.as_ref().is_identical(other.owner.as_ref()), "{one}\n{other}");
    assert_eq!((one.rtype, one.class, one.ttl), (other.rtype, other.class, other.ttl));
    assert_eq!(one.data, other.data, "{one}\n{other}");
}

/// Records with the lines that a tool shows of the same answer, both in the order of their texts.
fn beside(records: &[RecordBuf], lines: Vec<String>, like: impl Fn(&RecordBuf, &str) -> String) {
    // The lines of one tool are read by us, so that each finds its record whatever it looks like.
    let mut read: Vec<(RecordBuf, String)> = lines
        .into_iter()
        .map(|line| (line.parse().unwrap_or_else(|why| panic!("{line}: {why}")), line))
        .collect();
    let mut records: Vec<&RecordBuf> = records.iter().collect();
    records.sort_by(|a, b| a.cmp(b).then_with(|| a.data.cmp(&b.data)));
    read.sort_by(|(a, _), (b, _)| a.cmp(b).then_with(|| a.data.cmp(&b.data)));
    let ours: Vec<String> = records.iter().map(|record| record.to_string()).collect();
    let theirs: Vec<String> = read.iter().map(|(record, line)| like(record, line)).collect();
    assert_eq!(ours.len(), theirs.len(), "ours: {ours:#?}\ntheirs: {theirs:#?}");
    for ((ours, theirs), (record, (read, _))) in
        ours.iter().zip(&theirs).zip(records.iter().zip(&read))
    {
        assert_eq!(ours, theirs);
        identical(record, read);
    }
}

/// Each set of records by itself, asked for by UDP, and by TCP where that is cut short.
fn each_set_is_shown_alike(server: SocketAddr, all: &[RecordBuf], kdig: &Tool, dig: &Tool) {
    // What is behind a delegation is not for this server to answer.
    let answerable = |record: &&RecordBuf| {
        let owner = record.owner.to_string();
        !owner.contains("delegated") || record.rtype == RecordType::DS
    };
    let sets: BTreeSet<(String, RecordType)> = all
        .iter()
        .filter(answerable)
        .filter(|record| record.rtype != RecordType::NSEC3)
        .map(|record| (record.owner.to_string(), record.rtype))
        .collect();
    let mut records = Vec::new();
    for (owner, rtype) in &sets {
        let answer = ask(server, owner, *rtype);
        let found = answers(&answer);
        assert!(found.iter().any(|record| record.rtype == *rtype), "{owner} {rtype}");
        found.iter().for_each(comes_back);
        records.extend(found);
    }
    let sets: Vec<_> = sets.into_iter().collect();
    beside(&records, kdig.ask(server, &sets), like_kdig);
    beside(&records, dig.ask(server, &sets), like_dig);
}

fn tools() -> Option<(Tool, Tool)> {
    Some((Tool::kdig(require_command("kdig")?), Tool::dig(require_command("dig")?)))
}

#[test]
fn d93_every_record_of_a_zone_of_every_type_reads_as_kdig_and_dig_show_it() {
    let Some((kdig, dig)) = tools() else { return };
    let Some(knot) = dns::knot(&[ZONE], "") else { return };
    let server = knot.addr_of("dns");
    let all = transfer(server, ZONE.name);
    all.iter().for_each(comes_back);
    beside(&all, kdig.transfer(server, ZONE.name), like_kdig);
    beside(&all, dig.transfer(server, ZONE.name), like_dig);
    each_set_is_shown_alike(server, &all, &kdig, &dig);

    let there: BTreeSet<RecordType> = all.iter().map(|record| record.rtype).collect();
    let wanted = "A AAAA NS CNAME DNAME SOA PTR MX TXT SRV NAPTR CAA DS DNSKEY RRSIG NSEC NSEC3PARAM \
        TLSA SSHFP SVCB HTTPS LOC URI OPENPGPKEY SMIMEA CDS CDNSKEY HINFO RP SPF ZONEMD CSYNC TYPE65280";
    for rtype in wanted.split_whitespace() {
        assert!(there.contains(&rtype.parse().unwrap()), "{rtype} is not in the zone");
    }
}

/// The records of a zone without its doubled SOA, with their times to live. One server keeps the letters of
/// names as they are, and others make them small, also where RFC 4034 lets names differ by their case.
fn as_set(records: &[RecordBuf]) -> BTreeSet<(RecordBuf, u32)> {
    let small = records.iter().map(|record| match record.rtype {
        RecordType::SVCB | RecordType::HTTPS | RecordType::NSEC => {
            let mut record = record.clone();
            record.data.make_ascii_lowercase();
            (record.clone(), record.ttl)
        }
        _ => (record.clone(), record.ttl),
    });
    small.collect()
}

fn same_set(one: &BTreeSet<(RecordBuf, u32)>, other: &BTreeSet<(RecordBuf, u32)>) {
    let texts: Vec<_> =
        one.symmetric_difference(other).map(|(record, _)| record.to_string()).collect();
    assert!(texts.is_empty(), "{texts:#?}");
}

#[test]
fn three_servers_give_the_same_records_of_one_zone() {
    let certificate = Pki::new().leaf("dns.test").issue();
    let Some(signed) = dns::sign(SMALL, "ECDSAP256SHA256", &["-3", "0123456789ABCDEF", "-H", "3"])
    else {
        return;
    };
    let zones = [ZONE, Zone { text: &signed.text, ..SMALL }];
    let Some(knot) = dns::knot(&zones, "") else { return };
    let Some(named) = dns::named(&certificate, &zones, "") else { return };
    let Some(nsd) = dns::nsd(&certificate, &zones, "") else { return };
    for zone in zones {
        let [knot, named, nsd] = [&knot, &named, &nsd].map(|server| {
            let by_v4 = transfer(server.addr_of("dns"), zone.name);
            by_v4.iter().for_each(comes_back);
            as_set(&by_v4)
        });
        assert!(knot.len() > 20);
        same_set(&knot, &named);
        same_set(&knot, &nsd);
    }
    // The order of canonical data is that of RFC 4034, 6.3, in which knot keeps and sends its sets.
    let transferred = transfer(knot.addr_of("dns"), ZONE.name);
    let sets = transferred.chunk_by(|a, b| a.owner == b.owner && a.rtype == b.rtype);
    for set in sets {
        assert!(set.is_sorted(), "{set:?}");
    }
}

#[test]
fn what_dnssec_adds_reads_as_kdig_and_dig_show_it() {
    let Some((kdig, dig)) = tools() else { return };
    let Some(nsec) = dns::sign(SMALL, "ED25519", &[]) else { return };
    let Some(nsec3) = dns::sign(SMALL, "RSASHA256", &["-3", "AABBCCDD", "-H", "7", "-A"]) else {
        return;
    };
    let Some(no_salt) = dns::sign(SMALL, "ECDSAP384SHA384", &["-3", "-", "-H", "0"]) else {
        return;
    };
    for (signed, denial) in
        [(nsec, RecordType::NSEC), (nsec3, RecordType::NSEC3), (no_salt, RecordType::NSEC3)]
    {
        let zone = Zone { text: &signed.text, ..SMALL };
        let Some(knot) = dns::knot(&[zone], "") else { return };
        let server = knot.addr_of("dns");
        let all = transfer(server, zone.name);
        all.iter().for_each(comes_back);
        for rtype in [denial, RecordType::RRSIG, RecordType::DNSKEY] {
            assert!(all.iter().any(|record| record.rtype == rtype), "{rtype}");
        }
        beside(&all, kdig.transfer(server, zone.name), like_kdig);
        beside(&all, dig.transfer(server, zone.name), like_dig);
        // The lines that BIND's tools write for the parent are read as well.
        let ds: RecordBuf = format!("{} ", signed.ds.lines().next().unwrap())
            .replacen(" IN ", " 300 IN ", 1)
            .parse()
            .unwrap();
        let RData::Ds(ds) = ds.rdata().unwrap() else { panic!("{ds}") };
        let tags: Vec<u16> = all
            .iter()
            .filter_map(|record| match record.rdata().unwrap() {
                RData::Rrsig(rrsig) if rrsig.covered == RecordType::DNSKEY => Some(rrsig.key_tag),
                _ => None,
            })
            .collect();
        assert!(tags.contains(&ds.key_tag));
    }
}

#[test]
fn the_other_direction_what_we_compose_is_read_by_kdig_and_dig() {
    let Some((kdig, dig)) = tools() else { return };
    let Some(knot) = dns::knot(&[ZONE], "") else { return };
    let mut all = transfer(knot.addr_of("dns"), ZONE.name);
    all.pop();
    let set: Vec<_> =
        all.iter().map(|record| (record.rtype, record.data.clone().into_vec())).collect();
    let responder = Responder::start(set);
    let records = responder.records();
    beside(&records, kdig.ask(responder.addr(), &responder.questions()), like_kdig);
    beside(&records, dig.ask(responder.addr(), &responder.questions()), like_dig);
}
