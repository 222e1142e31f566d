//! Every scenario of the folder, with netsonde's own ICMP prober, over raw and over datagram sockets.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::time::Duration;

use netsonde::icmp::{
    DontFragment, EchoFate, EchoOptions, EngineConfig, IcmpConfig, IcmpEngine, IcmpProber,
    IcmpReport, SocketChoice,
};
use netsonde::{ProbeResult, Prober};
use netsonde_lab::scenario::{self, Job, Outcome, PacketOutcome, Scenario};
use netsonde_support::require_root;

/// Probes from within the client's namespace.
fn probe(job: &Job<'_>, socket: SocketChoice) -> Outcome {
    let probe = job.probe;
    let config = IcmpConfig {
        count: probe.count,
        interval: job.interval(),
        reply_timeout: job.timeout(),
        // Long enough for what is twice or late.
        linger: Duration::from_millis(300),
        echo: EchoOptions {
            size: probe.size.into(),
            ttl: probe.ttl.map(u16::from),
            dont_fragment: if probe.df { DontFragment::Set } else { DontFragment::System },
            ..EchoOptions::default()
        },
        ..IcmpConfig::default()
    };
    let target = job.target.to_string().parse().expect("an address is a target");
    let result = job.net.client.block_on(async move || {
        let engine = IcmpEngine::new(EngineConfig { socket, ..EngineConfig::default() });
        let engine = engine.expect("fine");
        let prober = IcmpProber::new(&engine, config).expect("fine");
        let result = prober.probe(&target).await;
        // Whatever came, or did not: no packet is left in the table.
        assert_eq!(engine.stats().waiting, 0, "{result}");
        result
    });
    outcome(&result)
}

fn outcome(result: &ProbeResult<IcmpReport>) -> Outcome {
    let mut packets: Vec<_> = result.report.packets.iter().map(packet).collect();
    let arrival = |place: &usize| {
        let packet = &result.report.packets[*place];
        let answer = packet.fate.answer();
        Some(packet.sent_ns? + answer?.rtt.ns)
    };
    let mut order: Vec<usize> =
        (0..packets.len()).filter(|place| arrival(place).is_some()).collect();
    order.sort_by_key(arrival);
    for (place, packet) in order.into_iter().enumerate() {
        packets[packet].place = Some(place);
    }
    Outcome { packets, note: result.to_string() }
}

fn packet(record: &netsonde::icmp::EchoRecord) -> PacketOutcome {
    let fate = match &record.fate {
        EchoFate::Refused(error) => format!("error {}/{}", error.icmp_type, error.code),
        EchoFate::NotSent { errno, .. } => format!("not_sent {}", errno_name(*errno)),
        other => other.as_str().to_owned(),
    };
    let answer = record.fate.answer();
    PacketOutcome {
        fate,
        // A new engine numbers from 0.
        seq: u16::try_from(record.number).ok(),
        rtt: answer.map(|answer| answer.rtt.duration()),
        from: match &record.fate {
            EchoFate::Refused(error) => error.from,
            _ => answer.map(|answer| answer.from),
        },
        duplicates: u32::try_from(record.duplicates).unwrap_or(u32::MAX),
        place: None,
    }
}

fn errno_name(errno: i32) -> String {
    let names = [
        (libc::EINVAL, "EINVAL"),
        (libc::EACCES, "EACCES"),
        (libc::EPERM, "EPERM"),
        (libc::EMSGSIZE, "EMSGSIZE"),
        (libc::ENOBUFS, "ENOBUFS"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::EHOSTUNREACH, "EHOSTUNREACH"),
    ];
    let name = names.iter().find(|(number, _)| *number == errno).map(|(_, name)| *name);
    name.map_or_else(|| errno.to_string(), str::to_owned)
}

fn run_all(socket: SocketChoice, prepare: impl Fn(&mut Scenario)) {
    let Some(()) = require_root() else { return };
    let mut failed = Vec::new();
    for path in scenario::files(&scenario::folder()).expect("the folder can be read") {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
        prepare(&mut scenario);
        // Other work on the machine may spoil a time.
        let mut wrong = Vec::new();
        for _ in 0..3 {
            wrong.clear();
            let prober = |job: &Job<'_>| probe(job, socket);
            let Some(ran) = scenario::run(&scenario, "n", "netsonde", &prober) else { return };
            for one in &ran {
                println!("{name}: {}: {}", one.target, one.summary());
                if !one.wrong.is_empty() {
                    let wrongs = one.wrong.join("\n  ");
                    wrong
                        .push(format!("{name}: {}:\n  {wrongs}\n{}", one.target, one.outcome.note));
                }
            }
            if wrong.is_empty() {
                break;
            }
        }
        failed.append(&mut wrong);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn all_scenarios_end_as_their_files_say_over_a_raw_socket() {
    run_all(SocketChoice::Raw, |_| {});
}

#[test]
fn i98_i114_and_over_a_datagram_socket_just_the_same() {
    run_all(SocketChoice::Datagram, |scenario| {
        scenario.topology.ping_groups = Some((0, 2_147_483_647));
        // Linux tells of local drops on such sockets in IPv4 alone: what becomes of an IPv6 packet behind
        // ping_v6_sendmsg stays there.
        for probe in &mut scenario.probe {
            let fates = probe.expect.fates.keys().chain(&probe.expect.otherwise);
            if fates
                .into_iter()
                .any(|fate| matches!(&**fate, "not_sent EPERM" | "not_sent ENOBUFS"))
            {
                probe.family = Some(4);
            }
        }
    });
}
