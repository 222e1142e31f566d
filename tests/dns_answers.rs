//! What answers say: codes, flags, EDNS, sizes, and text that nobody should print as it is.
#![cfg(all(feature = "dns", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a panic is a failed test"
)]

mod check;
mod dns;

use std::time::{Duration, Instant};

use dns::{
    FINE, RECORD, answer, ask, asking, genuine, nowhere, only, opt, outcome, passed_over, question,
    raw, tcp, udp,
};
use netsonde::ProbeResult;
use netsonde::dns::{
    ClientSubnet, DnsConfig, DnsExpect, DnsFate, DnsReport, DnsTransport, EdnsConfig,
    EdnsOptionReport, RawOption,
};
use netsonde::wire::dns::{Message, Rcode, Section};

/// Asks a server that answers with these octets, made from the query.
async fn told(
    config: DnsConfig,
    make: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
) -> ProbeResult<DnsReport> {
    let server = udp(move |query| vec![make(query)]).await;
    ask(server, config).await
}

/// The answer as the only thing that comes, over TCP.
async fn over_tcp(
    make: impl Fn(&[u8]) -> Vec<u8> + Clone + Send + Sync + 'static,
) -> ProbeResult<DnsReport> {
    let server = tcp(nowhere(), move |query| vec![make(query)]).await;
    ask(server, DnsConfig { transport: DnsTransport::Tcp, ..asking(3000) }).await
}

#[tokio::test]
async fn d32_no_records() {
    let result = told(asking(2000), |query| answer(query, FINE, &[])).await;
    assert!(result.verdict.is_pass(), "{result}");
    assert!(result.report.exchange.is_no_data());
    assert_eq!(result.report.exchange.rcode(), Some(Rcode::NOERROR));
}

#[tokio::test]
async fn d33_d34_d36_d37_d38_codes_are_answers_that_are_not_wanted() {
    for code in 1..=15_u16 {
        let make = move |query: &[u8]| answer(query, 0x8180 | code, &[]);
        let result = told(asking(2000), make).await;
        assert_eq!(outcome(&result), ("pass", None), "the exchange itself is fine: {result}");
        assert_eq!(result.verdict.code(), Some("expectation_failed"), "{result}");
        assert_eq!(result.report.exchange.rcode(), Some(Rcode(code)));
        assert!(!result.report.exchange.is_no_data());
        let text = result.verdict.to_string();
        assert!(text.contains(&Rcode(code).to_string()), "{text}");
        let expect = DnsExpect { rcodes: vec![Rcode(code)], ..DnsExpect::default() };
        let result = told(DnsConfig { expect, ..asking(2000) }, make).await;
        assert!(result.verdict.is_pass(), "{result}");
    }
}

#[tokio::test]
async fn d40_d41_codes_with_the_bits_of_edns() {
    for code in [16_u16, 23, 4095] {
        let make = move |query: &[u8]| {
            let upper = u8::try_from(code >> 4).unwrap();
            raw(query, 0x8180 | (code & 15), [0, 0, 1], &opt([upper, 0], &[]))
        };
        let result = told(asking(2000), make).await;
        assert_eq!(outcome(&result), ("pass", None), "{result}");
        assert_eq!(result.verdict.code(), Some("expectation_failed"));
        assert_eq!(result.report.exchange.rcode(), Some(Rcode(code)), "{result}");
    }
}

#[tokio::test]
async fn d42_flags_are_reported_as_sent() {
    for bits in 0..32_u16 {
        let bit = |place: u16| bits >> place & 1;
        let flags = 0x8100 | bit(0) << 10 | bit(1) << 7 | bit(2) << 6 | bit(3) << 5 | bit(4) << 4;
        let result = told(asking(2000), move |query| answer(query, flags, &[RECORD])).await;
        assert!(result.verdict.is_pass(), "{result}");
        let header = result.report.exchange.header.as_ref().unwrap();
        assert_eq!(header.authoritative, bit(0) == 1);
        assert_eq!(header.recursion_available, bit(1) == 1);
        assert_eq!(header.authentic_data, bit(3) == 1);
        assert_eq!(header.checking_disabled, bit(4) == 1);
        // Z has no field of its own (RFC 1035, 4.1.1: zero); the message has it.
        let message = result.report.exchange.parsed().unwrap();
        assert_eq!(message.header().flags.0, flags);
    }
}

#[tokio::test]
async fn d49_more_records_than_there_are() {
    // In twelve octets, question and all; then with the question.
    let in_twelve =
        |query: &[u8]| [&query[..2], &[0x81, 0x80, 0, 1, 255, 255, 0, 0, 0, 0]].concat();
    let behind_it = |query: &[u8]| raw(query, FINE, [65_535, 0, 0], &[]);
    let in_authority = |query: &[u8]| raw(query, FINE, [0, 65_535, 0], &[]);
    for make in [in_twelve, behind_it, in_authority] {
        let result = told(asking(120), make).await;
        assert_eq!(outcome(&result).0, "dns_malformed", "{result}");
        assert_eq!(passed_over(only(&result), "malformed"), 1);
        let result = over_tcp(make).await;
        assert_eq!(outcome(&result).0, "dns_malformed", "{result}");
    }
}

#[tokio::test]
async fn d53_octets_left_over() {
    let make = |query: &[u8]| [genuine(query), vec![1, 2, 3]].concat();
    let result = told(asking(2000), make).await;
    assert!(result.verdict.is_pass(), "{result}");
    assert_eq!(result.report.exchange.trailing_bytes, 3);
    let result = told(DnsConfig { strict: true, ..asking(120) }, make).await;
    assert_eq!(outcome(&result).0, "dns_trailing_bytes", "{result}");
}

/// One record of type NULL whose data is a chain of pointers, each to the one in front of it, and one
/// whose owner is the end of that chain.
fn chain(query: &[u8]) -> Vec<u8> {
    let head = raw(query, FINE, [2, 0, 0], &[]);
    let start = head.len() + 11;
    let pointers: Vec<u8> = (start..0x3ffe)
        .step_by(2)
        .flat_map(|at| {
            (0xc000 | u16::try_from(if at == start { 12 } else { at - 2 }).unwrap()).to_be_bytes()
        })
        .collect();
    let length = u16::try_from(pointers.len()).unwrap().to_be_bytes();
    let last = 0xc000 | u16::try_from(start + pointers.len() - 2).unwrap();
    let body = [
        &[0, 0, 10, 0, 1, 0, 0, 0, 0, length[0], length[1]],
        &pointers[..],
        &last.to_be_bytes(),
        &[0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1],
    ];
    [head, body.concat()].concat()
}

#[tokio::test]
async fn d60_a_chain_of_pointers_over_tcp() {
    let result = over_tcp(chain).await;
    assert_eq!(outcome(&result).0, "dns_malformed", "{result}");
    assert!(result.to_string().contains("pointer"), "{result}");
}

#[tokio::test]
async fn d80_text_of_64_kib_over_tcp() {
    // As much as fits behind header, question and the head of the record, in strings of 255 octets.
    let make = |query: &[u8]| {
        let head = raw(query, FINE, [1, 0, 0], &[0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
        let room = 65_535 - head.len() - 2;
        let mut data: Vec<u8> =
            std::iter::repeat_n([&[255][..], &[b'\x07'; 255]].concat(), room / 256)
                .flatten()
                .collect();
        let rest = room - data.len();
        data.extend([u8::try_from(rest - 1).unwrap()]);
        data.resize(room, b'x');
        [head, u16::try_from(room).unwrap().to_be_bytes().to_vec(), data].concat()
    };
    let server = tcp(nowhere(), move |query| vec![make(query)]).await;
    let mut config = question("www.example TXT");
    config.transport = DnsTransport::Tcp;
    let result = ask(server, config.clone()).await;
    assert!(result.verdict.is_pass(), "{}", result.verdict);
    let exchange = &result.report.exchange;
    assert_eq!((exchange.size, exchange.message.len()), (Some(65_535), 65_535));
    assert!(exchange.answer[0].data.contains("\\007\\007"), "escaped");
    // A message that is longer than one wants to hold is refused by its length.
    config.limits.message_bytes = 65_534;
    let result = ask(server, config).await;
    assert_eq!(outcome(&result).0, "dns_length", "{result}");
}

/// What the report says of the EDNS part of an answer.
async fn edns_of(counts: [u16; 3], body: Vec<u8>) -> ProbeResult<DnsReport> {
    told(asking(120), move |query| raw(query, FINE, counts, &body)).await
}

#[tokio::test]
async fn d101_d102_d104_d105_broken_edns() {
    // The OPT record promises more than there is: the message cannot be read.
    let mut short = opt([0, 0], &[]);
    short[10] = 9;
    let result = edns_of([0, 0, 1], short).await;
    assert_eq!(outcome(&result).0, "dns_malformed", "{result}");
    // What is wrong within the record does not make the rest unreadable: the answer is one, and the report
    // says what is wrong with its EDNS part. The list has these as unreadable.
    let overrun = opt([0, 0], &[0, 3, 0, 200, 1]);
    let mut named = opt([0, 0], &[]);
    named.splice(..1, [1, b'x', 0]);
    for (body, counts, why) in [
        (overrun, [0, 0, 1], "an option that overruns"),
        (named, [0, 0, 1], "another owner than the root"),
        ([opt([0, 0], &[]), opt([0, 0], &[])].concat(), [0, 0, 2], "two of them"),
    ] {
        let result = edns_of(counts, body).await;
        assert_eq!(outcome(&result), ("pass", None), "{why}: {result}");
        let exchange = &result.report.exchange;
        let told = exchange.edns_error.is_some()
            || exchange.edns.as_ref().is_some_and(|edns| {
                edns.options
                    .iter()
                    .any(|option| matches!(option, EdnsOptionReport::Other { error: Some(_), .. }))
            });
        assert!(told, "{why}: {exchange:?}");
    }
    // In another section it is a record like any other, and no EDNS.
    let result = edns_of([1, 0, 0], opt([0, 0], &[])).await;
    let exchange = &result.report.exchange;
    assert_eq!(outcome(&result), ("pass", None), "{result}");
    let shown = exchange.answer.len() == 1 && exchange.edns.is_none();
    assert!(shown || exchange.edns_error.is_some(), "{exchange:?}");
}

#[tokio::test]
async fn d106_another_version_of_edns() {
    let server = udp(|query| {
        let version = Message::parse(query).unwrap().edns().unwrap().unwrap().version;
        let code = u8::from(version != 0);
        vec![raw(query, FINE, [0, 0, 1], &opt([code, 0], &[]))]
    })
    .await;
    let edns = Some(EdnsConfig { version: 1, ..EdnsConfig::default() });
    let result = ask(server, DnsConfig { edns, ..asking(2000) }).await;
    assert_eq!(result.report.exchange.rcode(), Some(Rcode::BADVERS), "{result}");
    assert_eq!(result.verdict.code(), Some("expectation_failed"));
}

#[tokio::test]
async fn d108_cookies_of_wrong_lengths() {
    for len in (0..=7).chain(9..=15).chain([41]) {
        let option = [&[0, 10, 0, len][..], &vec![7; len.into()]].concat();
        let result = edns_of([0, 0, 1], opt([0, 0], &option)).await;
        // The answer is one; its cookie is told to be broken, where the list has the message as broken.
        assert_eq!(outcome(&result), ("pass", None), "{len}: {result}");
        let options = &result.report.exchange.edns.as_ref().unwrap().options;
        let [EdnsOptionReport::Other { error: Some(error), .. }] = options.as_slice() else {
            panic!("{len}: {options:?}")
        };
        assert!(!error.is_empty());
    }
    for len in [8, 16, 40] {
        let option = [&[0, 10, 0, len][..], &vec![7; len.into()]].concat();
        let result = edns_of([0, 0, 1], opt([0, 0], &option)).await;
        let options = &result.report.exchange.edns.as_ref().unwrap().options;
        assert!(matches!(options[0], EdnsOptionReport::Cookie { .. }), "{len}: {options:?}");
    }
}

#[tokio::test]
async fn d109_the_text_of_an_extended_error() {
    let error = |text: &[u8]| {
        let length = u16::try_from(text.len() + 2).unwrap().to_be_bytes();
        opt([0, 0], &[&[0, 15, length[0], length[1], 0, 22], text].concat())
    };
    let told_text = |result: &ProbeResult<DnsReport>| {
        let options = &result.report.exchange.edns.as_ref().unwrap().options;
        let [EdnsOptionReport::ExtendedError { number: 22, text, .. }] = options.as_slice() else {
            panic!("{options:?}")
        };
        text.clone()
    };
    let result = edns_of([0, 0, 1], error(b"no\xffpe\x1b[31m\r\n\0")).await;
    let text = told_text(&result);
    assert!(text.starts_with("no") && !text.contains(char::is_control), "{text:?}");
    for (long, shown) in [(vec![b'a'; 60 * 1024], 'a'), (vec![0xff; 60 * 1024], '\u{fffd}')] {
        let body = error(&long);
        let result = over_tcp(move |query| raw(query, FINE, [0, 0, 1], &body)).await;
        let text = told_text(&result);
        assert!(text.starts_with(shown), "{text}");
        assert!((250..=256 + '…'.len_utf8()).contains(&text.len()), "{} octets", text.len());
    }
}

#[tokio::test]
async fn d110_a_server_that_drops_queries_with_edns() {
    let speaks = |query: &[u8]| Message::parse(query).unwrap().edns().unwrap().is_some();
    let server = udp(move |query| if speaks(query) { vec![] } else { vec![genuine(query)] }).await;
    let result = ask(server, asking(120)).await;
    assert_eq!(outcome(&result).0, "timeout", "{result}");
    let config = DnsConfig { without_edns: true, retries: 1, ..asking(120) };
    let result = ask(server, config.clone()).await;
    assert!(result.verdict.is_pass(), "{result}");
    let tried: Vec<_> = result.report.exchange.attempts.iter().map(|a| (a.edns, a.fate)).collect();
    let (out, in_time) = (DnsFate::TimedOut, DnsFate::Answered);
    assert_eq!(tried, [(true, out), (true, out), (false, in_time)]);
    // FORMERR is as good as a drop, and faster (RFC 6891, 7).
    let server = udp(move |query| {
        vec![if speaks(query) { answer(query, 0x8181, &[]) } else { genuine(query) }]
    })
    .await;
    let result = ask(server, config).await;
    assert!(result.verdict.is_pass(), "{result}");
    assert_eq!(result.report.exchange.attempts.len(), 2);
    assert_eq!(result.report.exchange.rcode(), Some(Rcode::NOERROR));
}

#[tokio::test]
async fn d112_larger_than_advertised() {
    let padded = |len: usize| {
        move |query: &[u8]| {
            let mut message = raw(query, FINE, [1, 0, 0], &[0xc0, 12, 255, 0, 0, 1, 0, 0, 0, 0]);
            let room = u16::try_from(len - message.len() - 2).unwrap();
            message.extend(room.to_be_bytes());
            message.resize(len, 7);
            message
        }
    };
    // 1,232 were advertised, 4,096 are taken.
    for len in [1232, 1233, 4096] {
        let result = told(asking(2000), padded(len)).await;
        assert!(result.verdict.is_pass(), "{len}: {}", result.verdict);
        assert_eq!(result.report.exchange.size, u32::try_from(len).ok());
    }
    let result = told(asking(120), padded(4097)).await;
    assert_eq!(outcome(&result).0, "dns_malformed", "{result}");
    // What is cut off can be octets behind the last record.
    let result = told(asking(120), |query| [genuine(query), vec![0; 5000]].concat()).await;
    assert_eq!(outcome(&result).0, "dns_malformed", "{}", result.verdict);
    // What EDNS advertises is taken, whatever the cap says.
    let edns = Some(EdnsConfig { udp_payload: 8192, ..EdnsConfig::default() });
    let result = told(DnsConfig { edns, ..asking(2000) }, padded(8192)).await;
    assert!(result.verdict.is_pass(), "{}", result.verdict);
}

/// The shortest time of a probe over TCP in several, for messages that are a burden.
async fn quickest(
    records: usize,
    make: impl Fn(&[u8]) -> Vec<u8> + Clone + Send + Sync + 'static,
) -> Duration {
    let server = tcp(nowhere(), move |query| vec![make(query)]).await;
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let config = DnsConfig { transport: DnsTransport::Tcp, ..asking(3000) };
        let prober = netsonde::dns::DnsProber::new(config).unwrap();
        let before = Instant::now();
        let result = netsonde::Prober::probe(&prober, &server.into()).await;
        best = best.min(before.elapsed());
        assert!(result.verdict.is_pass(), "{}", result.verdict);
        let exchange = &result.report.exchange;
        let shown = [Section::Answer, Section::Authority, Section::Additional]
            .map(|section| exchange.section(section).len());
        assert_eq!(shown.iter().sum::<usize>(), records);
    }
    println!("{records} records: {best:?}");
    best
}

/// Records of one type with these data, in the answer section.
fn records(query: &[u8], rtype: u16, data: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let (mut body, mut count) = (Vec::new(), 0);
    for data in data {
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        body.extend([0xc0, 12]);
        body.extend(rtype.to_be_bytes());
        body.extend([0, 1, 0, 0, 0, 60, length[0], length[1]]);
        body.extend(data);
        count += 1;
    }
    raw(query, FINE, [count, 0, 0], &body)
}

#[tokio::test]
async fn d118_three_thousand_records() {
    let took = quickest(3000, |query| {
        records(query, 1, (0..3000_u16).map(|i| [&[10, 0], &i.to_be_bytes()[..]].concat()))
    })
    .await;
    assert!(took <= Duration::from_millis(5) * SLOWER, "{took:?}");
    // Beyond the cap they are counted, and the message has them.
    let server = tcp(nowhere(), |query| {
        vec![records(query, 1, (0..3000_u16).map(|i| [&[10, 0], &i.to_be_bytes()[..]].concat()))]
    })
    .await;
    let mut config = DnsConfig { transport: DnsTransport::Tcp, ..asking(3000) };
    config.limits.records = 10;
    let result = ask(server, config).await;
    let exchange = &result.report.exchange;
    assert_eq!((exchange.answer.len(), exchange.records_left_out), (10, 2990));
    assert_eq!(exchange.parsed().unwrap().records().count(), 3000);
}

/// The goals are for an optimised build; this one has opt-level 1 and its assertions, and a server and a
/// connection in its time.
const SLOWER: u32 = if cfg!(debug_assertions) { 4 } else { 1 };

#[tokio::test]
async fn d120_a_hundred_keys_and_a_hundred_signatures() {
    let took = quickest(200, |query| {
        // Keys and signatures all of one tag: nothing is verified here, so nothing is multiplied.
        let key = |i: u8| [&[1, 0, 3, 13][..], &[i; 64]].concat();
        let signature = |i: u8| {
            let head = [0, 48, 13, 1, 0, 0, 0, 60, 127, 255, 255, 255, 0, 0, 0, 0, 0x30, 0x39];
            [&head[..], b"\x03www\x07example\0", &[i; 64]].concat()
        };
        let mut keys = records(query, 48, (0..100).map(key));
        let signatures = records(query, 46, (0..100).map(signature));
        keys.extend(&signatures[12 + dns::question_of(query).len()..]);
        keys[6..8].copy_from_slice(&200_u16.to_be_bytes());
        keys
    })
    .await;
    assert!(took <= Duration::from_millis(5) * SLOWER, "{took:?}");
}

#[tokio::test]
async fn d121_nsec3_with_65535_iterations() {
    let took = quickest(1, |query| {
        let data = [&[1, 0, 255, 255, 4][..], &[0xab; 4], &[20], &[7; 20], &[0, 1, 0x40]].concat();
        records(query, 50, [data])
    })
    .await;
    // The iterations alone would be 65,535 SHA-1 sums.
    assert!(took <= Duration::from_millis(5) * SLOWER, "{took:?}");
}

#[tokio::test]
async fn d150_control_characters_are_escaped() {
    let text = b"\x0a\x1b[31m\"\\\xc3\xa9\x00\x7f";
    let make = |query: &[u8]| {
        let string = [&[u8::try_from(text.len()).unwrap()], &text[..]].concat();
        records(query, 16, [string])
    };
    let server = udp(move |query| vec![make(query)]).await;
    let result = ask(server, question("www.example TXT")).await;
    assert!(result.verdict.is_pass(), "{result}");
    let record = &result.report.exchange.answer[0];
    assert_eq!(record.data, r#""\010\027[31m\"\\\195\169\000\127""#);
    // Also where a control character stands in a name, and in what goes wrong.
    let server = udp(|query| {
        let name = b"\x03a\x1bb\x00";
        let mut body = name.to_vec();
        body.extend([0, 5, 0, 1, 0, 0, 0, 60, 0, 5]);
        body.extend(name);
        vec![raw(query, FINE, [1, 0, 0], &body)]
    })
    .await;
    let result = ask(server, asking(2000)).await;
    assert_eq!(result.report.exchange.answer[0].data, r"a\027b.");
    for shown in [format!("{result}"), format!("{result:#}"), format!("{:?}", result.report)] {
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown}");
    }
}

#[tokio::test]
async fn what_a_query_says_by_edns_arrives() {
    let subnet: ClientSubnet = "192.0.2.0/24".parse().unwrap();
    let edns = EdnsConfig {
        dnssec_ok: true,
        nsid: true,
        client_subnet: Some(subnet),
        cookie: true,
        padding: Some(128),
        options: vec![RawOption { code: 65_001, data: vec![1, 2] }],
        ..EdnsConfig::default()
    };
    // The query's own OPT record comes back.
    let server = udp(|query| {
        let mut message = query.to_vec();
        message[2] |= 0x80;
        vec![message]
    })
    .await;
    let result = ask(server, DnsConfig { edns: Some(edns), ..asking(2000) }).await;
    assert!(result.verdict.is_pass(), "{result}");
    let exchange = &result.report.exchange;
    assert_eq!(exchange.size.map(|size| size % 128), Some(0), "{exchange:?}");
    let told = exchange.edns.as_ref().unwrap();
    assert!(told.dnssec_ok);
    assert_eq!(told.options.len(), 5, "{told:?}");
}
