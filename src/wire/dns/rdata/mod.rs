//! The data of records, typed, and the text of them (RFC 1035, 5.1; RFC 3597, 5).
//!
//! Data borrow from their message and are read without allocating. Their text is that of
//! `kdig +noall +answer`, with single blanks.
//!
//! ```
//! use netsonde::wire::dns::rdata::{RData, from_text};
//! use netsonde::wire::dns::{Class, DataReader, RecordType};
//!
//! let wire = from_text(RecordType::MX, Class::IN, "10 mail.example.org")?;
//! let RData::Mx(mx) = RData::parse(RecordType::MX, Class::IN, DataReader::of(&wire))? else {
//!     unreachable!("it was asked for")
//! };
//! assert_eq!((mx.preference, mx.exchange.to_string()), (10, "mail.example.org.".to_owned()));
//! assert_eq!(mx.to_string(), "10 mail.example.org.");
//! assert_eq!(from_text(RecordType::A, Class::IN, r"\# 4 C0000201")?, [192, 0, 2, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod bitmap;
mod field;
mod loc;
mod octets;
mod owned;
mod svcb;
mod text;
mod tsig;

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Class, DataReader, DnsError, NameRef, Record, RecordType};
use field::Field;
use text::Tokens;

pub use address::{Eui48, Eui64, Gateway, GatewayPlace, Locator64, Prefix, Prefixes};
pub use bitmap::TypeBitmap;
pub use field::Time;
pub use loc::Loc;
pub use octets::{Base64, Hash32, Hex, LongText, Salt, Sized64, Tag, Text, Texts};
pub use owned::RecordBuf;
pub use svcb::{SvcKey, SvcParams};
pub use text::{TextError, TextErrorKind};
pub use tsig::{Seconds48, TsigError};

/// The data of one type.
trait Data<'a>: Sized + fmt::Display {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError>;

    fn write(&self, into: &mut Vec<u8>, canonical: bool);

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError>;

    fn is_compressed(&self) -> bool {
        false
    }
}

/// Makes the structs from their fields. Names in the canonical form are in lower case where `lower` says
/// so (RFC 4034, 6.2; RFC 6840, 5.1).
macro_rules! structs {
    ($($(#[$about:meta])* $name:ident [$($life:lifetime)?] $case:ident {
        $($(#[$doc:meta])* $field:ident: $kind:ty,)*
    })*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub struct $name<$($life)?> {
            $($(#[$doc])* pub $field: $kind,)*
        }

        impl<'a> Data<'a> for $name<$($life)?> {
            fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
                Ok($name { $($field: Field::read(reader)?,)* })
            }

            fn write(&self, into: &mut Vec<u8>, canonical: bool) {
                let lower = canonical && structs!(@ $case);
                $(Field::write(&self.$field, into, lower);)*
            }

            fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
                $(<$kind as Field<'_>>::scan(tokens, into)?;)*
                Ok(())
            }

            fn is_compressed(&self) -> bool {
                false $(|| Field::is_compressed(&self.$field))*
            }
        }

        impl $(<$life>)? fmt::Display for $name<$($life)?> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut blank = "";
                $(if !Field::is_blank(&self.$field) {
                    f.write_str(std::mem::replace(&mut blank, " "))?;
                    Field::show(&self.$field, f)?;
                })*
                let _ = blank;
                Ok(())
            }
        }
    )*};
    (@ lower) => { true };
    (@ kept) => { false };
}

structs! {
    /// An IPv4 address (RFC 1035, 3.4.1).
    A [] kept {
        /// The address.
        address: Ipv4Addr,
    }
    /// An IPv6 address (RFC 3596).
    Aaaa [] kept {
        /// The address.
        address: Ipv6Addr,
    }
    /// A name: of a server, an alias, a pointer.
    Name ['a] lower {
        /// The name.
        name: NameRef<'a>,
    }
    /// The start of a zone of authority (RFC 1035, 3.3.13).
    Soa ['a] lower {
        /// The primary server.
        mname: NameRef<'a>,
        /// The mailbox of who is responsible.
        rname: NameRef<'a>,
        /// The version of the zone, in serial number arithmetic (RFC 1982).
        serial: u32,
        /// Seconds between refreshes.
        refresh: u32,
        /// Seconds before a failed refresh is tried again.
        retry: u32,
        /// Seconds after which the zone is no longer good without a refresh.
        expire: u32,
        /// Seconds for which the absence of a name may be kept at most (RFC 2308).
        minimum: u32,
    }
    /// A mail exchange (RFC 1035, 3.3.9), a host to route through (RFC 1183, 3.3), a key exchanger
    /// (RFC 2230).
    Mx ['a] lower {
        /// Lower ones are tried first.
        preference: u16,
        /// The host.
        exchange: NameRef<'a>,
    }
    /// Text (RFC 1035, 3.3.14).
    Txt ['a] kept {
        /// The strings.
        texts: Texts<'a>,
    }
    /// A service (RFC 2782).
    Srv ['a] lower {
        /// Lower ones are tried first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host; the root if there is no such service.
        target: NameRef<'a>,
    }
    /// A naming authority pointer (RFC 3403).
    Naptr ['a] lower {
        /// Lower ones are worked on first.
        order: u16,
        /// Lower ones are preferred among those of one order.
        preference: u16,
        /// What comes next.
        flags: Text<'a>,
        /// The service.
        services: Text<'a>,
        /// How to make the next name.
        regexp: Text<'a>,
        /// The next name.
        replacement: NameRef<'a>,
    }
    /// Which authorities may issue certificates (RFC 8659).
    Caa ['a] kept {
        /// 128 if an authority has to know the property.
        flags: u8,
        /// The property.
        tag: Tag<'a>,
        /// Its value.
        value: LongText<'a>,
    }
    /// A digest of a key of a child zone (RFC 4034, 5).
    Ds ['a] kept {
        /// The tag of the key.
        key_tag: u16,
        /// The algorithm of the key.
        algorithm: u8,
        /// The algorithm of the digest.
        digest_type: u8,
        /// The digest.
        digest: Hex<'a>,
    }
    /// A key of a zone (RFC 4034, 2).
    Dnskey ['a] kept {
        /// 256 for a zone key, and 1 more for a secure entry point.
        flags: u16,
        /// Always 3.
        protocol: u8,
        /// The algorithm.
        algorithm: u8,
        /// The key.
        key: Base64<'a>,
    }
    /// A signature of a set of records (RFC 4034, 3).
    Rrsig ['a] lower {
        /// The type of the records.
        covered: RecordType,
        /// The algorithm.
        algorithm: u8,
        /// Labels of the owner, without the root and an asterisk.
        labels: u8,
        /// The time to live as it was signed.
        original_ttl: u32,
        /// When it ends.
        expiration: Time,
        /// When it begins.
        inception: Time,
        /// The tag of the key.
        key_tag: u16,
        /// The zone that signed.
        signer: NameRef<'a>,
        /// The signature.
        signature: Base64<'a>,
    }
    /// The next secure name (RFC 4034, 4).
    Nsec ['a] kept {
        /// The name.
        next: NameRef<'a>,
        /// Types that the owner has.
        types: TypeBitmap<'a>,
    }
    /// The next secure name, hashed (RFC 5155, 3).
    Nsec3 ['a] kept {
        /// The hash algorithm.
        algorithm: u8,
        /// 1 for opt-out.
        flags: u8,
        /// How often the hash is hashed again.
        iterations: u16,
        /// The salt.
        salt: Salt<'a>,
        /// The hash of the next name.
        next: Hash32<'a>,
        /// Types that the owner has.
        types: TypeBitmap<'a>,
    }
    /// Parameters of NSEC3 (RFC 5155, 4).
    Nsec3param ['a] kept {
        /// The hash algorithm.
        algorithm: u8,
        /// Flags.
        flags: u8,
        /// How often the hash is hashed again.
        iterations: u16,
        /// The salt.
        salt: Salt<'a>,
    }
    /// A certificate or key of a server (RFC 6698, 2; RFC 8162, 2).
    Tlsa ['a] kept {
        /// What the association is for.
        usage: u8,
        /// What of the certificate it is about.
        selector: u8,
        /// How it is matched.
        matching: u8,
        /// What is matched.
        association: Hex<'a>,
    }
    /// A fingerprint of an SSH key (RFC 4255).
    Sshfp ['a] kept {
        /// The algorithm of the key.
        algorithm: u8,
        /// The algorithm of the fingerprint.
        fingerprint_type: u8,
        /// The fingerprint.
        fingerprint: Hex<'a>,
    }
    /// How to reach a service (RFC 9460).
    Svcb ['a] kept {
        /// 0 for an alias; lower ones are tried first.
        priority: u16,
        /// Where it is; the root stands for the owner.
        target: NameRef<'a>,
        /// How.
        params: SvcParams<'a>,
    }
    /// A resource with a URI (RFC 7553).
    Uri ['a] kept {
        /// Lower ones are tried first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// The URI.
        target: LongText<'a>,
    }
    /// An OpenPGP key (RFC 7929).
    Openpgpkey ['a] kept {
        /// The key.
        key: Base64<'a>,
    }
    /// Processor and operating system (RFC 1035, 3.3.2).
    Hinfo ['a] kept {
        /// The processor.
        cpu: Text<'a>,
        /// The operating system.
        os: Text<'a>,
    }
    /// A responsible person (RFC 1183, 2.2).
    Rp ['a] lower {
        /// The mailbox.
        mailbox: NameRef<'a>,
        /// Where there is text about the person.
        text: NameRef<'a>,
    }
    /// Mailboxes of a mailing list (RFC 1035, 3.3.7).
    Minfo ['a] lower {
        /// The mailbox of who is responsible.
        responsible: NameRef<'a>,
        /// The mailbox for errors.
        errors: NameRef<'a>,
    }
    /// A server of an AFS cell (RFC 1183, 1).
    Afsdb ['a] lower {
        /// What kind of server it is.
        subtype: u16,
        /// The host.
        host: NameRef<'a>,
    }
    /// A certificate (RFC 4398, 2).
    Cert ['a] kept {
        /// What kind of certificate it is.
        kind: u16,
        /// The tag of the key in it.
        key_tag: u16,
        /// The algorithm of the key.
        algorithm: u8,
        /// The certificate.
        certificate: Base64<'a>,
    }
    /// Prefixes of addresses (RFC 3123).
    Apl ['a] kept {
        /// The prefixes.
        prefixes: Prefixes<'a>,
    }
    /// A key for IPsec (RFC 4025).
    Ipseckey ['a] kept {
        /// Lower ones are tried first.
        precedence: u8,
        /// Who speaks for the owner.
        gateway: Gateway<'a>,
        /// The key.
        key: Base64<'a>,
    }
    /// Who has got a name by DHCP (RFC 4701).
    Dhcid ['a] kept {
        /// The identity, hashed.
        identity: Base64<'a>,
    }
    /// A node or a network of 64 bits (RFC 6742, 2.1 and 2.3).
    L64 [] kept {
        /// Lower ones are tried first.
        preference: u16,
        /// The identifier or locator.
        locator: Locator64,
    }
    /// A network of 32 bits (RFC 6742, 2.2).
    L32 [] kept {
        /// Lower ones are tried first.
        preference: u16,
        /// The locator.
        locator: Ipv4Addr,
    }
    /// A pointer to networks (RFC 6742, 2.4).
    Lp ['a] kept {
        /// Lower ones are tried first.
        preference: u16,
        /// The name that has them.
        name: NameRef<'a>,
    }
    /// A MAC address of 48 bits (RFC 7043, 3).
    Mac48 [] kept {
        /// The address.
        address: Eui48,
    }
    /// A MAC address of 64 bits (RFC 7043, 4).
    Mac64 [] kept {
        /// The address.
        address: Eui64,
    }
    /// A digest of a zone (RFC 8976).
    Zonemd ['a] kept {
        /// The serial of the zone.
        serial: u32,
        /// How the zone was put in order.
        scheme: u8,
        /// The hash algorithm.
        algorithm: u8,
        /// The digest.
        digest: Hex<'a>,
    }
    /// Synchronisation of a child with its parent (RFC 7477).
    Csync ['a] kept {
        /// The serial of the child.
        serial: u32,
        /// Flags.
        flags: u16,
        /// Types to take over.
        types: TypeBitmap<'a>,
    }
    /// A signature of a transaction (RFC 8945).
    Tsig ['a] kept {
        /// The algorithm.
        algorithm: NameRef<'a>,
        /// When it was signed.
        signed: Seconds48,
        /// Seconds by which clocks may differ.
        fudge: u16,
        /// The code that authenticates.
        mac: Sized64<'a>,
        /// The id of the message that was signed.
        original_id: u16,
        /// What was wrong.
        error: TsigError,
        /// More about it.
        other: Sized64<'a>,
    }
}

macro_rules! rdata {
    ($($(#[$doc:meta])* $variant:ident($kind:ty) = $constant:ident,)*) => {
        /// The data of a record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum RData<'a> {
            $($(#[$doc])* $variant($kind),)*
            /// Data of a type that is not known here, or of OPT, whose options are read elsewhere: shown as
            /// RFC 3597 has it.
            Unknown(&'a [u8]),
        }

        impl<'a> RData<'a> {
            #[inline]
            fn typed(rtype: RecordType, reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
                Ok(match rtype {
                    $(RecordType::$constant => RData::$variant(Data::read(reader)?),)*
                    _ => RData::Unknown(reader.rest()),
                })
            }

            fn put(&self, into: &mut Vec<u8>, canonical: bool) {
                match self {
                    $(RData::$variant(data) => Data::write(data, into, canonical),)*
                    RData::Unknown(data) => into.extend_from_slice(data),
                }
            }

            /// Whether a name in the data was written with a compression pointer.
            #[must_use]
            pub fn is_compressed(&self) -> bool {
                match self {
                    $(RData::$variant(data) => Data::is_compressed(data),)*
                    RData::Unknown(_) => false,
                }
            }
        }

        impl fmt::Display for RData<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(RData::$variant(data) => data.fmt(f),)*
                    RData::Unknown(data) => show_generic(data, f),
                }
            }
        }

        impl<'a> RData<'a> {
            fn scan(
                rtype: RecordType,
                tokens: &mut Tokens<'_>,
                into: &mut Vec<u8>,
            ) -> Result<(), TextError> {
                match rtype {
                    $(RecordType::$constant => <$kind as Data<'a>>::scan(tokens, into),)*
                    _ => Err(tokens.need()?.error(TextErrorKind::Generic)),
                }
            }
        }
    };
}

rdata! {
    /// An IPv4 address.
    A(A) = A,
    /// An IPv6 address.
    Aaaa(Aaaa) = AAAA,
    /// A name server.
    Ns(Name<'a>) = NS,
    /// The canonical name of an alias.
    Cname(Name<'a>) = CNAME,
    /// The target of an alias of a whole subtree.
    Dname(Name<'a>) = DNAME,
    /// The start of a zone of authority.
    Soa(Soa<'a>) = SOA,
    /// A pointer to a name.
    Ptr(Name<'a>) = PTR,
    /// A mail exchange.
    Mx(Mx<'a>) = MX,
    /// Text.
    Txt(Txt<'a>) = TXT,
    /// A service.
    Srv(Srv<'a>) = SRV,
    /// A naming authority pointer.
    Naptr(Naptr<'a>) = NAPTR,
    /// Which authorities may issue certificates.
    Caa(Caa<'a>) = CAA,
    /// A delegation signer.
    Ds(Ds<'a>) = DS,
    /// A key of a zone.
    Dnskey(Dnskey<'a>) = DNSKEY,
    /// A signature of a set of records.
    Rrsig(Rrsig<'a>) = RRSIG,
    /// The next secure name.
    Nsec(Nsec<'a>) = NSEC,
    /// The next secure name, hashed.
    Nsec3(Nsec3<'a>) = NSEC3,
    /// Parameters of NSEC3.
    Nsec3param(Nsec3param<'a>) = NSEC3PARAM,
    /// A certificate or key of a TLS server.
    Tlsa(Tlsa<'a>) = TLSA,
    /// A fingerprint of an SSH key.
    Sshfp(Sshfp<'a>) = SSHFP,
    /// How to reach a service.
    Svcb(Svcb<'a>) = SVCB,
    /// How to reach an HTTPS origin.
    Https(Svcb<'a>) = HTTPS,
    /// A location.
    Loc(Loc) = LOC,
    /// A resource with a URI.
    Uri(Uri<'a>) = URI,
    /// An OpenPGP key.
    Openpgpkey(Openpgpkey<'a>) = OPENPGPKEY,
    /// A certificate for S/MIME.
    Smimea(Tlsa<'a>) = SMIMEA,
    /// What a child wants as DS.
    Cds(Ds<'a>) = CDS,
    /// What a child wants as DNSKEY.
    Cdnskey(Dnskey<'a>) = CDNSKEY,
    /// Processor and operating system.
    Hinfo(Hinfo<'a>) = HINFO,
    /// A responsible person.
    Rp(Rp<'a>) = RP,
    /// Mailboxes of a mailing list.
    Minfo(Minfo<'a>) = MINFO,
    /// A server of an AFS cell.
    Afsdb(Afsdb<'a>) = AFSDB,
    /// A host to route through.
    Rt(Mx<'a>) = RT,
    /// A public key.
    Key(Dnskey<'a>) = KEY,
    /// A key exchanger.
    Kx(Mx<'a>) = KX,
    /// A certificate.
    Cert(Cert<'a>) = CERT,
    /// Prefixes of addresses.
    Apl(Apl<'a>) = APL,
    /// A key for IPsec.
    Ipseckey(Ipseckey<'a>) = IPSECKEY,
    /// Who has got a name by DHCP.
    Dhcid(Dhcid<'a>) = DHCID,
    /// A node identifier.
    Nid(L64) = NID,
    /// A locator of 32 bits.
    L32(L32) = L32,
    /// A locator of 64 bits.
    L64(L64) = L64,
    /// A pointer to locators.
    Lp(Lp<'a>) = LP,
    /// A MAC address of 48 bits.
    Eui48(Mac48) = EUI48,
    /// A MAC address of 64 bits.
    Eui64(Mac64) = EUI64,
    /// A sender policy, of old.
    Spf(Txt<'a>) = SPF,
    /// A signature of a transaction.
    Tsig(Tsig<'a>) = TSIG,
    /// A digest of a zone.
    Zonemd(Zonemd<'a>) = ZONEMD,
    /// Synchronisation of a child with its parent.
    Csync(Csync<'a>) = CSYNC,
}

/// Whether data of this type and class are known. An address of CHAOS is something else, and
/// updates have records without data (RFC 2136, 2.4).
fn is_typed(rtype: RecordType, class: Class, len: usize) -> bool {
    let chaos = rtype == RecordType::A && class == Class::CH;
    let absent = matches!(class, Class::ANY | Class::NONE) && len == 0;
    !chaos && !absent
}

impl<'a> RData<'a> {
    /// Reads all of the data of a record of this type and class.
    ///
    /// # Errors
    /// They end too early, go on too long, or have a value that they cannot have.
    #[inline]
    pub fn parse(
        rtype: RecordType,
        class: Class,
        mut reader: DataReader<'a>,
    ) -> Result<Self, DnsError> {
        if !is_typed(rtype, class, reader.left()) {
            return Ok(RData::Unknown(reader.rest()));
        }
        let data = RData::typed(rtype, &mut reader)?;
        reader.finish()?;
        Ok(data)
    }

    /// Appends its octets, with all names written out.
    pub fn write(&self, into: &mut Vec<u8>) {
        self.put(into, false);
    }

    /// Appends its octets in the canonical form (RFC 4034, 6.2): names written out, and in lower case for
    /// the types that RFC 4034 lists and RFC 6840 has left in.
    pub fn write_canonical(&self, into: &mut Vec<u8>) {
        self.put(into, true);
    }
}

/// Shows data as those of a type that nobody knows (RFC 3597, 5).
fn show_generic(data: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "\\# {}", data.len())?;
    if !data.is_empty() {
        f.write_char(' ')?;
        Hex(data).show(f)?;
    }
    Ok(())
}

/// Reads the octets of record data from their text. `\# length hex` is as good for every type, and the
/// only way for a type that is not known here. Names are from the root, with or without their final dot.
///
/// # Errors
/// What is wrong, and where.
pub fn from_text(rtype: RecordType, class: Class, text: &str) -> Result<Vec<u8>, TextError> {
    from_tokens(rtype, class, &mut Tokens::new(text))
}

fn from_tokens(
    rtype: RecordType,
    class: Class,
    tokens: &mut Tokens<'_>,
) -> Result<Vec<u8>, TextError> {
    let mut data = Vec::new();
    let ahead = tokens.clone().next()?;
    let offset = ahead.map_or(0, |token| token.at);
    if tokens.accept("\\#")? {
        let len = tokens.need()?;
        Hex::scan(tokens, &mut data)?;
        if usize::from(len.number::<u16>()?) != data.len() {
            return Err(len.error(TextErrorKind::Length));
        }
    } else if rtype == RecordType::A && class == Class::CH {
        return Err(TextError { offset, kind: TextErrorKind::Generic });
    } else {
        RData::scan(rtype, tokens, &mut data)?;
        tokens.finish()?;
    }
    if data.len() > 65_535 {
        return Err(TextError { offset, kind: TextErrorKind::Length });
    }
    match RData::parse(rtype, class, DataReader::of(&data)) {
        Ok(_) => Ok(data),
        Err(why) => Err(TextError { offset, kind: TextErrorKind::Data(why.kind) }),
    }
}

impl<'a> Record<'a> {
    /// Its data.
    ///
    /// # Errors
    /// As for [`RData::parse`].
    #[inline]
    pub fn rdata(&self) -> Result<RData<'a>, DnsError> {
        RData::parse(self.rtype, self.class, self.reader())
    }
}

impl fmt::Display for Record<'_> {
    /// The record as `kdig +noall +answer` shows it, with single blanks. Data that cannot be read are
    /// shown as those of an unknown type.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} ", self.owner, self.ttl(), self.class, self.rtype)?;
        match self.rdata() {
            Ok(data) => data.fmt(f),
            Err(_) => show_generic(self.data(), f),
        }
    }
}

#[cfg(test)]
#[path = "../tests/rdata.rs"]
mod tests;
