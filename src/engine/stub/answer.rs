//! What an answer comes to: addresses, or how there is none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wire::dns::{Class, DnsName, Message, Rcode, Record, RecordType, Section};

/// Caps on what is taken from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnswerLimits {
    /// Aliases that are followed. Default 16.
    pub aliases: usize,
    /// Addresses that are taken. Default 256.
    pub addresses: usize,
}

impl Default for AnswerLimits {
    fn default() -> Self {
        AnswerLimits { aliases: 16, addresses: 256 }
    }
}

/// An address and how long it may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StubAddress {
    /// The address, whatever it is: which ones may be dialled the outbound policy says.
    pub address: IpAddr,
    /// Seconds for which it may be kept, the least along its chain of aliases; `None` if nobody said.
    pub ttl_s: Option<u32>,
}

impl StubAddress {
    /// An address with its lifetime.
    #[must_use]
    pub const fn new(address: IpAddr, ttl_s: Option<u32>) -> Self {
        StubAddress { address, ttl_s }
    }
}

/// How there is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Negative {
    /// There is no such name (`NXDOMAIN`).
    NoSuchName,
    /// The name exists, without an address of this kind.
    NoData,
}

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// Addresses.
    Found {
        /// Each once, in the order of the answer.
        addresses: Vec<StubAddress>,
        /// Whose they are, when all aliases have been followed.
        canonical: DnsName,
        /// How many were left out, beyond the cap.
        omitted: usize,
    },
    /// No address.
    Negative {
        /// In which way.
        kind: Negative,
        /// Seconds for which that may be kept: the lesser of the SOA's TTL and its last field (RFC 2308,
        /// 5), and of no alias more than its own. `None` without a SOA: it may not be kept.
        ttl_s: Option<u32>,
        /// Where the aliases led to.
        canonical: DnsName,
    },
    /// This server is of no use: another is to be asked.
    Useless {
        /// What it said.
        rcode: Rcode,
        /// What is wrong with an answer that looked fine.
        why: Option<&'static str>,
    },
}

/// Reads the answer to a question for the addresses of a name. The answer was matched with its question
/// before.
///
/// Aliases are followed within the answer; where they lead out of it there is no data, as for glibc.
///
/// ```
/// use netsonde::engine::stub::{AnswerLimits, Reading, read_answer};
/// use netsonde::wire::dns::{Class, Composer, Flags, Message, RecordType, Section};
///
/// let name = "www.example".parse()?;
/// let mut bytes = Vec::new();
/// let mut composer = Composer::new(&mut bytes, 1, Flags(0x8180));
/// composer.question(netsonde::wire::dns::DnsName::as_ref(&name), RecordType::A, Class::IN)?;
/// composer.record(Section::Answer, name.as_ref(), RecordType::A, Class::IN, 60, &[192, 0, 2, 1])?;
/// composer.finish();
/// let reading = read_answer(&Message::parse(&bytes)?, &name, RecordType::A, &AnswerLimits::default());
/// let Reading::Found { addresses, .. } = reading else { panic!("{reading:?}") };
/// assert_eq!(addresses[0].ttl_s, Some(60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn read_answer(
    message: &Message<'_>,
    name: &DnsName,
    rtype: RecordType,
    limits: &AnswerLimits,
) -> Reading {
    let useless = |rcode, why| Reading::Useless { rcode, why };
    let edns = message.edns().ok().flatten();
    let rcode = message.rcode(edns.as_ref());
    if rcode != Rcode::NOERROR && rcode != Rcode::NXDOMAIN {
        return useless(rcode, None);
    }
    let Ok(answers) = message.section(Section::Answer).collect::<Result<Vec<Record<'_>>, _>>()
    else {
        return useless(rcode, Some("a record cannot be read"));
    };
    let mut canonical = name.clone();
    let mut least: Option<u32> = None;
    let mut seen = vec![name.clone()];
    loop {
        let alias = answers.iter().find(|record| {
            record.rtype == RecordType::CNAME
                && record.class == Class::IN
                && record.owner == canonical.as_ref()
        });
        let Some(alias) = alias else { break };
        let Ok(next) = alias.reader().name().map(|next| next.to_name()) else {
            return useless(rcode, Some("an alias cannot be read"));
        };
        least = Some(least.map_or(alias.ttl(), |ttl| ttl.min(alias.ttl())));
        if seen.contains(&next) {
            return useless(rcode, Some("aliases go round in circles"));
        }
        if seen.len() > limits.aliases {
            return useless(rcode, Some("more aliases than the cap"));
        }
        seen.push(next.clone());
        canonical = next;
    }
    let mut addresses: Vec<StubAddress> = Vec::new();
    let mut omitted = 0;
    for record in &answers {
        let fits = record.rtype == rtype
            && record.class == Class::IN
            && record.owner == canonical.as_ref();
        if !fits {
            continue;
        }
        let Some(address) = address(record) else {
            return useless(rcode, Some("an address cannot be read"));
        };
        let ttl = least.map_or(record.ttl(), |least| least.min(record.ttl()));
        if addresses.iter().any(|known| known.address == address) {
            continue;
        }
        if addresses.len() == limits.addresses {
            omitted += 1;
        } else {
            addresses.push(StubAddress::new(address, Some(ttl)));
        }
    }
    if rcode == Rcode::NOERROR && !addresses.is_empty() {
        return Reading::Found { addresses, canonical, omitted };
    }
    let kind = if rcode == Rcode::NXDOMAIN { Negative::NoSuchName } else { Negative::NoData };
    let ttl_s = negative_ttl(message, &canonical).map(|ttl| least.map_or(ttl, |l| l.min(ttl)));
    let is_referral = kind == Negative::NoData
        && ttl_s.is_none()
        && !message.header().flags.authoritative()
        && !message.header().flags.recursion_available()
        && message
            .section(Section::Authority)
            .flatten()
            .any(|record| record.rtype == RecordType::NS);
    if is_referral {
        // glibc goes on to the next server as well: this one knows only whom else to ask.
        return useless(rcode, Some("a referral"));
    }
    Reading::Negative { kind, ttl_s, canonical }
}

fn address(record: &Record<'_>) -> Option<IpAddr> {
    let data = record.data();
    match record.rtype {
        RecordType::A => <[u8; 4]>::try_from(data).ok().map(|v4| Ipv4Addr::from(v4).into()),
        RecordType::AAAA => <[u8; 16]>::try_from(data).ok().map(|v6| Ipv6Addr::from(v6).into()),
        _ => None,
    }
}

/// RFC 2308, 5: of the SOA of a zone that the name lies in.
fn negative_ttl(message: &Message<'_>, name: &DnsName) -> Option<u32> {
    let soa = message.section(Section::Authority).flatten().find(|record| {
        record.rtype == RecordType::SOA
            && record.class == Class::IN
            && name.as_ref().is_within(record.owner)
    })?;
    let mut reader = soa.reader();
    reader.name().ok()?;
    reader.name().ok()?;
    // Serial, refresh, retry and expire stand before it.
    reader.take(16).ok()?;
    let minimum = reader.u32().ok()?;
    Some(soa.ttl().min(minimum))
}

impl Reading {
    /// How long it may be kept: the least of its lifetimes. `None` if it may not.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        let seconds = match self {
            Reading::Found { addresses, .. } => addresses.iter().filter_map(|a| a.ttl_s).min(),
            Reading::Negative { ttl_s, .. } => *ttl_s,
            Reading::Useless { .. } => None,
        };
        seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }
}

#[cfg(test)]
#[path = "tests/answer.rs"]
mod tests;
