//! What 100,000 packets say at once: bounds that hold, and a fate for each as the line had it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use netsonde::ProbeResult;
use netsonde::icmp::{EchoFate, IcmpConfig, IcmpReport};
use netsonde_lab::netlab::softnet_dropped;
use netsonde_lab::{Hogs, Marks, Net, Program, Set, Subject};

use crate::common::*;

/// Packets of one family.
const COUNT: u32 = 100_000;

/// How long an answer is waited for.
const WAIT: Duration = ms(250);

/// What the line does, by number of the packet.
struct Script {
    lost: Set,
    lost_back: Set,
    twice: Set,
    late: Set,
    overtaken: Set,
}

impl Script {
    fn new(seed: u64) -> Self {
        let set = |text: String| text.parse().unwrap();
        Script {
            lost: set(format!("~20@{seed},0,77,50000-50019,{}", COUNT - 1)),
            lost_back: set(format!("~5@{}", seed + 10)),
            twice: set(format!("~10@{}", seed + 20)),
            late: set(format!("~3@{}", seed + 30)),
            overtaken: set(format!("~10@{}", seed + 40)),
        }
    }

    /// The programs of the line; both directions number the requests and the replies by the request's
    /// place.
    fn programs(&self) -> (Program, Program) {
        let forth = Program::delay(ms(5)).number(Subject::Echo).lose(members(&self.lost));
        // The replies to packets that were not lost, numbered as they come.
        let through: Vec<u64> =
            (0..u64::from(COUNT)).filter(|number| !self.lost.contains(*number)).collect();
        let of = |set: &Set| -> BTreeSet<u64> {
            let places = (0_u64..).zip(&through);
            places.filter(|(_, number)| set.contains(**number)).map(|(place, _)| place).collect()
        };
        let (late, overtaken, twice) = (of(&self.late), of(&self.overtaken), of(&self.twice));
        let back = Program::delay(ms(5)).number(Subject::Echo).lose(of(&self.lost_back)).script(
            move |passing, passage| {
                if late.contains(&passing.number) {
                    passage.hold += 2 * WAIT;
                }
                if overtaken.contains(&passing.number) {
                    passage.hold += ms(8);
                }
                if twice.contains(&passing.number) {
                    passage.copies.push(passage.hold + ms(1));
                }
            },
        );
        (forth, back)
    }

    fn fate(&self, number: u64) -> &'static str {
        if self.lost.contains(number) || self.lost_back.contains(number) {
            "lost"
        } else if self.late.contains(number) {
            "late"
        } else {
            "answered"
        }
    }
}

fn members(set: &Set) -> BTreeSet<u64> {
    (0..u64::from(COUNT)).filter(|number| set.contains(*number)).collect()
}

/// Sends some packets in one family, at so many a second.
fn train(net: &Net, target: IpAddr, config: &IcmpConfig) -> Ran {
    let dropped = softnet_dropped();
    let (mut results, marks) = send(net, vec![Train::new(&raw(), config, target)]);
    let health = net.line().health();
    let lost = softnet_dropped() - dropped + health.lost();
    Ran { result: results.remove(0), marks, lost }
}

struct Ran {
    result: ProbeResult<IcmpReport>,
    marks: Marks,
    /// Frames that the machine has lost.
    lost: u64,
}

#[test]
fn a15_the_scripted_fates_of_100000_packets_are_reported_one_by_one() {
    let _turn = turn();
    for (family, seed) in [(0, 3), (1, 4)] {
        gate("A-15", || {
            let script = Script::new(seed);
            let (forth, back) = script.programs();
            let Some(net) = Net::with_line("a15", &netsonde_lab::Topology::default(), forth, back)
            else {
                return Ok(());
            };
            let target = net.target[family];
            let linger = 3 * WAIT;
            let config = IcmpConfig { linger, ..config(COUNT, us(50), WAIT) };
            let Ran { result, marks, lost } = train(&net, target, &config);
            if lost > 0 {
                return Err(format!("the machine has lost {lost} frames"));
            }
            let packets = &result.report.packets;
            assert_eq!(packets.len(), COUNT as usize);
            let echoes = echoes(&marks, target);
            // A line that is held up makes a packet late that was not meant to be; the capture knows.
            let held_up = echoes.iter().zip(0_u64..).filter(|(echo, number)| {
                let late = echo.rtt.is_some_and(|rtt| rtt > WAIT - ms(20));
                late && script.fate(*number) != "late"
            });
            let held_up = held_up.count();
            if held_up > 0 {
                return Err(format!("the line was late with {held_up} packets"));
            }
            let mut duplicates = 0;
            for (packet, number) in packets.iter().zip(0_u64..) {
                let seen = echoes[number as usize];
                assert_eq!(packet.fate.as_str(), script.fate(number), "{number} {seen:?}");
                let twice = script.twice.contains(number) && script.fate(number) != "lost";
                assert_eq!(packet.duplicates, u64::from(twice), "{number} {packet:?} {seen:?}");
                duplicates += packet.duplicates;
            }
            let stats = result.report.stats.as_ref().unwrap();
            let lost = packets.iter().filter(|packet| packet.fate == EchoFate::Lost).count();
            assert_eq!((stats.lost, stats.duplicates), (lost as u64, duplicates));
            let reordered = overtaken(&echoes, &script);
            println!(
                "A-15 {target}: of {COUNT} {lost} lost, {} late, {duplicates} twice, all of them the \
                 right ones; {} reordered, {reordered} by the capture",
                stats.late, stats.reordered
            );
            let off = stats.reordered.abs_diff(reordered as u64);
            // Readings of the clock are some ten nanoseconds wide, in which two answers may change places.
            if off > 2 {
                return Err(format!("{} reordered, {reordered} by the capture", stats.reordered));
            }
            Ok(())
        });
    }
}

/// Answers in time that came after one to a later packet (RFC 4737, 3).
fn overtaken(echoes: &[Echo], script: &Script) -> usize {
    let in_time = echoes.iter().zip(0_u64..).filter(|(_, n)| script.fate(*n) == "answered");
    let arrivals: Vec<_> = in_time.map(|(echo, _)| echo.sent + echo.rtt.unwrap()).collect();
    let mut earliest_later = None;
    let mut count = 0;
    for arrival in arrivals.into_iter().rev() {
        if earliest_later.is_some_and(|later| arrival > later) {
            count += 1;
        }
        earliest_later = Some(earliest_later.map_or(arrival, |later| arrival.min(later)));
    }
    count
}

#[test]
fn a11_the_bounds_of_100000_results_are_honest() {
    let _turn = turn();
    let Some(net) = path("a11", ms(10)) else { return };
    gate("A-11", || {
        let mut all = Vec::new();
        // Steady, flat out, and on a busy machine.
        for (count, per_second, is_busy) in
            [(36_000, 12_000, false), (8_000, 1_000_000, false), (6_000, 3_000, true)]
        {
            let _hogs = is_busy.then(|| Hogs::start(4));
            for target in net.target {
                let interval = Duration::from_secs(1) / per_second;
                let ran = train(&net, target, &config(count, interval, ms(5000)));
                if ran.lost > 0 {
                    return Err(format!("the machine has lost {} frames", ran.lost));
                }
                let samples = samples(&ran.result, &ran.marks);
                let within = samples.iter().filter(|sample| sample.is_within()).count();
                let bounds = Spread::of(samples.iter().map(|sample| sample.rtt.uncertainty_ns));
                println!(
                    "A-11 {count} at {per_second}/s, busy {is_busy}, {target}: {within} of {} within; \
                     bound {bounds}; error {}",
                    samples.len(),
                    Spread::errors(&samples)
                );
                all.extend(samples);
            }
        }
        let within = all.iter().filter(|sample| sample.is_within()).count();
        let bounds = Spread::of(all.iter().map(|sample| sample.rtt.uncertainty_ns));
        let share = 100.0 * within as f64 / all.len() as f64;
        println!("A-11 {share:.3} % of {} within their bounds", all.len());
        if within * 1000 < all.len() * 999 || all.len() < 99_000 {
            return Err(format!("{within} of {} within", all.len()));
        }
        judge("A-11 bounds", &bounds, &[(500, 30.0)])
    });
}
