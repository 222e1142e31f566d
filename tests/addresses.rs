//! Names with several addresses: each one is told of, whatever the policy.
#![cfg(all(feature = "tcp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;

use check::{checked, code, within_ms};
use netsonde::tcp::{TcpConfig, TcpProber};
use netsonde::{
    AddressPolicy, Dialing, OutboundPolicy, Phase, ProbeContext, StaticResolver, Target, Verdict,
};
use netsonde_support::{Script, Server};

fn twins() -> ProbeContext {
    let addresses = ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse().unwrap());
    within_ms(2000).with_resolver(StaticResolver::new().with("twins.test", addresses).unwrap())
}

fn prober(addresses: AddressPolicy) -> TcpProber {
    let dialing = Dialing { addresses, ..Dialing::default() };
    TcpProber::new(TcpConfig { dialing, ..TcpConfig::default() }).unwrap()
}

fn twin_of(server: &Server) -> Target {
    format!("twins.test:{}", server.addr().port()).parse().unwrap()
}

#[tokio::test]
async fn all_fails_if_one_address_does_and_keeps_the_others() {
    let server = Server::tcp(Script::new().hang());
    let result = checked(&prober(AddressPolicy::All), &twins(), twin_of(&server)).await;
    assert_eq!(code(&result), ("refused", Some(Phase::Connect)));
    let tried: Vec<_> = result.attempts.iter().map(|attempt| attempt.address.to_string()).collect();
    let port = server.addr().port();
    assert_eq!(tried, [format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}")]);
    assert_eq!(result.attempts[0].verdict, Some(Verdict::Pass));
    assert_eq!(result.report.connection, None, "the deciding address has none");
    let [other] = result.report.others.as_slice() else { panic!("{result}") };
    assert_eq!((other.address, &other.outcome), (server.addr(), &Verdict::Pass));
    assert_eq!(other.connection.as_ref().unwrap().peer, server.addr());
    assert!(other.timing.is_tiled());
}

#[tokio::test]
async fn a_race_passes_over_the_dead_address() {
    let server = Server::tcp(Script::new().hang());
    for policy in [AddressPolicy::HappyEyeballs, AddressPolicy::Any] {
        let result = checked(&prober(policy), &twins(), twin_of(&server)).await;
        assert_eq!(code(&result), ("pass", None), "{result}");
        assert_eq!(result.report.connection.unwrap().peer, server.addr());
    }
    let first = checked(&prober(AddressPolicy::First), &twins(), twin_of(&server)).await;
    assert_eq!(first.attempts.len(), 1);
}

#[tokio::test]
async fn an_address_that_the_policy_refuses_is_named_and_the_other_one_dialled() {
    let server = Server::tcp(Script::new().hang());
    let deny = vec!["127.0.0.2/32".parse().unwrap()];
    let cx = twins().with_policy(OutboundPolicy { deny, ..OutboundPolicy::default() });
    let result = checked(&prober(AddressPolicy::All), &cx, twin_of(&server)).await;
    assert_eq!(code(&result), ("pass", None), "{result}");
    let [refused] = result.report.refused.as_slice() else { panic!("{result}") };
    assert_eq!(refused.address.ip().to_string(), "127.0.0.2");
    assert_eq!(refused.why, "127.0.0.2 lies in the denied network 127.0.0.2/32");
    assert!(result.to_string().contains("not dialled 127.0.0.2"), "{result}");
}
