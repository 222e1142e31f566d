#![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

use proptest::prelude::*;

use super::super::{Composer, DnsErrorKind, DnsName, Flags, HEADER, Message, Section};
use super::*;

/// One text of each type, as it is shown; most from the RFCs of the types.
const SHOWN: &[(RecordType, &str)] = &[
    (RecordType::A, "192.0.2.1"),
    (RecordType::AAAA, "2001:db8::1:0:0:1"),
    (RecordType::NS, "ns.example."),
    (RecordType::CNAME, "WWW.Example."),
    (RecordType::DNAME, "frobozz-division.acme.example."),
    (RecordType::SOA, "ns.example. host\\.master.example. 4294967295 7200 3600 1209600 300"),
    (RecordType::SOA, "a.b. c.d. 0 0 0 0 0"),
    (RecordType::PTR, "a\\.b\\032c.example."),
    (RecordType::MX, "10 mail.example."),
    (RecordType::TXT, "\"v=spf1 -all\" \"a\\\"b\\\\c;d\" \"\" \"\\000\\127\\128\\255 ~@$()'\""),
    (RecordType::SRV, "1 2 5060 Sip.example."),
    (RecordType::SRV, "0 0 0 ."),
    (RecordType::NAPTR, "100 50 \"s\" \"http+I2L+I2C\" \"!^.*$!a\\\\\\\\1!\" _http._tcp.example."),
    (RecordType::NAPTR, "0 65535 \"\" \"\" \"\" ."),
    (RecordType::CAA, "0 issue \"ca.example.net; account=230123\""),
    (RecordType::CAA, "128 tbs \"a\\\"b\\\\c\\000\""),
    (RecordType::CAA, "0 issue \"\""),
    (RecordType::DS, "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"),
    (RecordType::DNSKEY, "256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PQ=="),
    (
        RecordType::RRSIG,
        "A 5 3 86400 20030322173103 20030220173103 2642 Example.com. oJB1W6WNGv+ldvQ3WDG0",
    ),
    (RecordType::NSEC, "host.Example. A MX RRSIG NSEC CAA TYPE1234"),
    (RecordType::NSEC, "."),
    (
        RecordType::NSEC3,
        "1 1 12 AABBCCDD 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX DNSKEY NS SOA NSEC3PARAM RRSIG",
    ),
    (RecordType::NSEC3, "1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
    (RecordType::NSEC3PARAM, "1 0 12 AABBCCDD"),
    (RecordType::NSEC3PARAM, "1 0 0 -"),
    (RecordType::TLSA, "3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B9"),
    (RecordType::SSHFP, "2 1 123456789ABCDEF67890123456789ABCDEF67890"),
    (RecordType::SVCB, "0 foo.example.com."),
    (RecordType::SVCB, "1 ."),
    (RecordType::SVCB, "16 foo.example.com. port=53"),
    (RecordType::SVCB, "1 . ech"),
    (RecordType::SVCB, "1 foo.example.com. key667=\"hello\""),
    (RecordType::SVCB, "1 foo.example.com. key667=\"hello\\210qoo \\\"x\\\\y\" key668"),
    (RecordType::SVCB, "1 foo.example.com. ipv6hint=2001:db8::1,2001:db8::53:1"),
    (
        RecordType::SVCB,
        "16 foo.example.org. mandatory=alpn,ipv4hint alpn=h2,h3-19 ipv4hint=192.0.2.1",
    ),
    (RecordType::SVCB, "16 foo.example.org. alpn=f\\\\\\\\oo\\\\,bar,h2"),
    (RecordType::HTTPS, "1 . alpn=h2 no-default-alpn ech=AEj+DQBE key7=\"/dns-query{?dns}\""),
    (RecordType::LOC, "42 21 54 N 71 6 18 W -24m 30m 10000m 10m"),
    (RecordType::LOC, "52 14 5.123 S 0 8 50.009 E 10.55m 0.05m 90000000m 0m"),
    (RecordType::URI, "10 1 \"ftp://ftp1.example.com/public\\\"x\""),
    (RecordType::OPENPGPKEY, "mQINBFit2jsBEADrbl5vjVxYeAE0g0IDYCBpHirv"),
    (RecordType::SMIMEA, "3 0 0 D2ABDE24"),
    (RecordType::CDS, "0 0 0 00"),
    (RecordType::CDNSKEY, "0 3 0 AA=="),
    (RecordType::HINFO, "\"PC-Intel-700mhz\" \"Red Hat\""),
    (RecordType::RP, "louie\\.x.trantor.example. lam1.people.example."),
    (RecordType::SPF, "\"v=spf1 +mx a:colo.example.com/28 -all\""),
    (RecordType::OPT, "\\# 4 000A0000"),
    (RecordType::TSIG, "hmac-sha256. 281474976710655 300 4 AAECAw== 4660 BADSIG 0"),
    (RecordType::TSIG, "hmac-sha256. 1 300 0 4660 BADTIME 6 AAAAAAAA"),
    (RecordType::ZONEMD, "2018031500 1 1 FEBE3D4CE2EC2FFA4BA99D46CD69D6D29711E55217057BEE"),
    (RecordType::CSYNC, "66 3 A NS AAAA"),
    (RecordType::MINFO, "A.example. b.example."),
    (RecordType::AFSDB, "1 Afs.example."),
    (RecordType::RT, "10 relay.example."),
    (RecordType::KEY, "256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PQ=="),
    (RecordType::KX, "2 kx.example."),
    (RecordType::CERT, "1 2 5 AAECAw=="),
    (RecordType::APL, "1:192.168.32.0/21 !1:192.168.38.0/28 2:2001:db8::/32 1:0.0.0.0/0"),
    (RecordType::APL, ""),
    (RecordType::IPSECKEY, "10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="),
    (RecordType::IPSECKEY, "10 0 2 . AQNRU3mG"),
    (RecordType::IPSECKEY, "10 3 2 Gateway.example. AQNRU3mG"),
    (RecordType::IPSECKEY, "10 2 0 2001:db8::1"),
    (RecordType::DHCID, "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="),
    (RecordType::NID, "10 0014:4FFF:FF20:EE64"),
    (RecordType::L32, "10 10.1.2.0"),
    (RecordType::L64, "10 2001:0DB8:1140:1000"),
    (RecordType::LP, "10 l64-subnet1.Example."),
    (RecordType::EUI48, "00-00-5E-00-53-2A"),
    (RecordType::EUI64, "00-00-5E-EF-10-00-00-2A"),
    (RecordType::WKS, "\\# 5 C000020106"),
    (RecordType(65280), "\\# 3 0A00AB"),
    (RecordType(65280), "\\# 0"),
];

fn wire(rtype: RecordType, text: &str) -> Vec<u8> {
    from_text(rtype, Class::IN, text).unwrap_or_else(|why| panic!("{rtype} {text}: {why}"))
}

fn parse(rtype: RecordType, data: &[u8]) -> Result<RData<'_>, DnsErrorKind> {
    RData::parse(rtype, Class::IN, DataReader::of(data)).map_err(|error| error.kind)
}

fn show(rtype: RecordType, data: &[u8]) -> String {
    parse(rtype, data).unwrap().to_string()
}

#[test]
fn d77_d93_every_type_comes_back_from_its_text_and_its_octets() {
    for (rtype, text) in SHOWN {
        let data = wire(*rtype, text);
        let read = parse(*rtype, &data).unwrap();
        // A bit map has one order, whatever the text has.
        if *rtype != RecordType::NSEC3 {
            assert_eq!(read.to_string(), *text, "{rtype}");
        }
        let mut again = Vec::new();
        read.write(&mut again);
        assert_eq!(again, data, "{rtype} {text}");
        assert_eq!(wire(*rtype, &read.to_string()), data, "{rtype} {text}");
        let hex: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(wire(*rtype, &format!("\\# {} {hex}", data.len())), data);
        let line = format!("Owner.example. 300 IN {rtype} {read}");
        let record: RecordBuf = line.parse().unwrap();
        assert_eq!((record.to_string(), &record.data[..]), (line, &data[..]));
    }
}

#[test]
fn octets_are_those_of_the_rfcs() {
    let svcb = wire(RecordType::SVCB, "16 foo.example.com. port=53");
    assert_eq!(svcb, b"\x00\x10\x03foo\x07example\x03com\x00\x00\x03\x00\x02\x00\x35");
    let svcb = wire(
        RecordType::SVCB,
        "16 foo.example.org. (alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1)",
    );
    let expected = b"\x00\x10\x03foo\x07example\x03org\x00\
        \x00\x00\x00\x04\x00\x01\x00\x04\
        \x00\x01\x00\x09\x02h2\x05h3-19\
        \x00\x04\x00\x04\xc0\x00\x02\x01";
    assert_eq!(svcb, expected);
    let quoted = wire(RecordType::SVCB, r#"16 foo.example.org. alpn="f\\\\oo\\,bar,h2""#);
    assert_eq!(quoted, wire(RecordType::SVCB, r"16 foo.example.org. alpn=f\\\092oo\092,bar,h2"));
    assert!(quoted.ends_with(b"\x00\x01\x00\x0c\x08f\\oo,bar\x02h2"));

    let nsec = wire(RecordType::NSEC, "host.example.com. A MX RRSIG NSEC TYPE1234");
    let mut expected = b"\x04host\x07example\x03com\x00".to_vec();
    expected.extend([0, 6, 0x40, 1, 0, 0, 0, 3, 4, 0x1b]);
    expected.resize(expected.len() + 26, 0);
    expected.push(0x20);
    assert_eq!(nsec, expected);

    let rrsig = wire(RecordType::RRSIG, SHOWN[19].1);
    assert_eq!(rrsig[..8], [0, 1, 5, 3, 0, 1, 0x51, 0x80]);
    assert_eq!(rrsig[8..18], [0x3e, 0x7c, 0x9d, 0xd7, 0x3e, 0x55, 0x10, 0xd7, 0x0a, 0x52]);
    let numbers = wire(RecordType::RRSIG, "A 5 3 86400 1048354263 1045762263 2642 a. AA==");
    assert_eq!(numbers[8..16], rrsig[8..16]);

    let loc = wire(RecordType::LOC, "42 21 54 N 71 06 18 W -24m 30m");
    assert_eq!(loc[..4], [0, 0x33, 0x16, 0x13]);
    assert_eq!(loc[4..8], (0x8000_0000_u32 + 152_514_000).to_be_bytes());
    assert_eq!(loc[12..], 9_997_600_u32.to_be_bytes());
    assert_eq!(
        wire(RecordType::LOC, "42 N 71 W 0"),
        wire(RecordType::LOC, "42 0 0 N 71 0 0.0 W 0m 1m 10000m 10m")
    );

    let txt = wire(RecordType::TXT, "\"a b\" c\\\"\\065 \"\"");
    assert_eq!(txt, b"\x03a b\x03c\"A\x00");
}

#[test]
fn times_of_signatures_are_those_of_the_calendar() {
    for (seconds, text) in [
        (0, "19700101000000"),
        (951_782_399, "20000228235959"),
        (951_782_400, "20000229000000"),
        (1_709_164_800, "20240229000000"),
        (4_107_542_400, "21000301000000"),
        (u32::MAX, "21060207062815"),
    ] {
        assert_eq!(Time(seconds).to_string(), text);
        let data = wire(RecordType::RRSIG, &format!("A 5 3 1 {text} 0 1 a. AA=="));
        assert_eq!(data[8..12], seconds.to_be_bytes(), "{text}");
    }
    for bad in ["21060207062816", "20230229000000", "20240101240000", "4294967296", "x", "-1"] {
        let text = format!("A 5 3 1 {bad} 0 1 a. AA==");
        let error = from_text(RecordType::RRSIG, Class::IN, &text).unwrap_err();
        assert_eq!((error.offset, error.kind), (8, TextErrorKind::Time), "{bad}");
    }
}

#[test]
fn every_cut_is_an_error_or_other_data() {
    for (rtype, text) in SHOWN {
        let data = wire(*rtype, text);
        for len in 0..data.len() {
            // What goes on to the end of the data may end anywhere.
            if let Ok(read) = parse(*rtype, &data[..len]) {
                assert_ne!(read.to_string(), *text);
            }
        }
        let fixed = [
            RecordType::A,
            RecordType::AAAA,
            RecordType::NS,
            RecordType::SOA,
            RecordType::MX,
            RecordType::SRV,
            RecordType::NAPTR,
            RecordType::HINFO,
            RecordType::RP,
            RecordType::TSIG,
            RecordType::LOC,
            RecordType::NSEC3PARAM,
        ];
        if fixed.contains(rtype) {
            assert!((0..data.len()).all(|len| parse(*rtype, &data[..len]).is_err()), "{rtype}");
            let long = [&data[..], &[0]].concat();
            assert_eq!(parse(*rtype, &long), Err(DnsErrorKind::DataLength), "{rtype}");
        }
    }
}

#[test]
fn d72_d73_addresses_have_one_length() {
    for len in [0, 3, 5, 15, 17] {
        let data = vec![0; len];
        assert_eq!(parse(RecordType::A, &data), Err(DnsErrorKind::DataLength), "{len}");
        assert_eq!(parse(RecordType::AAAA, &data), Err(DnsErrorKind::DataLength), "{len}");
    }
}

#[test]
fn d74_d76_d78_d81_d89_d90_data_that_end_too_early_or_go_on() {
    assert_eq!(parse(RecordType::MX, &[0, 10]), Err(DnsErrorKind::Short));
    let mut soa = wire(RecordType::SOA, "a. b. 1 2 3 4 5");
    soa.push(0);
    assert_eq!(parse(RecordType::SOA, &soa), Err(DnsErrorKind::DataLength));
    assert_eq!(parse(RecordType::TXT, &[3, b'a', b'b']), Err(DnsErrorKind::Short));
    assert_eq!(parse(RecordType::TXT, &[1, b'a', 9]), Err(DnsErrorKind::Short));
    assert_eq!(parse(RecordType::TXT, &[]), Err(DnsErrorKind::Short));
    assert_eq!(parse(RecordType::SRV, &[0, 1, 0, 2, 0]), Err(DnsErrorKind::Short));
    let rrsig = wire(RecordType::RRSIG, SHOWN[19].1);
    assert_eq!(parse(RecordType::RRSIG, &rrsig[..18]), Err(DnsErrorKind::Short));
    for len in 0..4 {
        assert_eq!(parse(RecordType::DNSKEY, &[1, 0, 3][..len.min(3)]), Err(DnsErrorKind::Short));
    }
}

/// A message of one record, the data of which may point to its owner.
fn message(rtype: RecordType, data: &[u8]) -> Vec<u8> {
    let (mut bytes, owner): (_, DnsName) = (Vec::new(), "Host.Example".parse().unwrap());
    let mut composer = Composer::new(&mut bytes, 7, Flags(0x8180));
    composer.record(Section::Answer, owner.as_ref(), rtype, Class::IN, 60, data).unwrap();
    composer.finish();
    bytes
}

#[test]
fn d82_a_compressed_target_is_read_and_told() {
    let pointer = HEADER as u8;
    let bytes = message(RecordType::SRV, &[0, 1, 0, 2, 0, 80, 1, b'a', 0xc0, pointer]);
    let record = Message::parse(&bytes).unwrap().section(Section::Answer).next().unwrap().unwrap();
    let data = record.rdata().unwrap();
    assert!(data.is_compressed());
    assert_eq!(record.to_string(), "Host.Example. 60 IN SRV 1 2 80 a.Host.Example.");
    let owned = RecordBuf::from(&record);
    assert_eq!(owned.to_string(), record.to_string());
    assert!(!owned.rdata().unwrap().is_compressed());
    assert_eq!(&owned.data[6..], b"\x01a\x04Host\x07Example\0");
    assert_eq!(&owned.canonical_data()[6..], b"\x01a\x04host\x07example\0");
}

#[test]
fn d84_tags_of_properties_are_letters_and_digits() {
    for bad in [&[0][..], &[0, 0], &[0, 0, b'x'], &[0, 9, b'x'], &[0, 1, b' '], &[0, 1, 0]] {
        assert!(parse(RecordType::CAA, bad).is_err(), "{bad:?}");
    }
    assert_eq!(show(RecordType::CAA, &[0, 1, b'x']), "0 x \"\"");
}

#[test]
fn d85_d86_service_parameters_ascend_and_have_their_form() {
    let with = |params: &[u8]| {
        let data = [&[0, 1, 0][..], params].concat();
        parse(RecordType::SVCB, &data).map(|data| data.to_string())
    };
    let port = [0, 3, 0, 2, 0, 53];
    let other = [0, 9, 0, 0];
    assert_eq!(with(&[&port[..], &other].concat()).unwrap(), "1 . port=53 key9");
    let wrong: [&[u8]; 14] = [
        &[&other[..], &port].concat(),
        &[&port[..], &port].concat(),
        &[0, 3, 0, 1, 53],
        &[0, 0, 0, 0],
        &[0, 0, 0, 1, 0],
        &[0, 0, 0, 2, 0, 0],
        &[0, 0, 0, 4, 0, 2, 0, 1],
        &[0, 1, 0, 0],
        &[0, 1, 0, 1, 0],
        &[0, 1, 0, 2, 2, b'h'],
        &[0, 2, 0, 1, 0],
        &[0, 4, 0, 3, 1, 2, 3],
        &[0, 6, 0, 4, 1, 2, 3, 4],
        &[0xff, 0xff, 0, 0],
    ];
    for params in wrong {
        assert_eq!(with(params), Err(DnsErrorKind::Data), "{params:?}");
    }
    assert_eq!(with(&[0, 3, 0, 3, 0]), Err(DnsErrorKind::Short));
    for (text, consistent) in [
        ("1 . mandatory=alpn alpn=h2", true),
        ("1 . mandatory=port alpn=h2", false),
        ("1 . no-default-alpn", false),
        ("1 .", true),
    ] {
        let data = wire(RecordType::HTTPS, text);
        let Ok(RData::Https(https)) = parse(RecordType::HTTPS, &data) else { panic!("{text}") };
        assert_eq!(https.params.is_consistent(), consistent, "{text}");
    }
}

#[test]
fn d88_bit_maps_have_ascending_windows_of_1_to_32_octets() {
    let with = |map: &[u8]| parse(RecordType::NSEC, &[&[0][..], map].concat()).map(|_| ());
    let window = |number: u8, len: u8| {
        let mut window = vec![number, len];
        window.resize(usize::from(len) + 2, 1);
        window
    };
    assert_eq!(with(&window(0, 32)), Ok(()));
    assert_eq!(with(&[window(0, 1), window(255, 1)].concat()), Ok(()));
    for bad in [
        window(0, 0),
        window(0, 33),
        [window(1, 1), window(0, 1)].concat(),
        [window(1, 1), window(1, 1)].concat(),
        vec![0, 2, 1, 0],
    ] {
        assert_eq!(with(&bad), Err(DnsErrorKind::Data), "{bad:?}");
    }
    assert_eq!(with(&[0, 2, 1]), Err(DnsErrorKind::Short));
}

#[test]
fn d92_lengths_within_a_transaction_signature_that_are_too_large() {
    let good = wire(RecordType::TSIG, "a. 1 300 4 AAECAw== 4660 NOERROR 2 AAE=");
    for at in [11, 21] {
        for len in [0_u16, 1, 3, 5, 255, 32_768, 65_535] {
            let mut bad = good.clone();
            bad[at..at + 2].copy_from_slice(&len.to_be_bytes());
            assert!(parse(RecordType::TSIG, &bad).is_err(), "{at} {len}");
        }
    }
}

#[test]
fn d94_an_address_of_chaos_is_no_address() {
    let data = [192, 0, 2, 1];
    let read = RData::parse(RecordType::A, Class::CH, DataReader::of(&data)).unwrap();
    assert_eq!(read.to_string(), "\\# 4 C0000201");
    let error = from_text(RecordType::A, Class::CH, "192.0.2.1").unwrap_err();
    assert_eq!(error.kind, TextErrorKind::Generic);
}

#[test]
fn d96_d97_data_that_cannot_be_read_are_shown_all_the_same() {
    let bytes = message(RecordType::NS, &[2, b'a']);
    let record = Message::parse(&bytes).unwrap().section(Section::Answer).next().unwrap().unwrap();
    assert!(record.rdata().is_err());
    assert_eq!(record.to_string(), "Host.Example. 60 IN NS \\# 2 0261");
    assert_eq!(RecordBuf::from(&record).to_string(), record.to_string());
}

#[test]
fn prefixes_gateways_and_addresses_of_hardware_have_one_form() {
    // A zero at the end, more bits than there are, another family.
    for bad in
        [&[0, 1, 24, 1, 0][..], &[0, 1, 33, 1, 1], &[0, 3, 0, 0], &[0, 1, 8, 5, 1, 1, 1, 1, 1]]
    {
        assert_eq!(parse(RecordType::APL, bad), Err(DnsErrorKind::Data), "{bad:?}");
    }
    assert_eq!(parse(RecordType::APL, &[0, 1, 8, 2, 1]), Err(DnsErrorKind::Short));
    assert_eq!(wire(RecordType::APL, "!1:192.168.38.0/28"), [0, 1, 28, 0x83, 192, 168, 38]);
    assert_eq!(parse(RecordType::IPSECKEY, &[1, 4, 2]), Err(DnsErrorKind::Data));
    assert_eq!(parse(RecordType::IPSECKEY, &[1, 1, 2, 192, 0, 2]), Err(DnsErrorKind::Short));
    assert_eq!(parse(RecordType::EUI48, &[0; 7]), Err(DnsErrorKind::DataLength));
    // Small letters and groups without their zeros, as dig shows them, are read as well.
    assert_eq!(wire(RecordType::NID, "1 0:14f:ff20:0"), [0, 1, 0, 0, 1, 0x4f, 0xff, 0x20, 0, 0]);
    assert_eq!(wire(RecordType::EUI48, "a-b-c-d-e-ff"), [10, 11, 12, 13, 14, 255]);
    for (rtype, text, kind) in [
        (RecordType::EUI48, "00-00-5E-00-53", TextErrorKind::Hex),
        (RecordType::EUI48, "00-00-5E-00-53-2A-01", TextErrorKind::Hex),
        (RecordType::EUI48, "00-00-5E-00-53-+A", TextErrorKind::Hex),
        (RecordType::NID, "1 0:0:0", TextErrorKind::Hex),
        (RecordType::NID, "1 0:0:0:00000", TextErrorKind::Hex),
        (RecordType::APL, "1:1.2.3.4", TextErrorKind::Address),
        (RecordType::APL, "3:1.2.3.4/8", TextErrorKind::Address),
        (RecordType::APL, "1:1.2.3.4/+8", TextErrorKind::Address),
        (RecordType::IPSECKEY, "1 0 2 a. AA==", TextErrorKind::Address),
        (RecordType::IPSECKEY, "1 4 2 . AA==", TextErrorKind::Number),
    ] {
        let error = from_text(rtype, Class::IN, text).unwrap_err();
        assert_eq!(error.kind, kind, "{rtype} {text}");
    }
}

#[test]
fn texts_that_are_no_data_tell_where() {
    use TextErrorKind as Kind;
    for (rtype, text, offset, kind) in [
        (RecordType::A, "", 0, Kind::Missing),
        (RecordType::A, "192.0.2", 0, Kind::Address),
        (RecordType::A, "192.0.2.1 x", 10, Kind::Surplus),
        (RecordType::MX, "65536 a.", 0, Kind::Number),
        (RecordType::MX, "+1 a.", 0, Kind::Number),
        (RecordType::MX, "1 a..", 2, Kind::Name(super::super::NameError::EmptyLabel)),
        (RecordType::TXT, "\"a", 0, Kind::Quote),
        (RecordType::TXT, "\"a\" \\256", 4, Kind::Escape),
        (RecordType::TXT, "a\\", 0, Kind::Escape),
        (RecordType::DS, "1 1 1 ABC", 6, Kind::Hex),
        (RecordType::DNSKEY, "1 1 1 ABC", 6, Kind::Base64),
        (RecordType::DNSKEY, "1 1 1 AB==", 6, Kind::Base64),
        (RecordType::NSEC3, "1 1 1 - W", 8, Kind::Base32),
        (RecordType::NSEC, "a. XYZ", 3, Kind::Type),
        (RecordType::SVCB, "1 . port=1 port=2", 11, Kind::Param),
        (RecordType::SVCB, "1 . alpn=", 4, Kind::Param),
        (RecordType::LOC, "91 N 0 E 0", 0, Kind::Location),
        (RecordType::TSIG, "a. 1 300 4 AAE= 4660 NOERROR 0", 11, Kind::Length),
        (RecordType(65280), "abc", 0, Kind::Generic),
        (RecordType(65280), "\\# 2 00", 3, Kind::Length),
        (RecordType::A, "\\# 3 000000", 0, Kind::Data(DnsErrorKind::DataLength)),
    ] {
        let error = from_text(rtype, Class::IN, text).unwrap_err();
        assert_eq!((error.offset, error.kind), (offset, kind), "{rtype} {text}");
    }
    let long = format!("\"{}\"", "x".repeat(256));
    let error = from_text(RecordType::TXT, Class::IN, &long).unwrap_err();
    assert_eq!(error.kind, TextErrorKind::StringLength);
    for bad in ["a", "a x", "a 1 IX", "a 1 IN", "a 1 IN B", "a 1 IN A", "a 4294967296 IN A 1.2.3.4"]
    {
        assert!(bad.parse::<RecordBuf>().is_err(), "{bad}");
    }
}

#[test]
fn names_in_owners_and_data_are_equal_in_any_case_where_rfc_4034_says_so() {
    let record = |text: &str| text.parse::<RecordBuf>().unwrap();
    assert_eq!(record("a.B 1 IN MX 1 C."), record("A.b 2 IN MX 1 c."));
    assert_eq!(
        record("a 1 IN RRSIG A 5 3 1 1 0 1 Z. AA=="),
        record("a 1 IN RRSIG A 5 3 1 1 0 1 z. AA==")
    );
    assert_ne!(record("a 1 IN NSEC C. A"), record("a 1 IN NSEC c. A"));
    assert_ne!(record("a 1 IN TXT C"), record("a 1 IN TXT c"));
    // The order of RFC 4034, 6.1.
    let names = [
        "example",
        "a.example",
        "yljkjljk.a.example",
        "Z.a.example",
        "zABC.a.EXAMPLE",
        "z.example",
    ];
    let records: Vec<_> =
        names.iter().map(|name| record(&format!("{name} 1 IN A 1.1.1.1"))).collect();
    assert!(records.is_sorted_by(|a, b| a < b));
}

fn known() -> impl Strategy<Value = RecordType> {
    (0..SHOWN.len()).prop_map(|at| SHOWN[at].0)
}

fn comes_back(rtype: RecordType, data: &[u8]) {
    let Ok(read) = parse(rtype, data) else { return };
    let text = read.to_string();
    let mut written = Vec::new();
    read.write(&mut written);
    assert_eq!(written, data, "{rtype} {text}");
    assert_eq!(wire(rtype, &text), data, "{rtype} {text}");
}

proptest! {
    #[test]
    fn any_octets_are_data_that_come_back_from_their_text_or_an_error(
        rtype in known(),
        data in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        comes_back(rtype, &data);
    }

    #[test]
    fn good_data_with_some_octets_changed_too(
        at in 0..SHOWN.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let (rtype, text) = SHOWN[at];
        let mut data = wire(rtype, text);
        for (place, octet) in changes {
            if !data.is_empty() {
                let place = place.index(data.len());
                data[place] = octet;
            }
        }
        comes_back(rtype, &data);
        data.truncate(cut.index(data.len() + 1));
        comes_back(rtype, &data);
    }

    #[test]
    fn any_text_is_read_or_an_error(rtype in known(), text in "[ -~\n\t\u{e9}]{0,40}") {
        if let Ok(data) = from_text(rtype, Class::IN, &text) {
            comes_back(rtype, &data);
        }
        let _ = text.parse::<RecordBuf>();
    }
}
