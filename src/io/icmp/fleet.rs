//! Trains to any number of hosts at once: resolve, send by one plan, conclude each for itself.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::timeout_at;

use super::Ports;
use super::found::canonical;
use super::judge::{Outcome, as_target, blame_source, conclude, verdict};
use super::port::{Port, PortError, Wish};
use super::probe::{IcmpPlan, RESOLVE, allowed, wish};
use super::sweep::{Row, Sweep, SweepEvent, SweepPlan};
use crate::icmp::{EchoRecord, IcmpReport, SocketMode};
use crate::io::join;
use crate::io::record::Record;
use crate::io::resolve::lookup::{Wanted, addresses, permitted};
use crate::observe::Event;
use crate::probe::{Attempt, ProbeContext, ProbeResult};
use crate::resolve::AddressPolicy;
use crate::target::{Host, Target};
use crate::timing::{Phase, PhaseClock, duration_ns};
use crate::verdict::{LocalFault, LocalFaultKind, Verdict};

/// What comes of a fleet while it runs.
#[derive(Debug)]
pub(crate) enum FleetEvent<'a> {
    Packet { place: usize, address: IpAddr, packet: &'a EchoRecord },
    Done { place: usize, result: Box<ProbeResult<IcmpReport>> },
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Fleet<'a> {
    ports: &'a Ports,
    plan: &'a IcmpPlan,
    cx: &'a ProbeContext,
    wish: Wish,
    started: Instant,
    started_at: SystemTime,
    deadline: Option<tokio::time::Instant>,
    entries: Vec<Entry>,
    /// Whose each row is.
    owners: Vec<u32>,
    sweep: Sweep,
    modes: [Option<SocketMode>; 2],
    done: VecDeque<(usize, Box<ProbeResult<IcmpReport>>)>,
    over: bool,
}

/// One target.
#[derive(Debug)]
struct Entry {
    target: Option<Target>,
    named: Option<Box<Named>>,
    /// Addresses that are asked if those before them do not answer, the next one last.
    more: Vec<SocketAddr>,
    /// Rows that are not done.
    running: u32,
    outcomes: Vec<Outcome>,
    attempts: Vec<Attempt>,
}

/// What only targets with a name have.
#[derive(Debug)]
struct Named {
    clock: PhaseClock,
    report: IcmpReport,
}

/// What is known of a target before anything is sent.
type Found = Result<(Vec<SocketAddr>, Option<Box<Named>>), Box<(Verdict, Option<Box<Named>>)>>;

impl<'a> Fleet<'a> {
    /// Resolves the names, `resolving` at a time, and gets ready to send.
    pub(crate) async fn start(
        ports: &'a Ports,
        plan: &'a IcmpPlan,
        cx: &'a ProbeContext,
        targets: Vec<Target>,
        (gap, resolving): (Duration, usize),
    ) -> Self {
        let (started_at, started) = (cx.clock().wall(), cx.clock().now());
        let limit = cx.timeout().or(plan.config.timeout);
        let config = &plan.config;
        let sweep_plan = SweepPlan {
            count: config.count,
            interval: config.interval,
            gap,
            reply_timeout: config.reply_timeout,
            linger: config.linger,
            size: config.echo.size,
            filler: plan.filler.clone(),
            wish: Wish::default(),
            limits: config.limits.clone(),
        };
        let mut fleet = Fleet {
            ports,
            plan,
            cx,
            wish: Wish::default(),
            started,
            started_at,
            deadline: limit.map(crate::io::time::deadline),
            entries: Vec::with_capacity(targets.len()),
            owners: Vec::with_capacity(targets.len()),
            sweep: Sweep::new(sweep_plan, [None, None], started),
            modes: [None; 2],
            done: VecDeque::new(),
            over: false,
        };
        let found = fleet.resolve(&targets, resolving).await;
        fleet.launch(targets, found);
        fleet
    }

    async fn resolve(&self, targets: &[Target], resolving: usize) -> Vec<Option<Found>> {
        let mut found: Vec<Option<Found>> = Vec::with_capacity(targets.len());
        let mut names = Vec::new();
        for target in targets {
            self.cx.notify(&Event::Started { target });
            found.push(match self.at_once(target) {
                Some(known) => Some(known),
                None => {
                    names.push(found.len());
                    None
                }
            });
        }
        let slots = std::cell::RefCell::new(&mut found);
        let lookups = names.into_iter().map(|place| {
            let slots = &slots;
            async move {
                let Some(host) = targets.get(place).and_then(Target::host) else { return };
                let known = self.look_up(host).await;
                if let Some(slot) = slots.borrow_mut().get_mut(place) {
                    *slot = Some(known);
                }
            }
        });
        join::bounded(resolving.max(1), lookups).await;
        found
    }

    /// What needs no resolver; `None` for a name.
    fn at_once(&self, target: &Target) -> Option<Found> {
        let host = match target {
            Target::Host(host) => host,
            Target::Endpoint(endpoint) => &endpoint.host,
            Target::Unix(_) => {
                let fault = LocalFault::new(LocalFaultKind::Target)
                    .with_detail("the ICMP prober takes a host")
                    .in_phase(Phase::Setup);
                return Some(Err(Box::new((fault.into(), None))));
            }
        };
        let dialing = &self.plan.config.dialing;
        if dialing.connect_to.is_some() || matches!(host, Host::Name(_)) {
            return None;
        }
        let ip = host.ip().filter(|ip| dialing.family.admits(*ip))?;
        if host.zone().is_some() || ip.is_unspecified() || is_link_local(ip) {
            return None;
        }
        let address = canonical(SocketAddr::new(ip, 0));
        self.cx.policy().check(address).is_ok().then(|| Ok((vec![address], None)))
    }

    async fn look_up(&self, host: &Host) -> Found {
        let dialing = &self.plan.config.dialing;
        let host = dialing.connect_to.as_ref().and_then(|to| to.host.as_ref()).unwrap_or(host);
        let mut record = Record::start(self.cx, self.cx.clock().now(), Phase::Resolve);
        let wanted = Wanted { family: dialing.family, most: self.plan.config.limits.addresses };
        let until = tokio::time::Instant::now() + RESOLVE;
        let until = self.deadline.map_or(until, |deadline| deadline.min(until));
        let looked_up = timeout_at(until, addresses(&mut record, host, 0, wanted)).await;
        let mut report = IcmpReport::default();
        let found = match looked_up {
            Ok(Ok((mut found, resolution))) => {
                report.resolution = resolution;
                found.iter_mut().for_each(|address| *address = canonical(*address));
                record.enter(Phase::Setup, record.now());
                permitted(&mut record, found, &mut report.refused).and_then(allowed)
            }
            Ok(Err(verdict)) => Err(verdict),
            Err(_) => Err(record.timed_out(record.now()).into()),
        };
        let named = Box::new(Named { clock: record.into_clock(), report });
        match found {
            Ok(found) => Ok((found, Some(named))),
            Err(verdict) => Err(Box::new((verdict, Some(named)))),
        }
    }

    /// Opens what sockets are needed and gives every address its row.
    fn launch(&mut self, targets: Vec<Target>, found: Vec<Option<Found>>) {
        let wish = wish(&self.plan.config.echo);
        let policy = self.plan.config.dialing.addresses;
        let mut ports: [Option<Result<Arc<Port>, LocalFault>>; 2] = [None, None];
        let mut ready: Vec<(usize, Vec<SocketAddr>)> = Vec::with_capacity(targets.len());
        for (target, found) in targets.into_iter().zip(found) {
            let place = self.entries.len();
            let mut entry = Entry::of(target);
            let refused = match found {
                Some(Ok((mut addresses, named))) => {
                    entry.named = named;
                    match policy {
                        AddressPolicy::First | AddressPolicy::HappyEyeballs => {
                            addresses.truncate(1);
                        }
                        AddressPolicy::Any | AddressPolicy::All => {}
                    }
                    ready.push((place, addresses));
                    None
                }
                Some(Err(refused)) => {
                    let (verdict, named) = *refused;
                    entry.named = named;
                    Some(verdict)
                }
                None => Some(LocalFault::new(LocalFaultKind::Target).into()),
            };
            self.entries.push(entry);
            if let Some(verdict) = refused {
                self.refuse(place, verdict);
            }
        }
        match wish {
            Ok(wish) => self.wish = wish,
            Err(fault) => {
                ready.drain(..).for_each(|(place, _)| self.refuse(place, fault.clone().into()));
            }
        }
        for (_, addresses) in &ready {
            for address in addresses {
                let v6 = address.is_ipv6();
                if let Some(port) = ports.get_mut(usize::from(v6)).filter(|port| port.is_none()) {
                    *port = Some(self.ports.port(v6));
                }
            }
        }
        let open = |place: usize| ports.get(place).and_then(|port| port.as_ref()?.as_ref().ok());
        self.modes = [open(0).map(|port| port.mode()), open(1).map(|port| port.mode())];
        self.sweep.begin(self.wish.clone(), [open(0), open(1)]);
        let now = self.cx.clock().now();
        for (place, mut addresses) in ready {
            let source = self.wish.options.source;
            let fault = |address: &SocketAddr| match source {
                Some(source) if source.is_ipv4() != address.is_ipv4() => Some(
                    LocalFault::new(LocalFaultKind::Address).in_phase(Phase::Setup).with_detail(
                        format!("{source} is of the other family than {}", address.ip()),
                    ),
                ),
                _ => ports
                    .get(usize::from(address.is_ipv6()))
                    .and_then(|port| port.as_ref()?.as_ref().err().cloned()),
            };
            let faults: Vec<(SocketAddr, LocalFault)> =
                addresses.iter().filter_map(|address| Some((*address, fault(address)?))).collect();
            if !faults.is_empty() {
                addresses.retain(|address| faults.iter().all(|(other, _)| other != address));
            }
            if let Some(entry) = self.entries.get_mut(place) {
                entry.outcomes.extend(faults.into_iter().map(|(address, fault)| Outcome {
                    verdict: fault.into(),
                    row: Row::nothing(address),
                    mode: SocketMode::Raw,
                    suspects: 0,
                }));
            }
            if addresses.is_empty() {
                self.conclude(place);
                continue;
            }
            let later = match policy {
                AddressPolicy::Any => addresses.split_off(1),
                _ => Vec::new(),
            };
            for address in addresses {
                self.add(place, address, now);
            }
            if let Some(entry) = self.entries.get_mut(place) {
                entry.more = later;
                entry.more.reverse();
            }
        }
    }

    fn add(&mut self, place: usize, address: SocketAddr, due: Instant) {
        self.sweep.add(address, due);
        self.owners.push(u32::try_from(place).unwrap_or(u32::MAX));
        if let Some(entry) = self.entries.get_mut(place) {
            entry.running += 1;
        }
    }

    /// The next event; `None` when everything is done. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<FleetEvent<'_>> {
        let (row, number) = loop {
            if let Some((place, result)) = self.done.pop_front() {
                return Some(FleetEvent::Done { place, result });
            }
            if self.over {
                return None;
            }
            let event = match self.deadline {
                Some(deadline) => timeout_at(deadline, self.sweep.next()).await,
                None => Ok(self.sweep.next().await),
            };
            match event {
                Ok(Ok(Some(SweepEvent::Packet { row, number }))) => break (row, number),
                Ok(Ok(Some(SweepEvent::Decided { row }))) => self.decided(row),
                Ok(Ok(Some(SweepEvent::Done { row }))) => self.row_done(row, None),
                Ok(Ok(None)) => self.over = true,
                Ok(Err(why)) => self.cut(Some(why)),
                Err(_) => self.cut(None),
            }
        };
        let place = self.owner(row);
        let row = self.sweep.rows.get(row)?;
        let (address, packet) = (row.address.ip(), row.packets.get(number)?);
        if self.cx.is_observed() {
            let now = self.cx.clock().now();
            let at_ns = duration_ns(now.saturating_duration_since(self.started));
            self.cx.notify(&Event::Packet { address, packet, at_ns });
        }
        Some(FleetEvent::Packet { place, address, packet })
    }

    fn owner(&self, row: usize) -> usize {
        self.owners.get(row).map_or(usize::MAX, |place| *place as usize)
    }

    /// A row is decided: if its address did not answer, it may be the turn of the next.
    fn decided(&mut self, row: usize) {
        let place = self.owner(row);
        let answered = self.sweep.rows.get(row).is_some_and(|row| verdict(row, None).is_pass());
        let next = self.entries.get_mut(place).filter(|_| !answered);
        if let Some(address) = next.and_then(|entry| entry.more.pop()) {
            self.add(place, address, self.cx.clock().now());
        }
    }

    fn row_done(&mut self, number: usize, broken: Option<PortError>) {
        let place = self.owner(number);
        let Some(row) = self.sweep.rows.get_mut(number) else { return };
        let row = std::mem::replace(row, Row::nothing(row.address));
        let Some(entry) = self.entries.get_mut(place) else { return };
        let mode = self.modes.get(usize::from(row.address.is_ipv6())).copied().flatten();
        let verdict = blame_source(verdict(&row, broken), self.wish.options.source);
        let started_ns = row.packets.first().map_or(0, |packet| packet.planned_ns);
        let mut attempt = Attempt::new(as_target(row.address), started_ns);
        attempt.end_ns = row.decided_ns.max(started_ns);
        attempt.verdict = Some(verdict.clone());
        entry.attempts.push(attempt);
        let (mode, suspects) = (mode.unwrap_or(SocketMode::Raw), row.suspects);
        entry.outcomes.push(Outcome { verdict, row, mode, suspects });
        entry.running -= 1;
        if entry.running == 0 {
            self.conclude(place);
        }
    }

    /// Ends what is still under way.
    fn cut(&mut self, broken: Option<PortError>) {
        self.sweep.close();
        self.over = true;
        let now = self.cx.clock().now();
        let now_ns = duration_ns(now.saturating_duration_since(self.started));
        for row in 0..self.sweep.rows.len() {
            let entry = self.entries.get(self.owner(row));
            let open = self.sweep.rows.get_mut(row).filter(|row| !row.is_taken());
            if let (Some(open), Some(_)) = (open, entry.filter(|entry| entry.running > 0)) {
                if open.decided_ns == 0 {
                    open.decided_ns = now_ns;
                }
                self.row_done(row, broken);
            }
        }
    }

    /// A target to which nothing is sent.
    fn refuse(&mut self, place: usize, verdict: Verdict) {
        let Some(entry) = self.entries.get_mut(place) else { return };
        let Some(target) = entry.target.take() else { return };
        let now = self.cx.clock().now();
        let (clock, report) = match entry.named.take() {
            Some(named) => (named.clock, named.report),
            None => (PhaseClock::start(now, Phase::Setup), IcmpReport::default()),
        };
        let record = Record::resume(self.cx, clock, Vec::new());
        let result = record.conclude(&target, self.started_at, verdict, report);
        self.done.push_back((place, Box::new(result)));
    }

    fn conclude(&mut self, place: usize) {
        let Some(entry) = self.entries.get_mut(place) else { return };
        let Some(target) = entry.target.take() else { return };
        let mut outcomes = std::mem::take(&mut entry.outcomes);
        let mut attempts = std::mem::take(&mut entry.attempts);
        let first_ns = attempts.iter().map(|attempt| attempt.start_ns).min().unwrap_or(0);
        let first = self.started + Duration::from_nanos(first_ns);
        let (mut clock, report) = match entry.named.take() {
            Some(named) => (named.clock, named.report),
            // What has no name to resolve begins with its first packet.
            None => (PhaseClock::start(first, Phase::Setup), IcmpReport::default()),
        };
        if !attempts.is_empty() {
            clock.enter(Phase::Rtt, first);
        }
        // Until here the times of all count from the start of the fleet.
        let origin = clock.started().saturating_duration_since(self.started);
        let origin_ns = duration_ns(origin);
        for attempt in &mut attempts {
            attempt.start_ns = attempt.start_ns.saturating_sub(origin_ns);
            attempt.end_ns = attempt.end_ns.saturating_sub(origin_ns);
        }
        for packet in outcomes.iter_mut().flat_map(|outcome| &mut outcome.row.packets) {
            packet.planned_ns = packet.planned_ns.saturating_sub(origin_ns);
            packet.sent_ns = packet.sent_ns.map(|ns| ns.saturating_sub(origin_ns));
        }
        let started_at = self.started_at + origin;
        let record = Record::resume(self.cx, clock, attempts);
        let result = conclude(record, &target, started_at, &self.plan.config, outcomes, report);
        self.done.push_back((place, Box::new(result)));
    }
}

impl Entry {
    fn of(target: Target) -> Self {
        Entry {
            target: Some(target),
            named: None,
            more: Vec::new(),
            running: 0,
            outcomes: Vec::new(),
            attempts: Vec::new(),
        }
    }
}

/// What may need a zone.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
