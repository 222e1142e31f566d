//! The ready dialogues against transcripts, byte by byte.

use super::*;
use crate::script::Dialogue;
use ScriptFailureKind as Kind;

/// A side of a transcript.
#[derive(Clone, Copy, Debug)]
enum Turn<'a> {
    /// The peer says this.
    Peer(&'a [u8]),
    /// The script must say exactly this.
    Us(&'a [u8]),
    /// The script must start TLS.
    Tls,
}

use Turn::{Peer, Tls, Us};

/// Plays a transcript, whose peer's bytes are cut after each multiple of `every` and at `at`, and
/// checks what the script says in each turn.
fn transcript(name: &str, turns: &[Turn<'_>], every: usize, at: usize) -> (ScriptReport, bool) {
    let script = Dialogue::by_name(name).unwrap().script();
    let script = compile_with(&script, &ScriptLimits::default());
    let now = Instant::now();
    let mut engine = ScriptEngine::new(script, now).with_variable("host", "mx.example.org");
    let mut said = 0;
    for turn in turns {
        match turn {
            Peer(bytes) => {
                assert_eq!(engine.step(now), Action::Read, "{name}: before {turn:?}");
                for piece in bytes.chunks(every) {
                    let (head, tail) = piece.split_at(at.saturating_sub(said).min(piece.len()));
                    said += piece.len();
                    engine.received(head, now);
                    engine.received(tail, now);
                }
            }
            Us(bytes) => {
                assert_eq!(engine.step(now), Action::Write(bytes), "{name}");
                engine.written(bytes.len(), now);
            }
            Tls => {
                assert_eq!(engine.step(now), Action::StartTls, "{name}");
                engine.tls_started(now);
            }
        }
    }
    let done = matches!(engine.step(now), Action::Done);
    (engine.report(), done)
}

/// The script passes, with the same record wherever the peer's bytes are cut.
fn passes(name: &str, turns: &[Turn<'_>]) -> ScriptReport {
    let (report, done) = transcript(name, turns, usize::MAX, 0);
    assert!(done, "{name}: {report:?}");
    let bytes = turns.iter().map(|turn| if let Peer(bytes) = turn { bytes.len() } else { 0 });
    for at in 0..bytes.sum() {
        assert_eq!(transcript(name, turns, usize::MAX, at), (report.clone(), true), "{name} {at}");
    }
    for every in 1..4 {
        assert_eq!(transcript(name, turns, every, 0), (report.clone(), true), "{name} {every}");
    }
    report
}

/// The script fails in the step of this name as soon as the last turn was said.
fn fails(name: &str, turns: &[Turn<'_>], step: &str, kind: Kind) -> ScriptFailure {
    for every in [usize::MAX, 1] {
        let (report, _) = transcript(name, turns, every, 0);
        let failure = report.failure.unwrap_or_else(|| panic!("{name}: {turns:?} did not fail"));
        assert_eq!((failure.name.as_deref(), failure.kind), (Some(step), kind), "{name} {turns:?}");
    }
    let (report, _) = transcript(name, turns, usize::MAX, 0);
    report.failure.unwrap()
}

const SMTP: [Turn<'_>; 5] = [
    Peer(b"220-mx.example.org welcomes you\r\n220 mx.example.org ESMTP\r\n"),
    Us(b"EHLO mx.example.org\r\n"),
    Peer(b"250-mx.example.org\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250 HELP\r\n"),
    Us(b"STARTTLS\r\n"),
    Peer(b"220 2.0.0 Ready to start TLS\r\n"),
];

/// A transcript with its last turns replaced.
fn ending<'a>(start: &[Turn<'a>], keep: usize, end: &[Turn<'a>]) -> Vec<Turn<'a>> {
    [&start[..keep], end].concat()
}

#[test]
fn s112_smtp_and_lmtp_in_any_segments() {
    let report = passes("smtp", &ending(&SMTP, 5, &[Tls]));
    assert_eq!(report.steps[2].matched.as_deref(), Some("250-STARTTLS"));
    passes(
        "smtp",
        &ending(
            &SMTP,
            0,
            &[Peer(b"220\r\n"), SMTP[1], Peer(b"250-x\n250 starttls\n"), SMTP[3], SMTP[4], Tls],
        ),
    );
    passes(
        "lmtp",
        &ending(&SMTP, 1, &[Us(b"LHLO mx.example.org\r\n"), SMTP[2], SMTP[3], SMTP[4], Tls]),
    );
}

#[test]
fn s108_smtp_does_not_offer_it() {
    let reply = Peer(b"250-mx.example.org\r\n250-STARTTLSX\r\n250 HELP\r\n");
    let failure = fails("smtp", &ending(&SMTP, 2, &[reply]), "extensions", Kind::Unmatched);
    assert_eq!(failure.evidence.as_deref(), Some("250 HELP"));
    fails("smtp", &ending(&SMTP, 2, &[Peer(b"502 what?\r\n")]), "extensions", Kind::Rejected);
}

#[test]
fn s109_smtp_injection() {
    let go = b"220 go\r\n250 injected\r\n";
    let script = Dialogue::by_name("smtp").unwrap().script();
    let (report, done) = transcript("smtp", &ending(&SMTP, 4, &[Peer(go)]), usize::MAX, 0);
    let failure = report.failure.unwrap();
    assert!(!done && script.steps[failure.step].starttls);
    assert_eq!(failure.kind, Kind::InjectedPlaintext);
    assert_eq!(failure.evidence.as_deref(), Some("250 injected\\r\\n"));
}

#[test]
fn s113_imap_preauth() {
    let turns = [Peer(b"* PREAUTH IMAP4rev1 server logged in as Smith\r\n")];
    let failure = fails("imap", &turns, "greeting", Kind::Rejected);
    assert!(failure.evidence.unwrap().starts_with("* PREAUTH"));
}

#[test]
fn s114_ehlo_reply_without_end() {
    let reply = b"250-X\r\n".repeat(1000);
    let failure =
        fails("smtp", &ending(&SMTP, 2, &[Peer(&reply)]), "extensions", Kind::TooManyLines);
    assert_eq!((failure.limit, failure.seen), (Some(256), Some(257)));
}

#[test]
fn s117_smtp_refuses_with_454() {
    let reply = Peer(b"454 4.7.0 TLS not available due to local problem\r\n");
    let failure = fails("smtp", &ending(&SMTP, 4, &[reply]), "go-ahead", Kind::Rejected);
    assert!(failure.to_string().contains("454 4.7.0 TLS not available"));
    for reply in [&b"501 Syntax\r\n"[..], b"250 ok\r\n", b"221 bye\r\n", b"2\r\n", b"\r\n"] {
        fails("smtp", &ending(&SMTP, 4, &[Peer(reply)]), "go-ahead", Kind::Rejected);
    }
    for greeting in [&b"554 go away\r\n"[..], b"421-busy\r\n", b"SSH-2.0-x\r\n", b"2200 x\r\n"] {
        fails("smtp", &[Peer(greeting)], "greeting", Kind::Rejected);
    }
}

#[test]
fn imap() {
    let start = [Peer(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"), Us(b"a1 STARTTLS\r\n")];
    passes("imap", &ending(&start, 2, &[Peer(b"a1 OK Begin TLS negotiation now.\r\n"), Tls]));
    passes("imap", &ending(&start, 2, &[Peer(b"* 3 EXISTS\r\nA1 ok\r\n"), Tls]));
    for reply in [&b"a1 BAD unknown command\r\n"[..], b"* x\r\na1 NO\r\n", b"* BYE\r\n", b"+ \r\n"]
    {
        fails("imap", &ending(&start, 2, &[Peer(reply)]), "go-ahead", Kind::Rejected);
    }
    fails("imap", &[Peer(b"* BYE overloaded\r\n")], "greeting", Kind::Rejected);
}

#[test]
fn pop3() {
    let start = [Peer(b"+OK POP3 <1@x>\r\n"), Us(b"STLS\r\n")];
    passes("pop3", &ending(&start, 2, &[Peer(b"+OK Begin TLS negotiation\r\n"), Tls]));
    fails(
        "pop3",
        &ending(&start, 2, &[Peer(b"-ERR Command not permitted\r\n")]),
        "go-ahead",
        Kind::Rejected,
    );
    fails("pop3", &[Peer(b"-ERR [SYS/TEMP] no\r\n")], "greeting", Kind::Rejected);
}

#[test]
fn ftp() {
    let start = [
        Peer(b"120 wait\r\n220-Welcome\r\n free text\r\n450 files of it\xff\r\n"),
        Us(b"AUTH TLS\r\n"),
    ];
    let greeting =
        Peer(b"120 wait\r\n220-Welcome\r\n free text\r\nof 450 files\xff\r\n220 ready\r\n");
    passes("ftp", &[greeting, start[1], Peer(b"234-Go\r\n on\r\n234 AUTH TLS ok\r\n"), Tls]);
    for reply in
        [&b"530 Please login\r\n"[..], b"502 no\r\n", b"334 [ADAT]\r\n", b"235 x\r\n", b"220 x\r\n"]
    {
        fails("ftp", &[greeting, start[1], Peer(reply)], "go-ahead", Kind::Rejected);
    }
    fails("ftp", &start[..1], "greeting", Kind::Rejected);
    fails("ftp", &[Peer(b"421 Too many users\r\n")], "greeting", Kind::Rejected);
}

#[test]
fn nntp() {
    let start = [Peer(b"201 news.example.org, no posting\r\n"), Us(b"STARTTLS\r\n")];
    passes("nntp", &ending(&start, 2, &[Peer(b"382 Continue with TLS negotiation\r\n"), Tls]));
    for reply in [&b"580 Can not initiate TLS\r\n"[..], b"502 no\r\n", b"500\r\n"] {
        fails("nntp", &ending(&start, 2, &[Peer(reply)]), "go-ahead", Kind::Rejected);
    }
    fails("nntp", &[Peer(b"400 not now\r\n")], "greeting", Kind::Rejected);
}

#[test]
fn sieve() {
    let capabilities =
        b"\"IMPLEMENTATION\" \"Example v1\"\r\n\"SASL\" \"\"\r\n\"STARTTLS\"\r\nOK \"ready\"\r\n";
    let start = [Peer(capabilities), Us(b"STARTTLS\r\n")];
    passes("sieve", &ending(&start, 2, &[Peer(b"OK \"Begin TLS negotiation now.\"\r\n"), Tls]));
    fails("sieve", &ending(&start, 2, &[Peer(b"NO \"not now\"\r\n")]), "go-ahead", Kind::Rejected);
    fails("sieve", &[Peer(b"\"SASL\" \"\"\r\nOK\r\n")], "greeting", Kind::Unmatched);
    fails("sieve", &[Peer(b"BYE \"too busy\"\r\n")], "greeting", Kind::Rejected);
}

#[test]
fn ldap() {
    const OID: &[u8] = b"1.3.6.1.4.1.1466.20037";
    let request = [&b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16"[..], OID].concat();
    let us = Us(&request);
    // OpenLDAP.
    let short = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
    passes("ldap", &[us, Peer(short), Tls]);
    // Active Directory: long lengths and the name of the response.
    let mut long =
        b"\x30\x84\0\0\0\x28\x02\x01\x01\x78\x84\0\0\0\x1f\x0a\x01\0\x04\0\x04\0\x8a\x16".to_vec();
    long.extend_from_slice(OID);
    passes("ldap", &[us, Peer(&long), Tls]);
    // The whole message is used, so that what is left over is an injection.
    long.push(0x30);
    let (report, _) = transcript("ldap", &[us, Peer(&long)], usize::MAX, 0);
    assert_eq!(report.failure.unwrap().kind, Kind::InjectedPlaintext);

    let unavailable = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00";
    fails("ldap", &[us, Peer(unavailable)], "go-ahead", Kind::Rejected);
    let notice = b"\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
    fails("ldap", &[us, Peer(notice)], "go-ahead", Kind::Rejected);
    fails(
        "ldap",
        &[us, Peer(b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(9).as_slice())],
        "go-ahead",
        Kind::Rejected,
    );
    fails("ldap", &[us, Peer(b"0\x80")], "go-ahead", Kind::BadFrame);
}

#[test]
fn postgres() {
    let us = Us(b"\x00\x00\x00\x08\x04\xd2\x16\x2f");
    passes("postgres", &[us, Peer(b"S"), Tls]);
    fails("postgres", &[us, Peer(b"N")], "go-ahead", Kind::Rejected);
    fails("postgres", &[us, Peer(b"E\x00\x00\x00\x20SFATAL\0")], "go-ahead", Kind::Rejected);
    // CVE-2021-23222: bytes behind the S are somebody else's.
    let (report, _) = transcript("postgres", &[us, Peer(b"SE\0")], usize::MAX, 0);
    assert_eq!(report.failure.unwrap().kind, Kind::InjectedPlaintext);
}

fn mysql_greeting(version: &str, flags: [u8; 2]) -> Vec<u8> {
    let mut payload = [&b"\x0a"[..], version.as_bytes(), b"\0"].concat();
    payload.extend_from_slice(&[7, 0, 0, 0]);
    payload.extend_from_slice(b"salt\nsal\0");
    payload.extend_from_slice(&flags);
    payload.extend_from_slice(&[0xff, 2, 0, 0xff, 0xdf, 21]);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(b"moresaltmore\0caching_sha2_password\0");
    let mut packet = vec![payload.len() as u8, 0, 0, 0];
    packet.extend_from_slice(&payload);
    packet
}

#[test]
fn mysql() {
    let mut request = b"\x20\0\0\x01\x01\x8a\x08\0\0\0\0\x01\x2d".to_vec();
    request.extend_from_slice(&[0; 23]);
    assert_eq!(request.len(), 36);
    let us = Us(&request);
    for flags in [[0xff, 0xff], [0x00, 0x08], [0x01, 0x3a]] {
        for version in ["8.0.36", "5.5.5-10.11.6-MariaDB-0+deb12u1", ""] {
            let greeting = mysql_greeting(version, flags);
            let report = passes("mysql", &[Peer(&greeting), us, Tls]);
            assert_eq!(report.labels["mysql_version"], version);
        }
    }
    for flags in [[0xff, 0xf7], [0x08, 0x00]] {
        let greeting = mysql_greeting("8.0.36", flags);
        fails("mysql", &[Peer(&greeting)], "greeting", Kind::Rejected);
    }
    let blocked = b"\x17\0\0\0\xff\x69\x04Host is blocked here";
    fails("mysql", &[Peer(blocked)], "greeting", Kind::Rejected);
}

#[test]
fn xmpp() {
    for (name, namespace) in [("xmpp-client", "jabber:client"), ("xmpp-server", "jabber:server")] {
        let open = format!(
            "<?xml version='1.0'?><stream:stream xmlns='{namespace}' \
             xmlns:stream='http://etherx.jabber.org/streams' to='mx.example.org' version='1.0'>"
        );
        let header = format!(
            "<?xml version='1.0'?>\n<stream:stream xmlns='{namespace}' id='1' version='1.0' \
             xmlns:stream='http://etherx.jabber.org/streams' from='mx.example.org'>"
        );
        let us = Us(open.as_bytes());
        let request = Us(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        let tls = "xmlns='urn:ietf:params:xml:ns:xmpp-tls'";
        let offer = |inner: &str| format!("{header}<stream:features>{inner}</stream:features>");
        let required = offer(&format!("<starttls {tls}>\n<required/></starttls><sasl/>"));
        let proceed = format!("<proceed {tls}/>");
        for features in [&required, &offer(&format!("<starttls {tls}/>")), &offer("<t:starttls/>")]
        {
            for proceed in [&*proceed, "<t:proceed xmlns:t=\"x\"></t:proceed>", "<proceed />"] {
                let turns = [us, Peer(features.as_bytes()), request, Peer(proceed.as_bytes()), Tls];
                passes(name, &turns);
            }
        }
        for features in [offer("<mechanisms/>"), format!("{header}<stream:features/>")] {
            fails(name, &[us, Peer(features.as_bytes())], "features", Kind::Rejected);
        }
        let error = format!("{header}<stream:error><host-unknown/></stream:error></stream:stream>");
        let failure = fails(name, &[us, Peer(error.as_bytes())], "features", Kind::Rejected);
        assert!(failure.evidence.unwrap().ends_with("<host-unknown/></stream:error>"));
        let refusal = format!("<failure {tls}/></stream:stream>");
        let turns = [us, Peer(required.as_bytes()), request, Peer(refusal.as_bytes())];
        let failure = fails(name, &turns, "go-ahead", Kind::Rejected);
        assert_eq!(failure.evidence, Some(format!("<failure {tls}/>")));
    }
}

#[test]
fn redis() {
    let us = Us(b"*1\r\n$4\r\nPING\r\n");
    passes("redis", &[us, Peer(b"+PONG\r\n")]);
    for reply in [&b"-NOAUTH Authentication required.\r\n"[..], b"-LOADING\r\n", b"+PONGS\r\n"] {
        fails("redis", &[us, Peer(reply)], "pong", Kind::Rejected);
    }
}

#[test]
fn ssh() {
    let report = passes("ssh", &[Peer(b"a notice\r\nSSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n")]);
    assert_eq!(report.labels["ssh_protocol"], "2.0");
    assert_eq!(report.labels["ssh_version"], "OpenSSH_9.2p1");
    assert_eq!(report.labels["ssh_comments"], "Debian-2+deb12u3");
    let report = passes("ssh", &[Peer(b"SSH-2.0-dropbear_2022-83\n")]);
    assert_eq!(report.labels["ssh_version"], "dropbear_2022-83");
    assert_eq!(report.labels["ssh_comments"], "");
}

#[test]
fn irc() {
    let us = Us(b"NICK netsonde\r\nUSER netsonde 0 * :netsonde\r\n");
    for answer in [
        &b":irc.example.org NOTICE * :*** Looking up\r\n:irc.example.org 001 netsonde :Welcome\r\n"
            [..],
        b"PING :1234\r\n",
        b":irc.example.org 433 * netsonde :Nickname is already in use\r\n",
    ] {
        passes("irc", &[us, Peer(answer)]);
    }
    for answer in [&b"ERROR :Closing Link\r\n"[..], b":x 465 netsonde :You are banned\r\n"] {
        fails("irc", &[us, Peer(answer)], "answer", Kind::Rejected);
    }
}

#[test]
fn the_list_is_sorted_and_every_script_compiles_and_round_trips() {
    let names = Dialogue::names().collect::<Vec<_>>();
    assert!(names.is_sorted());
    for dialogue in Dialogue::all() {
        let script = dialogue.script();
        let compiled = CompiledScript::new(&script, &ScriptLimits::default()).unwrap();
        assert_eq!(compiled.starttls_step().is_some(), dialogue.uses_starttls(), "{dialogue}");
        assert_eq!(script.uses_starttls(), dialogue.uses_starttls(), "{dialogue}");
        if dialogue.uses_starttls() {
            assert!(script.steps.last().unwrap().starttls, "{dialogue}");
        }
        let yaml = serde_saphyr::to_string(&script).unwrap();
        assert_eq!(serde_saphyr::from_str::<Script>(&yaml).unwrap(), script, "{yaml}");
        let json = serde_json::to_string(&script).unwrap();
        assert_eq!(serde_json::from_str::<Script>(&json).unwrap(), script);
    }
}
