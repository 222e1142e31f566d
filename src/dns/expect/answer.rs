//! The clauses on one exchange.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use super::super::{DnsAttempt, DnsChain, DnsExchange, DnsHeader, DnsRecord};
use super::{DnsExpect, NsidMatch};
use crate::expect::Clause;
use crate::render::millis;
use crate::timing::duration_ns;
use crate::wire::dns::{ExtendedErrorCode, RData, RecordBuf, RecordType, Section};

const NO_ANSWER: &str = "there is no answer";
const CUT_SHORT: &str = "the answer was cut short";

/// What to show and whether it will do, or why nobody can tell.
type Seen = Result<(String, bool), &'static str>;

impl DnsExpect {
    pub(super) fn evaluate_answer(
        &self,
        exchange: &DnsExchange,
        started_at: SystemTime,
        clauses: &mut Vec<Clause>,
    ) {
        let mut asking = Asking { exchange, clauses };
        asking.header(self);
        for ((name, expect), section) in self.sections().into_iter().zip([
            Section::Answer,
            Section::Authority,
            Section::Additional,
        ]) {
            let records = records(exchange, section);
            let usable = usable(exchange, self.partial).map(|_| &*records);
            expect.evaluate(name, usable, asking.clauses);
        }
        asking.meaning(self, started_at);
        asking.edns(self);
        asking.way(self);
    }
}

/// The records of a section, also those that the report does not write out.
fn records(exchange: &DnsExchange, section: Section) -> Cow<'_, [DnsRecord]> {
    if exchange.records_left_out == 0 {
        return exchange.section(section).into();
    }
    let Some(message) = exchange.parsed() else { return exchange.section(section).into() };
    let records = message.section(section).flatten();
    let is_record = |rtype| rtype != RecordType::OPT || section != Section::Additional;
    records
        .filter(|record| is_record(record.rtype))
        .map(|record| DnsRecord::of(RecordBuf::from(&record)))
        .collect::<Vec<_>>()
        .into()
}

/// The header of an answer whose records can be judged.
pub(super) fn usable(exchange: &DnsExchange, partial: bool) -> Result<&DnsHeader, &'static str> {
    match &exchange.header {
        None => Err(NO_ANSWER),
        Some(header) if header.truncated && !partial => Err(CUT_SHORT),
        Some(header) => Ok(header),
    }
}

/// The serial number in the answer section.
pub(super) fn serial(exchange: &DnsExchange) -> Option<u32> {
    let soa = exchange.answer.iter().find(|record| record.rtype == RecordType::SOA)?;
    let record: RecordBuf = soa.presentation.parse().ok()?;
    match record.rdata() {
        Ok(RData::Soa(soa)) => Some(soa.serial),
        _ => None,
    }
}

/// An exchange and the clauses about it, so far.
struct Asking<'a> {
    exchange: &'a DnsExchange,
    clauses: &'a mut Vec<Clause>,
}

impl Asking<'_> {
    fn ask(
        &mut self,
        path: &str,
        expected: impl fmt::Display,
        seen: impl FnOnce(&DnsExchange) -> Seen,
    ) {
        self.clauses.push(match seen(self.exchange) {
            Ok((actual, met)) => Clause::check(path, expected, actual, met),
            Err(reason) => Clause::not_evaluable(path, expected, reason),
        });
    }

    fn header(&mut self, expect: &DnsExpect) {
        if !expect.rcodes.is_empty() {
            self.ask("rcodes", list(&expect.rcodes), |exchange| {
                let rcode = exchange.rcode().ok_or(NO_ANSWER)?;
                Ok((rcode.to_string(), expect.rcodes.contains(&rcode)))
            });
        }
        type Flag = fn(&DnsHeader) -> bool;
        let flags = &expect.flags;
        let wanted: [(&str, Option<bool>, Flag); 6] = [
            ("authoritative", flags.authoritative, |header| header.authoritative),
            ("truncated", flags.truncated, |header| header.truncated),
            ("recursion_desired", flags.recursion_desired, |header| header.recursion_desired),
            ("recursion_available", flags.recursion_available, |header| header.recursion_available),
            ("authentic_data", flags.authentic_data, |header| header.authentic_data),
            ("checking_disabled", flags.checking_disabled, |header| header.checking_disabled),
        ];
        let text = |is_set| if is_set { "set" } else { "clear" };
        for (key, wanted, flag) in wanted {
            let Some(wanted) = wanted else { continue };
            self.ask(&format!("flags.{key}"), text(wanted), |exchange| {
                let is_set = flag(exchange.header.as_ref().ok_or(NO_ANSWER)?);
                Ok((text(is_set).to_owned(), is_set == wanted))
            });
        }
    }

    fn meaning(&mut self, expect: &DnsExpect, started_at: SystemTime) {
        let partial = expect.partial;
        let chain = |exchange: &DnsExchange| {
            usable(exchange, partial)?;
            exchange.chain.clone().or_else(|| DnsChain::of(exchange)).ok_or(NO_ANSWER)
        };
        if let Some(least) = expect.min_answers {
            self.ask("min_answers", format_args!("at least {least}"), |exchange| {
                let answers = chain(exchange)?.answers;
                Ok((answers.to_string(), answers >= least))
            });
        }
        if let Some(target) = &expect.cname_target {
            self.ask("cname_target", target, |exchange| {
                let chain = chain(exchange)?;
                let met = chain.canonical_name == *target && !chain.ring && !chain.too_long;
                let text = match (chain.ring, chain.too_long) {
                    (true, _) => format!("a ring of aliases at {}", chain.canonical_name),
                    (_, true) => format!("too many aliases, at {}", chain.canonical_name),
                    _ => chain.canonical_name.to_string(),
                };
                Ok((text, met))
            });
        }
        let soa = |exchange: &DnsExchange| {
            usable(exchange, partial)?;
            serial(exchange).ok_or("there is no SOA record in the answer section")
        };
        if let Some(wanted) = expect.soa.serial {
            self.ask("soa.serial", wanted, |exchange| {
                let serial = soa(exchange)?;
                Ok((serial.to_string(), serial == wanted))
            });
        }
        if let Some(least) = expect.soa.min_serial {
            self.ask("soa.min_serial", format_args!("{least} or later"), |exchange| {
                let serial = soa(exchange)?;
                Ok((serial.to_string(), distance(least, serial) >= 0))
            });
        }
        if let Some(least) = expect.min_rrsig_left {
            let expected = format!("at least {}", crate::duration::text(least));
            self.ask("min_rrsig_left", expected, |exchange| {
                usable(exchange, partial)?;
                let since = started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                // The field holds seconds modulo 2^32 (RFC 4034, 3.1.5).
                let now = u32::try_from(since.as_secs() & u64::from(u32::MAX)).unwrap_or(0);
                let ends = expirations(exchange).map(|end| distance(now, end));
                let left = ends.min().ok_or("there is no signature that can be read")?;
                Ok(match u64::try_from(left) {
                    Ok(left) => {
                        let left = Duration::from_secs(left);
                        (crate::duration::text(left), left >= least)
                    }
                    Err(_) => {
                        let over = Duration::from_secs(left.unsigned_abs().into());
                        (format!("expired {} before", crate::duration::text(over)), false)
                    }
                })
            });
        }
    }

    fn edns(&mut self, expect: &DnsExpect) {
        let codes = |exchange: &DnsExchange| -> Result<Vec<ExtendedErrorCode>, &'static str> {
            exchange.header.as_ref().ok_or(NO_ANSWER)?;
            let edns = exchange.edns.as_ref();
            Ok(edns.map_or_else(Vec::new, |edns| edns.extended_errors().collect()))
        };
        let text = |codes: &[ExtendedErrorCode]| {
            if codes.is_empty() { "none".to_owned() } else { list(codes) }
        };
        let wanted = &expect.extended_errors;
        if !wanted.any_of.is_empty() {
            let expected = format!("one of {}", list(&wanted.any_of));
            self.ask("extended_errors.any_of", expected, |exchange| {
                let codes = codes(exchange)?;
                Ok((text(&codes), codes.iter().any(|code| wanted.any_of.contains(code))))
            });
        }
        if !wanted.none_of.is_empty() {
            let expected = format!("none of {}", list(&wanted.none_of));
            self.ask("extended_errors.none_of", expected, |exchange| {
                let codes = codes(exchange)?;
                Ok((text(&codes), !codes.iter().any(|code| wanted.none_of.contains(code))))
            });
        }
        if wanted.none {
            self.ask("extended_errors.none", "none", |exchange| {
                let codes = codes(exchange)?;
                Ok((text(&codes), codes.is_empty()))
            });
        }
        let nsid = |exchange: &DnsExchange| {
            exchange.header.as_ref().ok_or(NO_ANSWER)?;
            let nsid = exchange.edns.as_ref().and_then(|edns| edns.nsid());
            nsid.map(str::to_owned).ok_or("the server does not say who it is")
        };
        match &expect.nsid {
            Some(NsidMatch::Is(wanted)) => self.ask("nsid.is", wanted, |exchange| {
                let nsid = nsid(exchange)?;
                let met = nsid == *wanted;
                Ok((nsid, met))
            }),
            Some(NsidMatch::Matches(pattern)) => self.ask("nsid.matches", pattern, |exchange| {
                let nsid = nsid(exchange)?;
                let met = pattern.matches(&nsid)?;
                Ok((nsid, met))
            }),
            None => {}
        }
    }

    fn way(&mut self, expect: &DnsExpect) {
        fn answered(exchange: &DnsExchange) -> Result<&DnsAttempt, &'static str> {
            exchange.answered().ok_or(NO_ANSWER)
        }
        if let Some(most) = expect.max_size {
            self.ask("max_size", format_args!("at most {most} octets"), |exchange| {
                let size = exchange.size.ok_or(NO_ANSWER)?;
                Ok((format!("{size} octets"), size <= most))
            });
        }
        if let Some(most) = expect.max_network {
            let expected = format!("at most {}", crate::duration::text(most));
            self.ask("max_network", expected, |exchange| {
                let network = answered(exchange)?.network.ok_or("there is no network time")?;
                Ok((millis(network.ns), network.ns <= duration_ns(most)))
            });
        }
        if let Some(most) = expect.max_attempts {
            self.ask("max_attempts", format_args!("at most {most}"), |exchange| {
                answered(exchange)?;
                let attempts = exchange.attempts.len();
                Ok((attempts.to_string(), u32::try_from(attempts).is_ok_and(|seen| seen <= most)))
            });
        }
        if !expect.transports.is_empty() {
            self.ask("transports", list(&expect.transports), |exchange| {
                let transport = answered(exchange)?.transport;
                Ok((transport.to_string(), expect.transports.contains(&transport)))
            });
        }
        if expect.no_conflict {
            self.ask("no_conflict", "no second answer that differs", |exchange| {
                answered(exchange)?;
                let conflicts: u64 = exchange.attempts.iter().map(|a| a.conflicts).sum();
                let conflicts = conflicts.max(u64::from(!exchange.conflict.is_empty()));
                let text = if conflicts == 0 { "none".into() } else { conflicts.to_string() };
                Ok((text, conflicts == 0))
            });
        }
    }
}

/// How far the second number is ahead of the first (RFC 1982).
fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

/// When the signatures of an answer end.
fn expirations(exchange: &DnsExchange) -> impl Iterator<Item = u32> {
    let records = exchange.answer.iter().chain(&exchange.authority);
    let signatures = records.filter(|record| record.rtype == RecordType::RRSIG);
    signatures.filter_map(|signature| {
        let record: RecordBuf = signature.presentation.parse().ok()?;
        match record.rdata() {
            Ok(RData::Rrsig(signature)) => Some(signature.expiration.0),
            _ => None,
        }
    })
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(", ")
}
