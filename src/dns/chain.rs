//! What the records of an answer mean: where the name that was asked for leads.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{DnsExchange, DnsRecord};
use crate::wire::dns::{Class, DnsName, NameRef, Rcode, RecordType};

/// Where the aliases of an answer lead, and which of its records count.
///
/// Only the answer section is followed (RFC 1034, 3.6.2; RFC 6672), and only records of the class that was
/// asked for: addresses in the additional section are never an answer. If a server that has authority and
/// does not ask others names its zone in the authority section, and the aliases leave that zone, then
/// what it says about names beyond is not an answer either, and is counted as such.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DnsChain {
    /// The aliases, in the order in which they were followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<DnsAlias>,
    /// Where they end: the name that was asked for if there are none.
    pub canonical_name: DnsName,
    /// Whether they lead back to a name where they have been.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ring: bool,
    /// Whether there are more than [`MAX_ALIASES`](DnsChain::MAX_ALIASES), which were not followed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub too_long: bool,
    /// Records that answer the question: of the name where the aliases end, and of the wanted type.
    pub answers: u32,
    /// Whether the server says that the name exists and has no record of the type (RFC 2308, 2.2), also
    /// behind aliases.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_data: bool,
    /// Records that would answer, if the server could speak for the zone that they are in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub out_of_zone: u32,
    /// Records of the answer section about names that nobody asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unrelated: u32,
    /// Records of the answer section of another class than that of the question.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_class: u32,
    /// Addresses among the answers that are of no use from afar: unspecified, loopback, or link-local.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub special_addresses: u32,
}

/// A name that stands for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DnsAlias {
    /// The name.
    pub name: DnsName,
    /// CNAME, or DNAME if it follows from the alias of a name above it.
    #[serde(rename = "type")]
    pub rtype: RecordType,
    /// What it stands for.
    pub target: DnsName,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl DnsChain {
    /// How many aliases are followed.
    pub const MAX_ALIASES: usize = 32;

    /// Follows the records that the exchange holds; `None` if there was no question or no answer.
    #[must_use]
    pub fn of(exchange: &DnsExchange) -> Option<Self> {
        let question = exchange.question.as_ref()?;
        let header = exchange.header.as_ref()?;
        let class = question.class;
        let of_class = |record: &&DnsRecord| class == Class::ANY || record.class == class;
        let records = || exchange.answer.iter().filter(of_class);
        let is_alias = |record: &&DnsRecord| matches!(record.rtype, CNAME | DNAME);
        let aliases: Vec<&DnsRecord> = records().filter(is_alias).collect();
        let wanted = |rtype| question.rtype == RecordType::ANY || rtype == question.rtype;

        let mut chain = DnsChain {
            aliases: Vec::new(),
            canonical_name: question.name.clone(),
            ring: false,
            too_long: false,
            answers: 0,
            no_data: false,
            out_of_zone: 0,
            unrelated: 0,
            other_class: count(exchange.answer.iter().filter(|record| !of_class(record))),
            special_addresses: 0,
        };
        while let Some((rtype, target)) = step(&chain.canonical_name, &aliases, wanted) {
            if chain.aliases.len() == DnsChain::MAX_ALIASES {
                chain.too_long = true;
                break;
            }
            chain.ring = target == chain.canonical_name
                || chain.aliases.iter().any(|alias| alias.name == target);
            let name = std::mem::replace(&mut chain.canonical_name, target.clone());
            chain.aliases.push(DnsAlias { name, rtype, target });
            if chain.ring {
                break;
            }
        }

        let end = &chain.canonical_name;
        let is_named = |owner: &DnsName| {
            owner == end || chain.aliases.iter().any(|alias| alias.name == *owner)
        };
        let dname_of =
            |owner: &DnsName| chain.aliases.iter().any(|alias| is_below(&alias.name, owner));
        let is_related = |record: &&DnsRecord| {
            // A signature of a DNAME has its owner.
            let above = record.rtype == DNAME || record.rtype == RecordType::RRSIG;
            is_named(&record.owner) || (above && dname_of(&record.owner))
        };
        chain.unrelated = count(records().filter(|record| !is_related(record)));
        let answers: Vec<&DnsRecord> =
            records().filter(|record| record.owner == *end && wanted(record.rtype)).collect();
        let count = count(answers.iter().copied());
        let special = answers.iter().filter(|record| is_special(record)).count();
        if is_beyond(exchange, &chain) {
            chain.out_of_zone = count;
        } else {
            chain.answers = count;
            chain.special_addresses = u32::try_from(special).unwrap_or(u32::MAX);
        }
        chain.no_data = header.rcode == Rcode::NOERROR && count == 0 && !header.truncated;
        Some(chain)
    }
}

const CNAME: RecordType = RecordType::CNAME;
const DNAME: RecordType = RecordType::DNAME;

fn count<'a>(records: impl Iterator<Item = &'a DnsRecord>) -> u32 {
    u32::try_from(records.count()).unwrap_or(u32::MAX)
}

/// What a name stands for; `None` if it stands for itself, or if the alias is what is wanted.
fn step(
    name: &DnsName,
    aliases: &[&DnsRecord],
    wanted: impl Fn(RecordType) -> bool,
) -> Option<(RecordType, DnsName)> {
    let target = |record: &DnsRecord| record.data.parse::<DnsName>().ok();
    if !wanted(CNAME) {
        let cname = aliases.iter().find(|record| record.rtype == CNAME && record.owner == *name);
        if let Some(target) = cname.and_then(|record| target(record)) {
            return Some((CNAME, target));
        }
    }
    let above = |record: &&&DnsRecord| record.rtype == DNAME && is_below(name, &record.owner);
    let dname = aliases.iter().find(above)?;
    let target = moved(name, &dname.owner, &target(dname)?)?;
    Some((DNAME, target)).filter(|_| !wanted(CNAME))
}

fn is_below(name: &DnsName, above: &DnsName) -> bool {
    name != above && name.as_ref().is_within(above.as_ref())
}

/// The name with another end (RFC 6672, 2.2); `None` if it would be too long.
fn moved(name: &DnsName, from: &DnsName, to: &DnsName) -> Option<DnsName> {
    let labels = |name: &DnsName| name.as_ref().labels().count();
    let kept = labels(name).checked_sub(labels(from))?;
    let mut wire = Vec::new();
    for label in name.as_ref().labels().take(kept) {
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend_from_slice(label);
    }
    wire.extend_from_slice(to.as_bytes());
    NameRef::parse(&wire, 0).ok().map(|(name, _)| name.to_name())
}

/// Whether the aliases lead out of the zone of a server that speaks for one zone only.
fn is_beyond(exchange: &DnsExchange, chain: &DnsChain) -> bool {
    let speaks_for_itself = exchange
        .header
        .as_ref()
        .is_some_and(|header| header.authoritative && !header.recursion_available);
    let Some(question) = exchange.question.as_ref().filter(|_| speaks_for_itself) else {
        return false;
    };
    let names_zone = |record: &&DnsRecord| {
        matches!(record.rtype, RecordType::NS | RecordType::SOA)
            && question.name.as_ref().is_within(record.owner.as_ref())
    };
    let depth = |record: &&DnsRecord| record.owner.as_ref().labels().count();
    let zone = exchange.authority.iter().filter(names_zone).max_by_key(depth);
    zone.is_some_and(|zone| !chain.canonical_name.as_ref().is_within(zone.owner.as_ref()))
}

fn is_special(record: &DnsRecord) -> bool {
    match record.data.parse() {
        Ok(IpAddr::V4(ip)) => ip.octets()[0] == 0 || ip.is_loopback() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_unspecified() || ip.is_loopback() || ip.is_unicast_link_local(),
        Err(_) => false,
    }
}
