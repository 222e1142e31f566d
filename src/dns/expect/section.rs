//! Conditions on the records of one section.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::DnsRecord;
use super::{Pattern, RecordMatch};
use crate::error::Error;
use crate::expect::Clause;
use crate::wire::dns::RecordType;

/// The most patterns or records of one list.
const MOST: usize = 1000;

/// A least and a most, both of which are fine themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct Bounds {
    /// No less than this.
    pub min: Option<u32>,
    /// No more than this.
    pub max: Option<u32>,
}

impl Bounds {
    fn is_set(self) -> bool {
        self != Bounds::default()
    }

    fn holds(self, value: u32) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    fn check(self, key: &str) -> Result<(), Error> {
        match (self.min, self.max) {
            (Some(min), Some(max)) if min > max => {
                Err(Error::config(key, "the least is more than the most"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("any"),
        }
    }
}

/// Conditions on the records of a section, all of which must be met. What is `None` or empty is not
/// asked.
///
/// The four lists of regular expressions mean just what they mean to blackbox_exporter, one of them
/// in spite of its name. Each expression runs over the [`presentation`](DnsRecord::presentation) of each
/// record, which has single spaces where blackbox_exporter has tabs: write ` ` or `\s` for what is `\t`
/// there. OPT is not among the records.
///
/// ```
/// use netsonde::dns::SectionExpect;
///
/// let answer: SectionExpect = serde_saphyr::from_str(r"
/// fail_if_not_matches_regexp: ['^www\.example\.org\. \d+ IN ']
/// present: [{type: A, data: 192.0.2.1}]
/// absent: [{type: CNAME}]
/// count: {min: 1, max: 4}
/// ttl: {min: 60}
/// ")?;
/// assert_eq!(answer.count.max, Some(4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct SectionExpect {
    /// Fails if one of these matches one of the records.
    pub fail_if_matches_regexp: Vec<Pattern>,
    /// Fails if one of these does *not* match one of the records, for all that its name says: so it is in
    /// blackbox_exporter. Without records it passes.
    pub fail_if_all_match_regexp: Vec<Pattern>,
    /// Fails if one of these does not match one of the records, or if there are none.
    pub fail_if_not_matches_regexp: Vec<Pattern>,
    /// Fails if none of these matches any of the records, or if there are none.
    pub fail_if_none_matches_regexp: Vec<Pattern>,
    /// Each of these is there.
    pub present: Vec<RecordMatch>,
    /// None of these is there.
    pub absent: Vec<RecordMatch>,
    /// These are there and no others, as a set: order, times to live and duplicates do not count, nor do
    /// signatures (RRSIG) unless one is listed. An empty list wants an empty section.
    pub exact: Option<Vec<RecordMatch>>,
    /// How many records there are.
    pub count: Bounds,
    /// The time to live of each record, in seconds. Not evaluable without records.
    pub ttl: Bounds,
}

impl SectionExpect {
    pub(super) fn check(&self) -> Result<(), Error> {
        for (key, patterns) in self.patterns() {
            most(key, patterns.len())?;
            for (place, pattern) in patterns.iter().enumerate() {
                pattern.check(&format!("{key}[{place}]"))?;
            }
        }
        let exact = self.exact.as_deref().unwrap_or_default();
        for (key, records, whole) in [
            ("present", self.present.as_slice(), false),
            ("absent", self.absent.as_slice(), false),
            ("exact", exact, true),
        ] {
            most(key, records.len())?;
            for (place, record) in records.iter().enumerate() {
                record.check(&format!("{key}[{place}]"), whole)?;
            }
        }
        self.count.check("count")?;
        self.ttl.check("ttl")
    }

    fn patterns(&self) -> [(&'static str, &[Pattern]); 4] {
        [
            ("fail_if_matches_regexp", &self.fail_if_matches_regexp),
            ("fail_if_all_match_regexp", &self.fail_if_all_match_regexp),
            ("fail_if_not_matches_regexp", &self.fail_if_not_matches_regexp),
            ("fail_if_none_matches_regexp", &self.fail_if_none_matches_regexp),
        ]
    }

    /// Adds the clauses on these records, or on why they are not known.
    pub(super) fn evaluate(
        &self,
        section: &str,
        records: Result<&[DnsRecord], &'static str>,
        clauses: &mut Vec<Clause>,
    ) {
        let mut ask = |key: &str, expected: String, seen: &dyn Fn(&[DnsRecord]) -> Seen| {
            let path = format!("{section}.{key}");
            clauses.push(match records.and_then(seen) {
                Ok((actual, met)) => Clause::check(path, expected, actual, met),
                Err(reason) => Clause::not_evaluable(path, expected, reason),
            });
        };
        for (key, patterns) in self.patterns() {
            if !patterns.is_empty() {
                let (words, seen): (_, Matching) = match key {
                    "fail_if_matches_regexp" => ("no record with", none_matches),
                    "fail_if_none_matches_regexp" => ("a record with", some_matches),
                    "fail_if_not_matches_regexp" => ("each of some records with", every_matches),
                    _ => ("each record with", all_match),
                };
                let expected = format!("{words} {}", list(patterns));
                ask(key, expected, &|records| seen(patterns, records));
            }
        }
        for wanted in &self.present {
            let prepared = wanted.prepared();
            ask("present", wanted.to_string(), &|records| {
                let found = records.iter().find(|record| prepared.is_met(record));
                Ok(found.map_or_else(|| (absent(records), false), |r| (shown(r), true)))
            });
        }
        for wanted in &self.absent {
            let prepared = wanted.prepared();
            ask("absent", format!("no {wanted}"), &|records| {
                let found = records.iter().find(|record| prepared.is_met(record));
                Ok(found.map_or_else(|| ("none".to_owned(), true), |r| (shown(r), false)))
            });
        }
        if let Some(wanted) = &self.exact {
            let expected = if wanted.is_empty() { "nothing".into() } else { list(wanted) };
            ask("exact", expected, &|records| Ok(exactly(wanted, records)));
        }
        if self.count.is_set() {
            ask("count", self.count.to_string(), &|records| {
                let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
                Ok((count.to_string(), self.count.holds(count)))
            });
        }
        if self.ttl.is_set() {
            ask("ttl", self.ttl.to_string(), &|records| {
                let ttls = || records.iter().map(|record| record.ttl);
                let (Some(least), Some(most)) = (ttls().min(), ttls().max()) else {
                    return Err("there are no records");
                };
                let text =
                    if least == most { least.to_string() } else { format!("{least} to {most}") };
                Ok((text, self.ttl.holds(least) && self.ttl.holds(most)))
            });
        }
    }
}

/// What to show and whether it will do, or why nobody can tell.
type Seen = Result<(String, bool), &'static str>;

/// A kind of list of patterns.
type Matching = fn(&[Pattern], &[DnsRecord]) -> Seen;

fn most(key: &str, count: usize) -> Result<(), Error> {
    if count > MOST {
        return Err(Error::config(key, format_args!("{count} entries, more than {MOST}")));
    }
    Ok(())
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&item.to_string());
        if text.len() > Clause::TEXT_BYTES {
            break;
        }
    }
    text
}

fn shown(record: &DnsRecord) -> String {
    record.presentation.clone()
}

fn absent(records: &[DnsRecord]) -> String {
    match records {
        [] => "no records".to_owned(),
        [only] => shown(only),
        [first, ..] => format!("{} others, such as {}", records.len(), shown(first)),
    }
}

/// The first record and pattern of which the one matches the other, or does not.
fn pair<'a>(
    patterns: &'a [Pattern],
    records: &'a [DnsRecord],
    matching: bool,
) -> Result<Option<(&'a Pattern, &'a DnsRecord)>, &'static str> {
    for record in records {
        for pattern in patterns {
            if pattern.matches(&record.presentation)? == matching {
                return Ok(Some((pattern, record)));
            }
        }
    }
    Ok(None)
}

fn none_matches(patterns: &[Pattern], records: &[DnsRecord]) -> Seen {
    Ok(match pair(patterns, records, true)? {
        Some((pattern, record)) => (format!("{pattern} in {}", shown(record)), false),
        None => ("none".to_owned(), true),
    })
}

fn some_matches(patterns: &[Pattern], records: &[DnsRecord]) -> Seen {
    Ok(match pair(patterns, records, true)? {
        Some((_, record)) => (shown(record), true),
        None => (absent(records), false),
    })
}

fn all_match(patterns: &[Pattern], records: &[DnsRecord]) -> Seen {
    Ok(match pair(patterns, records, false)? {
        Some((pattern, record)) => (format!("not {pattern} in {}", shown(record)), false),
        None => (absent(records), true),
    })
}

fn every_matches(patterns: &[Pattern], records: &[DnsRecord]) -> Seen {
    let (text, met) = all_match(patterns, records)?;
    Ok((text, met && !records.is_empty()))
}

fn exactly(wanted: &[RecordMatch], records: &[DnsRecord]) -> (String, bool) {
    let signatures = wanted.iter().any(|wanted| wanted.rtype == Some(RecordType::RRSIG));
    let counts = |record: &&DnsRecord| signatures || record.rtype != RecordType::RRSIG;
    let records: Vec<&DnsRecord> = records.iter().filter(counts).collect();
    let mut prepared: Vec<_> = wanted.iter().map(|wanted| (wanted.prepared(), false)).collect();
    let mut surplus = Vec::new();
    for record in records {
        let mut met = false;
        for (wanted, found) in &mut prepared {
            if wanted.is_met(record) {
                (met, *found) = (true, true);
            }
        }
        if !met {
            surplus.push(shown(record));
        }
    }
    let missing: Vec<_> =
        prepared.iter().filter(|(_, found)| !found).map(|(missing, _)| missing.wanted).collect();
    match (missing.as_slice(), surplus.as_slice()) {
        ([], []) => ("just these".to_owned(), true),
        (missing, []) => (format!("without {}", list(missing)), false),
        ([], surplus) => (format!("also {}", list(surplus)), false),
        (missing, surplus) => (format!("without {}; also {}", list(missing), list(surplus)), false),
    }
}
