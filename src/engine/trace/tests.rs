//! Traces through scripted networks.

mod simulator;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use simulator::{Mishap, Network, PUBLIC, Router, Run};

use super::*;
use crate::icmp::MplsLabel;
use crate::icmp::trace::{
    Balancing, BalancingKind, ExtensionObject, Loop, PathEnd, Rewritten, TraceFate, TraceHop,
};

fn config(change: impl FnOnce(&mut TraceConfig)) -> TraceConfig {
    let mut config = TraceConfig::default();
    change(&mut config);
    config
}

fn froms(hop: &TraceHop) -> Vec<Option<IpAddr>> {
    hop.queries.iter().map(|query| query.fate.answer().and_then(|answer| answer.from)).collect()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn sent_at(run: &Run, ttl: u8) -> usize {
    run.sent.iter().filter(|(_, query)| query.ttl == ttl).count()
}

#[test]
fn hop_by_hop_nothing_is_sent_beyond_the_target() {
    let run = Network::straight(4).trace(&config(|c| (c.parallel, c.queries) = (1, 2)));
    assert_eq!((run.sent.len(), run.most_in_flight), (10, 1));
    let path = &run.report.paths[0];
    assert_eq!((path.end, path.beyond_end), (PathEnd::Reached { ttl: 5 }, 0));
    for (hop, ttl) in path.hops.iter().zip(1u8..) {
        let from = if ttl == 5 { run.report.address.unwrap() } else { ip(ttl) };
        assert_eq!((hop.ttl, froms(hop)), (ttl, vec![Some(from); 2]));
    }
    let last = path.hops[3].queries[1].fate.answer().unwrap();
    assert_eq!((last.answer, last.rtt.unwrap().ns), (AnswerKind::Hop, 4_000_000));
    assert!(run.report.failure().is_none());
}

#[test]
fn sends_beyond_the_end_stop_as_soon_as_it_is_known() {
    let run = Network::straight(4).trace(&config(|c| c.parallel = 64));
    let path = &run.report.paths[0];
    assert_eq!(path.end, PathEnd::Reached { ttl: 5 });
    assert_eq!(path.hops.len(), 5);
    assert_eq!(path.beyond_end as usize, run.sent.len() - 15);
    assert!(run.most_in_flight <= 64);
    // The target needs 50 ms. Nobody beyond it is asked after that.
    let known = Duration::from_millis(50);
    assert!(run.sent.iter().all(|(at, query)| *at <= known || query.ttl <= 5));
}

#[test]
fn silent_routers_are_passed_and_do_not_end_the_path() {
    let mut routers: Vec<Router> = (1..=6).map(Router::new).collect();
    routers[1] = Router::silent(2);
    routers[3] = Router::silent(4);
    let run = Network::new(routers).trace(&config(|c| c.gap_limit = Some(2)));
    let path = &run.report.paths[0];
    assert_eq!(path.end, PathEnd::Reached { ttl: 7 });
    for silent in [1, 3] {
        let fates = path.hops[silent].queries.iter().map(|query| &query.fate);
        assert!(fates.into_iter().all(|fate| *fate == TraceFate::Lost));
    }
}

#[test]
fn a_gap_ends_the_path_and_an_answer_from_beyond_it_does_not_let_it() {
    let mut routers: Vec<Router> = (1..=20).map(Router::new).collect();
    routers.iter_mut().skip(2).for_each(|router| router.budget = Some(0));
    let network = Network { target_answers: false, ..Network::new(routers.clone()) };
    let run = network.trace(&config(|c| (c.parallel, c.gap_limit) = (1, Some(4))));
    assert_eq!(run.report.paths[0].end, PathEnd::Gap { ttl: 6 });
    assert_eq!(run.sent.len(), 18);

    routers[8].budget = None;
    let run = Network::new(routers).trace(&config(|c| (c.parallel, c.gap_limit) = (64, Some(4))));
    assert_eq!(run.report.paths[0].hops[8].ttl, 9);
    assert!(matches!(run.report.paths[0].end, PathEnd::Reached { ttl: 21 } | PathEnd::Gap { .. }));
    assert_eq!(froms(&run.report.paths[0].hops[8])[0], Some(ip(9)));
}

#[test]
fn a_target_that_stays_silent_is_looked_for_up_to_the_largest_ttl() {
    let network = Network { target_answers: false, ..Network::straight(2) };
    let run = network.trace(&config(|c| (c.max_hops, c.gap_limit) = (6, None)));
    let path = &run.report.paths[0];
    assert_eq!((path.end, path.hops.len(), run.sent.len()), (PathEnd::MaxHops, 6, 18));
    assert!(run.report.failure().is_none());
    let nobody = Network::new((1..=5).map(Router::silent).collect());
    let run = nobody.trace(&config(|c| c.max_hops = 4));
    assert_eq!(run.report.failure().map(|failure| failure.kind), Some(FailureKind::Timeout));
}

#[test]
fn i72_a_router_that_limits_its_errors_is_not_taken_for_another() {
    for parallel in [1, 3, 64] {
        let mut network = Network::straight(5);
        network.routers[2].budget = Some(1);
        let run = network.trace(&config(|c| (c.parallel, c.queries) = (parallel, 4)));
        let path = &run.report.paths[0];
        for (hop, ttl) in path.hops.iter().zip(1u8..).take(5) {
            let wanted = match ttl {
                3 => vec![Some(ip(3)), None, None, None],
                _ => vec![Some(ip(ttl)); 4],
            };
            assert_eq!(froms(hop), wanted, "hop {ttl}");
        }
        assert_eq!(path.end, PathEnd::Reached { ttl: 6 });
    }
}

#[test]
fn a_router_that_refuses_ends_the_path_with_its_reason() {
    for parallel in [1, 64] {
        let mut network = Network::straight(8);
        network.routers[2].refuses = Some(1);
        let run = network.trace(&config(|c| c.parallel = parallel));
        let path = &run.report.paths[0];
        let (failure, from) = (FailureKind::HostUnreachable, Some(ip(3)));
        assert_eq!(path.end, PathEnd::Refused { ttl: 4, failure, from });
        assert_eq!(path.hops.len(), 4);
        let answer = path.hops[3].queries[0].fate.answer().unwrap();
        assert_eq!((answer.icmp_type, answer.code), (Some(3), Some(1)));
        let failure = run.report.failure().unwrap();
        assert_eq!(failure.kind, FailureKind::HostUnreachable);
        assert_eq!(failure.raw.unwrap().to_string(), "ICMP 3/1 from 10.0.0.3");
        if parallel == 1 {
            assert_eq!(run.sent.len(), 12);
        }
    }
}

#[test]
fn late_answers_stay_with_their_query() {
    let mut network = Network::straight(3);
    let extra_delay = Duration::from_millis(1_200);
    network.mishaps = vec![Mishap { extra_delay, ..Mishap::default() }];
    let run = network.trace(&config(|c| c.queries = 2));
    let first = &run.report.paths[0].hops[0];
    let TraceFate::Late(answer) = &first.queries[0].fate else { panic!("{first:?}") };
    assert_eq!(answer.from, Some(ip(1)));
    assert!(matches!(first.queries[1].fate, TraceFate::Answered(_)));
    assert_eq!(first.queries.iter().map(|query| query.duplicates).sum::<u64>(), 0);
}

#[test]
fn an_answer_that_came_in_time_and_was_looked_at_late_counts() {
    let start = Instant::now();
    let target = ip(99);
    let setup = TraceSetup::new(&config(|c| c.queries = 1), target).unwrap();
    let mut engine = TraceEngine::new(setup, start);
    let query = engine.poll_transmit(start).unwrap();
    engine.handle_timeout(start + Duration::from_secs(2));
    engine.answered(query.ticket, target, None, start + Duration::from_millis(900));
    let report = engine.finish(start + Duration::from_secs(2));
    assert!(matches!(report.paths[0].hops[0].queries[0].fate, TraceFate::Answered(_)));
}

#[test]
fn duplicates_are_counted_and_strangers_too() {
    let mut network = Network::straight(2);
    network.mishaps = vec![Mishap { duplicates: 3, ..Mishap::default() }];
    let run = network.trace(&config(|_| ()));
    let queries = &run.report.paths[0].hops[0].queries;
    let counts: Vec<u64> = queries.iter().map(|query| query.duplicates).collect();
    assert_eq!((counts, run.report.forgery_suspects), (vec![3, 0, 0], 0));

    let start = Instant::now();
    let setup = TraceSetup::new(&TraceConfig::default(), ip(99)).unwrap();
    let mut engine = TraceEngine::new(setup, start);
    let query = engine.poll_transmit(start).unwrap();
    engine.answered(TraceTicket::new(query.ticket.number() + 1), ip(99), None, start);
    engine.answered(TraceTicket::new(u16::MAX), ip(99), None, start);
    let report = engine.finish(start);
    assert_eq!(report.forgery_suspects, 2);
    assert_eq!(report.paths[0].end, PathEnd::Unfinished);
    assert_eq!(report.paths[0].hops[0].queries[0].fate, TraceFate::Pending);
}

#[test]
fn flows_stay_on_their_paths_and_diamonds_are_told() {
    let mut network = Network::straight(4);
    network.routers[1].addresses = vec![ip(21), ip(22), ip(23)];
    network.routers[2].addresses = vec![ip(31), ip(32)];
    let run = network.clone().trace(&config(|c| c.flows = 6));
    assert_eq!(run.report.paths.len(), 6);
    for (path, flow) in run.report.paths.iter().zip(0u8..) {
        assert_eq!(path.flow, u32::from(flow));
        assert_eq!(froms(&path.hops[1]), vec![Some(ip(21 + flow % 3)); 3]);
        assert_eq!(froms(&path.hops[2]), vec![Some(ip(31 + flow % 2)); 3]);
    }
    let hint = |ttl, by, routers: &[u8]| {
        Balancing::new(ttl, by, routers.iter().map(|last| ip(*last)).collect())
    };
    let wanted =
        [hint(2, BalancingKind::Flow, &[21, 22, 23]), hint(3, BalancingKind::Flow, &[31, 32])];
    assert_eq!(run.report.balancing, wanted);

    network.routers[1].by_packet = true;
    let run = network.trace(&config(|_| ()));
    assert_eq!(run.report.balancing, [hint(2, BalancingKind::Packet, &[21, 22, 23])]);
}

#[test]
fn rewritten_packets_are_a_hint_at_address_translation() {
    let mut network = Network::straight(5);
    network.routers[2].translates = true;
    let run = network.trace(&config(|_| ()));
    let path = &run.report.paths[0];
    assert_eq!(path.nat_ttl, Some(4));
    let answer = path.hops[3].queries[0].fate.answer().unwrap();
    assert_eq!(answer.rewritten, [Rewritten::Source, Rewritten::Checksum]);
    assert_eq!(answer.quoted.unwrap().source, Some(PUBLIC.into()));
    assert_eq!(Network::straight(5).trace(&config(|_| ())).report.paths[0].nat_ttl, None);
}

#[test]
fn a_loop_is_told_and_a_neighbour_is_none() {
    let network = |lasts: &[u8]| Network::new(lasts.iter().copied().map(Router::new).collect());
    let run = network(&[1, 2, 3, 2, 3, 2]).trace(&config(|_| ()));
    assert_eq!(run.report.paths[0].loops, [Loop::new(ip(2), 2, 4), Loop::new(ip(3), 3, 5)]);
    let run = network(&[1, 2, 2, 2, 3]).trace(&config(|_| ()));
    assert_eq!(run.report.paths[0].loops, []);
}

#[test]
fn what_this_host_does_not_send_is_no_fault_of_the_path() {
    let refuse = Mishap { errno: Some(101), ..Mishap::default() };
    let mut network = Network::straight(3);
    network.mishaps = vec![refuse; 100];
    let run = network.clone().trace(&config(|_| ()));
    assert_eq!(run.report.paths[0].end, PathEnd::NotSent { ttl: 1, errno: 101 });
    assert_eq!((run.sent.len(), run.report.failure()), (3, None));
    network.mishaps = vec![refuse; 2];
    let run = network.trace(&config(|_| ()));
    assert_eq!(run.report.paths[0].end, PathEnd::Reached { ttl: 4 });
    assert_eq!(froms(&run.report.paths[0].hops[0]), [None, None, Some(ip(1))]);
}

#[test]
fn a_closed_udp_port_is_the_target_only_if_the_target_says_so() {
    let network = Network { method: TraceMethod::Udp, ..Network::straight(3) };
    let run = network.trace(&config(|_| ()));
    assert_eq!(run.report.paths[0].end, PathEnd::Reached { ttl: 4 });
    assert_eq!(run.report.port, Some(33_434));
    let last = run.report.paths[0].hops[3].queries[0].fate.answer().unwrap();
    assert_eq!(last.failure, Some(FailureKind::PortUnreachable));

    let start = Instant::now();
    let setup = TraceSetup::new(&config(|c| c.method = TraceMethod::Udp), ip(99)).unwrap();
    let mut engine = TraceEngine::new(setup, start);
    let query = engine.poll_transmit(start).unwrap();
    let error = EchoError::new(FailureKind::PortUnreachable, 3, 3, Some(ip(1)));
    engine.refused(query.ticket, error, start);
    let report = engine.finish(start);
    assert!(matches!(report.paths[0].end, PathEnd::Refused { ttl: 1, .. }));
}

#[test]
fn a_reassembly_timeout_is_no_hop() {
    let error = EchoError::new(FailureKind::TtlExceeded, 11, 1, Some(ip(1)));
    assert_eq!(TraceAnswer::error(error).answer, AnswerKind::Refused);
}

#[test]
fn extensions_are_kept_within_the_caps() {
    let start = Instant::now();
    let limits = config(|c| (c.limits.labels, c.limits.extension_bytes) = (2, 10));
    let mut engine = TraceEngine::new(TraceSetup::new(&limits, ip(99)).unwrap(), start);
    let query = engine.poll_transmit(start).unwrap();
    let mut error = EchoError::new(FailureKind::TtlExceeded, 11, 0, Some(ip(1)));
    error.mpls = vec![MplsLabel::new(16_001, 0, true, 1); 5];
    let mut answer = TraceAnswer::error(error);
    answer.extensions = [8usize, 3, 2, 0].map(|n| ExtensionObject::new(2, 1, vec![0; n])).to_vec();
    engine.received(query.ticket, answer, start);
    let report = engine.finish(start);
    let answer = report.paths[0].hops[0].queries[0].fate.answer().unwrap();
    assert_eq!((answer.mpls.len(), answer.extensions_left_out), (2, 5));
    let kept: Vec<usize> = answer.extensions.iter().map(|object| object.data.len()).collect();
    assert_eq!(kept, [8, 2]);
}

#[test]
fn queries_keep_their_distance_in_time() {
    let run = Network::straight(3).trace(&config(|c| c.interval = Duration::from_millis(20)));
    for pair in run.sent.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= Duration::from_millis(20));
    }
    assert_eq!(run.report.paths[0].end, PathEnd::Reached { ttl: 4 });
}

#[test]
fn the_largest_trace_has_a_ticket_for_every_query() {
    let routers = (0..=254).map(|_| Router::silent(1)).collect();
    let run = Network::new(routers).trace(&config(|c| {
        (c.first_ttl, c.max_hops, c.queries, c.flows) = (192, 255, 16, 64);
        (c.gap_limit, c.parallel) = (None, 1_000_000);
    }));
    assert_eq!(run.sent.len(), 65_536);
    assert!(run.report.paths.iter().all(|path| path.end == PathEnd::MaxHops));
    assert!((192..=255).all(|ttl| sent_at(&run, ttl) == 1_024));
    let mut tickets: Vec<u16> = run.sent.iter().map(|(_, query)| query.ticket.number()).collect();
    tickets.sort_unstable();
    assert!(tickets.iter().zip(0u16..=u16::MAX).all(|(ticket, wanted)| *ticket == wanted));
}

fn router() -> impl Strategy<Value = Router> {
    let budget = prop_oneof![3 => Just(None), 1 => (0u32..4).prop_map(Some)];
    (1u8..12, 1usize..4, any::<bool>(), 0u64..1_500, budget, prop::bool::weighted(0.05)).prop_map(
        |(last, width, by_packet, delay, budget, refuses)| Router {
            addresses: (0..width).map(|n| IpAddr::from([10, 0, n as u8, last])).collect(),
            by_packet,
            delay: Duration::from_millis(delay),
            budget,
            refuses: refuses.then_some(1),
            ..Router::new(last)
        },
    )
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let errno = prop::option::weighted(0.1, Just(105));
    (prop::bool::weighted(0.3), 0u8..3, 0u64..2_000, errno).prop_map(
        |(lost, duplicates, extra, errno)| {
            let extra_delay = Duration::from_millis(extra);
            Mishap { lost, duplicates, extra_delay, errno }
        },
    )
}

proptest! {
    #[test]
    fn whatever_happens_a_trace_ends_and_reports_what_is_there(
        routers in proptest::collection::vec(router(), 0..12),
        mishaps in proptest::collection::vec(mishap(), 0..120),
        (queries, flows, parallel) in (1u32..4, 1u32..4, 1u32..40),
        gap_limit in prop::option::of(1u16..6),
        (first_ttl, hops) in (1u16..4, 1u16..16),
        target_answers: bool,
    ) {
        let network = Network { mishaps, target_answers, ..Network::new(routers) };
        let config = config(|c| {
            (c.queries, c.flows, c.parallel, c.gap_limit) = (queries, flows, parallel, gap_limit);
            (c.first_ttl, c.max_hops) = (first_ttl, first_ttl + hops);
        });
        let run = network.clone().trace(&config);
        prop_assert!(run.sent.len() <= (queries * flows) as usize * (usize::from(hops) + 1));
        prop_assert!(run.most_in_flight <= parallel as usize);
        let mut asked = std::collections::BTreeMap::new();
        for (_, query) in &run.sent {
            *asked.entry((query.flow, query.ttl)).or_insert(0u32) += 1;
        }
        prop_assert!(asked.values().all(|asked| *asked <= queries));
        let refusing = network.routers.iter().position(|router| router.refuses.is_some());
        for path in &run.report.paths {
            prop_assert!(path.end != PathEnd::Unfinished);
            for (ttl, answer) in path.answers() {
                let place = usize::from(ttl) - 1;
                let from = answer.from.unwrap();
                let of_flow = |router: &Router| match router.by_packet {
                    true => router.addresses.contains(&from),
                    false => from == router.addresses[path.flow as usize % router.addresses.len()],
                };
                match answer.answer {
                    AnswerKind::Hop => prop_assert!(of_flow(&network.routers[place])),
                    AnswerKind::Reached => {
                        prop_assert!(place >= network.routers.len() && refusing.is_none());
                        prop_assert_eq!(from, network.target);
                    }
                    AnswerKind::Refused => {
                        prop_assert!(place > refusing.unwrap());
                        prop_assert!(of_flow(&network.routers[refusing.unwrap()]));
                    }
                }
            }
            if let PathEnd::Reached { ttl } = path.end {
                prop_assert_eq!(path.hops.last().unwrap().ttl, ttl);
            }
            let of_path = run.sent.iter().filter(|(_, query)| query.flow == path.flow);
            let kept: usize = path.hops.iter().map(|hop| hop.queries.len()).sum();
            prop_assert!(kept as u64 + path.beyond_end <= of_path.count() as u64);
            for hop in &path.hops {
                for (query, number) in hop.queries.iter().zip(0..) {
                    prop_assert_eq!(query.number, number);
                    prop_assert!(query.fate != TraceFate::Pending);
                    prop_assert!(query.duplicates <= 2);
                }
            }
        }
        let text = serde_json::to_string(&run.report).unwrap();
        prop_assert_eq!(serde_json::from_str::<TraceReport>(&text).unwrap(), run.report);
    }

    #[test]
    fn without_mishaps_every_router_is_found(
        mut routers in proptest::collection::vec(router(), 0..12),
        flows in 1u32..4,
        parallel in 1u32..40,
    ) {
        for router in &mut routers {
            (router.budget, router.refuses) = (None, None);
            router.delay = router.delay.min(Duration::from_millis(999));
        }
        let network = Network::new(routers);
        let run = network.clone().trace(&config(|c| (c.flows, c.parallel) = (flows, parallel)));
        let ttl = network.routers.len() as u8 + 1;
        for path in &run.report.paths {
            prop_assert_eq!(path.end, PathEnd::Reached { ttl });
            prop_assert!(path.hops.iter().all(|hop| hop.answers().count() == 3));
        }
    }
}
