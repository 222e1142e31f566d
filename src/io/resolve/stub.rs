//! A resolver of our own, which asks name servers and tells what they said.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::dns::{DnsFate, DnsTransport};
use crate::engine::query::{AttemptFate, Outcome, Protocol, QueryEdns, QuerySetup};
use crate::engine::stub::{
    AnswerLimits, Cache, CacheLimits, Hosts, Negative, Reading, ResolvConf, ResolvOptions,
    ResolvWarning, Search, ServerWalk, Special, StubAddress, Tally, WalkPlan, candidates,
    read_answer, sort_by_source, special,
};
use crate::error::Error;
use crate::io::dns::{Ask, RandomBits, Way, drive};
use crate::io::socket::interface;
use crate::resolve::{BoxFuture, Family, Resolve, ResolveError, ResolveSource, Resolved};
use crate::stub::{StubAnswer, StubAttempt, StubConfig, StubNegative};
use crate::target::Name;
use crate::timing::duration_ns;
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, Verdict};
use crate::wire::dns::{Class, DnsName, Flags, Message, Rcode, RecordType, Section};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// The port of name servers.
const PORT: u16 = 53;

/// The largest `resolv.conf` that is read, in bytes.
const CONF_BYTES: u64 = 1 << 20;

/// Looks names up by asking name servers itself, as the stub resolver of glibc would: hosts file, search
/// list, servers in their order, A and AAAA at once. Unlike the system's resolver it says which server
/// answered what, after which attempts and for how long it may be kept, and when its future is dropped its
/// sockets are gone.
///
/// Only the hosts file and the DNS are asked, whatever `nsswitch.conf` says. `localhost` is answered here,
/// and names below `invalid` and `onion` do not exist (RFC 6761, RFC 7686). Without
/// [`cache`](StubConfig::cache) nothing is kept.
///
/// ```
/// use netsonde::{Family, Resolve, StubConfig, StubResolver};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let resolver = StubResolver::new(StubConfig::asking(["127.0.0.1:53".parse()?]))?;
/// let answer = resolver.lookup(&"localhost".parse()?, Family::V4Only).await;
/// assert!(answer.addresses[0].address.is_loopback() && answer.attempts.is_empty());
/// let cx = netsonde::ProbeContext::new().with_resolver(resolver);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StubResolver {
    config: StubConfig,
    options: ResolvOptions,
    warnings: Vec<ResolvWarning>,
    hosts: Hosts,
    cache: Option<Mutex<Cache>>,
    random: RandomBits,
    turn: AtomicUsize,
}

/// What came of asking for one type of one name.
#[derive(Default)]
struct Part {
    reading: Option<Reading>,
    server: Option<SocketAddr>,
    source: Option<ResolveSource>,
    authentic: Option<bool>,
    attempts: Vec<StubAttempt>,
}

/// What a server said, as one lookup takes it.
enum Judged<T> {
    Taken(T),
    /// Ask another one.
    Useless(&'static str),
}

impl StubResolver {
    /// Checks the configuration and reads the hosts file.
    ///
    /// # Errors
    /// [`Error`] naming the key that cannot be used, or the file that cannot be read.
    pub fn new(config: StubConfig) -> Result<Self, Error> {
        config.check()?;
        let hosts = match &config.hosts_file {
            Some(path) => read(path, config.hosts_bytes)
                .map(|text| Hosts::parse(&text))
                .map_err(|error| Error::file("hosts_file", path, error))?,
            None => Hosts::default(),
        };
        let cache = config.cache.as_ref().map(|cache| {
            Mutex::new(Cache::new(CacheLimits {
                entries: cache.entries,
                ttl: cache.ttl,
                negative_ttl: cache.negative_ttl,
                stale: cache.stale,
            }))
        });
        let options = ResolvOptions {
            ndots: config.ndots,
            no_tld_query: config.no_tld_query,
            ..ResolvOptions::default()
        };
        let (random, turn) = (RandomBits::default(), AtomicUsize::new(0));
        Ok(StubResolver { config, options, warnings: Vec::new(), hosts, cache, random, turn })
    }

    /// As this host is set up: `/etc/resolv.conf`, `/etc/hosts`, and the variables `LOCALDOMAIN` and
    /// `RES_OPTIONS` of the environment. Without a `resolv.conf` the server is 127.0.0.1, as for glibc.
    /// Files are read once: make another resolver when they have changed.
    ///
    /// # Errors
    /// [`Error`]: a file that is there cannot be read, or names an interface that is not there.
    pub fn from_system() -> Result<Self, Error> {
        let path = Path::new(RESOLV_CONF);
        let text = match read(path, CONF_BYTES) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|error| Error::file("resolv_conf", path, error))?,
        };
        let mut conf = ResolvConf::parse(&text);
        if let Ok(domains) = std::env::var("LOCALDOMAIN") {
            conf.apply_localdomain(&domains);
        }
        if let Ok(options) = std::env::var("RES_OPTIONS") {
            conf.apply_res_options(&options);
        }
        let hosts = Path::new(HOSTS);
        let hostname = read(Path::new(HOSTNAME), CONF_BYTES).unwrap_or_default();
        let mut config = config_of(&conf, &hostname)?;
        config.hosts_file = hosts.exists().then(|| hosts.to_owned());
        Ok(StubResolver { warnings: conf.warnings, ..StubResolver::new(config)? })
    }

    /// As the text of a `resolv.conf` says, without a hosts file and without the environment.
    ///
    /// # Errors
    /// [`Error::Config`]: it names an interface that is not there.
    pub fn from_resolv_conf(text: &str) -> Result<Self, Error> {
        let conf = ResolvConf::parse(text);
        let config = config_of(&conf, "")?;
        Ok(StubResolver { warnings: conf.warnings, ..StubResolver::new(config)? })
    }

    /// What it goes by.
    #[must_use]
    pub fn config(&self) -> &StubConfig {
        &self.config
    }

    /// What was passed over in the `resolv.conf`.
    #[must_use]
    pub fn warnings(&self) -> &[ResolvWarning] {
        &self.warnings
    }

    /// Looks a name up, and tells all of it.
    pub async fn lookup(&self, name: &Name, family: Family) -> StubAnswer {
        let origin = crate::io::time::now();
        let admits = |address: &IpAddr| family.admits(*address);
        let plain: DnsName = name.as_str().parse().unwrap_or_else(|_| DnsName::root());
        let known = self.hosts.addresses(&plain).iter().copied().filter(admits);
        let known: Vec<IpAddr> = known.collect();
        if !known.is_empty() {
            return self.told(plain, known, ResolveSource::Hosts);
        }
        match special(&plain) {
            Some(Special::Loopback(both)) => {
                let fit = both.into_iter().filter(admits).collect();
                return self.told(plain, fit, ResolveSource::Local);
            }
            Some(Special::NoSuchName) => {
                let mut answer = empty(plain, ResolveSource::Local);
                answer.negative = Some(StubNegative { kind: Negative::NoSuchName, ttl_s: None });
                answer.error = Some(ResolveError::no_such_name());
                return answer;
            }
            None => {}
        }
        let names = candidates(name.as_str(), &self.config.search, &self.options);
        let mut search = Search::new(names.unwrap_or_default());
        let first = if self.config.rotate { self.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let mut types = Vec::with_capacity(2);
        if family != Family::V6Only {
            types.push(RecordType::A);
        }
        if family != Family::V4Only && !self.config.no_aaaa {
            types.push(RecordType::AAAA);
        }
        let mut answers = Vec::new();
        let mut attempts = Vec::new();
        while let Some(name) = search.next_name() {
            let mut parts: Vec<(RecordType, Part)> =
                types.iter().map(|rtype| (*rtype, Part::default())).collect();
            if self.config.single_request {
                for (rtype, part) in &mut parts {
                    self.part(&name, *rtype, first, origin, part).await;
                }
            } else {
                let asking = parts
                    .iter_mut()
                    .map(|(rtype, part)| self.part(&name, *rtype, first, origin, part));
                crate::io::join::all(asking).await;
            }
            for (_, part) in &mut parts {
                attempts.append(&mut part.attempts.clone());
            }
            let (tally, answer) = merge(name, parts.into_iter().map(|(_, part)| part));
            search.came_to(tally);
            answers.push(answer);
        }
        let decisive = search.decisive().filter(|place| *place < answers.len());
        let mut answer = match decisive {
            Some(place) => answers.swap_remove(place),
            None => {
                let mut none = empty(plain, ResolveSource::Local);
                none.error = Some(ResolveError::no_such_name());
                none
            }
        };
        attempts.sort_by_key(|attempt| attempt.start_ns);
        answer.attempts = attempts;
        self.sort(&mut answer.addresses);
        answer
    }

    /// What needs no server.
    fn told(&self, name: DnsName, addresses: Vec<IpAddr>, source: ResolveSource) -> StubAnswer {
        let mut answer = empty(name, source);
        answer.addresses = addresses.into_iter().map(|ip| StubAddress::new(ip, None)).collect();
        self.sort(&mut answer.addresses);
        answer
    }

    fn sort(&self, addresses: &mut [StubAddress]) {
        if addresses.len() < 2 {
            return;
        }
        let with_source = addresses.iter().map(|a| (a.address, source_for(a.address)));
        let order = sort_by_source(with_source.collect());
        addresses.sort_by_cached_key(|address| {
            order.iter().position(|sorted| *sorted == address.address)
        });
    }

    async fn part(
        &self,
        name: &DnsName,
        rtype: RecordType,
        first: usize,
        origin: Instant,
        part: &mut Part,
    ) {
        let cache = || {
            let lock = self.cache.as_ref();
            lock.map(|cache| cache.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let kept = cache().and_then(|cache| cache.get(name, rtype, crate::io::time::now()));
        if let Some(hit) = kept {
            part.source = Some(ResolveSource::Cache);
            part.reading = Some(aged(hit.reading, hit.left));
            return;
        }
        let limits =
            AnswerLimits { aliases: self.config.aliases, addresses: self.config.addresses };
        let judge = |message: &Message<'_>| match read_answer(message, name, rtype, &limits) {
            Reading::Useless { why, .. } => Judged::Useless(why.unwrap_or("")),
            reading => Judged::Taken(reading),
        };
        let taken = self.walk(name, rtype, first, origin, part, judge).await;
        let now = crate::io::time::now();
        if let Some(reading) = taken {
            if let Some(mut cache) = cache() {
                cache.put(name.clone(), rtype, reading.clone(), now);
            }
            part.source = Some(ResolveSource::Server);
            part.reading = Some(reading);
        } else if let Some(hit) = cache().and_then(|cache| cache.stale(name, rtype, now)) {
            part.source = Some(ResolveSource::StaleCache);
            part.reading = Some(aged(hit.reading, hit.left));
        }
    }

    /// Asks one server after the other until one says something that is taken.
    async fn walk<T>(
        &self,
        name: &DnsName,
        rtype: RecordType,
        first: usize,
        origin: Instant,
        part: &mut Part,
        judge: impl Fn(&Message<'_>) -> Judged<T>,
    ) -> Option<T> {
        let StubConfig { servers, timeout, attempts, .. } = &self.config;
        for step in ServerWalk::new(WalkPlan::new(servers, first, *timeout, *attempts)) {
            let mut setup = QuerySetup::new(step.server, name.clone(), rtype, Class::IN);
            setup.flags = Flags::default()
                .with_recursion_desired(true)
                .with_authentic_data(self.config.trust_ad);
            let udp_payload = self.config.udp_payload;
            setup.edns =
                self.config.edns0.then(|| QueryEdns { udp_payload, ..QueryEdns::default() });
            setup.timeout = step.timeout;
            setup.mixed_case = self.config.mixed_case;
            let transport = if self.config.use_vc {
                setup.protocol = Protocol::Stream;
                DnsTransport::Tcp
            } else {
                DnsTransport::Udp
            };
            let way = Way {
                transport,
                server: step.server,
                socket: &self.config.socket,
                host: None,
                tls: None,
                random: &self.random,
                stamps: false,
                // Each question has its own end; the probe's drops the future.
                deadline: crate::io::time::deadline(Duration::MAX).into_std(),
                datagram_bytes: usize::from(self.config.udp_payload).max(512),
                message_bytes: self.config.message_bytes,
            };
            let mut asks = [Ask::new(setup, origin, None)];
            drive(&mut asks, &way).await;
            let [ask] = asks;
            note(&ask, name, rtype, origin, &mut part.attempts);
            let Some(Outcome::Answered { .. }) = ask.engine.outcome() else { continue };
            let Some(message) = ask.engine.answer() else { continue };
            match judge(&message) {
                Judged::Taken(taken) => {
                    part.server = Some(step.server);
                    let is_authentic = message.header().flags.authentic_data();
                    part.authentic = self.config.trust_ad.then_some(is_authentic);
                    return Some(taken);
                }
                Judged::Useless(why) => {
                    if let Some(attempt) = part.attempts.last_mut().filter(|_| !why.is_empty()) {
                        attempt.why = Some(why.to_owned());
                    }
                }
            }
        }
        None
    }

    async fn name_of(&self, address: IpAddr) -> Result<Option<String>, ResolveError> {
        if let Some(name) = self.hosts.name(&address) {
            return Ok(Some(shown(name)));
        }
        let name = pointer(address);
        let first = if self.config.rotate { self.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let mut part = Part::default();
        let judge = |message: &Message<'_>| {
            let edns = message.edns().ok().flatten();
            match message.rcode(edns.as_ref()) {
                Rcode::NXDOMAIN => Judged::Taken(None),
                // Aliases lead to where the name is kept (RFC 2317).
                Rcode::NOERROR => Judged::Taken(
                    message
                        .section(Section::Answer)
                        .flatten()
                        .find(|r| r.rtype == RecordType::PTR && r.class == Class::IN)
                        .and_then(|record| record.reader().name().ok())
                        .map(|name| shown(&name.to_name())),
                ),
                _ => Judged::Useless(""),
            }
        };
        let origin = crate::io::time::now();
        let told = self.walk(&name, RecordType::PTR, first, origin, &mut part, judge).await;
        told.ok_or_else(|| why_not(&part.attempts))
    }
}

impl Resolve for StubResolver {
    fn resolve<'a>(
        &'a self,
        name: &'a Name,
        family: Family,
    ) -> BoxFuture<'a, Result<Resolved, ResolveError>> {
        Box::pin(async move { self.lookup(name, family).await.into_resolved() })
    }

    fn reverse<'a>(
        &'a self,
        address: IpAddr,
    ) -> BoxFuture<'a, Result<Option<String>, ResolveError>> {
        Box::pin(self.name_of(address))
    }
}

fn shown(name: &DnsName) -> String {
    let text = name.to_string();
    text.strip_suffix('.').filter(|rest| !rest.is_empty()).unwrap_or(&text).to_owned()
}

/// The name under which the name of an address is kept (RFC 1035, 3.5; RFC 3596, 2.5).
fn pointer(address: IpAddr) -> DnsName {
    use std::fmt::Write as _;
    let mut text = String::new();
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.octets().iter().rev().for_each(|octet| _ = write!(text, "{octet}."));
            text.push_str("in-addr.arpa");
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                let _ = write!(text, "{:x}.{:x}.", octet & 0xf, octet >> 4);
            }
            text.push_str("ip6.arpa");
        }
    }
    text.parse().unwrap_or_else(|_| DnsName::root())
}

fn read(path: &Path, most: u64) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than the cap"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn config_of(conf: &ResolvConf, hostname: &str) -> Result<StubConfig, Error> {
    let mut servers = Vec::new();
    for server in &conf.nameservers {
        servers.push(match (server.address, &server.zone) {
            (IpAddr::V6(address), Some(zone)) => {
                let index = interface::index(zone)
                    .map_err(|error| Error::config("nameserver", format!("%{zone}: {error}")))?;
                SocketAddrV6::new(address, PORT, 0, index.get()).into()
            }
            (address, _) => (address, PORT).into(),
        });
    }
    if servers.is_empty() {
        servers.push(([127, 0, 0, 1], PORT).into());
    }
    let options = &conf.options;
    Ok(StubConfig {
        search: conf.search_or_domain_of(hostname),
        ndots: options.ndots,
        timeout: options.timeout,
        attempts: options.attempts,
        rotate: options.rotate,
        edns0: options.edns0,
        trust_ad: options.trust_ad,
        use_vc: options.use_vc,
        no_aaaa: options.no_aaaa,
        single_request: options.single_request,
        no_tld_query: options.no_tld_query,
        ..StubConfig::asking(servers)
    })
}

/// From where this host would send to an address. Connecting a datagram socket sends nothing.
fn source_for(address: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = match address {
        IpAddr::V4(_) => ([0; 4], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((address, PORT)).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

fn empty(name: DnsName, source: ResolveSource) -> StubAnswer {
    StubAnswer {
        name,
        canonical: None,
        addresses: Vec::new(),
        omitted: 0,
        source,
        server: None,
        negative: None,
        incomplete: false,
        authentic: None,
        attempts: Vec::new(),
        error: None,
    }
}

/// An answer that was kept has only the rest of its lifetime.
fn aged(mut reading: Reading, left: Duration) -> Reading {
    let left = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
    match &mut reading {
        Reading::Found { addresses, .. } => {
            let lived = addresses.iter().filter_map(|a| a.ttl_s).min().unwrap_or(0);
            let lived = lived.saturating_sub(left);
            for address in addresses {
                address.ttl_s = address.ttl_s.map(|ttl| ttl.saturating_sub(lived));
            }
        }
        Reading::Negative { ttl_s, .. } => *ttl_s = Some(left),
        Reading::Useless { .. } => {}
    }
    reading
}

/// Writes down the attempts of a question.
fn note(
    ask: &Ask<'_>,
    name: &DnsName,
    rtype: RecordType,
    origin: Instant,
    into: &mut Vec<StubAttempt>,
) {
    for (tried, note) in ask.engine.attempts().iter().zip(&ask.notes) {
        let start_ns = duration_ns(note.start.saturating_duration_since(origin));
        let message = Message::parse(&tried.message).ok();
        let rcode = message.map(|message| {
            let edns = message.edns().ok().flatten();
            message.rcode(edns.as_ref())
        });
        into.push(StubAttempt {
            name: name.clone(),
            rtype,
            server: note.server,
            transport: note.transport,
            start_ns,
            duration_ns: tried.end_ns.map_or(0, |end| end.saturating_sub(start_ns)),
            fate: match tried.fate {
                AttemptFate::Answered { .. } => DnsFate::Answered,
                AttemptFate::Truncated {} => DnsFate::Truncated,
                AttemptFate::Refused => DnsFate::Refused,
                AttemptFate::TimedOut => DnsFate::TimedOut,
                AttemptFate::Waiting => DnsFate::Unfinished,
            },
            rcode,
            why: None,
            verdict: note.verdict.clone(),
        });
    }
}

/// What the parts of one name come to together.
fn merge(name: DnsName, parts: impl Iterator<Item = Part>) -> (Tally, StubAnswer) {
    let mut answer = empty(name, ResolveSource::Server);
    let mut attempts = Vec::new();
    let (mut no_name, mut no_data, mut unanswered) = (false, false, false);
    let (mut failed, mut parts_seen) = (false, 0);
    let mut negative_ttl: Option<Option<u32>> = None;
    for part in parts {
        parts_seen += 1;
        if let Some(source) = part.source {
            // The least trustworthy of both is what is told.
            answer.source = if parts_seen == 1 { source } else { answer.source.weaker(source) };
        }
        answer.server = answer.server.or(part.server);
        answer.authentic = match (answer.authentic, part.authentic) {
            (Some(one), Some(other)) => Some(one && other),
            (one, other) => one.or(other),
        };
        match part.reading {
            Some(Reading::Found { addresses, canonical, omitted }) => {
                answer.addresses.extend(addresses);
                answer.canonical.get_or_insert(canonical);
                answer.omitted += omitted;
            }
            Some(Reading::Negative { kind, ttl_s, canonical }) => {
                no_name |= kind == Negative::NoSuchName;
                no_data |= kind == Negative::NoData;
                answer.canonical.get_or_insert(canonical);
                // If one of them may not be kept, neither may both.
                negative_ttl = Some(match negative_ttl {
                    Some(before) => before.zip(ttl_s).map(|(a, b)| a.min(b)),
                    None => ttl_s,
                });
            }
            Some(Reading::Useless { .. }) | None => {
                let servfail = part.attempts.iter().any(|a| a.rcode == Some(Rcode::SERVFAIL));
                failed |= servfail;
                unanswered |= !servfail;
                attempts.extend(part.attempts);
            }
        }
    }
    let negative = |kind| Some(StubNegative { kind, ttl_s: negative_ttl.flatten() });
    let tally = if !answer.addresses.is_empty() {
        answer.incomplete = failed || unanswered;
        Tally::Found
    } else if no_name && !no_data {
        answer.negative = negative(Negative::NoSuchName);
        Tally::NoSuchName
    } else if unanswered {
        Tally::NoAnswer
    } else if failed {
        Tally::ServerFailure
    } else {
        // No type to ask for is no data as well.
        answer.negative = negative(Negative::NoData);
        Tally::NoData
    };
    answer.error = match tally {
        Tally::Found => None,
        Tally::NoSuchName => Some(nothing(FailureKind::ResolveNoSuchName, &answer)),
        Tally::NoData => Some(nothing(FailureKind::ResolveNoAddress, &answer)),
        Tally::ServerFailure | Tally::NoAnswer => Some(why_not(&attempts)),
    };
    (tally, answer)
}

fn nothing(kind: FailureKind, answer: &StubAnswer) -> ResolveError {
    let mut detail = shown(&answer.name);
    if let Some(server) = answer.server {
        detail.push_str(&format!(", says {server}"));
    }
    if let Some(ttl) = answer.negative.and_then(|negative| negative.ttl_s) {
        detail.push_str(&format!(", for {ttl} s"));
    }
    ResolveError::Failed(Failure::new(kind).with_detail(detail))
}

/// Why no server has answered. If all of it is trouble of this host, so is the whole.
fn why_not(attempts: &[StubAttempt]) -> ResolveError {
    let mut fault: Option<&LocalFault> = None;
    for attempt in attempts {
        match &attempt.verdict {
            Some(Verdict::Unknown(local)) => _ = fault.get_or_insert(local),
            _ => {
                let last = attempts.last().map(ToString::to_string).unwrap_or_default();
                let failure = Failure::new(FailureKind::ResolveFailed);
                return ResolveError::Failed(failure.with_detail(last));
            }
        }
    }
    let none = || LocalFault::new(LocalFaultKind::Resolver).with_detail("no server was asked");
    ResolveError::Local(fault.cloned().unwrap_or_else(none))
}
