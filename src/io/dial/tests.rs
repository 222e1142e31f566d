use super::*;
use crate::probe::{Attempt, ProbeContext};
use crate::verdict::{LocalFault, LocalFaultKind};

/// What a made-up address does: answers or fails after so many milliseconds; 0 is never.
type Plan = &'static [(&'static str, u64, bool)];

fn addresses(plan: Plan) -> Vec<SocketAddr> {
    plan.iter().map(|(ip, ..)| SocketAddr::new(ip.parse().unwrap(), 1)).collect()
}

fn refused() -> Verdict {
    Failure::new(FailureKind::Refused).into()
}

async fn run(dialing: &Dialing, plan: Plan) -> (Result<SocketAddr, Verdict>, Vec<Attempt>) {
    let cx = ProbeContext::new();
    let mut record = Record::start(&cx, cx.clock().now(), Phase::Connect);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let connect = |address: SocketAddr| async move {
        let (_, after, answers) =
            *plan.iter().find(|(ip, ..)| address.ip().to_string() == *ip).unwrap();
        if after == 0 {
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_millis(after)).await;
        let result = if answers { Ok(address) } else { Err(refused()) };
        Dialled { result, facts: Facts::default(), at: crate::io::time::now() }
    };
    let result = dial(&mut record, dialing, &addresses(plan), deadline, connect).await;
    (result, record.attempts)
}

fn policy(addresses: AddressPolicy) -> Dialing {
    Dialing { addresses, ..Dialing::default() }
}

fn starts(attempts: &[Attempt]) -> Vec<u64> {
    attempts.iter().map(|attempt| attempt.start_ns / 1_000_000).collect()
}

#[tokio::test(start_paused = true)]
async fn a_race_is_staggered_and_the_first_connection_wins() {
    let plan: Plan = &[("::1", 0, true), ("::2", 0, true), ("10.0.0.1", 30, true)];
    let (result, attempts) = run(&policy(AddressPolicy::HappyEyeballs), plan).await;
    assert_eq!(result, Ok("10.0.0.1:1".parse().unwrap()));
    assert_eq!(starts(&attempts), [0, 250], "IPv4 is second, the third is not dialled");
    assert_eq!(attempts[0].verdict, None, "given up");
    assert!(attempts[1].selected && !attempts[0].selected);
    assert_eq!(attempts[1].end_ns / 1_000_000, 280);
    assert_eq!(attempts[0].end_ns, attempts[1].end_ns);
}

#[tokio::test(start_paused = true)]
async fn a_failure_starts_the_next_dial_at_once() {
    let plan: Plan = &[("::1", 10, false), ("10.0.0.1", 500, true), ("::2", 20, true)];
    let (result, attempts) = run(&policy(AddressPolicy::HappyEyeballs), plan).await;
    assert_eq!(result, Ok("[::2]:1".parse().unwrap()));
    assert_eq!(starts(&attempts), [0, 10, 260]);
    assert_eq!(attempts[0].verdict, Some(refused()));
}

#[tokio::test(start_paused = true)]
async fn any_goes_one_after_the_other() {
    let plan: Plan = &[("::1", 400, false), ("::2", 400, true), ("10.0.0.1", 1, true)];
    let (result, attempts) = run(&policy(AddressPolicy::Any), plan).await;
    assert_eq!(result, Ok("[::2]:1".parse().unwrap()));
    assert_eq!(starts(&attempts), [0, 400]);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_hangs_is_left_after_its_own_limit() {
    let plan: Plan = &[("::1", 0, false), ("10.0.0.1", 5, true)];
    let limit = Some(Duration::from_millis(100));
    let dialing = Dialing { attempt_timeout: limit, ..policy(AddressPolicy::Any) };
    let (result, attempts) = run(&dialing, plan).await;
    assert!(result.is_ok());
    assert_eq!(starts(&attempts), [0, 100]);
    assert_eq!(attempts[0].verdict.as_ref().and_then(Verdict::code), Some("timeout"));
}

#[tokio::test(start_paused = true)]
async fn first_tries_no_other() {
    let plan: Plan = &[("::1", 5, false), ("10.0.0.1", 5, true)];
    let (result, attempts) = run(&policy(AddressPolicy::First), plan).await;
    assert_eq!((result, attempts.len()), (Err(refused()), 1));
}

#[tokio::test(start_paused = true)]
async fn t26_both_families_fail_and_both_are_listed() {
    let plan: Plan = &[("::1", 20, false), ("10.0.0.1", 10, false)];
    let (result, attempts) = run(&policy(AddressPolicy::HappyEyeballs), plan).await;
    assert_eq!(result, Err(refused()));
    assert_eq!(attempts.len(), 2);
    assert!(attempts.iter().all(|attempt| attempt.verdict.is_some() && !attempt.selected));
}

#[test]
fn a_failure_of_the_target_goes_before_a_local_fault() {
    let cx = ProbeContext::new();
    let now = cx.clock().now();
    let mut record = Record::start(&cx, now, Phase::Connect);
    let local = Verdict::from(LocalFault::new(LocalFaultKind::Family));
    for verdict in [local.clone(), refused()] {
        let place = record.dialling("127.0.0.1:1".parse().unwrap());
        record.dialled(place, verdict, Facts::default(), now);
    }
    assert_eq!(first_failure(&record), refused());
    record.attempts.pop();
    assert_eq!(first_failure(&record), local);
}
