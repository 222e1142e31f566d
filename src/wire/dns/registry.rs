//! Numbers with names. All of them are open: a number without a name is as good as any.

use std::fmt;
use std::str::FromStr;

/// A text that names no value of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct UnknownMnemonic;

impl fmt::Display for UnknownMnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such mnemonic")
    }
}

impl std::error::Error for UnknownMnemonic {}

macro_rules! registry {
    (
        $(#[$about:meta])* $name:ident($number:ty), $generic:literal;
        $($(#[$doc:meta])* $constant:ident = $value:literal $text:literal)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
        pub struct $name(pub $number);

        #[allow(clippy::unreadable_literal, reason = "numbers as the registry has them")]
        impl $name {
            $($(#[$doc])* pub const $constant: $name = $name($value);)*

            /// Its mnemonic, if it has one.
            #[must_use]
            pub const fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.mnemonic() {
                    Some(text) => f.pad(text),
                    None => write!(f, concat!($generic, "{}"), self.0),
                }
            }
        }

        impl FromStr for $name {
            type Err = UnknownMnemonic;

            /// Reads a mnemonic in any case, or the generic form with a number.
            fn from_str(text: &str) -> Result<Self, UnknownMnemonic> {
                $(if text.eq_ignore_ascii_case($text) {
                    return Ok($name::$constant);
                })*
                let head = text.get(..$generic.len()).ok_or(UnknownMnemonic)?;
                let digits = text.get($generic.len()..).ok_or(UnknownMnemonic)?;
                if !head.eq_ignore_ascii_case($generic)
                    || !digits.bytes().all(|byte| byte.is_ascii_digit())
                {
                    return Err(UnknownMnemonic);
                }
                digits.parse().map($name).map_err(|_| UnknownMnemonic)
            }
        }
    };
}

registry! {
    /// The type of a record or of a question (RFC 1035, 3.2.2; the rest as IANA has them).
    ///
    /// ```
    /// use netsonde::wire::dns::RecordType;
    ///
    /// assert_eq!("aaaa".parse(), Ok(RecordType::AAAA));
    /// assert_eq!("TYPE65280".parse(), Ok(RecordType(65280)));
    /// assert_eq!(RecordType(65280).to_string(), "TYPE65280");
    /// ```
    RecordType(u16), "TYPE";
    /// An IPv4 address (RFC 1035, 3.4.1).
    A = 1 "A"
    /// An authoritative name server (RFC 1035, 3.3.11).
    NS = 2 "NS"
    /// A mail destination (obsolete, RFC 1035, 3.3.4).
    MD = 3 "MD"
    /// A mail forwarder (obsolete, RFC 1035, 3.3.5).
    MF = 4 "MF"
    /// The canonical name of an alias (RFC 1035, 3.3.1).
    CNAME = 5 "CNAME"
    /// The start of a zone of authority (RFC 1035, 3.3.13).
    SOA = 6 "SOA"
    /// A host with a mailbox (RFC 1035, 3.3.3).
    MB = 7 "MB"
    /// A member of a mail group (RFC 1035, 3.3.6).
    MG = 8 "MG"
    /// A mailbox that was renamed (RFC 1035, 3.3.8).
    MR = 9 "MR"
    /// Anything (RFC 1035, 3.3.10).
    NULL = 10 "NULL"
    /// Well known services (RFC 1035, 3.4.2).
    WKS = 11 "WKS"
    /// A pointer to a name (RFC 1035, 3.3.12).
    PTR = 12 "PTR"
    /// Processor and operating system (RFC 1035, 3.3.2).
    HINFO = 13 "HINFO"
    /// Mailboxes of a mailing list (RFC 1035, 3.3.7).
    MINFO = 14 "MINFO"
    /// A mail exchange (RFC 1035, 3.3.9).
    MX = 15 "MX"
    /// Text (RFC 1035, 3.3.14).
    TXT = 16 "TXT"
    /// A responsible person (RFC 1183, 2.2).
    RP = 17 "RP"
    /// A server of an AFS cell (RFC 1183, 1).
    AFSDB = 18 "AFSDB"
    /// An address in an X.25 network (RFC 1183, 3.1).
    X25 = 19 "X25"
    /// An ISDN number (RFC 1183, 3.2).
    ISDN = 20 "ISDN"
    /// A host to route through (RFC 1183, 3.3).
    RT = 21 "RT"
    /// An OSI address (RFC 1706).
    NSAP = 22 "NSAP"
    /// A pointer from an OSI address to a name (RFC 1348).
    NSAP_PTR = 23 "NSAP-PTR"
    /// A signature over one query or transaction (RFC 2931).
    SIG = 24 "SIG"
    /// A public key (RFC 2535).
    KEY = 25 "KEY"
    /// A mapping of X.400 addresses (RFC 2163).
    PX = 26 "PX"
    /// A geographical position (RFC 1712).
    GPOS = 27 "GPOS"
    /// An IPv6 address (RFC 3596).
    AAAA = 28 "AAAA"
    /// A location (RFC 1876).
    LOC = 29 "LOC"
    /// The next name, of old (RFC 2535).
    NXT = 30 "NXT"
    /// An endpoint identifier of Nimrod.
    EID = 31 "EID"
    /// A locator of Nimrod.
    NIMLOC = 32 "NIMLOC"
    /// A service (RFC 2782).
    SRV = 33 "SRV"
    /// An ATM address.
    ATMA = 34 "ATMA"
    /// A naming authority pointer (RFC 3403).
    NAPTR = 35 "NAPTR"
    /// A key exchanger (RFC 2230).
    KX = 36 "KX"
    /// A certificate (RFC 4398).
    CERT = 37 "CERT"
    /// An IPv6 address in parts (historic, RFC 6563).
    A6 = 38 "A6"
    /// An alias of a whole subtree (RFC 6672).
    DNAME = 39 "DNAME"
    /// A sink for anything.
    SINK = 40 "SINK"
    /// The pseudo-record of EDNS (RFC 6891).
    OPT = 41 "OPT"
    /// Lists of address prefixes (RFC 3123).
    APL = 42 "APL"
    /// A delegation signer (RFC 4034, 5).
    DS = 43 "DS"
    /// A fingerprint of an SSH key (RFC 4255).
    SSHFP = 44 "SSHFP"
    /// A key for IPsec (RFC 4025).
    IPSECKEY = 45 "IPSECKEY"
    /// A signature of a set of records (RFC 4034, 3).
    RRSIG = 46 "RRSIG"
    /// The next secure name (RFC 4034, 4).
    NSEC = 47 "NSEC"
    /// A key of a zone (RFC 4034, 2).
    DNSKEY = 48 "DNSKEY"
    /// Who has got a name by DHCP (RFC 4701).
    DHCID = 49 "DHCID"
    /// The next secure name, hashed (RFC 5155, 3).
    NSEC3 = 50 "NSEC3"
    /// Parameters of NSEC3 (RFC 5155, 4).
    NSEC3PARAM = 51 "NSEC3PARAM"
    /// A certificate or key of a TLS server (RFC 6698).
    TLSA = 52 "TLSA"
    /// A certificate for S/MIME (RFC 8162).
    SMIMEA = 53 "SMIMEA"
    /// A host identity (RFC 8005).
    HIP = 55 "HIP"
    /// Status information of a zone.
    NINFO = 56 "NINFO"
    /// A key to encrypt records for.
    RKEY = 57 "RKEY"
    /// A link between trust anchors.
    TALINK = 58 "TALINK"
    /// What a child wants as DS (RFC 7344).
    CDS = 59 "CDS"
    /// What a child wants as DNSKEY (RFC 7344).
    CDNSKEY = 60 "CDNSKEY"
    /// An OpenPGP key (RFC 7929).
    OPENPGPKEY = 61 "OPENPGPKEY"
    /// Synchronisation of a child with its parent (RFC 7477).
    CSYNC = 62 "CSYNC"
    /// A digest of a zone (RFC 8976).
    ZONEMD = 63 "ZONEMD"
    /// How to reach a service (RFC 9460).
    SVCB = 64 "SVCB"
    /// How to reach an HTTPS origin (RFC 9460).
    HTTPS = 65 "HTTPS"
    /// Where to send notifications of a child (RFC 9859).
    DSYNC = 66 "DSYNC"
    /// A hierarchical host identity tag (RFC 9886).
    HHIT = 67 "HHIT"
    /// A broadcast remote identifier of an aircraft (RFC 9886).
    BRID = 68 "BRID"
    /// A sender policy, of old (RFC 4408, 3.1.1).
    SPF = 99 "SPF"
    /// Information about a user.
    UINFO = 100 "UINFO"
    /// The number of a user.
    UID = 101 "UID"
    /// The number of a group.
    GID = 102 "GID"
    /// Anything, of old.
    UNSPEC = 103 "UNSPEC"
    /// A node identifier (RFC 6742, 2.1).
    NID = 104 "NID"
    /// A locator of 32 bits (RFC 6742, 2.2).
    L32 = 105 "L32"
    /// A locator of 64 bits (RFC 6742, 2.3).
    L64 = 106 "L64"
    /// A pointer to locators (RFC 6742, 2.4).
    LP = 107 "LP"
    /// A MAC address of 48 bits (RFC 7043, 3).
    EUI48 = 108 "EUI48"
    /// A MAC address of 64 bits (RFC 7043, 4).
    EUI64 = 109 "EUI64"
    /// A key that is being agreed on (RFC 2930).
    TKEY = 249 "TKEY"
    /// A signature of a transaction (RFC 8945).
    TSIG = 250 "TSIG"
    /// A question for the changes of a zone (RFC 1995).
    IXFR = 251 "IXFR"
    /// A question for a whole zone (RFC 5936).
    AXFR = 252 "AXFR"
    /// A question for MB, MG and MR (RFC 1035, 3.2.3).
    MAILB = 253 "MAILB"
    /// A question for mail agents (obsolete, RFC 1035, 3.2.3).
    MAILA = 254 "MAILA"
    /// A question for every type (RFC 8482).
    ANY = 255 "ANY"
    /// A resource with a URI (RFC 7553).
    URI = 256 "URI"
    /// Which authorities may issue certificates (RFC 8659).
    CAA = 257 "CAA"
    /// Application visibility and control.
    AVC = 258 "AVC"
    /// A digital object architecture.
    DOA = 259 "DOA"
    /// A relay for multicast (RFC 8777).
    AMTRELAY = 260 "AMTRELAY"
    /// What a resolver can do (RFC 9606).
    RESINFO = 261 "RESINFO"
    /// A wallet.
    WALLET = 262 "WALLET"
    /// A trust anchor of old.
    TA = 32768 "TA"
    /// A delegation signer elsewhere (obsolete, RFC 4431).
    DLV = 32769 "DLV"
}

registry! {
    /// The class of a record or of a question (RFC 1035, 3.2.4).
    Class(u16), "CLASS";
    /// The Internet.
    IN = 1 "IN"
    /// Chaos; servers tell their version in it.
    CH = 3 "CH"
    /// Hesiod.
    HS = 4 "HS"
    /// None (RFC 2136).
    NONE = 254 "NONE"
    /// Any class, in questions.
    ANY = 255 "ANY"
}

registry! {
    /// What is asked for (RFC 1035, 4.1.1).
    Opcode(u8), "OPCODE";
    /// A standard query.
    QUERY = 0 "QUERY"
    /// An inverse query (obsolete, RFC 3425).
    IQUERY = 1 "IQUERY"
    /// The status of a server.
    STATUS = 2 "STATUS"
    /// A zone has changed (RFC 1996).
    NOTIFY = 4 "NOTIFY"
    /// A dynamic update (RFC 2136).
    UPDATE = 5 "UPDATE"
    /// Stateful operations (RFC 8490).
    DSO = 6 "DSO"
}

registry! {
    /// How a query ended, with the upper bits of EDNS (RFC 6895, 2.3).
    Rcode(u16), "RCODE";
    /// No error.
    NOERROR = 0 "NOERROR"
    /// The server could not read the query.
    FORMERR = 1 "FORMERR"
    /// The server failed.
    SERVFAIL = 2 "SERVFAIL"
    /// The name does not exist.
    NXDOMAIN = 3 "NXDOMAIN"
    /// The server cannot do this.
    NOTIMP = 4 "NOTIMP"
    /// The server does not want to.
    REFUSED = 5 "REFUSED"
    /// A name exists that should not (RFC 2136).
    YXDOMAIN = 6 "YXDOMAIN"
    /// A set exists that should not (RFC 2136).
    YXRRSET = 7 "YXRRSET"
    /// A set does not exist that should (RFC 2136).
    NXRRSET = 8 "NXRRSET"
    /// The server has no authority, or the query none (RFC 2136, RFC 8945).
    NOTAUTH = 9 "NOTAUTH"
    /// A name outside the zone (RFC 2136).
    NOTZONE = 10 "NOTZONE"
    /// The type is not implemented (RFC 8490).
    DSOTYPENI = 11 "DSOTYPENI"
    /// An unknown version of EDNS (RFC 6891).
    BADVERS = 16 "BADVERS"
    /// A key that is not known (RFC 8945).
    BADKEY = 17 "BADKEY"
    /// A signature out of its time (RFC 8945).
    BADTIME = 18 "BADTIME"
    /// A bad TKEY mode (RFC 2930).
    BADMODE = 19 "BADMODE"
    /// A key name that exists already (RFC 2930).
    BADNAME = 20 "BADNAME"
    /// An algorithm that is not supported (RFC 2930).
    BADALG = 21 "BADALG"
    /// A bad truncation (RFC 8945).
    BADTRUNC = 22 "BADTRUNC"
    /// A bad or missing cookie (RFC 7873).
    BADCOOKIE = 23 "BADCOOKIE"
}

registry! {
    /// The code of an EDNS option (RFC 6891, 6.1.2; the rest as IANA has them).
    OptionCode(u16), "OPTION";
    /// The identifier of a server (RFC 5001).
    NSID = 3 "NSID"
    /// Algorithms of signatures that are understood (RFC 6975).
    DAU = 5 "DAU"
    /// Algorithms of delegation signers that are understood (RFC 6975).
    DHU = 6 "DHU"
    /// Algorithms of hashed denial that are understood (RFC 6975).
    N3U = 7 "N3U"
    /// The network of a client (RFC 7871).
    CLIENT_SUBNET = 8 "ECS"
    /// The expiry of a zone (RFC 7314).
    EXPIRE = 9 "EXPIRE"
    /// A cookie (RFC 7873).
    COOKIE = 10 "COOKIE"
    /// How long a connection is kept (RFC 7828).
    KEEPALIVE = 11 "KEEPALIVE"
    /// Octets that fill up (RFC 7830).
    PADDING = 12 "PADDING"
    /// A query for a chain of trust (RFC 7901).
    CHAIN = 13 "CHAIN"
    /// Trust anchors that are known (RFC 8145).
    KEY_TAG = 14 "KEYTAG"
    /// Why a query ended as it did (RFC 8914).
    EXTENDED_ERROR = 15 "EDE"
    /// Where errors are reported to (RFC 9567).
    REPORT_CHANNEL = 18 "REPORTCHANNEL"
}

registry! {
    /// Why a query ended as it did (RFC 8914, 4; the rest as IANA has them).
    ExtendedErrorCode(u16), "EDE";
    /// None of the others.
    OTHER = 0 "Other"
    /// A key algorithm that is not supported.
    UNSUPPORTED_DNSKEY_ALGORITHM = 1 "Unsupported DNSKEY Algorithm"
    /// A digest that is not supported.
    UNSUPPORTED_DS_DIGEST_TYPE = 2 "Unsupported DS Digest Type"
    /// The answer is older than it may be.
    STALE_ANSWER = 3 "Stale Answer"
    /// The answer was made up by a policy.
    FORGED_ANSWER = 4 "Forged Answer"
    /// The signatures could be checked neither way.
    DNSSEC_INDETERMINATE = 5 "DNSSEC Indeterminate"
    /// The signatures are wrong.
    DNSSEC_BOGUS = 6 "DNSSEC Bogus"
    /// A signature has expired.
    SIGNATURE_EXPIRED = 7 "Signature Expired"
    /// A signature is not valid yet.
    SIGNATURE_NOT_YET_VALID = 8 "Signature Not Yet Valid"
    /// A key is missing.
    DNSKEY_MISSING = 9 "DNSKEY Missing"
    /// Signatures are missing.
    RRSIGS_MISSING = 10 "RRSIGs Missing"
    /// The key is no zone key.
    NO_ZONE_KEY_BIT_SET = 11 "No Zone Key Bit Set"
    /// The proof that something is not there is missing.
    NSEC_MISSING = 12 "NSEC Missing"
    /// The error comes from a cache.
    CACHED_ERROR = 13 "Cached Error"
    /// The server is not ready yet.
    NOT_READY = 14 "Not Ready"
    /// The operator blocks it.
    BLOCKED = 15 "Blocked"
    /// Somebody else has it blocked.
    CENSORED = 16 "Censored"
    /// The client has it blocked.
    FILTERED = 17 "Filtered"
    /// The client is not allowed to ask.
    PROHIBITED = 18 "Prohibited"
    /// That something is not there is older news than it may be.
    STALE_NXDOMAIN_ANSWER = 19 "Stale NXDOMAIN Answer"
    /// The server has no authority.
    NOT_AUTHORITATIVE = 20 "Not Authoritative"
    /// The query is not supported.
    NOT_SUPPORTED = 21 "Not Supported"
    /// No server of the zone could be reached.
    NO_REACHABLE_AUTHORITY = 22 "No Reachable Authority"
    /// The network failed.
    NETWORK_ERROR = 23 "Network Error"
    /// The data of the zone are not valid.
    INVALID_DATA = 24 "Invalid Data"
    /// A signature expired before it became valid.
    SIGNATURE_EXPIRED_BEFORE_VALID = 25 "Signature Expired before Valid"
    /// The query came too early in TLS.
    TOO_EARLY = 26 "Too Early"
    /// The number of iterations of NSEC3 is not supported.
    UNSUPPORTED_NSEC3_ITERATIONS = 27 "Unsupported NSEC3 Iterations Value"
    /// A policy of the server cannot be met.
    UNABLE_TO_CONFORM_TO_POLICY = 28 "Unable to conform to policy"
    /// The answer was put together from others.
    SYNTHESIZED = 29 "Synthesized"
    /// The type that was asked for is not valid.
    INVALID_QUERY_TYPE = 30 "Invalid Query Type"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_names_have_a_generic_form_both_ways() {
        assert_eq!(RecordType(65280).to_string(), "TYPE65280");
        assert_eq!("type65280".parse(), Ok(RecordType(65280)));
        assert_eq!("TYPE1".parse(), Ok(RecordType::A));
        assert_eq!(
            (RecordType::NSAP_PTR.to_string(), RecordType(23)),
            ("NSAP-PTR".to_owned(), RecordType::NSAP_PTR)
        );
        assert_eq!("eui48".parse(), Ok(RecordType(108)));
        assert_eq!(Class(42).to_string(), "CLASS42");
        assert_eq!("CLASS3".parse(), Ok(Class::CH));
        for bad in ["", "TYPE", "TYPE65536", "TYPE-1", "TYPE+1", "TYPE 1", "AAAAA", "1"] {
            assert_eq!(bad.parse::<RecordType>(), Err(UnknownMnemonic), "{bad}");
        }
    }

    #[test]
    fn d40_d41_extended_codes_keep_their_numbers() {
        assert_eq!(Rcode(23).to_string(), "BADCOOKIE");
        assert_eq!(Rcode(4095).to_string(), "RCODE4095");
        assert_eq!("RCODE4095".parse(), Ok(Rcode(4095)));
        assert_eq!("nxdomain".parse(), Ok(Rcode::NXDOMAIN));
    }
}
