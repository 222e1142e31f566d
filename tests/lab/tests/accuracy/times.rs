//! How far reported round trips are off: idle, with many in flight, in bursts, on a busy machine.

use std::net::IpAddr;
use std::time::Duration;

use netsonde::icmp::IcmpReport;
use netsonde::icmp::{SocketChoice, Stamps};
use netsonde::{ProbeResult, StampSource};
use netsonde_lab::netlab::softnet_dropped;
use netsonde_lab::{Hogs, Marks, Net};

use crate::common::*;

/// The samples of a train whose packets must all have been answered, with kernel stamps.
fn all_stamped(result: &ProbeResult<IcmpReport>, marks: &Marks) -> Result<Vec<Sample>, String> {
    let samples = samples(result, marks);
    let stats = result.report.stats.as_ref().unwrap();
    let stamped = count_of(&samples, StampSource::Kernel);
    // A stamp that comes 5 ms late is not waited for; on a machine that stands still that may be.
    if stats.sent == stats.received && stamped * 1000 >= samples.len() * 999 {
        Ok(samples)
    } else {
        Err(format!("{stamped} of {} stamped: {stats:?}", samples.len()))
    }
}

#[test]
fn a1_idle_echo_times_match_the_capture() {
    let _turn = turn();
    let Some(net) = wire("a1") else { return };
    gate("A-1", || {
        // 5,000 in all, at 100 a second in each family.
        let config = config(2_500, ms(10), ms(1000));
        let [v4, v6] = net.target.map(|target| Train::new(&raw(), &config, target));
        let (results, marks) = send(&net, vec![v4, v6.after(ms(5))]);
        for (result, target) in results.iter().zip(net.target) {
            let errors = Spread::errors(&all_stamped(result, &marks)?);
            judge(
                &format!("A-1 idle, {target}"),
                &errors,
                &[(500, 15.0), (990, 30.0), (1000, 250.0)],
            )?;
        }
        Ok(())
    });
}

#[test]
fn a2_with_10000_in_flight() {
    let _turn = turn();
    // 5,000 a second need 2 s each to be 10,000 at once; a busy machine sends fewer.
    let Some(net) = path("a2", ms(1800)) else { return };
    gate("A-2", || {
        let config = config(20_000, us(200), ms(6000));
        let dropped = softnet_dropped();
        let trains = net.target.map(|target| Train::new(&raw(), &config, target));
        let (results, marks) = send(&net, trains.into());
        if softnet_dropped() != dropped {
            return Err("the machine has lost packets".to_owned());
        }
        for (result, target) in results.iter().zip(net.target) {
            let most = in_flight(&marks, target);
            let errors = Spread::errors(&all_stamped(result, &marks)?);
            judge(
                &format!("A-2 {most} in flight, {target}"),
                &errors,
                &[(990, 30.0), (999, 100.0)],
            )?;
            if most < 10_000 {
                return Err(format!("{most} in flight"));
            }
        }
        Ok(())
    });
}

#[test]
fn a3_in_a_burst_of_10000_at_once() {
    let _turn = turn();
    let Some(net) = path("a3", ms(450)) else { return };
    gate("A-3", || {
        for target in net.target {
            let dropped = softnet_dropped();
            let train = Train::new(&raw(), &burst(10_000, ms(4000)), target);
            let (results, marks) = send(&net, vec![train]);
            if softnet_dropped() != dropped {
                return Err("the machine has lost packets".to_owned());
            }
            let echoes = echoes(&marks, target);
            let took = echoes[echoes.len() - 1].sent.duration_since(echoes[0].sent).unwrap();
            let most = in_flight(&marks, target);
            let errors = Spread::errors(&all_stamped(&results[0], &marks)?);
            judge(&format!("A-3 10,000 within {took:.0?}, {target}"), &errors, &[(990, 30.0)])?;
            if most < 10_000 {
                return Err(format!("{most} in flight"));
            }
        }
        Ok(())
    });
}

/// Which engine asks where: one pair of addresses each, since the capture tells their packets apart by it.
type Asked<'a> = (&'a str, SocketChoice, Stamps, [IpAddr; 2]);

/// Trains of several engines side by side, over both families; for each, what it found.
fn side_by_side(
    net: &Net,
    asked: &[Asked<'_>],
    count: u32,
    interval: Duration,
) -> (Vec<[ProbeResult<IcmpReport>; 2]>, Marks) {
    let config = config(count, interval, ms(2000));
    let step = interval / (2 * u32::try_from(asked.len()).unwrap());
    let mut trains = Vec::new();
    for (_, socket, stamps, targets) in asked {
        let engine = engine(*socket, *stamps);
        for target in targets {
            let after = step * u32::try_from(trains.len()).unwrap();
            trains.push(Train::new(&engine, &config, *target).after(after));
        }
    }
    let (results, marks) = send(net, trains);
    let mut results = results.into_iter();
    let pairs = asked.iter().map(|_| [results.next().unwrap(), results.next().unwrap()]);
    (pairs.collect(), marks)
}

#[test]
fn a4_with_4_busy_threads_on_2_processors() {
    let _turn = turn();
    let Some(net) = path("a4", ms(10)) else { return };
    let other = another(&net, 1);
    let asked = [
        ("stamps", SocketChoice::Raw, Stamps::Full, net.target),
        ("none", SocketChoice::Raw, Stamps::Off, other),
    ];
    gate("A-4", || {
        let hogs = Hogs::start(4);
        let (results, marks) = side_by_side(&net, &asked, 1_500, ms(4));
        drop(hogs);
        for family in [0, 1] {
            let [stamped, plain] = [0, 1].map(|place: usize| &results[place][family]);
            let target = net.target[family];
            let theirs = Spread::errors(&samples(plain, &marks));
            println!("A-4 user stamps, {target}: {theirs}");
            let ours = Spread::errors(&all_stamped(stamped, &marks)?);
            judge(&format!("A-4 kernel stamps, {target}"), &ours, &[(990, 60.0)])?;
            let times = theirs.at(990) / ours.at(990);
            println!("A-4 {target}: {times:.0} times better at p99");
            if times < 50.0 {
                return Err(format!("{times:.0} times better"));
            }
        }
        Ok(())
    });
}

#[test]
fn a23_without_privileges_and_without_stamps() {
    let _turn = turn();
    let Some(net) = wire("a23") else { return };
    let asked = [
        ("datagram", SocketChoice::Datagram, Stamps::Full, net.target),
        ("datagram, no stamps", SocketChoice::Datagram, Stamps::Off, another(&net, 1)),
    ];
    gate("A-23", || {
        let (results, marks) = side_by_side(&net, &asked, 1_500, ms(10));
        for (family, target) in net.target.into_iter().enumerate() {
            let [stamped, plain] = [0, 1].map(|place: usize| &results[place][family]);
            let errors = Spread::errors(&all_stamped(stamped, &marks)?);
            judge(
                &format!("A-23 datagram socket, {target}"),
                &errors,
                &[(500, 15.0), (990, 30.0), (1000, 250.0)],
            )?;
            let samples = samples(plain, &marks);
            // Each value says that it is one of this process, and so does the whole.
            assert_eq!(count_of(&samples, StampSource::User), samples.len());
            assert_eq!(plain.quality.stamp, Some(StampSource::User));
            let errors = Spread::errors(&samples);
            judge(&format!("A-23 stamps off, {target}"), &errors, &[(500, 60.0)])?;
        }
        Ok(())
    });
}
