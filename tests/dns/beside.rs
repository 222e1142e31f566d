//! Records beside the lines that tools show of them.

use std::collections::BTreeSet;

use netsonde::wire::dns::{RecordBuf, RecordType};

#[track_caller]
pub(crate) fn identical(one: &RecordBuf, other: &RecordBuf) {
    assert!(one.owner.as_ref().is_identical(other.owner.as_ref()), "{one}\n{other}");
    assert_eq!((one.rtype, one.class, one.ttl), (other.rtype, other.class, other.ttl));
    assert_eq!(one.data, other.data, "{one}\n{other}");
}

/// Types of the zone whose data dig shows as something, and everybody else as octets.
pub(crate) const ONLY_NAMED: [RecordType; 3] =
    [RecordType::WKS, RecordType::X25, RecordType::NINFO];

/// Records with the lines that a tool shows of the same answer, both in the order of their texts.
pub(crate) fn beside(
    records: &[RecordBuf],
    lines: Vec<String>,
    like: impl Fn(&RecordBuf, &str) -> String,
) {
    // Some types have a name here, but no text of their own.
    let (lines, unread): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line.parse::<RecordBuf>().is_ok());
    let generic = |record: &&RecordBuf| {
        let head = format!("{} {} {} {} ", record.owner, record.ttl, record.class, record.rtype);
        ONLY_NAMED.contains(&record.rtype) && unread.iter().any(|line| line.starts_with(&head))
    };
    let count = records.iter().filter(generic).count();
    assert_eq!(count, unread.len(), "{unread:#?}");
    // The lines of one tool are read by us, so that each finds its record whatever it looks like.
    let mut read: Vec<(RecordBuf, String)> =
        lines.into_iter().map(|line| (line.parse().unwrap(), line)).collect();
    let mut records: Vec<&RecordBuf> = records.iter().filter(|one| !generic(one)).collect();
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

/// The sets of records of a zone that its server answers with: not those behind a delegation, and no hashes.
pub(crate) fn sets(all: &[RecordBuf]) -> BTreeSet<(String, RecordType)> {
    all.iter()
        .map(|record| (record.owner.to_string(), record.rtype))
        .filter(|(owner, rtype)| !owner.contains("delegated") || *rtype == RecordType::DS)
        .filter(|(_, rtype)| *rtype != RecordType::NSEC3)
        .collect()
}
