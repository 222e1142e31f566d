//! What the answers say beyond who sent them: rewriting, loops, load balancing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::SentAs;
use crate::icmp::trace::{
    AnswerKind, Balancing, BalancingKind, Loop, Rewritten, TraceAnswer, TracePath,
};

/// Leaves out what exceeds the caps.
pub(super) fn shorten(answer: &mut TraceAnswer, labels: usize, extension_bytes: usize) {
    let left_out = answer.mpls.len().saturating_sub(labels);
    answer.mpls.truncate(labels);
    let objects = answer.extensions.len();
    let mut room = extension_bytes;
    answer.extensions.retain(|object| match room.checked_sub(object.data.len().max(1)) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    });
    let left_out = left_out + objects - answer.extensions.len();
    answer.extensions_left_out += left_out as u64;
}

/// Notes what differs between the packet that left and the one that is quoted.
pub(super) fn compare(answer: &mut TraceAnswer, sent: &SentAs) {
    fn differs<T: PartialEq>(sent: Option<T>, quoted: Option<T>) -> bool {
        sent.zip(quoted).is_some_and(|(sent, quoted)| sent != quoted)
    }
    let Some(quoted) = &answer.quoted else { return };
    let changes = [
        (differs(sent.source, quoted.source), Rewritten::Source),
        (differs(sent.checksum, quoted.checksum), Rewritten::Checksum),
        (differs(sent.length, quoted.length), Rewritten::Length),
    ];
    answer.rewritten =
        changes.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what).collect();
}

/// Routers at two distances that are not neighbours. At neighbouring ones a router is also seen that
/// forwards packets whose time to live has run out.
pub(super) fn loops(path: &TracePath) -> Vec<Loop> {
    let mut seen: BTreeMap<IpAddr, (u8, u8)> = BTreeMap::new();
    let mut found: Vec<Loop> = Vec::new();
    for (ttl, router) in routers(path) {
        let (first, last) = seen.entry(router).or_insert((ttl, ttl));
        if ttl > last.saturating_add(1) && !found.iter().any(|known| known.address == router) {
            found.push(Loop::new(router, *first, ttl));
        }
        *last = ttl;
    }
    found
}

pub(super) fn nat_ttl(path: &TracePath) -> Option<u8> {
    let mut rewritten = path.answers().filter(|(_, answer)| !answer.rewritten.is_empty());
    rewritten.next().map(|(ttl, _)| ttl)
}

pub(super) fn told_mtu(path: &TracePath) -> Option<u32> {
    let told = path.answers().filter(|(_, answer)| answer.mtu_implausible.is_none());
    told.filter_map(|(_, answer)| answer.mtu).min()
}

/// Distances at which several routers answered, over all flows.
pub(super) fn balancing(paths: &[TracePath]) -> Vec<Balancing> {
    let mut hops: BTreeMap<u8, (BalancingKind, BTreeSet<IpAddr>)> = BTreeMap::new();
    for path in paths {
        let mut of_path: BTreeMap<u8, BTreeSet<IpAddr>> = BTreeMap::new();
        for (ttl, router) in routers(path) {
            of_path.entry(ttl).or_default().insert(router);
        }
        for (ttl, seen) in of_path {
            let entry = hops.entry(ttl).or_insert((BalancingKind::Flow, BTreeSet::new()));
            if seen.len() > 1 {
                entry.0 = BalancingKind::Packet;
            }
            entry.1.extend(seen);
        }
    }
    let shared = hops.into_iter().filter(|(_, (_, routers))| routers.len() > 1);
    let hint = |(ttl, (by, routers)): (u8, (_, BTreeSet<_>))| {
        Balancing::new(ttl, by, routers.into_iter().collect())
    };
    shared.map(hint).collect()
}

fn routers(path: &TracePath) -> impl Iterator<Item = (u8, IpAddr)> {
    let hops = path.answers().filter(|(_, answer)| answer.answer == AnswerKind::Hop);
    hops.filter_map(|(ttl, answer)| Some((ttl, answer.from?)))
}
