//! `sonde calibrate` on loopback. It needs the right to an ICMP socket.

use netsonde::icmp::{Calibration, Reference, Stamps};
use netsonde_support::require_root;

use crate::sonde;

#[test]
fn a25_every_set_of_stamps_has_its_figures() {
    if require_root().is_none() {
        return;
    }
    let args = ["calibrate", "-c", "20", "-i", "1ms", "--load", "50"];
    let run = sonde(&args).ended(0);
    for part in ["127.0.0.1 over a raw socket, beside a packet capture", "kernel", "none", "within"]
    {
        assert!(run.out.contains(part), "{part}: {run:?}");
    }
    let run = sonde(&[&args[..], &["::1", "--format", "json"]].concat()).ended(0);
    let found: Calibration = serde_json::from_str(&run.out).unwrap();
    assert_eq!(found.reference, Reference::Capture);
    assert_eq!(found.rows.len(), 6);
    for row in &found.rows {
        assert!(row.compared >= 15 && row.answered >= row.compared, "{found}");
        assert!(row.error.is_some() && row.uncertainty.is_some(), "{found}");
    }
    let run = sonde(&[&args[..], &["--against", "stamps", "--format", "json"]].concat()).ended(0);
    let found: Calibration = serde_json::from_str(&run.out).unwrap();
    assert_eq!((found.reference, found.rows.len()), (Reference::Stamps, 4));
    // Nobody else has seen when a packet came in.
    assert!(found.row(Stamps::Receive, false).is_none());
    assert!(found.row(Stamps::Full, false).is_some_and(|row| row.within.is_none()), "{found}");
}

#[test]
fn a25_who_does_not_answer_says_so() {
    let run = sonde(&["calibrate", "0.0.0.0"]).ended(2);
    assert!(run.err.contains("no answer") && run.out.is_empty(), "{run:?}");
    sonde(&["calibrate", "-c", "0"]).ended(2);
    sonde(&["calibrate", "127.0.0.1:80"]).ended(2);
}
