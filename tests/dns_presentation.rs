//! Records as text and as octets beside real name servers (knot, BIND, nsd) and beside what `kdig` and `dig`
//! show of the same answers. Where they differ from each other, `docs/design.md` says whom we follow; the
//! functions `like_kdig` and `like_dig` hold these differences and nothing else.
#![cfg(feature = "dns")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

#[path = "dns/beside.rs"]
mod beside;
#[path = "dns/exchange.rs"]
mod exchange;
#[path = "dns/tools.rs"]
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use beside::{ONLY_NAMED, beside, identical, sets};
use exchange::{Responder, answers, ask, by_udp, question, transfer};
use netsonde::wire::dns::rdata::{RData, from_text};
use netsonde::wire::dns::{
    Class, DataReader, EdnsOption, EdnsRepr, Message, RecordBuf, RecordType,
};
use netsonde_support::daemon::dns::{self, Zone};
use netsonde_support::skip::require_ipv6;
use netsonde_support::{Pki, require_command};
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

/// Each set of records by itself, asked for by UDP, and by TCP where that is cut short.
fn each_set_is_shown_alike(server: SocketAddr, all: &[RecordBuf], kdig: &Tool, dig: &Tool) {
    let sets = sets(all);
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
        TLSA SSHFP SVCB HTTPS LOC URI OPENPGPKEY SMIMEA CDS CDNSKEY HINFO RP SPF ZONEMD CSYNC TYPE65280 \
        MINFO AFSDB RT KEY KX CERT APL IPSECKEY DHCID NID L32 L64 LP EUI48 EUI64";
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
fn three_servers_and_a_resolver_give_the_same_records_of_one_zone() {
    let certificate = Pki::new().leaf("dns.test").issue();
    let Some(signed) = dns::sign(SMALL, "ECDSAP256SHA256", &["-3", "0123456789ABCDEF", "-H", "3"])
    else {
        return;
    };
    let zones = [ZONE, Zone { text: &signed.text, ..SMALL }];
    let Some(knot) = dns::knot(&zones, "") else { return };
    let Some(named) = dns::named(&certificate, &zones, "") else { return };
    let Some(nsd) = dns::nsd(&certificate, &zones, "") else { return };
    let has_ipv6 = require_ipv6().is_some();
    for zone in zones {
        let [knot, named, nsd] = [&knot, &named, &nsd].map(|server| {
            let by_v4 = transfer(server.addr_of("dns"), zone.name);
            by_v4.iter().for_each(comes_back);
            if has_ipv6 {
                let by_v6 = transfer(server.addr6_of("dns"), zone.name);
                assert_eq!(by_v4, by_v6);
            }
            as_set(&by_v4)
        });
        assert!(knot.len() > 20);
        same_set(&knot, &named);
        same_set(&knot, &nsd);
    }
    // A resolver between us and a server changes nothing but the time to live. It keeps to itself what proves
    // something, but for those who say DO.
    let proof = [RecordType::RRSIG, RecordType::NSEC];
    let stubs = [(ZONE.name, knot.addr_of("dns"))];
    let Some(unbound) = dns::unbound(&certificate, &stubs, "") else { return };
    let sets = sets(&transfer(knot.addr_of("dns"), ZONE.name));
    for (owner, rtype) in sets.into_iter().filter(|(_, rtype)| !proof.contains(rtype)) {
        let [direct, resolved] = [&knot, &unbound].map(|server| {
            let found = answers(&ask(server.addr_of("dns"), &owner, rtype));
            found.into_iter().filter(|one| one.rtype == rtype).collect::<BTreeSet<_>>()
        });
        assert_eq!(direct, resolved, "{owner} {rtype}");
    }
    // The order of canonical data is that of RFC 4034, 6.3, in which knot keeps and sends its sets.
    let transferred = transfer(knot.addr_of("dns"), ZONE.name);
    let ordered = transferred.chunk_by(|a, b| a.owner == b.owner && a.rtype == b.rtype);
    for set in ordered {
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
    beside(records, kdig.ask(responder.addr(), &responder.questions()), like_kdig);
    beside(records, dig.ask(responder.addr(), &responder.questions()), like_dig);
}

/// Answers with these data, shown by kdig and dig. A tool may refuse what it takes for broken: how many
/// records each of them has shown.
fn shown_alike(data: Vec<(RecordType, Vec<u8>)>, kdig: &Tool, dig: &Tool) -> [usize; 2] {
    let responder = Responder::start(data);
    let each = |tool: &Tool, like: fn(&RecordBuf, &str) -> String| {
        let mut lines = tool.ask(responder.addr(), &responder.questions());
        // dig shows the octets of a message that it refuses.
        lines.retain(|line| line.contains(".t. 300 IN "));
        let records: BTreeMap<String, &RecordBuf> =
            responder.records().iter().map(|one| (one.owner.to_string(), one)).collect();
        for line in &lines {
            let owner = line.split(' ').next().unwrap();
            let record = records[owner];
            assert_eq!(record.to_string(), like(record, line), "{line}");
            let octets = like(record, line).parse::<RecordBuf>().map(|read| read.data);
            assert_eq!(octets.as_deref(), Ok(&*record.data), "{line}");
        }
        lines.len()
    };
    [each(kdig, like_kdig), each(dig, like_dig)]
}

#[test]
fn d70_d150_every_octet_is_escaped_as_kdig_and_dig_escape_it() {
    let Some((kdig, dig)) = tools() else { return };
    let mut data = Vec::new();
    for octet in 0..=u8::MAX {
        let within = [b'a', octet, b'b'];
        let label = [&[3], &within[..], &[0]].concat();
        data.push((RecordType::NS, label));
        data.push((RecordType::NS, vec![1, octet, 0]));
        data.push((RecordType::TXT, [&[3], &within[..]].concat()));
        data.push((RecordType::TXT, vec![1, octet]));
        data.push((RecordType::URI, [&[0; 4], &within[..]].concat()));
        data.push((RecordType::CAA, [&[0, 1, b'x'], &within[..]].concat()));
        let parameter = |key| [&[0, 1, 0, 0, key, 0, 4, 3], &within[..]].concat();
        data.push((RecordType::SVCB, parameter(1)));
        data.push((RecordType::HTTPS, parameter(9)));
    }
    let all = data.len();
    assert_eq!(shown_alike(data, &kdig, &dig), [all, all]);
}

/// A generator whose numbers are the same every time (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit
    }
}

#[test]
fn data_with_octets_changed_are_shown_as_kdig_and_dig_show_them_or_refused() {
    let Some((kdig, dig)) = tools() else { return };
    let Some(knot) = dns::knot(&[ZONE], "") else { return };
    let seeds = transfer(knot.addr_of("dns"), ZONE.name);
    let mut numbers = Numbers(0x4e65_7453_6f6e_6465);
    let mut data = Vec::new();
    while data.len() < 1500 {
        let seed = &seeds[numbers.below(seeds.len())];
        let mut octets = seed.data.to_vec();
        for _ in 0..=numbers.below(3) {
            if !octets.is_empty() {
                let at = numbers.below(octets.len());
                octets[at] = u8::try_from(numbers.below(256)).unwrap();
            }
        }
        let read = RData::parse(seed.rtype, Class::IN, DataReader::of(&octets));
        let typed = !ONLY_NAMED.contains(&seed.rtype);
        // kdig and dig take a time of more than 2^31 seconds to come for one that many seconds ago.
        let late = seed.rtype == RecordType::RRSIG && (octets[8] >= 0xe0 || octets[12] >= 0xe0);
        if read.is_ok() && typed && !late && octets.len() < 1000 {
            data.push((seed.rtype, octets));
        }
    }
    let all = data.len();
    let [kdig, dig] = shown_alike(data, &kdig, &dig);
    println!("of {all}, kdig has shown {kdig} and dig {dig}");
    assert!(kdig > all * 9 / 10 && dig > all * 9 / 10, "{kdig} {dig}");
}

#[test]
fn types_have_the_names_that_kdig_and_dig_have_for_them() {
    let Some((kdig, dig)) = tools() else { return };
    let responder = Responder::start(Vec::new());
    // kdig and dig want more than a name for a transfer, and dig makes what it has to of OPT.
    let transfers = [RecordType::IXFR, RecordType::AXFR];
    let types: Vec<_> = (1..=400)
        .chain([32_767, 32_768, 32_769, 32_770, 65_279, 65_280, 65_534, 65_535])
        .map(RecordType)
        .filter(|rtype| !transfers.contains(rtype))
        .collect();
    let questions: Vec<_> =
        types.iter().map(|rtype| (format!("type{}.t.", rtype.0), *rtype)).collect();
    for (tool, is_dig) in [(&kdig, false), (&dig, true)] {
        let names = tool.names(responder.addr(), &questions);
        assert_eq!(names.len(), types.len());
        for (rtype, name) in types.iter().zip(names) {
            // What one of them has a name for has it here; what neither has, has none.
            match name.strip_prefix("TYPE") {
                Some(number) if !is_dig => assert_eq!(number, rtype.0.to_string()),
                _ => assert_eq!(name, rtype.to_string()),
            }
            assert_eq!(name.parse(), Ok(*rtype));
        }
    }
}

#[test]
fn what_edns_says_is_what_kdig_shows_of_it() {
    let Some((kdig, _)) = tools() else { return };
    let nsid = "    nsid: 0x6E732D61";
    let Some(knot) = dns::knot(&[ZONE], nsid) else { return };
    let server = knot.addr_of("dns");
    let edns =
        EdnsRepr { options: &[EdnsOption::Nsid(b"")], dnssec_ok: true, ..EdnsRepr::default() };
    let answer = by_udp(server, &question(ZONE.name, RecordType::SOA, Some(&edns)));
    let message = Message::parse(&answer).unwrap();
    let edns = message.edns().unwrap().unwrap();
    let shown = kdig.output(
        server,
        &["+nsid", "+dnssec", "+bufsize=1232"],
        &[ZONE.name.to_owned(), "SOA".to_owned()],
    );
    assert!(shown.contains(";; EDNS PSEUDOSECTION:"), "{shown}");
    let flags = format!(
        ";; Version: {}; flags: do; UDP size: {} B; ext-rcode: {}",
        edns.version,
        edns.udp_payload,
        message.rcode(Some(&edns)),
    );
    assert!(edns.dnssec_ok() && shown.contains(&flags), "{flags}\n{shown}");
    let told: Vec<_> = edns.options().map(|(_, option)| option.unwrap()).collect();
    assert_eq!(told, [EdnsOption::Nsid(b"ns-a")]);
    assert!(shown.contains(";; NSID: 6E732D61 \"ns-a\""), "{shown}");
}

#[test]
fn d92_a_signature_of_a_transaction_reads_as_dig_shows_it() {
    let Some((kdig, dig)) = tools() else { return };
    let texts = [
        "hmac-sha256. 1795162113 300 4 AAECAw== 4660 NOERROR 0",
        "hmac-sha1. 281474976710655 65535 0 0 BADSIG 0",
        "Hmac-SHA512. 0 0 3 AAEC 65535 BADTIME 6 AABrAAAB",
        "a\\.b.c. 1 1 1 AA== 1 BADKEY 0",
    ];
    let octets = |text| from_text(RecordType::TSIG, Class::ANY, text).unwrap();
    let responder =
        Responder::start(texts.iter().map(|text| (RecordType::TSIG, octets(text))).collect());
    for (tool, is_dig) in [(&kdig, false), (&dig, true)] {
        for (record, text) in responder.records().iter().zip(texts) {
            assert_eq!(record.rdata().unwrap().to_string(), text);
            comes_back(record);
            let arguments = [record.owner.to_string(), "A".to_owned()];
            let shown = tool.output(responder.addr(), &["+tcp"], &arguments);
            let line = shown.lines().find(|line| line.contains("\tTSIG\t"));
            let line = line.unwrap_or_else(|| panic!("{shown}"));
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
            // kdig shows the time of a server as a number.
            let other = if is_dig { "AABrAAAB" } else { "1795162113" };
            assert_eq!(words, record.to_string().replace("AABrAAAB", other));
        }
    }
}
