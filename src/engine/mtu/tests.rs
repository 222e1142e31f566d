//! Discoveries over scripted paths.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::icmp::mtu::MtuEnd;

const TARGET: [u8; 4] = [203, 0, 113, 9];

fn target() -> IpAddr {
    TARGET.into()
}

/// What a router on the way tells of its MTU.
#[derive(Clone, Copy, Debug)]
enum Told {
    Truth,
    Nothing,
    /// It drops what is too big.
    Silent,
    Fixed(u32),
    /// One byte less than what came.
    OneLess,
}

/// A path: an interface, links in order, and a target that answers.
#[derive(Clone, Debug)]
struct Path {
    interface: u32,
    links: Vec<(u32, Told)>,
    answers: bool,
    /// What becomes of the packets in order: lost or not, and late or not. Then nothing is lost.
    losses: VecDeque<(bool, bool)>,
    duplicate: bool,
}

enum Reply {
    Answer,
    Error(EchoError),
}

impl Path {
    fn new(interface: u32, links: &[(u32, Told)]) -> Self {
        let links = links.to_vec();
        Path { interface, links, answers: true, losses: VecDeque::new(), duplicate: false }
    }

    fn truth(&self) -> u32 {
        self.links.iter().map(|(mtu, _)| *mtu).fold(self.interface, u32::min)
    }

    fn reply(&self, size: u32) -> Option<Reply> {
        let narrow = self.links.iter().zip(1u8..).find(|((mtu, _), _)| size > *mtu);
        let Some(((mtu, told), place)) = narrow else {
            return self.answers.then_some(Reply::Answer);
        };
        let from = IpAddr::from([10, 0, 0, place]);
        let mut error = EchoError::new(FailureKind::FragmentationNeeded, 3, 4, Some(from));
        error.mtu = match told {
            Told::Truth => Some(*mtu),
            Told::Nothing => Some(0),
            Told::Silent => return None,
            Told::Fixed(mtu) => Some(*mtu),
            Told::OneLess => Some(size - 1),
        };
        Some(Reply::Error(error))
    }
}

/// Runs a discovery to its end on a clock of its own.
fn discover(config: &MtuConfig, to: IpAddr, mut path: Path) -> MtuReport {
    let start = Instant::now();
    let mut now = start;
    let mut engine = MtuEngine::new(MtuSetup::new(config, to).unwrap(), start);
    let mut late: Vec<(Instant, MtuTransmit)> = Vec::new();
    let deliver = |engine: &mut MtuEngine, path: &Path, packet: &MtuTransmit, at: Instant| {
        for _ in 0..=u8::from(path.duplicate) {
            match path.reply(packet.size) {
                Some(Reply::Answer) => engine.answered(packet.ticket, to, None, packet.size, at),
                Some(Reply::Error(error)) => engine.refused(packet.ticket, error, at),
                None => {}
            }
        }
    };
    for _ in 0..10_000 {
        if let Some(packet) = engine.poll_transmit(now) {
            assert_eq!(engine.poll_transmit(now), None, "one at a time");
            if packet.size > path.interface {
                engine.too_big_here(packet.ticket, Some(path.interface), now);
                continue;
            }
            let (lost, is_late) = path.losses.pop_front().unwrap_or_default();
            if lost {
                continue;
            }
            if is_late {
                late.push((now + config.query_timeout * 3 / 2, packet));
                continue;
            }
            now += Duration::from_millis(10);
            deliver(&mut engine, &path, &packet, now);
            continue;
        }
        let Some(timeout) = engine.poll_timeout() else { break };
        late.sort_by_key(|(at, _)| *at);
        match late.first().copied() {
            Some((at, packet)) if at <= timeout => {
                late.remove(0);
                now = at;
                deliver(&mut engine, &path, &packet, now);
            }
            _ => {
                now = timeout;
                engine.handle_timeout(now);
            }
        }
    }
    assert!(engine.is_done(), "{engine:?}");
    assert_eq!(engine.poll_transmit(now), None);
    engine.finish(now)
}

fn found(path: Path) -> MtuReport {
    discover(&MtuConfig::default(), target(), path)
}

fn sizes(report: &MtuReport) -> Vec<u32> {
    report.steps.iter().map(|step| step.size).collect()
}

#[test]
fn told_mtus_are_followed_and_the_byte_above_is_tried() {
    let report = found(Path::new(1500, &[(1480, Told::Truth), (1400, Told::Truth)]));
    assert_eq!(sizes(&report), [65_535, 1500, 1480, 1400, 1401]);
    assert_eq!((report.mtu, report.confirmed, report.end), (Some(1400), true, MtuEnd::Found));
    assert_eq!(report.evidence, Some(Evidence::Router));
    assert_eq!((report.refused_size, report.reported_by), (Some(1401), Some([10, 0, 0, 2].into())));
    assert!(!report.black_hole && !report.contradictory);
}

#[test]
fn i50_what_the_interface_takes_is_confirmed_by_this_host() {
    let report = found(Path::new(1500, &[]));
    assert_eq!(sizes(&report), [65_535, 1500, 1501]);
    assert_eq!((report.mtu, report.confirmed), (Some(1500), true));
    assert_eq!(report.evidence, Some(Evidence::Host));
    assert_eq!(report.reported_by, None);
    let told = MtuFate::TooBigHere { mtu: Some(1500), mtu_implausible: None };
    assert_eq!(report.steps[0].fate, told);
}

#[test]
fn a_configured_bound_confirms_nothing() {
    let config = MtuConfig { max: Some(1400), ..MtuConfig::default() };
    let report = discover(&config, target(), Path::new(1500, &[]));
    assert_eq!(sizes(&report), [1400]);
    assert_eq!((report.mtu, report.confirmed), (Some(1400), false));
    assert_eq!((report.evidence, report.refused_size), (Some(Evidence::Configured), None));
}

#[test]
fn the_largest_packet_of_each_family_is_the_end_of_it() {
    let report = found(Path::new(65_536, &[]));
    assert_eq!((report.mtu, report.confirmed), (Some(65_535), true));
    assert_eq!(report.evidence, Some(Evidence::Protocol));
    let to = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
    let report = discover(&MtuConfig::default(), to, Path::new(65_536, &[]));
    assert_eq!((report.mtu, report.evidence), (Some(65_536), Some(Evidence::Host)));
    let config = MtuConfig { max: Some(1279), ..MtuConfig::default() };
    assert!(MtuSetup::new(&config, to).is_err());
    assert!(MtuSetup::new(&config, target()).is_ok());
    let config = MtuConfig { max: Some(65_536), ..MtuConfig::default() };
    assert!(MtuSetup::new(&config, target()).is_err());
}

#[test]
fn i52_an_error_without_an_mtu_is_searched_without_a_table() {
    let report = found(Path::new(1500, &[(1437, Told::Nothing)]));
    assert_eq!((report.mtu, report.confirmed), (Some(1437), true));
    let told = report.steps.iter().filter_map(|step| match &step.fate {
        MtuFate::TooBig(error) => Some((error.mtu, error.mtu_implausible)),
        _ => None,
    });
    assert!(told.into_iter().all(|told| told == (None, None)));
    assert!(report.steps.len() <= 16, "{}", report.steps.len());
}

#[test]
fn i53_figures_that_cannot_be_are_flagged_and_not_followed() {
    for (lie, flag) in [(1, Implausible::TooSmall), (65_535, Implausible::NotSmaller)] {
        let report = found(Path::new(1500, &[(1437, Told::Fixed(lie))]));
        assert_eq!((report.mtu, report.confirmed), (Some(1437), true));
        let MtuFate::TooBig(error) = &report.steps[1].fate else { panic!("{report:?}") };
        assert_eq!((error.mtu, error.mtu_implausible), (Some(lie), Some(flag)));
        assert!(!sizes(&report).contains(&lie) || lie == 65_535);
    }
}

#[test]
fn i54_below_1280_no_icmpv6_error_is_followed() {
    let to = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
    for (told, flag) in [(1280, None), (1279, Some(Implausible::TooSmall)), (0, None)] {
        let path = Path::new(1500, &[(1280, Told::Fixed(told))]);
        let report = discover(&MtuConfig::default(), to, path);
        assert_eq!((report.mtu, report.confirmed), (Some(1280), true), "told {told}");
        assert!(sizes(&report).iter().all(|size| *size >= 1280));
        let MtuFate::TooBig(error) = &report.steps[1].fate else { panic!("{report:?}") };
        assert_eq!(error.mtu_implausible, flag);
    }
}

#[test]
fn a_lie_that_could_be_true_does_not_mislead() {
    // Smaller than the truth: it passes, and so does the byte above.
    let report = found(Path::new(1500, &[(1437, Told::Fixed(1000))]));
    assert_eq!((report.mtu, report.confirmed), (Some(1437), true));
    // A router that always tells one byte less cannot keep the search busy.
    let report = found(Path::new(9000, &[(1437, Told::OneLess)]));
    assert_eq!((report.mtu, report.confirmed), (Some(1437), true));
    assert!(report.steps.len() <= 40, "{}", report.steps.len());
}

#[test]
fn a_black_hole_is_suspected_and_confirms_nothing() {
    let report = found(Path::new(1500, &[(1437, Told::Silent)]));
    assert_eq!((report.mtu, report.end), (Some(1437), MtuEnd::Found));
    assert!(report.black_hole && !report.confirmed);
    assert_eq!((report.evidence, report.refused_size), (Some(Evidence::Silence), Some(1438)));
    for step in &report.steps {
        let same = report.steps.iter().filter(|other| other.size == step.size).count();
        assert!(same <= 3, "{} tries of {} bytes", same, step.size);
    }
}

#[test]
fn a_target_that_does_not_answer_is_no_black_hole() {
    let report = found(Path { answers: false, ..Path::new(1500, &[]) });
    assert_eq!((report.mtu, report.end), (None, MtuEnd::NoAnswer));
    assert!(!report.black_hole);
    assert_eq!(report.failure().map(|failure| failure.kind), Some(FailureKind::Timeout));
    assert_eq!(sizes(&report), [65_535, 1500, 1500, 1500, 68, 68, 68]);
}

#[test]
fn one_lost_answer_costs_a_try_and_nothing_else() {
    let losses = VecDeque::from([(true, false), (false, false), (true, false)]);
    let report = found(Path { losses, ..Path::new(1500, &[(1400, Told::Truth)]) });
    assert_eq!(sizes(&report), [65_535, 1500, 1500, 1400, 1400, 1401]);
    assert_eq!((report.mtu, report.confirmed), (Some(1400), true));
    assert_eq!(report.steps[1].fate, MtuFate::Lost);
}

#[test]
fn late_answers_count_for_the_packet_that_they_belong_to() {
    let losses = VecDeque::from([(false, true), (true, false)]);
    let report = found(Path { losses, ..Path::new(1500, &[]) });
    let first = &report.steps[1];
    assert!(first.late && matches!(first.fate, MtuFate::Answered(_)), "{first:?}");
    assert_eq!(report.steps[2].fate, MtuFate::Lost);
    assert_eq!((report.mtu, report.confirmed), (Some(1500), true));
}

#[test]
fn an_answer_cut_short_proves_nothing() {
    let start = Instant::now();
    let setup = MtuSetup::new(&MtuConfig { tries: 1, ..MtuConfig::default() }, target()).unwrap();
    let mut engine = MtuEngine::new(setup.with_interface_mtu(1500), start);
    let mut sizes = Vec::new();
    while let Some(packet) = engine.poll_transmit(start) {
        sizes.push(packet.size);
        engine.answered(packet.ticket, target(), None, packet.size.min(1000), start);
    }
    let report = engine.finish(start);
    assert_eq!((report.mtu, report.confirmed), (Some(1000), false));
    assert!(report.black_hole);
}

#[test]
fn refusals_for_other_reasons_and_local_trouble_end_it() {
    let start = Instant::now();
    let engine = || MtuEngine::new(MtuSetup::new(&MtuConfig::default(), target()).unwrap(), start);
    let mut refusing = engine();
    let from = Some([10, 0, 0, 1].into());
    while let Some(packet) = refusing.poll_transmit(start) {
        let error = EchoError::new(FailureKind::HostUnreachable, 3, 1, from);
        refusing.refused(packet.ticket, error, start);
    }
    let report = refusing.finish(start);
    assert_eq!(report.steps.len(), 3);
    assert!(matches!(report.end, MtuEnd::Refused { icmp_type: 3, code: 1, .. }));
    assert_eq!(report.failure().map(|failure| failure.kind), Some(FailureKind::HostUnreachable));

    let mut unsendable = engine();
    while let Some(packet) = unsendable.poll_transmit(start) {
        unsendable.not_sent(packet.ticket, 105, start);
    }
    let report = unsendable.finish(start);
    assert_eq!((report.end, report.failure()), (MtuEnd::NotSent { errno: 105 }, None));
}

#[test]
fn the_cap_on_packets_is_told() {
    let mut config = MtuConfig::default();
    config.limits.packets = 4;
    let report = discover(&config, target(), Path::new(1500, &[(1437, Told::Nothing)]));
    assert_eq!((report.steps.len(), report.end), (4, MtuEnd::Packets));
    assert_eq!((report.mtu, report.confirmed, report.black_hole), (Some(784), false, false));
}

#[test]
fn strangers_are_counted() {
    let start = Instant::now();
    let mut engine = MtuEngine::new(MtuSetup::new(&MtuConfig::default(), target()).unwrap(), start);
    engine.answered(MtuTicket::new(7), target(), None, 65_535, start);
    let first = engine.poll_transmit(start).unwrap();
    engine.too_big_here(first.ticket, None, start);
    engine.answered(first.ticket, target(), None, 65_535, start);
    let report = engine.finish(start);
    assert_eq!((report.forgery_suspects, report.mtu), (2, None));
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        4 => Just(Told::Truth),
        2 => Just(Told::Nothing),
        2 => Just(Told::Silent),
        2 => (0u32..70_000).prop_map(Told::Fixed),
        1 => Just(Told::OneLess),
    ]
}

proptest! {
    #[test]
    fn what_is_confirmed_is_true_whatever_is_lost_late_or_told(
        interface in 68u32..=65_535,
        links in proptest::collection::vec((68u32..=9_216, told()), 0..5),
        losses in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..60),
        tries in 1u32..4,
        duplicate: bool,
    ) {
        let path = Path { losses: losses.into(), duplicate, ..Path::new(interface, &links) };
        let truth = path.truth();
        let config = MtuConfig { tries, ..MtuConfig::default() };
        let report = discover(&config, target(), path);
        prop_assert!(report.steps.len() <= 150);
        prop_assert!(!matches!(report.end, MtuEnd::Unfinished | MtuEnd::Packets), "{:?}", report.end);
        if let Some(mtu) = report.mtu {
            prop_assert!(mtu <= truth);
        }
        if report.confirmed {
            prop_assert_eq!(report.mtu, Some(truth));
        }
        for step in &report.steps {
            let same = report.steps.iter().filter(|other| other.size == step.size).count();
            prop_assert!(same <= tries as usize);
        }
        let text = serde_json::to_string(&report).unwrap();
        prop_assert_eq!(serde_json::from_str::<MtuReport>(&text).unwrap(), report);
    }

    #[test]
    fn without_loss_an_honest_path_is_always_confirmed(
        interface in 68u32..=65_535,
        links in proptest::collection::vec(68u32..=9_216, 0..8),
        silent_about_it: bool,
    ) {
        let told = if silent_about_it { Told::Nothing } else { Told::Truth };
        let links: Vec<_> = links.into_iter().map(|mtu| (mtu, told)).collect();
        let path = Path::new(interface, &links);
        let truth = path.truth();
        let report = discover(&MtuConfig::default(), target(), path);
        prop_assert_eq!((report.mtu, report.confirmed), (Some(truth), true));
        prop_assert!(!report.black_hole && !report.contradictory);
        prop_assert!(report.steps.len() <= 20, "{:?}", sizes(&report));
    }
}
