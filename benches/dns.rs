//! Reading and writing of DNS messages beside trust-dns-proto (published as hickory-proto).
//!
//! Both read the whole message and look at owner, type, class, time to live and typed data of each answer.
//! hickory-proto makes an owned message; ours is read where it lies.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use netsonde::wire::dns::{
    Class, Composer, DnsName, EdnsRepr, Flags, Message, RecordBuf, RecordType, Section,
};
use trust_dns_proto::op::Message as Theirs;
use trust_dns_proto::op::Query;
use trust_dns_proto::rr::Name;

fn message(question: &str, rtype: RecordType, records: &[(Section, String)]) -> Vec<u8> {
    let name: DnsName = question.parse().unwrap();
    let mut out = Vec::new();
    let mut composer = Composer::new(&mut out, 0x1234, Flags(0x8180));
    composer.question(name.as_ref(), rtype, Class::IN).unwrap();
    let mut records: Vec<&(Section, String)> = records.iter().collect();
    records.sort_by_key(|(section, _)| *section);
    for (section, text) in records {
        let record: RecordBuf = text.parse().unwrap();
        record.compose(&mut composer, *section).unwrap();
    }
    composer.edns(&EdnsRepr::default()).unwrap();
    composer.finish();
    out
}

/// What goes over the wires every day.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    use Section::{Additional, Answer, Authority};
    let one = [(Answer, "www.example.org. 300 IN A 192.0.2.1".to_owned())];
    let aliases = [
        (Answer, "www.example.org. 300 IN CNAME www.example.net.".to_owned()),
        (Answer, "www.example.net. 60 IN CNAME edge.cdn.example.net.".to_owned()),
        (Answer, "edge.cdn.example.net. 20 IN A 192.0.2.1".to_owned()),
        (Answer, "edge.cdn.example.net. 20 IN A 192.0.2.2".to_owned()),
    ];
    let mut referral = Vec::new();
    for letter in 'a'..='m' {
        let server = format!("{letter}.gtld-servers.example.");
        referral.push((Authority, format!("org. 172800 IN NS {server}")));
        referral.push((Additional, format!("{server} 172800 IN A 192.0.2.{}", letter as u32)));
        referral
            .push((Additional, format!("{server} 172800 IN AAAA 2001:db8::{:x}", letter as u32)));
    }
    let exchangers =
        (0..40).map(|n| (Answer, format!("example.org. 300 IN MX {n} mx{n}.mail.example.org.")));
    let texts = (0..60)
        .map(|n| (Answer, format!("example.org. 300 IN TXT \"key{n}=value of it\" \"more\"")));
    let many: Vec<(Section, String)> = exchangers.chain(texts).collect();
    vec![
        ("one address", message("www.example.org", RecordType::A, &one)),
        ("aliases", message("www.example.org", RecordType::A, &aliases)),
        ("referral", message("example.org", RecordType::A, &referral)),
        ("100 records", message("example.org", RecordType::ANY, &many)),
    ]
}

/// All sections, so that a referral counts as well.
fn read(bytes: &[u8]) -> u64 {
    let message = Message::parse(bytes).unwrap();
    let mut sum = 0;
    for item in message.records() {
        let (_, record) = item.unwrap();
        sum += u64::from(record.ttl()) + u64::from(record.rtype.0);
        black_box(record.owner);
        if record.rtype != RecordType::OPT {
            black_box(record.rdata().unwrap());
        }
    }
    sum
}

fn read_theirs(bytes: &[u8]) -> u64 {
    let message = Theirs::from_vec(bytes).unwrap();
    let mut sum = 0;
    for record in message.answers.iter().chain(&message.authorities).chain(&message.additionals) {
        sum += u64::from(record.ttl) + u64::from(u16::from(record.record_type()));
        black_box((&record.name, &record.data));
    }
    sum
}

fn reading(criterion: &mut Criterion) {
    for (name, bytes) in messages() {
        let mut group = criterion.benchmark_group(format!("read/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("netsonde", |bencher| bencher.iter(|| read(black_box(&bytes))));
        group.bench_function("trust-dns-proto", |bencher| {
            bencher.iter(|| read_theirs(black_box(&bytes)));
        });
        group.finish();
    }
}

fn composing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compose/query");
    let name: DnsName = "www.example.org".parse().unwrap();
    let mut out = Vec::with_capacity(512);
    group.bench_function("netsonde", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut composer = Composer::new(&mut out, black_box(7), Flags(0x0100));
            composer.question(name.as_ref(), RecordType::A, Class::IN).unwrap();
            composer.edns(&EdnsRepr::default()).unwrap();
            composer.finish();
            out.len()
        });
    });
    let theirs = Name::from_ascii("www.example.org.").unwrap();
    group.bench_function("trust-dns-proto", |bencher| {
        bencher.iter(|| {
            let mut message = Theirs::query();
            message.metadata.id = black_box(7);
            message.add_query(Query::query(theirs.clone(), trust_dns_proto::rr::RecordType::A));
            message.to_vec().unwrap().len()
        });
    });
    group.finish();
}

criterion_group!(benches, reading, composing);
criterion_main!(benches);
