//! Running a scenario.

use std::net::IpAddr;

use crate::capture::Capture;
use crate::netlab::Net;
use crate::responder::{self, Responder};
use crate::scenario::{Job, Outcome, Probe, Scenario, judge};

/// A probe that was run.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran {
    /// Who was asked.
    pub target: IpAddr,
    /// What came out.
    pub outcome: Outcome,
    /// What is not as it should be; empty if all is.
    pub wrong: Vec<String>,
}

impl Ran {
    /// Fates and how often, as in `7 answered, 3 lost`.
    pub fn summary(&self) -> String {
        judge::summary(&self.outcome)
    }
}

/// Runs the probes of a scenario that are for the prober of this name, each in a new network; `None`,
/// with the skip reported, where networks cannot be made.
///
/// The word shows in the names of the namespaces.
///
/// # Panics
///
/// The network cannot be made, or the capture has lost frames.
pub fn run(
    scenario: &Scenario,
    word: &str,
    name: &str,
    prober: &dyn Fn(&Job<'_>) -> Outcome,
) -> Option<Vec<Ran>> {
    let mut ran = Vec::new();
    let is_for = |probe: &&Probe| {
        probe.probers.is_empty() || probe.probers.iter().any(|other| other == name)
    };
    for probe in scenario.probe.iter().filter(is_for) {
        for family in 0..2 {
            let wanted = [4, 6][family];
            let of_target = probe.target.map(|target| if target.is_ipv4() { 4 } else { 6 });
            if probe.family.or(of_target).is_none_or(|only| only == wanted) {
                ran.push(run_one(scenario, word, probe, family, prober)?);
            }
        }
    }
    Some(ran)
}

fn run_one(
    scenario: &Scenario,
    word: &str,
    probe: &Probe,
    family: usize,
    prober: &dyn Fn(&Job<'_>) -> Outcome,
) -> Option<Ran> {
    let mut topology = scenario.topology.clone();
    topology.stub |= !scenario.answer.is_empty();
    let net = Net::build(word, &topology)?;
    let responder = topology
        .stub
        .then(|| Responder::start(&net.far, responder::program(scenario.answer.clone())));
    let target = probe.target.unwrap_or(net.target[family]);
    let capture = Capture::start(&net.near);
    let outcome = prober(&Job { net: &net, target, probe });
    capture.settle();
    let marks = capture.end();
    drop(responder);
    let wrong = judge::judge(probe, target, &outcome, &marks);
    Some(Ran { target, outcome, wrong })
}
