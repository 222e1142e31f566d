//! The report of the DNS prober for people.

use std::fmt::{self, Formatter};
use std::time::SystemTime;

use super::{DnsExchange, DnsReport};
use crate::report::{AnyReport, ReportBody};
use crate::wire::dns::Section;

impl AnyReport for DnsReport {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn describe(&self, _at: SystemTime, f: &mut Formatter<'_>) -> fmt::Result {
        for refused in &self.refused {
            writeln!(f, "  not asked {}: {}", refused.address, refused.why)?;
        }
        self.exchanges().try_for_each(|exchange| describe(exchange, f))
    }
}

fn describe(exchange: &DnsExchange, f: &mut Formatter<'_>) -> fmt::Result {
    let Some(question) = &exchange.question else { return Ok(()) };
    write!(f, "  {question}")?;
    if let Some(server) = exchange.server {
        write!(f, " @{server}")?;
    }
    match (&exchange.header, &exchange.outcome) {
        (Some(header), _) => writeln!(f, ": {}", header.rcode)?,
        (None, Some(outcome)) => writeln!(f, ": {outcome}")?,
        (None, None) => writeln!(f)?,
    }
    for section in [Section::Answer, Section::Authority, Section::Additional] {
        for record in exchange.section(section) {
            writeln!(f, "    {section}: {}", record.presentation)?;
        }
    }
    Ok(())
}
