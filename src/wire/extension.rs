//! What routers add to ICMP errors behind the quoted packet (RFC 4884): MPLS labels (RFC 4950),
//! interfaces (RFC 5837), and whatever else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum;
use super::reader::Reader;

/// The most objects that are kept of one extension structure.
pub const OBJECTS: usize = 32;

/// With an extension the original datagram takes at least so many octets (RFC 4884, section 4), and
/// exactly so many in the messages of routers older than that (section 5).
pub const LEAST_ORIGINAL: usize = 128;

const VERSION: u8 = 2;
const HEADER: usize = 4;

/// What the message says about where its extension begins.
#[derive(Clone, Copy)]
pub(super) struct Length {
    /// Octets of the original datagram; zero when the sender does not say.
    pub(super) octets: usize,
    /// Whether an extension without length may stand at [`LEAST_ORIGINAL`].
    pub(super) legacy: bool,
}

/// The extensions of an ICMP error: the objects that could be read, and why others could not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions<'a> {
    /// Objects that were checked, one behind the other.
    objects: &'a [u8],
    count: usize,
    form: ExtensionForm,
    fault: Option<ExtensionFault>,
}

/// How an extension was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExtensionForm {
    /// There is none.
    None,
    /// Behind the length that the message announces (RFC 4884).
    Announced,
    /// At octet 128 of a message that announces nothing, as MPLS routers sent it before RFC 4884;
    /// version, checksum and every object hold.
    Legacy,
}

/// Why an extension, or a part of it, was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExtensionFault {
    /// The original datagram is announced longer than what there is. All of it was dropped.
    LengthBeyondPacket {
        /// Octets announced.
        announced: usize,
        /// Octets behind the ICMP header.
        present: usize,
    },
    /// Fewer than the 4 octets of its header. All of it was dropped.
    Truncated,
    /// The version is not 2. All of it was dropped.
    Version(u8),
    /// The checksum is wrong; or it is absent where nothing else vouches for the place. All of it
    /// was dropped.
    Checksum,
    /// An object of a length below 4, not a multiple of 4, or beyond the end. This object and all
    /// that follow were dropped.
    ObjectLength {
        /// Objects kept, which is the number of this one from 0 on.
        object: usize,
        /// The length announced, or what was left if that is less than a header.
        length: usize,
    },
    /// More than [`OBJECTS`]. The first were kept.
    TooManyObjects {
        /// Octets dropped.
        dropped: usize,
    },
}

impl fmt::Display for ExtensionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtensionFault::LengthBeyondPacket { announced, present } => {
                write!(f, "an original datagram of {announced} octets announced, {present} present")
            }
            ExtensionFault::Truncated => f.write_str("the extension ends in its header"),
            ExtensionFault::Version(version) => write!(f, "extension of version {version}"),
            ExtensionFault::Checksum => f.write_str("the checksum of the extension is wrong"),
            ExtensionFault::ObjectLength { object, length } => {
                write!(f, "extension object {object} announces a length of {length}")
            }
            ExtensionFault::TooManyObjects { dropped } => {
                write!(f, "more than {OBJECTS} extension objects, {dropped} octets dropped")
            }
        }
    }
}

/// Splits what follows the ICMP header into the original datagram and the extensions. Whatever is
/// not an extension beyond doubt stays with the datagram.
pub(super) fn split(length: Option<Length>, data: &[u8]) -> (&[u8], Extensions<'_>) {
    let Some(Length { octets, legacy }) = length else { return (data, Extensions::none()) };
    if octets == 0 {
        let found = data.split_at_checked(LEAST_ORIGINAL).filter(|_| legacy);
        return match found.map(|(original, rest)| (original, body(rest, false))) {
            Some((original, Ok(objects))) => {
                let extensions = Extensions::walk(objects, ExtensionForm::Legacy);
                let sound = extensions.fault.is_none() && !extensions.is_empty();
                if sound { (original, extensions) } else { (data, Extensions::none()) }
            }
            _ => (data, Extensions::none()),
        };
    }
    let Some((original, rest)) = data.split_at_checked(octets) else {
        let present = data.len();
        let fault = ExtensionFault::LengthBeyondPacket { announced: octets, present };
        return (data, Extensions::dropped(fault));
    };
    if rest.is_empty() {
        return (data, Extensions::none());
    }
    // Octets that were unused before RFC 4884 hold anything. A length that the standard does not
    // allow must not cut the quote short unless a checksum speaks for it.
    match body(rest, octets >= LEAST_ORIGINAL) {
        Ok(objects) => (original, Extensions::walk(objects, ExtensionForm::Announced)),
        Err(fault) => (data, Extensions::dropped(fault)),
    }
}

/// The objects of a structure whose header holds.
fn body(data: &[u8], unsummed: bool) -> Result<&[u8], ExtensionFault> {
    let Some(([first, _, high, low], objects)) = data.split_first_chunk::<HEADER>() else {
        return Err(ExtensionFault::Truncated);
    };
    if first >> 4 != VERSION {
        return Err(ExtensionFault::Version(first >> 4));
    }
    // All zero means that the sender computed none (RFC 4884, section 7).
    let absent = [*high, *low] == [0, 0];
    if if absent { unsummed } else { checksum::verifies(data) } {
        Ok(objects)
    } else {
        Err(ExtensionFault::Checksum)
    }
}

/// The next object and what follows it, or the length that is impossible.
fn next(data: &[u8]) -> Result<(Object<'_>, &[u8]), usize> {
    let mut reader = Reader::new(data);
    let Ok(&[high, low, class, c_type]) = reader.array() else { return Err(data.len()) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let payload = length.checked_sub(HEADER).filter(|_| length.is_multiple_of(4));
    match payload.map(|count| reader.take(count)) {
        Some(Ok(payload)) => Ok((Object { class, c_type, payload }, reader.rest())),
        _ => Err(length),
    }
}

impl<'a> Extensions<'a> {
    pub(super) const fn none() -> Self {
        Extensions { objects: &[], count: 0, form: ExtensionForm::None, fault: None }
    }

    const fn dropped(fault: ExtensionFault) -> Self {
        Extensions { fault: Some(fault), ..Extensions::none() }
    }

    fn walk(data: &'a [u8], form: ExtensionForm) -> Self {
        let (mut rest, mut count, mut fault) = (data, 0, None);
        while !rest.is_empty() && fault.is_none() {
            match next(rest) {
                _ if count == OBJECTS => {
                    fault = Some(ExtensionFault::TooManyObjects { dropped: rest.len() });
                }
                Ok((_, behind)) => (rest, count) = (behind, count + 1),
                Err(length) => fault = Some(ExtensionFault::ObjectLength { object: count, length }),
            }
        }
        let objects = data.get(..data.len() - rest.len()).unwrap_or_default();
        Extensions { objects, count, form, fault }
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many objects were kept, [`OBJECTS`] at most.
    pub fn len(&self) -> usize {
        self.count
    }

    /// How the extension was found.
    pub fn form(&self) -> ExtensionForm {
        self.form
    }

    /// What was dropped and why, if something was.
    pub fn fault(&self) -> Option<ExtensionFault> {
        self.fault
    }

    /// The objects, in their order.
    pub fn objects(&self) -> Objects<'a> {
        Objects { rest: self.objects }
    }

    /// All labels of all MPLS stacks, from the outermost on.
    pub fn mpls(&self) -> impl Iterator<Item = MplsLabel> + use<'a> {
        self.objects()
            .filter_map(|object| match object.kind() {
                ObjectKind::Mpls(stack) => Some(stack),
                _ => None,
            })
            .flatten()
    }
}

/// The objects of an extension.
#[derive(Clone, Debug)]
pub struct Objects<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Objects<'a> {
    type Item = Object<'a>;

    fn next(&mut self) -> Option<Object<'a>> {
        let (object, rest) = next(self.rest).ok()?;
        self.rest = rest;
        Some(object)
    }
}

/// One extension object as it stands there (IANA "ICMP Extension Object Classes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object<'a> {
    /// What the object is about.
    pub class: u8,
    /// A subtype of the class.
    pub c_type: u8,
    /// Its contents, a multiple of four octets.
    pub payload: &'a [u8],
}

/// What an extension object says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ObjectKind<'a> {
    /// The MPLS label stack with which the packet arrived (class 1, type 1).
    Mpls(MplsStack<'a>),
    /// An interface of the router, or its next hop (class 2).
    Interface(InterfaceInfo<'a>),
    /// A class or type without a reading here, or contents that do not fit it.
    Raw,
}

impl<'a> Object<'a> {
    /// The contents, typed.
    pub fn kind(&self) -> ObjectKind<'a> {
        match (self.class, self.c_type) {
            (1, 1) => ObjectKind::Mpls(MplsStack { rest: self.payload }),
            (2, c_type) => match InterfaceInfo::parse(c_type, self.payload) {
                Some(interface) => ObjectKind::Interface(interface),
                None => ObjectKind::Raw,
            },
            _ => ObjectKind::Raw,
        }
    }
}

/// The labels of one MPLS stack, from the outermost on.
#[derive(Clone, Debug)]
pub struct MplsStack<'a> {
    rest: &'a [u8],
}

impl Iterator for MplsStack<'_> {
    type Item = MplsLabel;

    fn next(&mut self) -> Option<MplsLabel> {
        let (entry, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(MplsLabel(u32::from_be_bytes(*entry)))
    }
}

/// One entry of an MPLS label stack (RFC 3032).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MplsLabel(u32);

impl MplsLabel {
    /// An entry of its fields; of the label 20 bits are used, of the traffic class 3.
    pub const fn new(label: u32, traffic_class: u8, bottom: bool, ttl: u8) -> Self {
        let class = (traffic_class & 7) as u32;
        MplsLabel(label << 12 | class << 9 | (bottom as u32) << 8 | ttl as u32)
    }

    /// The label, 20 bits.
    pub const fn label(self) -> u32 {
        self.0 >> 12
    }

    /// The traffic class, formerly "experimental": 3 bits (RFC 5462).
    pub const fn traffic_class(self) -> u8 {
        (self.0 >> 9 & 7) as u8
    }

    /// Whether this is the last label of the stack.
    pub const fn bottom(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    /// The time to live with which the label arrived.
    pub const fn ttl(self) -> u8 {
        (self.0 & 0xff) as u8
    }

    /// The four octets that go into a packet.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

/// What an interface has to do with the packet (RFC 5837, section 4.1).
#[expect(clippy::exhaustive_enums, reason = "two bits, all taken")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterfaceRole {
    /// The packet arrived on it.
    Incoming,
    /// It is the part of the incoming interface to which the arrival address belongs.
    IncomingSub,
    /// The packet would have left through it.
    Outgoing,
    /// Not an interface of the router, but the next hop.
    NextHop,
}

/// What a router says about one of its interfaces (RFC 5837).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterfaceInfo<'a> {
    /// What the interface has to do with the packet.
    pub role: InterfaceRole,
    /// Its number, as SNMP has it.
    pub index: Option<u32>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its name, at most 63 octets of UTF-8, without padding.
    pub name: Option<&'a str>,
    /// Its MTU in octets.
    pub mtu: Option<u32>,
}

impl<'a> InterfaceInfo<'a> {
    fn parse(c_type: u8, payload: &'a [u8]) -> Option<Self> {
        let role = match c_type >> 6 {
            0 => InterfaceRole::Incoming,
            1 => InterfaceRole::IncomingSub,
            2 => InterfaceRole::Outgoing,
            _ => InterfaceRole::NextHop,
        };
        let mut info = InterfaceInfo { role, index: None, address: None, name: None, mtu: None };
        let mut reader = Reader::new(payload);
        if c_type & 8 != 0 {
            info.index = Some(reader.u32().ok()?);
        }
        if c_type & 4 != 0 {
            info.address = Some(address(&mut reader)?);
        }
        if c_type & 2 != 0 {
            // Its length counts itself, and is a multiple of four (RFC 5837, section 4.3).
            let length = reader.u8().ok()?;
            if length % 4 != 0 || length > 64 {
                return None;
            }
            let name = reader.take(usize::from(length).checked_sub(1)?).ok()?;
            let name = name.split(|byte| *byte == 0).next()?;
            info.name = Some(std::str::from_utf8(name).ok()?);
        }
        if c_type & 1 != 0 {
            info.mtu = Some(reader.u32().ok()?);
        }
        reader.rest().is_empty().then_some(info)
    }
}

/// Address family (IANA "Address Family Numbers"), two reserved octets, address.
fn address(reader: &mut Reader<'_>) -> Option<IpAddr> {
    let family = reader.u16().ok()?;
    reader.skip(2).ok()?;
    match family {
        1 => reader.array::<4>().ok().map(|it| IpAddr::V4(Ipv4Addr::from(*it))),
        2 => reader.array::<16>().ok().map(|it| IpAddr::V6(Ipv6Addr::from(*it))),
        _ => None,
    }
}

/// Appends an extension structure of these objects, each a class, a type and its contents, padded
/// with zeros to a multiple of four octets.
///
/// # Errors
///
/// [`WireErrorKind::TooLong`](super::WireErrorKind::TooLong): an object of more than 65,528 octets;
/// nothing is written.
pub fn emit(objects: &[(u8, u8, &[u8])], out: &mut Vec<u8>) -> Result<(), super::WireError> {
    let mut body = Vec::new();
    for (class, c_type, payload) in objects {
        let length = (HEADER + payload.len()).next_multiple_of(4);
        let Ok(announced) = u16::try_from(length) else {
            let kind = super::WireErrorKind::TooLong;
            return Err(super::WireError::new(HEADER + body.len(), kind));
        };
        let end = body.len() + length;
        body.extend_from_slice(&announced.to_be_bytes());
        body.extend_from_slice(&[*class, *c_type]);
        body.extend_from_slice(payload);
        body.resize(end, 0);
    }
    let sum = checksum::Sum::new().with_u16(u16::from(VERSION) << 12).with(&body);
    out.extend_from_slice(&[VERSION << 4, 0]);
    out.extend_from_slice(&sum.checksum().to_be_bytes());
    out.extend_from_slice(&body);
    Ok(())
}
