//! Addresses and what stands for one: of hardware, of nodes, prefixes, gateways.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::{DataReader, DnsError, DnsErrorKind, NameRef};
use super::TextError;
use super::field::{Field, name};
use super::octets::from_hex;
use super::text::{TextErrorKind, Token, Tokens};

/// Reads groups of hexadecimal digits with a mark between them; each stands for `N` octets.
fn groups<const N: usize>(token: &Token<'_>, mark: char, count: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(N * count);
    for group in token.text.split(mark) {
        let digits = 1..=2 * N;
        if !digits.contains(&group.len()) {
            return None;
        }
        out.extend(from_hex(&format!("{group:0>width$}", width = 2 * N))?);
    }
    (out.len() == N * count).then_some(out)
}

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident $octets:literal as $count:literal of $each:literal by $mark:literal)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(clippy::exhaustive_structs, reason = "octets and nothing else")]
        pub struct $name(pub [u8; $octets]);

        impl<'a> Field<'a> for $name {
            fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
                reader.array().map($name)
            }

            fn write(&self, into: &mut Vec<u8>, _: bool) {
                into.extend_from_slice(&self.0);
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (index, octet) in self.0.iter().enumerate() {
                    if index > 0 && index.is_multiple_of($each) {
                        f.write_char($mark)?;
                    }
                    write!(f, "{octet:02X}")?;
                }
                Ok(())
            }

            fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
                let token = tokens.need()?;
                let octets = groups::<$each>(&token, $mark, $count);
                into.extend(octets.ok_or(token.error(TextErrorKind::Hex))?);
                Ok(())
            }
        }
    )*};
}

groups! {
    /// A MAC address of 48 bits, shown as `XX-XX-XX-XX-XX-XX` (RFC 7043, 3).
    Eui48 6 as 6 of 1 by '-'
    /// A MAC address of 64 bits, shown as `XX-XX-XX-XX-XX-XX-XX-XX` (RFC 7043, 4).
    Eui64 8 as 8 of 1 by '-'
    /// A node or a network of ILNP, shown as `XXXX:XXXX:XXXX:XXXX` (RFC 6742, 2.1).
    Locator64 8 as 4 of 2 by ':'
}

/// A prefix of addresses, or of those that are excepted (RFC 3123, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Prefix {
    /// Whether it is an exception.
    pub negated: bool,
    /// The address, the rest of which is zero.
    pub address: IpAddr,
    /// Bits of the prefix.
    pub length: u8,
}

/// Prefixes of addresses, to the end of the data. Other families than IPv4 and IPv6 are none.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefixes<'a>(&'a [u8]);

const NEGATED: u8 = 0x80;

impl<'a> Prefixes<'a> {
    /// The prefixes.
    pub fn iter(&self) -> impl Iterator<Item = Prefix> + use<'a> {
        let mut reader = DataReader::of(self.0);
        std::iter::from_fn(move || prefix(&mut reader).ok())
    }
}

impl fmt::Debug for Prefixes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn prefix(reader: &mut DataReader<'_>) -> Result<Prefix, DnsError> {
    let wrong = reader.error(DnsErrorKind::Data);
    let family = reader.u16()?;
    let (length, count) = (reader.u8()?, reader.u8()?);
    let told = reader.take(usize::from(count & !NEGATED))?;
    let mut whole = [0; 16];
    whole.get_mut(..told.len()).ok_or(wrong)?.copy_from_slice(told);
    let [a, b, c, d, ..] = whole;
    let (address, octets) = match family {
        1 => (IpAddr::from(Ipv4Addr::new(a, b, c, d)), 4),
        2 => (IpAddr::from(Ipv6Addr::from(whole)), 16),
        _ => return Err(wrong),
    };
    // Zeros at the end are to be left out, so that there is one form of each.
    let short = told.len() <= octets && told.last() != Some(&0);
    if !short || usize::from(length) > 8 * octets {
        return Err(wrong);
    }
    Ok(Prefix { negated: count & NEGATED != 0, address, length })
}

fn scan_prefix(text: &str) -> Option<Vec<u8>> {
    let (text, negated) = match text.strip_prefix('!') {
        Some(text) => (text, NEGATED),
        None => (text, 0),
    };
    let (family, rest) = text.split_once(':')?;
    let (address, length) = rest.split_once('/')?;
    let (family, octets) = match family {
        "1" => (1_u16, address.parse::<Ipv4Addr>().ok()?.octets().to_vec()),
        "2" => (2, address.parse::<Ipv6Addr>().ok()?.octets().to_vec()),
        _ => return None,
    };
    if !length.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let used = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    let mut out = family.to_be_bytes().to_vec();
    out.extend([length.parse().ok()?, u8::try_from(used).ok()? | negated]);
    out.extend(octets.iter().take(used));
    Some(out)
}

impl<'a> Field<'a> for Prefixes<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        let mut ahead = *reader;
        while ahead.left() > 0 {
            prefix(&mut ahead)?;
        }
        Ok(Prefixes(reader.rest()))
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Prefix { negated, address, length }) in self.iter().enumerate() {
            let family = if address.is_ipv4() { 1 } else { 2 };
            let (blank, mark) = (if index > 0 { " " } else { "" }, if negated { "!" } else { "" });
            write!(f, "{blank}{mark}{family}:{address}/{length}")?;
        }
        Ok(())
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        while let Some(token) = tokens.next()? {
            into.extend(scan_prefix(token.text).ok_or(token.error(TextErrorKind::Address))?);
        }
        Ok(())
    }

    fn is_blank(&self) -> bool {
        self.0.is_empty()
    }
}

/// The gateway of a key for IPsec, with the algorithm of the key, which stands between its type and itself
/// (RFC 4025, 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Gateway<'a> {
    /// The algorithm of the key, 0 if there is none.
    pub algorithm: u8,
    /// Where it is.
    pub place: GatewayPlace<'a>,
}

/// Where a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GatewayPlace<'a> {
    /// There is none; shown as a dot.
    None,
    /// At an IPv4 address.
    V4(Ipv4Addr),
    /// At an IPv6 address.
    V6(Ipv6Addr),
    /// At a name.
    Name(NameRef<'a>),
}

impl<'a> Field<'a> for Gateway<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        let wrong = reader.error(DnsErrorKind::Data);
        let (kind, algorithm) = (reader.u8()?, reader.u8()?);
        let place = match kind {
            0 => GatewayPlace::None,
            1 => GatewayPlace::V4(reader.array::<4>()?.into()),
            2 => GatewayPlace::V6(reader.array::<16>()?.into()),
            3 => GatewayPlace::Name(reader.name()?),
            _ => return Err(wrong),
        };
        Ok(Gateway { algorithm, place })
    }

    fn write(&self, into: &mut Vec<u8>, lower: bool) {
        let kind = match self.place {
            GatewayPlace::None => 0,
            GatewayPlace::V4(_) => 1,
            GatewayPlace::V6(_) => 2,
            GatewayPlace::Name(_) => 3,
        };
        into.extend([kind, self.algorithm]);
        match self.place {
            GatewayPlace::None => {}
            GatewayPlace::V4(address) => into.extend(address.octets()),
            GatewayPlace::V6(address) => into.extend(address.octets()),
            GatewayPlace::Name(name) => Field::write(&name, into, lower),
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = self.algorithm;
        match self.place {
            GatewayPlace::None => write!(f, "0 {algorithm} ."),
            GatewayPlace::V4(address) => write!(f, "1 {algorithm} {address}"),
            GatewayPlace::V6(address) => write!(f, "2 {algorithm} {address}"),
            GatewayPlace::Name(name) => write!(f, "3 {algorithm} {name}"),
        }
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let kind = tokens.need()?;
        let algorithm: u8 = tokens.need()?.number()?;
        let place = tokens.need()?;
        let number: u8 = kind.number()?;
        into.extend([number, algorithm]);
        match number {
            0 if place.text == "." => {}
            1 => into.extend(place.parse::<Ipv4Addr>(TextErrorKind::Address)?.octets()),
            2 => into.extend(place.parse::<Ipv6Addr>(TextErrorKind::Address)?.octets()),
            3 => into.extend_from_slice(name(&place)?.as_bytes()),
            0 => return Err(place.error(TextErrorKind::Address)),
            _ => return Err(kind.error(TextErrorKind::Number)),
        }
        Ok(())
    }

    fn is_compressed(&self) -> bool {
        matches!(self.place, GatewayPlace::Name(name) if name.is_compressed())
    }
}
