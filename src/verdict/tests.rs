use super::*;

fn round_trip(verdict: &Verdict) -> String {
    let json = serde_json::to_string(verdict).unwrap();
    assert_eq!(&serde_json::from_str::<Verdict>(&json).unwrap(), verdict, "{json}");
    json
}

#[test]
fn codes_are_unique_and_fit_for_labels() {
    let failures = FailureKind::ALL.iter().map(|k| k.code());
    let faults = LocalFaultKind::ALL.iter().map(|k| k.code());
    let codes: Vec<&str> = failures.chain(faults).collect();
    let unique: std::collections::BTreeSet<_> = codes.iter().collect();
    assert_eq!(unique.len(), codes.len());
    for code in codes {
        assert!(
            code.len() <= 40 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{code}"
        );
    }
}

#[test]
fn every_code_stands_in_the_published_list() {
    let list = include_str!("../../docs/failure-codes.md");
    let listed: Vec<&str> =
        list.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let ours: Vec<&str> = FailureKind::ALL
        .iter()
        .map(|k| k.code())
        .chain(LocalFaultKind::ALL.iter().map(|k| k.code()))
        .collect();
    assert_eq!(listed, ours);
}

#[test]
fn every_kind_round_trips_through_json() {
    assert_eq!(round_trip(&Verdict::Pass), r#"{"status":"pass"}"#);
    for kind in FailureKind::ALL {
        let failure = Failure::new(*kind).in_phase(Phase::Tls).at_step(3).with_detail("x\ny");
        let json = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&json).unwrap(), failure);
        round_trip(&failure.with_raw(RawCode::TlsAlert { value: 40 }).into());
    }
    for kind in LocalFaultKind::ALL {
        round_trip(&LocalFault::new(*kind).with_errno(13).into());
    }
    let icmp = RawCode::Icmp { icmp_type: 3, code: 1, from: Some("192.0.2.1".parse().unwrap()) };
    let failure = Failure::new(FailureKind::HostUnreachable).with_raw(icmp).on_side(Side::Target);
    let json = round_trip(&failure.with_limit(LimitHit::new(1, 2)).into());
    assert!(
        json.contains(r#""message":"host unreachable (ICMP 3/1 from 192.0.2.1, cap 1, seen 2)""#)
    );
}

#[test]
fn unknown_codes_are_named() {
    let error = serde_json::from_str::<Verdict>(r#"{"status":"fail","code":"warp"}"#).unwrap_err();
    assert!(error.to_string().contains("`warp`"), "{error}");
    assert!(serde_json::from_str::<Verdict>(r#"{"status":"unknown"}"#).is_err());
}

#[test]
fn details_are_bounded_and_printable() {
    let failure = Failure::new(FailureKind::Protocol).with_detail("é\u{7}".repeat(1000));
    let detail = failure.detail.unwrap();
    assert!(detail.len() <= Failure::DETAIL_BYTES && !detail.contains('\u{7}'));
}
