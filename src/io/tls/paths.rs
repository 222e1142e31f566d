//! Which served certificates can matter at all: a walk over names alone, with a budget of its own,
//! before any signature is looked at. Without it a ring of cross-signed authorities keeps the
//! verifier busy for seconds.

use std::sync::Arc;

use super::certificate::Parsed;
use super::roots::Roots;

/// webpki builds chains with at most this many intermediates.
const MOST_INTERMEDIATES: usize = 6;

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// For each served certificate: named as an issuer, directly or indirectly, by the leaf.
    pub(super) reachable: Vec<bool>,
    /// Places of the intermediates on a way from the leaf to a root, by names.
    pub(super) useful: Vec<usize>,
    /// A root bears the name of the leaf's issuer, or of one on the way.
    pub(super) anchored: bool,
    /// A way went on beyond the depth that is followed.
    pub(super) too_deep: bool,
    /// The walk was given up.
    pub(super) out_of_budget: bool,
}

/// Walks from the leaf, `served[0]`.
pub(super) fn walk(served: &[Arc<Parsed>], roots: &Roots, budget: u32) -> Paths {
    let mut walk = Walk {
        served,
        roots,
        budget,
        paths: Paths { reachable: vec![false; served.len()], ..Paths::default() },
        useful: vec![false; served.len()],
        way: Vec::with_capacity(MOST_INTERMEDIATES + 1),
    };
    if let Some(leaf) = served.first() {
        walk.way.push(0);
        walk.visit(leaf);
    }
    let marks = walk.useful.iter().enumerate();
    walk.paths.useful = marks.filter(|(_, useful)| **useful).map(|(place, _)| place).collect();
    walk.paths
}

struct Walk<'a> {
    served: &'a [Arc<Parsed>],
    roots: &'a Roots,
    budget: u32,
    paths: Paths,
    useful: Vec<bool>,
    way: Vec<usize>,
}

impl Walk<'_> {
    fn visit(&mut self, node: &Parsed) {
        if self.roots.named(&node.issuer).next().is_some() {
            self.paths.anchored = true;
            for place in self.way.iter().skip(1) {
                if let Some(mark) = self.useful.get_mut(*place) {
                    *mark = true;
                }
            }
        }
        let served = self.served;
        for (place, candidate) in served.iter().enumerate().skip(1) {
            if candidate.subject != node.issuer || candidate.spki.is_empty() {
                continue;
            }
            let repeats =
                self.way.iter().filter_map(|place| served.get(*place)).any(|before| {
                    before.spki == candidate.spki && before.subject == candidate.subject
                });
            let copy = || served.iter().take(place).any(|other| other.der == candidate.der);
            if let Some(mark) = self.paths.reachable.get_mut(place) {
                *mark = true;
            }
            // A copy of a root leads to nothing but that root, which is tried anyway.
            let at_root = candidate.report.self_issued
                && self.roots.has_key(&candidate.subject, &candidate.spki);
            if repeats || at_root || copy() {
                continue;
            }
            if self.way.len() > MOST_INTERMEDIATES {
                self.paths.too_deep = true;
                continue;
            }
            let Some(budget) = self.budget.checked_sub(1) else {
                self.paths.out_of_budget = true;
                return;
            };
            self.budget = budget;
            self.way.push(place);
            self.visit(candidate);
            self.way.pop();
            if self.paths.out_of_budget {
                return;
            }
        }
    }
}
