//! EDNS(0): what an OPT record says (RFC 6891).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::registry::{ExtendedErrorCode, OptionCode};
use super::{
    Class, ComposeError, Composer, DataReader, DnsError, DnsErrorKind, Message, NameRef, Rcode,
    Record, RecordType, Section,
};

/// The flag of an OPT record that asks for signatures (RFC 3225).
const DNSSEC_OK: u16 = 0x8000;

/// Octets of the cookie of a client (RFC 7873, 4).
pub const CLIENT_COOKIE: usize = 8;

/// Octets that the cookie of a server may have (RFC 7873, 4).
const SERVER_COOKIE: std::ops::RangeInclusive<usize> = 8..=32;

/// An OPT record. That its options fit was checked; what they hold is checked when they are read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Edns<'a> {
    /// The largest UDP payload that its sender takes, in octets.
    pub udp_payload: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// The version of EDNS.
    pub version: u8,
    /// All flags.
    pub flags: u16,
    options: DataReader<'a>,
}

impl<'a> Edns<'a> {
    /// Reads an OPT record.
    ///
    /// # Errors
    /// [`Opt`](DnsErrorKind::Opt): it is none, or its owner is not the root.
    /// [`Short`](DnsErrorKind::Short): an option is longer than the record.
    pub fn parse(record: &Record<'a>) -> Result<Self, DnsError> {
        if record.rtype != RecordType::OPT || !record.owner.is_root() {
            return Err(DnsError::new(record.owner.offset(), DnsErrorKind::Opt));
        }
        let [extended_rcode, version, high, low] = record.raw_ttl.to_be_bytes();
        let mut reader = record.reader();
        while reader.left() > 0 {
            let _code = reader.u16()?;
            let len = reader.u16()?;
            reader.take(len.into())?;
        }
        Ok(Edns {
            udp_payload: record.class.0,
            extended_rcode,
            version,
            flags: u16::from_be_bytes([high, low]),
            options: record.reader(),
        })
    }

    /// DO: whether signatures are wanted.
    #[must_use]
    pub const fn dnssec_ok(&self) -> bool {
        self.flags & DNSSEC_OK != 0
    }

    /// Its options in their order.
    #[must_use]
    pub const fn options(&self) -> EdnsOptions<'a> {
        EdnsOptions { reader: self.options }
    }
}

/// The options of an OPT record, with their codes as they stand there.
#[derive(Clone, Debug)]
pub struct EdnsOptions<'a> {
    reader: DataReader<'a>,
}

impl<'a> Iterator for EdnsOptions<'a> {
    type Item = (OptionCode, Result<EdnsOption<'a>, DnsError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.left() == 0 {
            return None;
        }
        // That they fit was checked before.
        let code = OptionCode(self.reader.u16().ok()?);
        let len = self.reader.u16().ok()?;
        let offset = self.reader.offset();
        let data = self.reader.take(len.into()).ok()?;
        Some((code, EdnsOption::parse(code, data, offset)))
    }
}

/// An option of EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EdnsOption<'a> {
    /// Who the server is, empty in a query (RFC 5001).
    Nsid(&'a [u8]),
    /// The network of the client (RFC 7871).
    ClientSubnet {
        /// Its address; the bits behind the source prefix are zero.
        address: IpAddr,
        /// Bits of it that are told.
        source_prefix: u8,
        /// Bits for which the answer is good; zero in a query.
        scope_prefix: u8,
    },
    /// A cookie (RFC 7873).
    Cookie {
        /// The client's part.
        client: [u8; CLIENT_COOKIE],
        /// The server's part, 8 to 32 octets; empty if there is none yet.
        server: &'a [u8],
    },
    /// How long a connection is kept without queries, in units of 100 ms; `None` in a query (RFC 7828).
    Keepalive(Option<u16>),
    /// Octets that fill up a message (RFC 7830); how many.
    Padding(usize),
    /// The closest name whose chain of trust is known (RFC 7901).
    Chain(NameRef<'a>),
    /// Why a query ended as it did (RFC 8914).
    ExtendedError {
        /// The reason.
        code: ExtendedErrorCode,
        /// More of it, in UTF-8 if the server is honest.
        text: &'a [u8],
    },
    /// Any other.
    Other {
        /// Its code.
        code: OptionCode,
        /// What it holds.
        data: &'a [u8],
    },
}

impl<'a> EdnsOption<'a> {
    /// Reads the data of an option that begin at this octet of their message.
    fn parse(code: OptionCode, data: &'a [u8], offset: usize) -> Result<Self, DnsError> {
        let wrong = |kind| DnsError::new(offset, kind);
        let mut reader = DataReader::of(data);
        // The reader counts from the beginning of the data.
        let moved = |error: DnsError| DnsError::new(error.offset + offset, error.kind);
        match code {
            OptionCode::NSID => Ok(EdnsOption::Nsid(data)),
            OptionCode::CLIENT_SUBNET => subnet(data).map_err(moved),
            OptionCode::COOKIE => {
                let (client, server) = data
                    .split_first_chunk::<CLIENT_COOKIE>()
                    .filter(|(_, server)| {
                        server.is_empty() || SERVER_COOKIE.contains(&server.len())
                    })
                    .ok_or(wrong(DnsErrorKind::Cookie))?;
                Ok(EdnsOption::Cookie { client: *client, server })
            }
            OptionCode::KEEPALIVE => match data {
                [] => Ok(EdnsOption::Keepalive(None)),
                [high, low] => Ok(EdnsOption::Keepalive(Some(u16::from_be_bytes([*high, *low])))),
                _ => Err(wrong(DnsErrorKind::DataLength)),
            },
            OptionCode::PADDING => Ok(EdnsOption::Padding(data.len())),
            OptionCode::CHAIN => {
                let name = reader.name().map_err(moved)?;
                reader.finish().map_err(moved)?;
                Ok(EdnsOption::Chain(name))
            }
            OptionCode::EXTENDED_ERROR => {
                let code = ExtendedErrorCode(reader.u16().map_err(moved)?);
                Ok(EdnsOption::ExtendedError { code, text: reader.rest() })
            }
            code => Ok(EdnsOption::Other { code, data }),
        }
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> OptionCode {
        match self {
            EdnsOption::Nsid(_) => OptionCode::NSID,
            EdnsOption::ClientSubnet { .. } => OptionCode::CLIENT_SUBNET,
            EdnsOption::Cookie { .. } => OptionCode::COOKIE,
            EdnsOption::Keepalive(_) => OptionCode::KEEPALIVE,
            EdnsOption::Padding(_) => OptionCode::PADDING,
            EdnsOption::Chain(_) => OptionCode::CHAIN,
            EdnsOption::ExtendedError { .. } => OptionCode::EXTENDED_ERROR,
            EdnsOption::Other { code, .. } => *code,
        }
    }

    /// Appends it with its code and its length.
    ///
    /// # Errors
    /// [`ComposeError::Count`]: it has more than 65,535 octets.
    pub fn write(&self, into: &mut Vec<u8>) -> Result<(), ComposeError> {
        into.extend_from_slice(&self.code().0.to_be_bytes());
        let start = into.len();
        into.extend_from_slice(&[0, 0]);
        match self {
            EdnsOption::Nsid(data) | EdnsOption::Other { data, .. } => into.extend_from_slice(data),
            EdnsOption::ClientSubnet { address, source_prefix, scope_prefix } => {
                write_subnet(*address, *source_prefix, *scope_prefix, into);
            }
            EdnsOption::Cookie { client, server } => {
                into.extend_from_slice(client);
                into.extend_from_slice(server);
            }
            EdnsOption::Keepalive(time) => {
                into.extend(time.iter().flat_map(|time| time.to_be_bytes()));
            }
            EdnsOption::Padding(len) => into.resize(into.len() + len, 0),
            EdnsOption::Chain(name) => name.write(into),
            EdnsOption::ExtendedError { code, text } => {
                into.extend_from_slice(&code.0.to_be_bytes());
                into.extend_from_slice(text);
            }
        }
        let len = u16::try_from(into.len() - start - 2);
        match (len, into.get_mut(start..start + 2)) {
            (Ok(len), Some(place)) => place.copy_from_slice(&len.to_be_bytes()),
            _ => {
                into.truncate(start - 2);
                return Err(ComposeError::Count);
            }
        }
        Ok(())
    }
}

/// Reads the network of a client (RFC 7871, 6): as many octets of the address as the prefix needs, the
/// bits behind it zero.
fn subnet(data: &[u8]) -> Result<EdnsOption<'_>, DnsError> {
    let mut reader = DataReader::of(data);
    let family = reader.u16()?;
    let (source_prefix, scope_prefix) = (reader.u8()?, reader.u8()?);
    let wrong = reader.error(DnsErrorKind::Data);
    let octets = usize::from(source_prefix.div_ceil(8));
    let told = reader.take(octets)?;
    reader.finish()?;
    let mut whole = [0; 16];
    whole.get_mut(..octets).ok_or(wrong)?.copy_from_slice(told);
    let (address, bits) = match family {
        1 => {
            let [a, b, c, d, ..] = whole;
            (IpAddr::from(Ipv4Addr::new(a, b, c, d)), 32)
        }
        2 => (IpAddr::from(Ipv6Addr::from(whole)), 128),
        _ => return Err(wrong),
    };
    let unused = octets * 8 - usize::from(source_prefix);
    let spill = told.last().is_some_and(|last| last.trailing_zeros() < unused as u32);
    if source_prefix > bits || scope_prefix > bits || spill {
        return Err(wrong);
    }
    Ok(EdnsOption::ClientSubnet { address, source_prefix, scope_prefix })
}

fn write_subnet(address: IpAddr, source: u8, scope: u8, into: &mut Vec<u8>) {
    let (family, octets): (u16, Vec<u8>) = match address {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    into.extend_from_slice(&family.to_be_bytes());
    into.extend_from_slice(&[source, scope]);
    for (octet, place) in octets.iter().zip(0_u8..).take(source.div_ceil(8).into()) {
        let kept = source.saturating_sub(place * 8).min(8);
        let mask = !(0xff_u16 >> kept) as u8;
        into.push(octet & mask);
    }
}

impl<'a> Message<'a> {
    /// What the message says by EDNS; `None` if it does not speak it.
    ///
    /// # Errors
    /// A record cannot be read; an OPT record is broken, is not the only one, or stands in another
    /// section than it has to.
    pub fn edns(&self) -> Result<Option<Edns<'a>>, DnsError> {
        let mut found = None;
        for item in self.records() {
            let (section, record) = item?;
            if record.rtype == RecordType::OPT {
                let edns = Edns::parse(&record)?;
                if section != Section::Additional || found.replace(edns).is_some() {
                    return Err(DnsError::new(record.owner.offset(), DnsErrorKind::Opt));
                }
            }
        }
        Ok(found)
    }

    /// The response code with the upper bits that EDNS has.
    #[must_use]
    pub fn rcode(&self, edns: Option<&Edns<'_>>) -> Rcode {
        let high = edns.map_or(0, |edns| edns.extended_rcode);
        Rcode(u16::from(high) << 4 | u16::from(self.header().flags.rcode_low()))
    }
}

/// An OPT record that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "every value of every field is a record")]
pub struct EdnsRepr<'a> {
    /// The largest UDP payload that is taken, in octets.
    pub udp_payload: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// The version of EDNS.
    pub version: u8,
    /// Whether signatures are wanted.
    pub dnssec_ok: bool,
    /// Options in their order.
    pub options: &'a [EdnsOption<'a>],
}

impl Default for EdnsRepr<'_> {
    /// Version 0 and a payload of 1,232 octets, which no path has to take apart.
    fn default() -> Self {
        EdnsRepr {
            udp_payload: 1232,
            extended_rcode: 0,
            version: 0,
            dnssec_ok: false,
            options: &[],
        }
    }
}

impl Composer<'_> {
    /// Adds an OPT record to the additional section.
    ///
    /// # Errors
    /// [`ComposeError`].
    pub fn edns(&mut self, edns: &EdnsRepr<'_>) -> Result<(), ComposeError> {
        let mut options = Vec::new();
        for option in edns.options {
            option.write(&mut options)?;
        }
        let EdnsRepr { udp_payload, extended_rcode, version, dnssec_ok, .. } = *edns;
        self.opt(udp_payload, [extended_rcode, version], dnssec_ok, &options)
    }

    /// Adds an OPT record of a query with options that were written before, one behind the other.
    ///
    /// # Errors
    /// [`ComposeError`].
    pub fn raw_edns(
        &mut self,
        udp_payload: u16,
        version: u8,
        dnssec_ok: bool,
        options: &[u8],
    ) -> Result<(), ComposeError> {
        self.opt(udp_payload, [0, version], dnssec_ok, options)
    }

    fn opt(
        &mut self,
        udp_payload: u16,
        [rcode, version]: [u8; 2],
        dnssec_ok: bool,
        options: &[u8],
    ) -> Result<(), ComposeError> {
        let [high, low] = if dnssec_ok { DNSSEC_OK } else { 0 }.to_be_bytes();
        let ttl = u32::from_be_bytes([rcode, version, high, low]);
        let (section, class) = (Section::Additional, Class(udp_payload));
        self.record(section, NameRef::ROOT, RecordType::OPT, class, ttl, options)
    }
}

#[cfg(test)]
#[path = "tests/edns.rs"]
mod tests;
