//! The prober of Unix stream sockets: dial, talk, look back.

use std::time::Duration;

use tokio::time::timeout_at;

use super::connect::connect_unix;
use super::record::{Facts, Record};
use super::resolve::lookup::policy_fault;
use super::talk::{Plan, Talk};
use super::wire::Wire;
use crate::observe::Event;
use crate::probe::{ProbeContext, ProbeResult};
use crate::target::Target;
use crate::tcp::{PeerCredentials, UnixConnection, UnixReport};
use crate::timing::Phase;
use crate::verdict::{LocalFault, LocalFaultKind, Verdict};

/// Everything that a probe of a Unix socket needs to know of its prober.
#[derive(Debug)]
pub(crate) struct UnixPlan {
    pub(crate) talk: Plan,
    pub(crate) timeout: Duration,
    pub(crate) busy_retry: Duration,
}

/// Probes once.
pub(crate) async fn probe(
    plan: &UnixPlan,
    cx: &ProbeContext,
    target: &Target,
) -> ProbeResult<UnixReport> {
    cx.notify(&Event::Started { target });
    let started_at = cx.clock().wall();
    let mut record = Record::start(cx, cx.clock().now(), Phase::Connect);
    let deadline = super::time::deadline(cx.timeout().unwrap_or(plan.timeout));
    let mut report = UnixReport::default();
    let mut talk = Talk::new(&plan.talk);

    let run = run(plan, &mut record, &mut talk, &mut report, target);
    let outcome = match timeout_at(deadline, run).await {
        Ok(Ok(())) => Verdict::Pass,
        Ok(Err(verdict)) => verdict,
        Err(_) => {
            let failure = record.timed_out(record.now());
            talk.timed_out(failure).into()
        }
    };
    if report.connection.is_some() {
        record.enter(Phase::Close, record.now());
    }
    report.peer_end = talk.end();
    (report.tls, report.script) = talk.into_reports();
    let mut result = record.conclude(target, started_at, outcome, report);
    result.quality.timer_lag_ns = super::time::late_ns(deadline);
    result
}

async fn run(
    plan: &UnixPlan,
    record: &mut Record<'_>,
    talk: &mut Talk<'_>,
    report: &mut UnixReport,
    target: &Target,
) -> Result<(), Verdict> {
    let Target::Unix(address) = target else {
        let fault = LocalFault::new(LocalFaultKind::Target).in_phase(Phase::Setup);
        return Err(fault.with_detail("the Unix socket prober takes unix:PATH").into());
    };
    let refused = record.cx().policy().check_unix();
    refused.map_err(|refused| Verdict::from(policy_fault(&refused)))?;
    let clock = record.cx().clock();
    let place = record.dialling(target.clone());
    let connected = match connect_unix(address, plan.busy_retry, || clock.now()).await {
        Ok(connected) => connected,
        Err(error) => {
            let verdict = error.verdict();
            record.dialled(place, verdict.clone(), Facts::default(), error.marks.end);
            return Err(verdict);
        }
    };
    let at = connected.marks().end;
    record.dialled(place, Verdict::Pass, Facts::default(), at);
    record.selected(place, at);
    report.connection = Some(UnixConnection {
        peer: address.clone(),
        credentials: connected.peer().map(|who| PeerCredentials {
            pid: who.pid,
            uid: who.uid,
            gid: who.gid,
        }),
        busy_retries: connected.busy(),
    });
    let stream = match connected.into_stream() {
        Ok(stream) => stream,
        Err(error) => return Err(super::errno::verdict(&error, Phase::Connect)),
    };
    talk.run(record, None, Wire::Unix(stream)).await
}
