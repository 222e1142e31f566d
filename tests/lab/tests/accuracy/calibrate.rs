//! What the calibration says of this machine, beside what the lab's capture says.

use std::net::IpAddr;

use netsonde::Target;
use netsonde::icmp::{
    CalibrateConfig, Calibration, ReferenceChoice, SocketChoice, Stamps, calibrate,
};
use netsonde_lab::Net;

use crate::common::*;

/// What is asked for, in the order in which a calibration looks at it: without a capture the times of
/// the process first, since those come from the train with stamps, then the stamps by themselves.
fn rows(reference: ReferenceChoice) -> &'static [Stamps] {
    match reference {
        ReferenceChoice::Capture => &[Stamps::Full, Stamps::Receive, Stamps::Off],
        _ => &[Stamps::Off, Stamps::Full],
    }
}

/// What a user would find who asks the server, and the errors in the middle of trains like those of the
/// calibration that go over the same wire meanwhile, row by row: how long a call takes varies with what
/// else the machine does.
fn found(
    net: &Net,
    family: usize,
    reference: ReferenceChoice,
    wires: &[[IpAddr; 2]; 3],
) -> (Calibration, Vec<(Stamps, f64)>) {
    let target: Target = net.target[family].to_string().parse().unwrap();
    let asked = CalibrateConfig { target, reference, load: 0, ..CalibrateConfig::default() };
    let rows = rows(reference);
    let like = config(asked.count, asked.interval, ms(1000));
    let trains = rows.iter().zip(wires).zip(0_u32..).map(|((stamps, wire), turn)| {
        let train = Train::new(&engine(SocketChoice::Raw, *stamps), &like, wire[family]);
        train.after(asked.interval / 2 + turn * (asked.count + 10) * asked.interval)
    });
    let trains = trains.collect();
    let (calibration, (results, marks)) = std::thread::scope(|scope| {
        let calibration =
            scope.spawn(|| net.client.block_on(async || calibrate(&asked).await).unwrap());
        let sent = send(net, trains);
        (calibration.join().unwrap(), sent)
    });
    let errors = results.iter().map(|result| Spread::errors(&samples(result, &marks)).at(500));
    (calibration, rows.iter().copied().zip(errors).collect())
}

/// The definition of the goal: the error that half of the results stay below, of each set of stamps, is
/// within a factor of 2 of what the lab's capture says of the same path at the same time.
#[test]
fn a25_the_calibration_agrees_with_the_capture() {
    let _turn = turn();
    let Some(net) = wire("a25") else { return };
    let wires = [1, 2, 3].map(|number| another(&net, number));
    for reference in [ReferenceChoice::Capture, ReferenceChoice::Stamps] {
        gate("A-25", || {
            let mut wrong = Vec::new();
            for family in [0, 1] {
                let (calibration, wire) = found(&net, family, reference, &wires);
                // Without a capture nothing is known of stamps at reception alone.
                assert_eq!(calibration.rows.len(), wire.len(), "{calibration}");
                for (stamps, truth) in wire {
                    let row = calibration.row(stamps, false).unwrap();
                    assert_eq!(row.answered, 200, "{calibration}");
                    let told = row.error.unwrap().p50_ns as f64 / 1000.0;
                    let of = format!("{}, by {reference:?}, stamps {stamps:?}", calibration.target);
                    println!("A-25 {of}: p50 {told:.1} us, the lab {truth:.1} us");
                    if told > 2.0 * truth || truth > 2.0 * told {
                        wrong.push(format!("{of}: {told} and {truth}"));
                    }
                }
            }
            if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
        });
    }
}
