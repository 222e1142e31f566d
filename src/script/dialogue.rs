//! Ready dialogues for common protocols.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ByteOrder, Frame, LengthField, Script, Step};

/// A ready dialogue, by the name of its protocol.
///
/// Those that start TLS end with that step: append steps of your own to go on under TLS. An answer
/// that is not the one hoped for fails the step at once instead of running into the deadline.
///
/// | name | port | what it does | source |
/// |---|---|---|---|
/// | `ftp` | 21 | `AUTH TLS` | RFC 4217 4, RFC 959 4.2 |
/// | `imap` | 143 | `STARTTLS`; a `PREAUTH` greeting fails | RFC 9051 6.2.1 and 7.1.4 |
/// | `irc` | 6667 | registers until welcomed or challenged | RFC 2812 3.1 and 5.1 |
/// | `ldap` | 389 | the StartTLS extended operation | RFC 4511 4.14 |
/// | `lmtp` | 24 | `LHLO`, `STARTTLS` if offered | RFC 2033 4.1, RFC 3207 4 |
/// | `mysql` | 3306 | greeting, then an SSL request if offered | MySQL Protocol::SSLRequest |
/// | `nntp` | 119 | `STARTTLS` | RFC 4642 2.2, RFC 3977 5.1 |
/// | `pop3` | 110 | `STLS` | RFC 2595 4 |
/// | `postgres` | 5432 | an SSL request | PostgreSQL Message Formats, SSLRequest |
/// | `redis` | 6379 | `PING` | Redis serialization protocol |
/// | `sieve` | 4190 | `STARTTLS` if offered | RFC 5804 1.7 and 2.2 |
/// | `smtp` | 25 | `EHLO`, `STARTTLS` if offered | RFC 3207 4, RFC 5321 4.1.1.1 |
/// | `ssh` | 22 | reads the banner | RFC 4253 4.2 |
/// | `xmpp-client` | 5222 | stream, `<starttls/>` if offered | RFC 6120 5.4 |
/// | `xmpp-server` | 5269 | the same between servers | RFC 6120 5.4 |
///
/// Parameters are [`Script::variables`]: `domain` in `lmtp`, `smtp` and both `xmpp` (default: the
/// target's host), `nick` in `irc` (default: `netsonde`).
///
/// In serialised form a dialogue is its name.
///
/// ```
/// use netsonde::script::{Dialogue, Step};
///
/// let smtp: Dialogue = "smtp".parse()?;
/// let mut script = smtp.script().with_variable("domain", "probe.example.org");
/// script.steps.push(Step::send("QUIT\r\n"));
/// assert!(smtp.uses_starttls() && Dialogue::names().any(|name| name == "smtp"));
/// # Ok::<(), netsonde::script::UnknownDialogue>(())
/// ```
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub struct Dialogue {
    entry: &'static Entry,
}

struct Entry {
    name: &'static str,
    port: u16,
    starttls: bool,
    script: fn() -> Script,
}

const fn entry(name: &'static str, port: u16, starttls: bool, script: fn() -> Script) -> Entry {
    Entry { name, port, starttls, script }
}

static ENTRIES: [Entry; 15] = [
    entry("ftp", 21, true, ftp),
    entry("imap", 143, true, imap),
    entry("irc", 6667, false, irc),
    entry("ldap", 389, true, ldap),
    entry("lmtp", 24, true, lmtp),
    entry("mysql", 3306, true, mysql),
    entry("nntp", 119, true, nntp),
    entry("pop3", 110, true, pop3),
    entry("postgres", 5432, true, postgres),
    entry("redis", 6379, false, redis),
    entry("sieve", 4190, true, sieve),
    entry("smtp", 25, true, smtp),
    entry("ssh", 22, false, ssh),
    entry("xmpp-client", 5222, true, xmpp_client),
    entry("xmpp-server", 5269, true, xmpp_server),
];

impl Dialogue {
    /// The dialogue of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        ENTRIES.iter().find(|entry| entry.name == name).map(|entry| Self { entry })
    }

    /// Every dialogue, in alphabetical order.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(|entry| Self { entry })
    }

    /// The names of all dialogues, in alphabetical order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ENTRIES.iter().map(|entry| entry.name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.entry.name
    }

    /// The port its protocol is registered or usual at.
    pub fn port(self) -> u16 {
        self.entry.port
    }

    /// Whether it starts TLS.
    pub fn uses_starttls(self) -> bool {
        self.entry.starttls
    }

    /// Its steps, to run or to change.
    pub fn script(self) -> Script {
        (self.entry.script)()
    }
}

impl PartialEq for Dialogue {
    fn eq(&self, other: &Self) -> bool {
        self.entry.name == other.entry.name
    }
}

impl Eq for Dialogue {}

impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialogue").field(&self.entry.name).finish()
    }
}

impl fmt::Display for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry.name)
    }
}

impl FromStr for Dialogue {
    type Err = UnknownDialogue;

    fn from_str(name: &str) -> Result<Self, UnknownDialogue> {
        Self::by_name(name).ok_or_else(|| UnknownDialogue { name: name.to_owned() })
    }
}

impl TryFrom<String> for Dialogue {
    type Error = UnknownDialogue;

    fn try_from(name: String) -> Result<Self, UnknownDialogue> {
        name.parse()
    }
}

impl From<Dialogue> for &'static str {
    fn from(dialogue: Dialogue) -> Self {
        dialogue.entry.name
    }
}

/// There is no dialogue of this name.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDialogue {
    /// The name.
    pub name: String,
}

impl fmt::Display for UnknownDialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no dialogue {:?}; there are ", self.name)?;
        let mut separator = "";
        for name in Dialogue::names() {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl std::error::Error for UnknownDialogue {}

/// Replies longer than any server's, short of one without end.
const REPLY_LINES: u32 = 256;

/// Any line but those that begin with the three digits of `code` and a blank, a hyphen or nothing.
fn other_than(code: &str) -> String {
    let mut pattern = String::from("^(?:");
    for (at, digit) in code.char_indices() {
        let (before, _) = code.split_at(at);
        // Writing to a String cannot fail.
        let _ = write!(pattern, "{before}[^{digit}]|");
    }
    let _ = write!(pattern, "{code}[^ -]|.{{0,2}}$)");
    pattern
}

/// The last line of a reply with this code. RFC 5321 4.2: the text, and its blank, may be missing.
fn reply(code: &str) -> Step {
    Step::expect(format!("^{code}(?: |$)"))
        .with_reject(other_than(code))
        .with_max_lines(REPLY_LINES)
}

fn smtp() -> Script {
    smtp_like("EHLO")
}

fn lmtp() -> Script {
    smtp_like("LHLO")
}

/// RFC 3207 4: greeting, hello, STARTTLS among the extensions, 220. Whatever 454, 501 or 502 says
/// is an answer other than 220.
fn smtp_like(hello: &str) -> Script {
    Script::new([
        reply("220").with_name("greeting"),
        Step::send_expanded(format!("{hello} ${{domain}}\r\n")).with_name("hello"),
        Step::expect("(?i)^250[ -]STARTTLS(?: |$)")
            .with_name("extensions")
            .with_until("^250(?: |$)")
            .with_reject(other_than("250"))
            .with_max_lines(REPLY_LINES),
        Step::send("STARTTLS\r\n").with_name("request"),
        reply("220").with_name("go-ahead"),
        Step::starttls(),
    ])
    .with_variable("domain", "${host}")
}

/// RFC 9051 7.1.4: after PREAUTH the session is authenticated, where STARTTLS is not allowed, so
/// only OK will do. Untagged data may come before the tagged answer.
fn imap() -> Script {
    Script::new([
        Step::expect(r"(?i)^\* OK(?: |$)").with_reject("^").with_name("greeting"),
        Step::send("a1 STARTTLS\r\n").with_name("request"),
        Step::expect("(?i)^a1 OK(?: |$)")
            .with_reject(r"(?i)^(?:a1 |\* BYE|\+)")
            .with_max_lines(REPLY_LINES)
            .with_name("go-ahead"),
        Step::starttls(),
    ])
}

/// RFC 2595 4: a server without it, or in the wrong state, says -ERR.
fn pop3() -> Script {
    Script::new([
        Step::expect(r"^\+OK(?: |$)").with_reject("^").with_name("greeting"),
        Step::send("STLS\r\n").with_name("request"),
        Step::expect(r"^\+OK(?: |$)").with_reject("^").with_name("go-ahead"),
        Step::starttls(),
    ])
}

/// RFC 959 4.2: lines inside a reply are free text, so only another reply code is a refusal; 120
/// announces a wait for the 220.
fn ftp() -> Script {
    Script::new([
        Step::expect("^220(?: |$)")
            .with_reject("^[345][0-9][0-9](?:[ -]|$)")
            .with_max_lines(REPLY_LINES)
            .with_name("greeting"),
        Step::send("AUTH TLS\r\n").with_name("request"),
        Step::expect("^234(?: |$)")
            .with_reject("^(?:[1345][0-9][0-9]|2[0-24-9][0-9]|23[0-35-9])(?:[ -]|$)")
            .with_max_lines(REPLY_LINES)
            .with_name("go-ahead"),
        Step::starttls(),
    ])
}

/// RFC 3977 5.1 and RFC 4642 2.2: each answer is one line.
fn nntp() -> Script {
    Script::new([
        Step::expect("^20[01](?: |$)").with_reject("^").with_name("greeting"),
        Step::send("STARTTLS\r\n").with_name("request"),
        Step::expect("^382(?: |$)").with_reject("^").with_name("go-ahead"),
        Step::starttls(),
    ])
}

/// RFC 5804 1.7: the greeting lists the capabilities and ends with OK.
fn sieve() -> Script {
    Script::new([
        Step::expect("(?i)^\"STARTTLS\"")
            .with_until("(?i)^OK(?: |$)")
            .with_reject("(?i)^(?:NO|BYE)(?: |$)")
            .with_max_lines(REPLY_LINES)
            .with_name("greeting"),
        Step::send("STARTTLS\r\n").with_name("request"),
        Step::expect("(?i)^OK(?: |$)").with_reject("^").with_name("go-ahead"),
        Step::starttls(),
    ])
}

/// RFC 4511 4.14: an ExtendedRequest of message 1 with the OID of StartTLS, and an
/// ExtendedResponse of message 1 whose result code is success (0). Every length but those of the
/// two integers may be in the long form, as Active Directory writes them.
fn ldap() -> Script {
    const OID: &[u8; 22] = b"1.3.6.1.4.1.1466.20037";
    let mut request = vec![0x30, 0x1d, 0x02, 0x01, 0x01, 0x77, 0x18, 0x80, 0x16];
    request.extend_from_slice(OID);
    let length = r"(?:[\x00-\x7f]|\x81.|\x82..|\x83...|\x84....)";
    let success = format!(r"(?s)^\x30{length}\x02\x01\x01\x78{length}\x0a\x01\x00");
    Script::new([
        Step::send_hex(request).with_name("request"),
        Step::expect(success).with_frame(Frame::Ber).with_reject("^").with_name("go-ahead"),
        Step::starttls(),
    ])
}

/// The request is its length (8) and the number 80877103. The answer is the one byte S; N refuses,
/// and a server that does not know the request sends an ErrorResponse, which begins with E.
fn postgres() -> Script {
    Script::new([
        Step::send_hex([0x00, 0x00, 0x00, 0x08, 0x04, 0xd2, 0x16, 0x2f]).with_name("request"),
        Step::expect_raw("^S").with_reject("^[^S]").with_name("go-ahead"),
        Step::starttls(),
    ])
}

/// The greeting is Protocol::HandshakeV10: version 10, the server's version, thread id (4 bytes),
/// salt (8), a zero, the lower capability flags (2). CLIENT_SSL is 0x0800. The request carries
/// CLIENT_LONG_PASSWORD, PROTOCOL_41, SSL, SECURE_CONNECTION and PLUGIN_AUTH, the largest packet
/// (16 MiB), the character set (45, utf8mb4) and 23 zeros.
fn mysql() -> Script {
    let mut ssl = String::from("[");
    for high in 0..16 {
        // Writing to a String cannot fail.
        let _ = write!(ssl, r"\x{high:x}8-\x{high:x}f");
    }
    ssl.push(']');
    let greeting = format!(r"(?s)^...\x00\x0a(?P<version>[^\x00]*)\x00.{{4}}.{{8}}\x00.{ssl}");
    let packet = LengthField { offset: 0, size: 3, order: ByteOrder::Little, add: 4 };
    let mut request = vec![
        0x20, 0x00, 0x00, 0x01, // 32 bytes, packet 1
        0x01, 0x8a, 0x08, 0x00, // capability flags
        0x00, 0x00, 0x00, 0x01, // largest packet
        0x2d, // character set
    ];
    request.resize(36, 0);
    Script::new([
        Step::expect(greeting)
            .with_frame(Frame::Length(packet))
            .with_reject("^")
            .with_label("mysql_version", "${version}")
            .with_name("greeting"),
        Step::send_hex(request).with_name("request"),
        Step::starttls(),
    ])
}

fn xmpp_client() -> Script {
    xmpp("jabber:client")
}

fn xmpp_server() -> Script {
    xmpp("jabber:server")
}

/// RFC 6120 5.4. Any prefix may stand for a namespace. Between servers `from` would be the domain
/// we serve, and we serve none, so it is left out (4.7.1 lets us).
fn xmpp(namespace: &str) -> Script {
    let open = format!(
        "<?xml version='1.0'?><stream:stream xmlns='{namespace}' \
         xmlns:stream='http://etherx.jabber.org/streams' to='${{domain}}' version='1.0'>"
    );
    let name = |local: &str| format!(r"(?:[\w.-]+:)?{local}");
    let features = name("features");
    let end = format!(r"</{features}\s*>");
    let closed = format!("</{}|</{}", name(r"stream\s*>"), name(r"error\s*>"));
    let starttls = name("starttls");
    let proceed = name("proceed");
    let failure = name(r"failure(?:\s[^<>]*)?>");
    Script::new([
        Step::send_expanded(open).with_name("stream"),
        Step::expect_raw(format!(r"(?s)<{starttls}[\s/>].*{end}"))
            .with_reject(format!(r"{end}|<{features}(?:\s[^<>]*)?/>|{closed}"))
            .with_name("features"),
        Step::send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").with_name("request"),
        Step::expect_raw(format!(
            r"<{proceed}(?:\s[^<>]*)?/>|<{proceed}(?:\s[^<>]*[^<>/]|\s)?>\s*</{proceed}\s*>"
        ))
        .with_reject(format!("<{failure}|{closed}"))
        .with_name("go-ahead"),
        Step::starttls(),
    ])
    .with_variable("domain", "${host}")
}

/// An array of one bulk string, since proxies do not take the short inline form.
fn redis() -> Script {
    Script::new([
        Step::send("*1\r\n$4\r\nPING\r\n").with_name("ping"),
        Step::expect(r"^\+PONG$").with_reject("^").with_name("pong"),
    ])
}

/// RFC 4253 4.2: the server may send other lines before its version.
fn ssh() -> Script {
    Script::new([Step::expect(
        r"^SSH-(?P<protocol>[^- ]+)-(?P<software>[^ ]+)(?: (?P<comments>.*))?$",
    )
    .with_name("banner")
    .with_label("ssh_protocol", "${protocol}")
    .with_label("ssh_version", "${software}")
    .with_label("ssh_comments", "${comments}")])
}

/// RFC 2812 5.1: 001 welcomes, 433 says that another client has the nickname. Many servers want a
/// PING answered first. Each shows that an IRC server registers clients.
fn irc() -> Script {
    Script::new([
        Step::send_expanded("NICK ${nick}\r\nUSER ${nick} 0 * :${nick}\r\n").with_name("register"),
        Step::expect(r"^(?:(?::[^ ]+ )?(?:001|433) |(?::[^ ]+ )?PING )")
            .with_reject(r"^(?::[^ ]+ )?(?:ERROR |4(?:[0-24-9][0-9]|3[0-24-9]) )")
            .with_name("answer"),
    ])
    .with_variable("nick", "netsonde")
}
