//! The prober of path MTUs on paths with a narrow link, with and without errors, and against targets
//! and routers that lie, over raw and over datagram sockets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use netsonde::icmp::mtu::{Evidence, MtuConfig, MtuEnd, MtuFate, MtuProber, MtuReport};
use netsonde::icmp::{EngineConfig, IcmpEngine, Implausible, SocketChoice, SocketMode};
use netsonde::{ProbeContext, ProbeResult, Prober, Verdict};
use netsonde_lab::netlab::address;
use netsonde_lab::responder::Request;
use netsonde_lab::{LeakCheck, Net, Responder, Topology};
use netsonde_support::leaks::isolated_blocking;

const MODES: [(SocketChoice, SocketMode); 2] =
    [(SocketChoice::Raw, SocketMode::Raw), (SocketChoice::Datagram, SocketMode::Datagram)];

/// Quick, and patient enough for a busy machine: an answer that is late counts as well.
fn config() -> MtuConfig {
    MtuConfig { query_timeout: Duration::from_millis(150), tries: 2, ..MtuConfig::default() }
}

/// One discovery from within the client's namespace, by an engine of its own.
fn discover(
    net: &Net,
    socket: SocketChoice,
    config: MtuConfig,
    target: IpAddr,
) -> ProbeResult<MtuReport> {
    let target = target.to_string().parse().unwrap();
    net.client.block_on(async move || {
        let engine = IcmpEngine::new(EngineConfig { socket, ..EngineConfig::default() }).unwrap();
        MtuProber::new(&engine, config).unwrap().probe(&target).await
    })
}

/// A path whose wires have these MTUs, the client's first, with routers that tell everything.
fn path(mtus: &[u32]) -> Topology {
    let routers = mtus.len() - 1;
    let word = |node: usize| match node {
        0 => "client".to_owned(),
        node if node > routers => "server".to_owned(),
        node => format!("r{node}"),
    };
    let mut ip: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut set = |node: usize, to: usize, mtu: u32| {
        let command = format!("link set to-{} mtu {mtu}", word(to));
        ip.entry(word(node)).or_default().push(command);
    };
    for (wire, mtu) in mtus.iter().enumerate() {
        set(wire, wire + 1, *mtu);
        set(wire + 1, wire, *mtu);
    }
    let unlimited = [("ipv4/icmp_ratelimit", "0"), ("ipv6/icmp/ratelimit", "0")];
    let unlimited = unlimited.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sysctl = (1..=routers).map(|router| (word(router), BTreeMap::from(unlimited.clone())));
    let sysctl = sysctl.collect();
    Topology { ip, sysctl, ping_groups: Some((0, 2_147_483_647)), ..Topology::path(routers as u8) }
}

fn stub() -> Topology {
    Topology { ping_groups: Some((0, 2_147_483_647)), ..Topology::stub() }
}

fn sizes(report: &MtuReport) -> Vec<u32> {
    report.steps.iter().map(|step| step.size).collect()
}

/// Runs a check for both families and both kinds of socket on one network.
fn all(net: &Net, config: &MtuConfig, check: impl Fn(&ProbeResult<MtuReport>, usize)) {
    for (choice, mode) in MODES {
        for (family, target) in net.target.into_iter().enumerate() {
            let result = discover(net, choice, config.clone(), target);
            println!("{mode:?} {result}");
            assert_eq!(result.report.socket, Some(mode), "{result}");
            assert_eq!(result.report.address, Some(target), "{result}");
            check(&result, family);
        }
    }
}

#[test]
fn errors_lead_to_the_narrow_link_and_name_its_router() {
    let Some(net) = Net::build("mtu", &path(&[1500, 1400, 1500])) else { return };
    // The system knows the path MTU from the first discovery; none of the others believes it.
    all(&net, &config(), |result, family| {
        let report = &result.report;
        assert_eq!(result.verdict, Verdict::Pass, "{result}");
        assert_eq!(sizes(report), [1500, 1400, 1401], "{result}");
        assert_eq!((report.mtu, report.confirmed), (Some(1400), true), "{result}");
        assert_eq!((report.evidence, report.end), (Some(Evidence::Router), MtuEnd::Found));
        assert_eq!(report.refused_size, Some(1401));
        assert_eq!(report.reported_by, Some(address(0, 2)[family]), "{result}");
        assert!(!report.black_hole && !report.contradictory, "{result}");
        let MtuFate::Answered(answer) = &report.steps[1].fate else { panic!("{result}") };
        assert_eq!(answer.size, 1400);
        assert!(answer.rtt.is_some() && result.quality.stamp.is_some(), "{result}");
    });
}

#[test]
fn the_narrower_of_two_links_is_found_behind_the_other() {
    let Some(net) = Net::build("mtu2", &path(&[1500, 1450, 1350])) else { return };
    all(&net, &config(), |result, family| {
        let report = &result.report;
        assert_eq!(sizes(report), [1500, 1450, 1350, 1351], "{result}");
        assert_eq!((report.mtu, report.confirmed), (Some(1350), true), "{result}");
        assert_eq!(report.reported_by, Some(address(1, 2)[family]), "{result}");
    });
}

#[test]
fn a_black_hole_is_found_by_search_and_not_confirmed() {
    let mut topology = path(&[1500, 1400, 1500]);
    let silence = "add table inet t; \
        add chain inet t o { type filter hook output priority 0; }; \
        add rule inet t o icmp type destination-unreachable drop; \
        add rule inet t o icmpv6 type packet-too-big drop";
    topology.nft.insert("r1".into(), silence.into());
    let Some(net) = Net::build("hole", &topology) else { return };
    all(&net, &config(), |result, _| {
        let report = &result.report;
        assert_eq!(result.verdict, Verdict::Pass, "{result}");
        assert_eq!((report.mtu, report.confirmed), (Some(1400), false), "{result}");
        assert!(report.black_hole, "{result}");
        assert_eq!(report.evidence, Some(Evidence::Silence));
        assert_eq!((report.refused_size, report.reported_by), (Some(1401), None));
        assert_eq!(report.end, MtuEnd::Found);
        let tried = |size| sizes(report).into_iter().filter(|seen| *seen == size).count();
        assert_eq!((tried(1500), tried(1401)), (2, 2), "{result}");
        assert!(result.to_string().contains("a black hole"), "{result}");
    });
}

#[test]
fn i50_nothing_larger_than_the_interface_is_sent() {
    let Some(net) = Net::build("near", &path(&[1300, 1500])) else { return };
    all(&net, &config(), |result, _| {
        let report = &result.report;
        assert_eq!(sizes(report), [1300], "{result}");
        assert_eq!((report.mtu, report.confirmed), (Some(1300), true), "{result}");
        assert_eq!((report.evidence, report.refused_size), (Some(Evidence::Host), Some(1301)));
        assert!(!report.black_hole, "{result}");
    });
}

#[test]
fn i50_the_narrowest_interface_of_all_has_no_ipv6() {
    let mut topology = path(&[1500, 1500]);
    topology.ip.insert("client".into(), vec!["link set to-r1 mtu 68".into()]);
    let Some(net) = Net::build("least", &topology) else { return };
    for (choice, _) in MODES {
        let result = discover(&net, choice, config(), net.target[0]);
        let report = &result.report;
        assert_eq!((report.mtu, report.confirmed), (Some(68), true), "{result}");
        assert_eq!((sizes(report), report.evidence), (vec![68], Some(Evidence::Host)), "{result}");
        // Linux takes IPv6 off an interface that cannot carry 1280 bytes.
        let result = discover(&net, choice, config(), net.target[1]);
        assert!(!result.verdict.is_pass() && result.report.mtu.is_none(), "{result}");
        assert!(matches!(result.report.end, MtuEnd::NotSent { .. }), "{result}");
    }
}

#[test]
fn answers_that_are_cut_short_prove_nothing() {
    const KEPT: usize = 1300;
    let programs: [fn(&Request<'_>) -> usize; 2] = [
        |request| request.echo.payload.len().min(KEPT),
        // Long enough, and zeros from there on.
        |request| request.echo.payload.len(),
    ];
    for (word, length) in ["cut", "filled"].into_iter().zip(programs) {
        let Some(net) = Net::build(word, &stub()) else { return };
        let _responder = Responder::start(&net.far, move |request| {
            let kept = request.echo.payload.len().min(KEPT);
            request.reply().payload_length(kept).payload_length(length(request)).answers()
        });
        all(&net, &config(), |result, family| {
            let report = &result.report;
            let most = KEPT as u32 + [28, 48][family];
            assert_eq!((report.mtu, report.confirmed), (Some(most), false), "{result}");
            assert_eq!(report.evidence, Some(Evidence::Silence), "{result}");
            if word == "cut" {
                assert!(report.forgery_suspects > 0, "{result}");
            }
        });
    }
}

/// A router that refuses what is larger than 1400 bytes and tells some figure.
fn refusing(net: &Net, told: impl Fn(u32) -> u32 + Send + 'static) -> Responder {
    Responder::start(&net.far, move |request| {
        let size = request.packet.len() as u32;
        if size <= 1400 {
            return request.reply().answers();
        }
        let (v4, router) = match request.echo.ip.source {
            IpAddr::V4(_) => (true, address(9, 9)[0]),
            IpAddr::V6(_) => (false, address(9, 9)[1]),
        };
        let (kind, code) = if v4 { (3, 4) } else { (2, 0) };
        request.error(kind, code).from(router).mtu(told(size)).answers()
    })
}

#[test]
fn i52_i53_i54_figures_that_cannot_be_are_not_followed() {
    type Lie = (&'static str, fn(u32) -> u32, Option<Implausible>);
    let lies: [Lie; 4] = [
        ("none", |_| 0, None),
        ("one", |_| 1, Some(Implausible::TooSmall)),
        ("as it is", |size| size, Some(Implausible::NotSmaller)),
        ("most", |_| 65_535, Some(Implausible::NotSmaller)),
    ];
    for (what, told, why) in lies {
        let Some(net) = Net::build("liar", &stub()) else { return };
        let _router = refusing(&net, told);
        all(&net, &config(), |result, family| {
            let report = &result.report;
            assert_eq!((report.mtu, report.confirmed), (Some(1400), true), "{what}: {result}");
            assert_eq!(report.evidence, Some(Evidence::Router), "{what}: {result}");
            assert_eq!(report.reported_by, Some(address(9, 9)[family]), "{what}: {result}");
            let MtuFate::TooBig(error) = &report.steps[0].fate else { panic!("{result}") };
            assert_eq!(error.mtu_implausible, why, "{what}: {result}");
            assert_eq!(error.mtu, Some(told(1500)).filter(|mtu| *mtu > 0), "{what}: {result}");
            // By halves from what every link must carry.
            let least = [68, 1280][family];
            assert_eq!(sizes(report)[..3], [1500, least, least + (1500 - least) / 2], "{result}");
        });
    }
}

#[test]
fn i54_less_than_every_link_of_ipv6_carries_is_not_believed_and_the_least_is_outgrown() {
    for told in [1279, 1280] {
        let Some(net) = Net::build("v6", &stub()) else { return };
        let _router = refusing(&net, move |_| told);
        for (choice, _) in MODES {
            let result = discover(&net, choice, config(), net.target[1]);
            let report = &result.report;
            assert_eq!((report.mtu, report.confirmed), (Some(1400), true), "{result}");
            let MtuFate::TooBig(error) = &report.steps[0].fate else { panic!("{result}") };
            let implausible = (told < 1280).then_some(Implausible::TooSmall);
            assert_eq!((error.mtu, error.mtu_implausible), (Some(told), implausible), "{result}");
        }
    }
}

#[test]
fn late_answers_and_those_that_come_twice_count_once() {
    let Some(net) = Net::build("late", &stub()) else { return };
    let _responder = Responder::start(&net.far, |request| {
        let twice = request.reply().times(2, Duration::from_millis(1));
        // Nothing larger than 1400 bytes, and the largest of the others only after its timeout.
        match request.packet.len() {
            1401.. => Vec::new(),
            1400 => twice.hold(Duration::from_millis(250)).answers(),
            _ => twice.answers(),
        }
    });
    all(&net, &config(), |result, _| {
        let report = &result.report;
        assert_eq!(report.mtu, Some(1400), "{result}");
        let at = |size| report.steps.iter().find(move |step| step.size == size).unwrap();
        assert!(at(1400).late && at(1400).duplicates <= 1, "{result}");
        let least = report.steps.iter().map(|step| step.size).min().unwrap();
        assert_eq!((at(least).late, at(least).duplicates), (false, 1), "{result}");
    });
}

#[test]
fn who_does_not_answer_and_who_refuses_for_other_reasons() {
    let mut topology = path(&[1500, 1500]);
    let all_off = [("ipv4/icmp_echo_ignore_all", "1"), ("ipv6/icmp/echo_ignore_all", "1")];
    let all_off = all_off.map(|(name, value)| (name.to_owned(), value.to_owned()));
    topology.sysctl.insert("server".into(), all_off.into());
    topology.ip.get_mut("r1").unwrap().extend([
        "route add prohibit 198.51.100.0/24".to_owned(),
        "route add prohibit 2001:db8::/32".to_owned(),
    ]);
    let Some(net) = Net::build("mute", &topology) else { return };
    all(&net, &config(), |result, family| {
        assert_eq!(result.verdict.code(), Some("timeout"), "{result}");
        assert_eq!(result.report.end, MtuEnd::NoAnswer, "{result}");
        let least = [68, 1280][family];
        assert_eq!(sizes(&result.report), [1500, 1500, least, least], "{result}");
    });
    for (choice, _) in MODES {
        for (target, from) in ["198.51.100.7", "2001:db8::7"].into_iter().zip(address(0, 2)) {
            let result = discover(&net, choice, config(), target.parse().unwrap());
            assert_eq!(result.verdict.code(), Some("filtered"), "{result}");
            let MtuEnd::Refused { from: said_by, .. } = result.report.end else {
                panic!("{result}")
            };
            assert_eq!(said_by, Some(from), "{result}");
        }
    }
}

#[test]
fn a_dropped_discovery_frees_its_packets_and_others_go_on() {
    let Some(net) = Net::build("drop", &stub()) else { return };
    let (silent, answering) = (net.target[0], net.target[0]);
    let waiting = net.client.block_on(async move || {
        let engine = IcmpEngine::new(EngineConfig::default()).unwrap();
        let prober = MtuProber::new(&engine, MtuConfig::default()).unwrap();
        let (cx, to) = (ProbeContext::new(), silent.to_string().parse().unwrap());
        let during = {
            let mut probe = pin!(prober.probe_with(&cx, &to));
            assert!(probe.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            // What was made leaves when the task of the socket has its turn.
            tokio::task::yield_now().await;
            engine.stats().waiting
        };
        (during, engine.stats().waiting)
    });
    assert_eq!(waiting, (1, 0));
    let _responder = Responder::right(&net.far, Duration::ZERO);
    let result = discover(&net, SocketChoice::Raw, config(), answering);
    assert_eq!(result.report.mtu, Some(1500), "{result}");
}

#[test]
fn a_deadline_ends_the_search_with_what_is_known() {
    let Some(net) = Net::build("end", &stub()) else { return };
    let _responder = Responder::start(&net.far, |request| match request.packet.len() {
        1401.. => Vec::new(),
        _ => request.reply().answers(),
    });
    let config = MtuConfig { timeout: Duration::from_millis(700), ..config() };
    let result = discover(&net, SocketChoice::Raw, config, net.target[0]);
    let report = &result.report;
    assert_eq!(
        (result.verdict.clone(), report.end),
        (Verdict::Pass, MtuEnd::Unfinished),
        "{result}"
    );
    assert!(report.mtu.is_some_and(|mtu| mtu >= 68) && !report.confirmed, "{result}");
    assert_eq!(report.steps.last().unwrap().fate, MtuFate::Pending, "{result}");
}

#[test]
fn many_discoveries_share_one_socket_and_leave_nothing_behind() {
    isolated_blocking(|| {
        let work = || {
            let net = Net::build("many", &path(&[1500, 1400, 1500]))?;
            let targets = net.target.map(|target| target.to_string().parse().unwrap());
            net.client.block_on(async move || {
                let engine = IcmpEngine::new(EngineConfig::default()).unwrap();
                let prober = MtuProber::new(&engine, config()).unwrap();
                let set: Vec<_> = (0..20).map(|place| prober.probe(&targets[place % 2])).collect();
                // Side by side on one thread, each to its end.
                let mut set: Vec<_> = set.into_iter().map(Box::pin).collect();
                let mut results = Vec::new();
                std::future::poll_fn(|cx| {
                    set.retain_mut(|probe| match probe.as_mut().poll(cx) {
                        std::task::Poll::Ready(result) => {
                            results.push(result);
                            false
                        }
                        std::task::Poll::Pending => true,
                    });
                    if set.is_empty() {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
                })
                .await;
                for result in &results {
                    assert_eq!(result.report.mtu, Some(1400), "{result}");
                    assert!(result.report.confirmed, "{result}");
                }
                assert_eq!((results.len(), engine.stats().waiting), (20, 0));
            });
            Some(())
        };
        // What a process makes once is made.
        if work().is_none() {
            return;
        }
        let check = LeakCheck::baseline();
        work();
        check.assert_back_to_base(Duration::from_secs(2));
    });
}
