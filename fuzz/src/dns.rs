//! DNS messages beside hickory-proto, which shares no code with the reader here; and what is written,
//! read again.

use netsonde::wire::dns::rdata::{RData, RecordBuf, from_text};
use netsonde::wire::dns::{
    Class, DataReader, Deframer, DnsError, DnsErrorKind, Edns, HEADER, Message, NameRef,
    OptionCode, Record, RecordType, Section,
};
use trust_dns_proto::op::{Header, Message as Theirs};
use trust_dns_proto::rr::{Name, RData as TheirData, Record as TheirRecord};
use trust_dns_proto::serialize::binary::{
    BinDecodable, BinDecoder, BinEncodable, BinEncoder, DecodeError, NameEncoding,
};

/// The fuzz target: a disagreement without a class is a crash.
pub fn message(data: &[u8]) {
    if data.len() <= 65_535 {
        compare(data, &mut |_| {});
    }
}

/// Where two readers may part, as a walk of its own over a name finds it.
#[derive(Debug, Default)]
struct Walk {
    pointers: usize,
    into_header: bool,
    overlap: bool,
}

fn walk(bytes: &[u8], start: usize) -> Walk {
    let (mut at, mut run, mut before, mut walk) = (start, start, usize::MAX, Walk::default());
    while let Some(&octet) = bytes.get(at) {
        walk.overlap |= at >= before;
        match octet {
            0 => break,
            1..=0x3f => at += 1 + usize::from(octet),
            0xc0.. => {
                let Some(&low) = bytes.get(at + 1) else { break };
                let target = usize::from(octet & 0x3f) << 8 | usize::from(low);
                if target >= run {
                    break;
                }
                walk.pointers += 1;
                walk.into_header |= target < HEADER;
                (before, run, at) = (run, target, target);
            }
            _ => break,
        }
    }
    // A label that begins before and ends behind is found where the next one begins.
    walk.overlap |= at >= before;
    walk
}

fn name_class(bytes: &[u8], at: usize, ours: Option<DnsErrorKind>) -> Option<&'static str> {
    let walk = walk(bytes, at);
    match ours {
        Some(DnsErrorKind::Pointer) if walk.into_header => Some("pointer_into_header"),
        Some(DnsErrorKind::PointerLimit) if walk.pointers > 127 => Some("pointer_limit"),
        None if walk.overlap => Some("overlapping_labels"),
        _ => None,
    }
}

fn decoder(bytes: &[u8], at: usize) -> BinDecoder<'_> {
    BinDecoder::new(bytes).clone(u16::try_from(at).expect("no message is longer"))
}

/// What both say of the name at an octet; `None` if it is not read by ours.
fn name<'a>(
    bytes: &'a [u8],
    at: usize,
    clean: &mut bool,
    seen: &mut impl FnMut(&'static str),
) -> Option<(NameRef<'a>, usize)> {
    let ours = NameRef::parse(bytes, at);
    let mut reader = decoder(bytes, at);
    match (ours, Name::read(&mut reader)) {
        (Ok((ours, end)), Ok(theirs)) => {
            assert!(ours.labels().eq(theirs.iter()), "{ours} {theirs}: {bytes:?}");
            assert_eq!(end, reader.index(), "{bytes:?}");
            Some((ours, end))
        }
        (Err(_), Err(_)) => None,
        (ours, theirs) => {
            *clean = false;
            let class = name_class(bytes, at, ours.err().map(|error| error.kind));
            seen(class.unwrap_or_else(|| panic!("name at {at}: {ours:?}, {theirs:?}: {bytes:?}")));
            ours.ok()
        }
    }
}

/// Compares every part of what is read. `seen` is told the class of each disagreement; one that has
/// none panics.
pub fn compare(bytes: &[u8], seen: &mut impl FnMut(&'static str)) {
    let whole = Theirs::from_vec(bytes);
    let parsed = Message::parse(bytes);
    let Ok(theirs) = Header::read(&mut BinDecoder::new(bytes)) else {
        assert!(parsed.is_err() && whole.is_err(), "{bytes:?}");
        return;
    };
    let ours = netsonde::wire::dns::Header::parse(bytes).expect("theirs was read");
    let flags = ours.flags;
    let meta = &theirs.metadata;
    assert_eq!(ours.id, meta.id);
    assert_eq!(flags.opcode().0, u8::from(meta.op_code));
    assert_eq!(
        [
            flags.authoritative(),
            flags.truncated(),
            flags.recursion_desired(),
            flags.recursion_available(),
            flags.authentic_data(),
            flags.checking_disabled(),
        ],
        [
            meta.authoritative,
            meta.truncation,
            meta.recursion_desired,
            meta.recursion_available,
            meta.authentic_data,
            meta.checking_disabled,
        ],
    );
    let mut clean = true;
    let mut at = HEADER;
    for index in 0..ours.questions {
        let read = name(bytes, at, &mut clean, seen);
        let Some(end) = read.map(|(_, end)| end + 4).filter(|end| *end <= bytes.len()) else {
            assert!(parsed.is_err());
            assert!(!clean || whole.is_err(), "{bytes:?}");
            return;
        };
        if let (Ok(message), Ok(whole)) = (&parsed, &whole) {
            let question = message.questions().nth(index.into()).expect("it was counted");
            let query = &whole.queries[usize::from(index)];
            assert!(question.name.labels().eq(query.name.iter()));
            assert_eq!(question.rtype.0, u16::from(query.query_type));
            assert_eq!(question.class.0, u16::from(query.query_class));
        }
        at = end;
        if index > 40 && parsed.is_err() {
            // Thousands of questions cost more than they tell.
            return;
        }
    }
    let message = parsed.expect("all of its questions were read");
    let mut records = message.records();
    let (mut empty, mut misplaced, mut accepted) = (false, false, true);
    loop {
        let at = records.offset();
        let Some(item) = records.next() else { break };
        let owner = name(bytes, at, &mut clean, seen);
        let Ok((section, record)) = item else {
            let error = item.expect_err("it is one");
            if owner.is_some() || clean {
                assert!(TheirRecord::<TheirData>::read(&mut decoder(bytes, at)).is_err());
                assert!(!clean || whole.is_err(), "{error}: {bytes:?}");
            }
            return;
        };
        empty |= record.data().is_empty() && record.rtype != RecordType::OPT;
        misplaced |= section != Section::Additional && matches!(record.rtype.0, 24 | 250);
        accepted &= one(bytes, at, &record, &mut clean, seen);
    }
    if !clean {
        return;
    }
    let ours = accepted && message.edns().is_ok();
    match (ours, whole) {
        (true, Ok(whole)) => {
            let count = |words: u16| usize::from(words);
            let header = message.header();
            assert_eq!(whole.answers.len(), count(header.answers));
            assert_eq!(whole.authorities.len(), count(header.authorities));
            let extra = usize::from(whole.edns.is_some()) + usize::from(whole.signature.is_some());
            assert_eq!(whole.additionals.len() + extra, count(header.additionals));
        }
        (false, Err(_)) => {}
        (true, Err(DecodeError::InvalidEmptyRecord)) if empty => seen("empty_data"),
        (true, Err(DecodeError::RecordNotInAdditionalSection(_))) if misplaced => {
            seen("signature_in_another_section");
        }
        (ours, theirs) => panic!("message: {ours}, {theirs:?}: {bytes:?}"),
    }
}

/// Compares one record whose outline was read; whether ours takes it.
fn one(
    bytes: &[u8],
    at: usize,
    record: &Record<'_>,
    clean: &mut bool,
    seen: &mut impl FnMut(&'static str),
) -> bool {
    let theirs = TheirRecord::<TheirData>::read(&mut decoder(bytes, at));
    let mut data = Vec::new();
    let ours = if record.rtype == RecordType::OPT {
        data.extend_from_slice(record.data());
        Edns::parse(record).map(drop)
    } else {
        record.rdata().map(|rdata| rdata.write(&mut data))
    };
    if let Ok(theirs) = &theirs {
        assert!(record.owner.labels().eq(theirs.name.iter()), "{bytes:?}");
        assert_eq!(record.rtype.0, u16::from(theirs.record_type()));
        let class = match record.rtype {
            RecordType::OPT => record.class.0.max(512),
            _ => record.class.0,
        };
        assert_eq!((class, record.raw_ttl), (u16::from(theirs.dns_class), theirs.ttl));
    }
    let emitted = theirs.as_ref().ok().and_then(|theirs| {
        let mut out = Vec::new();
        let mut encoder = BinEncoder::new(&mut out);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        theirs.data.emit(&mut encoder).is_ok().then_some(out)
    });
    let agreed = match (&ours, &theirs) {
        (Ok(()), Ok(_)) => emitted.as_ref() == Some(&data),
        (Err(_), Err(_)) => true,
        _ => false,
    };
    if !agreed && Name::read(&mut decoder(bytes, at)).is_ok() {
        let class = explain(bytes, record, ours, &theirs, emitted.as_deref());
        *clean = false;
        seen(class.unwrap_or_else(|| {
            panic!("record at {at}: {record} {ours:?}, {theirs:?}, {emitted:?}: {bytes:?}")
        }));
    }
    ours.is_ok()
}

/// Where names lie in the data of the types that both read.
fn names(bytes: &[u8], record: &Record<'_>) -> Vec<usize> {
    let start = record.data_offset();
    let behind = |at| NameRef::parse(bytes, at).map_or(at, |(_, end)| end);
    match record.rtype.0 {
        2 | 5 | 12 | 250 | 65_305 => vec![start],
        15 | 64 | 65 => vec![start + 2],
        33 => vec![start + 6],
        6 => vec![start, behind(start)],
        35 => {
            let after = |at: usize| at + 1 + bytes.get(at).map_or(0, |len| usize::from(*len));
            vec![after(after(after(start + 4)))]
        }
        _ => Vec::new(),
    }
}

type Theirs1 = Result<TheirRecord<TheirData>, DecodeError>;

/// The class of a disagreement about the data of a record.
fn explain(
    bytes: &[u8],
    record: &Record<'_>,
    ours: Result<(), DnsError>,
    theirs: &Theirs1,
    emitted: Option<&[u8]>,
) -> Option<&'static str> {
    let kind = ours.err().map(|error| error.kind);
    let data = record.data();
    let number = record.rtype.0;
    let only_ours = ours.is_ok() && theirs.is_err();
    let only_theirs = ours.is_err() && theirs.is_ok();
    if data.is_empty() {
        return only_theirs.then_some("empty_data");
    }
    if only_ours || only_theirs {
        let class = names(bytes, record).into_iter().find_map(|at| name_class(bytes, at, kind));
        if number != 65_305 && class.is_some() {
            return class;
        }
    }
    match number {
        1 if record.class == Class::CH && only_ours => Some("chaos_address"),
        0 if only_ours => Some("type_zero"),
        251 | 252 | 255 if only_ours => Some("question_type_as_record"),
        // CERT and ANAME have a form there, and none here.
        37 | 65_305 if ours.is_ok() => Some("typed_only_there"),
        14
        | 17
        | 18
        | 21
        | 25
        | 29
        | 36
        | 39
        | 42
        | 43
        | 45..=51
        | 59
        | 60
        | 63
        | 99
        | 104..=109
        | 256 => {
            let raw = matches!(&theirs.as_ref().ok()?.data, TheirData::Unknown { .. });
            let written_out = ours.is_ok() && emitted == Some(data);
            match ours {
                Err(_) if raw => Some("untyped_there"),
                Ok(()) if raw && written_out => {
                    record.rdata().ok()?.is_compressed().then_some("names_kept_compressed_there")
                }
                _ => None,
            }
        }
        35 if only_ours => {
            let flags = data.get(5..)?.get(..usize::from(*data.get(4)?))?;
            (!flags.iter().all(u8::is_ascii_alphanumeric)).then_some("naptr_flags")
        }
        62 if only_ours => (data.get(5)? & 0xfc != 0).then_some("csync_flags"),
        62 if only_theirs => (!is_bitmap(data.get(6..)?)).then_some("type_bitmap"),
        257 if only_ours => (*data.get(1)? > 15).then_some("caa_tag_length"),
        64 | 65 => service(bytes, record, only_ours, theirs),
        41 => options(record, only_ours, only_theirs, theirs),
        _ => None,
    }
}

fn is_bitmap(mut rest: &[u8]) -> bool {
    let mut last = None;
    while let [window, len, tail @ ..] = rest {
        let Some((bits, behind)) = tail.split_at_checked(usize::from(*len)) else { return false };
        if last >= Some(*window) || bits.len() > 32 || bits.last().is_none_or(|bit| *bit == 0) {
            return false;
        }
        (last, rest) = (Some(*window), behind);
    }
    rest.is_empty()
}

fn service(
    bytes: &[u8],
    record: &Record<'_>,
    only_ours: bool,
    theirs: &Theirs1,
) -> Option<&'static str> {
    let (_, at) = NameRef::parse(bytes, record.data_offset() + 2).ok()?;
    let mut rest = record.data().get(at - record.data_offset()..)?;
    let mut keys = Vec::new();
    while let [k0, k1, l0, l1, tail @ ..] = rest {
        let (key, len) = (u16::from_be_bytes([*k0, *k1]), u16::from_be_bytes([*l0, *l1]));
        let (value, behind) = tail.split_at_checked(len.into())?;
        let strings = || {
            let mut left = value;
            std::iter::from_fn(move || {
                let (len, tail) = left.split_first()?;
                let (one, behind) = tail.split_at_checked(usize::from(*len))?;
                left = behind;
                Some(one)
            })
        };
        let listed: Vec<_> = value.chunks(2).collect();
        let wrong = match key {
            0 => !listed.is_sorted_by(|a, b| a < b) || listed.contains(&&[0, 0][..]),
            1 => strings().any(<[u8]>::is_empty),
            3 => value.len() > 2,
            4..=6 => value.is_empty(),
            _ => key == u16::MAX,
        };
        if !only_ours && wrong && theirs.is_ok() {
            return Some("service_parameter");
        }
        if only_ours && key == 1 && strings().any(|id| std::str::from_utf8(id).is_err()) {
            return Some("alpn_not_utf8");
        }
        keys.push(key);
        rest = behind;
    }
    let private =
        keys.iter().any(|key| *key >= 65_280) && keys.iter().any(|key| (7..65_280).contains(key));
    let disorder = matches!(theirs, Err(DecodeError::SvcParamsOutOfOrder));
    (only_ours && private && disorder).then_some("private_keys_out_of_order")
}

fn options(
    record: &Record<'_>,
    only_ours: bool,
    only_theirs: bool,
    theirs: &Theirs1,
) -> Option<&'static str> {
    if only_theirs {
        // What cannot be cut into options is no option at all there.
        let TheirData::OPT(opt) = &theirs.as_ref().ok()?.data else { return None };
        return opt.options.is_empty().then_some("cut_options");
    }
    let mut broken = Edns::parse(record).ok()?.options().filter(|(_, option)| option.is_err());
    let subnet = broken.any(|(code, _)| code == OptionCode::CLIENT_SUBNET);
    (subnet && (only_ours || theirs.is_ok())).then_some("client_subnet")
}

/// Type and octets of record data: what is read is shown, and what is shown is read as the same octets.
pub fn rdata(input: &[u8]) {
    let Some(([high, low], data)) = input.split_first_chunk::<2>() else { return };
    let rtype = RecordType(u16::from_be_bytes([*high, *low]));
    if data.len() > 65_535 || rtype == RecordType::OPT {
        return;
    }
    let Ok(rdata) = RData::parse(rtype, Class::IN, DataReader::of(data)) else { return };
    let mut written = Vec::new();
    rdata.write(&mut written);
    assert_eq!(written, data, "{rtype}");
    let text = rdata.to_string();
    match from_text(rtype, Class::IN, &text) {
        Ok(again) => assert_eq!(again, data, "{rtype} {text}"),
        Err(error) => panic!("{rtype} {text}: {error} {data:?}"),
    }
}

/// A record that can be read from a text is shown as a text that is the same record.
pub fn text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(record) = text.parse::<RecordBuf>() else { return };
    let shown = record.to_string();
    let again: RecordBuf = shown.parse().unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert_eq!((&again, again.ttl, &again.data), (&record, record.ttl, &record.data), "{shown}");
}

/// Octets of a stream, cut as the first of them says: the messages are those of the whole.
pub fn stream(input: &[u8]) {
    let Some((&cut, stream)) = input.split_first() else { return };
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut deframer, mut messages) = (Deframer::new(4096), Vec::new());
        for piece in pieces {
            deframer.feed(piece);
            loop {
                match deframer.next_message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error), Vec::new()),
                }
            }
        }
        (messages, None, deframer.partial().to_vec())
    };
    let whole = read(&mut std::iter::once(stream));
    assert_eq!(whole, read(&mut stream.chunks(usize::from(cut) + 1)));
    let framed: usize = whole.0.iter().map(|message| message.len() + 2).sum();
    assert!(whole.1.is_some() || framed + whole.2.len() == stream.len());
}
