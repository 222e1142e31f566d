//! What the calibration says of this machine, beside what the lab's capture says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netsonde::Target;
use netsonde::icmp::{
    CalibrateConfig, Calibration, ReferenceChoice, SocketChoice, Stamps, calibrate,
};
use netsonde_lab::Net;

use crate::common::*;

/// What a user would find, on the loopback of the client.
fn found(net: &Net, address: IpAddr, reference: ReferenceChoice) -> Calibration {
    let target: Target = address.to_string().parse().unwrap();
    let config = CalibrateConfig { target, reference, load: 0, ..CalibrateConfig::default() };
    net.client.block_on(async || calibrate(&config).await).unwrap()
}

/// The error in the middle, of trains over the wire that are like those of the calibration.
fn on_the_wire(net: &Net, stamps: Stamps) -> [f64; 2] {
    let like = CalibrateConfig::default();
    let engine = engine(SocketChoice::Raw, stamps);
    let config = config(like.count, like.interval, ms(1000));
    net.target.map(|target| {
        let (results, marks) = send(net, vec![Train::new(&engine, &config, target)]);
        Spread::errors(&samples(&results[0], &marks)).at(500)
    })
}

/// The definition of the goal: the error that half of the results stay below, of each set of stamps, is
/// within a factor of 2 of what the capture says on a wire.
#[test]
fn a25_the_calibration_agrees_with_the_capture() {
    let _turn = turn();
    let Some(net) = wire("a25") else { return };
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    gate("A-25", || {
        let mut wrong = Vec::new();
        let references = [ReferenceChoice::Capture, ReferenceChoice::Stamps];
        let wire = [Stamps::Full, Stamps::Receive, Stamps::Off]
            .map(|stamps| (stamps, on_the_wire(&net, stamps)));
        for reference in references {
            for (family, address) in loopback.into_iter().enumerate() {
                let calibration = found(&net, address, reference);
                for (stamps, truth) in wire {
                    // Without a capture nothing is known of stamps at reception alone.
                    let Some(row) = calibration.row(stamps, false) else { continue };
                    assert_eq!(row.answered, 200, "{calibration}");
                    let told = row.error.unwrap().p50_ns as f64 / 1000.0;
                    let truth = truth[family];
                    println!(
                        "A-25 {address}, by {reference:?}, stamps {stamps:?}: p50 {told:.1} us, on the \
                         wire {truth:.1} us"
                    );
                    if told > 2.0 * truth || truth > 2.0 * told {
                        wrong.push(format!("{address} {reference:?} {stamps:?} {told} {truth}"));
                    }
                }
                let rows = if reference == ReferenceChoice::Capture { 3 } else { 2 };
                assert_eq!(calibration.rows.len(), rows, "{calibration}");
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    });
}
