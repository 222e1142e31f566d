//! STARTTLS in scripts, names, secrets, dropped probes (rows S108 to S124 of the fault list).

#![cfg(all(feature = "ring", feature = "webpki-roots", feature = "idna"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;
#[macro_use]
mod tls;

use std::time::Duration;

use netsonde::script::{Dialogue, Script as Steps, Step};
use netsonde::tcp::{TcpConfig, TcpProber, TcpReport};
use netsonde::tls::{ClientCertificate, KeySource, PemSource, TlsConfig, Trust};
use netsonde::{FailureKind as K, Phase, ProbeResult, Prober, Side};
use netsonde_support::{Leaks, Pki, Script, Server, TempDir, TlsServer, leaks};

use check::{checked, code, script_of, stuck, within_ms};
use tls::*;

/// Runs a ready dialogue against a server with this script.
async fn talk(dialogue: &str, config: &TlsConfig, server: &Server) -> ProbeResult<TcpReport> {
    talk_for(2_000, dialogue, config, server).await
}

async fn talk_for(
    ms: u64,
    dialogue: &str,
    config: &TlsConfig,
    server: &Server,
) -> ProbeResult<TcpReport> {
    let (dialogue, tls) = (Dialogue::by_name(dialogue), Some(config.clone()));
    let config = TcpConfig { tls, dialogue, ..TcpConfig::default() };
    checked(&prober_to(server.addr(), config), &within_ms(ms), target(NAME)).await
}

#[track_caller]
fn assert_refused(result: &ProbeResult<TcpReport>) {
    let failure = result.outcome.failure().unwrap_or_else(|| panic!("no failure\n{result}"));
    assert_eq!((failure.kind, failure.phase), (K::StarttlsRefused, Some(Phase::Script)));
    assert_eq!(failure.side, Side::Expectation);
    assert!(failure.step.is_some() && result.report.tls.is_none(), "{result}");
}

/// A MySQL greeting (Protocol::HandshakeV10) with these lower capability flags.
fn mysql_greeting(capabilities: u16) -> Vec<u8> {
    let [low, high] = capabilities.to_le_bytes();
    let payload = [b"\x0a8.0.36\0\x01\0\0\0saltsalt\0", &[low, high, 45, 2, 0][..]].concat();
    [&[payload.len() as u8, 0, 0, 0][..], &payload].concat()
}

/// An LDAP ExtendedResponse with this result code.
fn ldap_response(code: u8) -> Vec<u8> {
    vec![0x30, 0x0c, 2, 1, 1, 0x78, 7, 0x0a, 1, code, 4, 0, 4, 0]
}

const XMPP_OPEN: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>";
const XMPP_STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const XMPP_PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

/// For each dialogue: a server that does not start TLS, and the plain part of one that does.
fn servers() -> Vec<(&'static str, Script, Script)> {
    let new = Script::new;
    let line = |greeting: &str, answer: &str| new().send(greeting).read_line().send(answer);
    let xmpp = |features: String| {
        let features = format!("{XMPP_OPEN}<stream:features>{features}</stream:features>");
        new().read_until(">").read_until(">").send(features)
    };
    let offered = format!("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{}", "<x/>");
    let proceeding = || xmpp(offered.clone()).read(XMPP_STARTTLS.len()).send(XMPP_PROCEED);
    vec![
        ("smtp", line("220 m\r\n", "250-m\r\n250 SIZE\r\n"), smtp_until_starttls()),
        ("lmtp", line("220 m\r\n", "250 m\r\n"), smtp_until_starttls()),
        (
            "imap",
            line("* OK hi\r\n", "a1 NO not now\r\n"),
            line("* OK hi\r\n", "* CAPABILITY IMAP4rev1\r\na1 OK go\r\n"),
        ),
        ("pop3", line("+OK hi\r\n", "-ERR what\r\n"), line("+OK hi\r\n", "+OK go\r\n")),
        ("ftp", line("220 hi\r\n", "534 no\r\n"), line("220-hi\r\n220 hi\r\n", "234 go\r\n")),
        ("nntp", line("200 hi\r\n", "580 no\r\n"), line("201 hi\r\n", "382 go\r\n")),
        (
            "sieve",
            new().send("\"IMPLEMENTATION\" \"x\"\r\nOK\r\n"),
            line("\"STARTTLS\"\r\nOK\r\n", "OK \"go\"\r\n"),
        ),
        ("ldap", new().read(31).send(ldap_response(2)), new().read(31).send(ldap_response(0))),
        ("postgres", new().read(8).send("N"), new().read(8).send("S")),
        ("mysql", new().send(mysql_greeting(0xf7ff)), {
            new().send(mysql_greeting(0xffff)).read(36)
        }),
        ("xmpp-client", xmpp(String::new()), proceeding()),
        ("xmpp-server", xmpp("<bidi/>".to_owned()), proceeding()),
    ]
}

#[tokio::test]
async fn s108_not_offered() {
    let mut dialogues = Dialogue::all().filter(|one| one.uses_starttls()).map(Dialogue::name);
    assert!(dialogues.all(|name| servers().iter().any(|(known, ..)| *known == name)));
    for (dialogue, refusing, _) in servers() {
        let server = Server::tcp(refusing.hang());
        let result = talk(dialogue, &TlsConfig::default(), &server).await;
        assert_refused(&result);
        assert_eq!(server.connection(0).hello, None, "{dialogue}");
    }
}

/// The counterpart: the same dialogues where TLS starts, and the script goes on behind it.
#[tokio::test]
async fn s108_offered() {
    let (pki, tls) = good();
    for (dialogue, _, accepting) in servers() {
        let behind = Script::new().start_tls(&tls).expect("hello\n").send("bye\n");
        let server = Server::tcp(accepting.then(&behind));
        let script = Steps::new([Step::send("hello\n"), Step::expect("^bye$")]);
        let config = TcpConfig {
            tls: Some(trusting(&pki.root)),
            dialogue: Dialogue::by_name(dialogue),
            script,
            ..TcpConfig::default()
        };
        let prober = prober_to(server.addr(), config);
        let result = checked(&prober, &within_ms(5_000), target(NAME)).await;
        assert!(result.verdict.is_pass(), "{dialogue}: {result}");
        assert_eq!(tls_of(&result).sni.as_deref(), Some(NAME));
        let phases: Vec<Phase> = result.timing.spans.iter().map(|span| span.phase).collect();
        let expected =
            [Phase::Connect, Phase::Script, Phase::Tls, Phase::Script, Phase::Close].to_vec();
        assert_eq!(phases, expected, "{dialogue}");
    }
}

#[tokio::test]
async fn s109_injected_plaintext() {
    for extra in ["EHLO evil\r\n", "x", "\r\n", "\x16\x03\x03"] {
        let injecting = format!("220 go ahead\r\n{extra}");
        let server = Server::tcp(
            Script::new()
                .send("220 mail.test ESMTP\r\n")
                .read_line()
                .send("250 STARTTLS\r\n")
                .read_line()
                .send(injecting)
                .hang(),
        );
        let result = talk("smtp", &TlsConfig::default(), &server).await;
        assert_eq!(stuck(&result), ("injected_plaintext", Some(Phase::Script), Some(5)));
        assert_eq!(result.report.tls, None);
        // Nothing was said after it.
        server.closed(0, Duration::from_secs(1)).await;
        assert!(server.connection(0).text().ends_with("STARTTLS\r\n"));
    }
}

/// In a segment of its own the text meets the handshake.
#[tokio::test]
async fn s109_plaintext_behind_the_go_ahead() {
    let pause = Duration::from_millis(30);
    let server = Server::tcp(smtp_until_starttls().pause(pause).send("250 evil\r\n").hang());
    let result = talk("smtp", &TlsConfig::default(), &server).await;
    assert_failed(&result, K::TlsNotTls);
}

#[tokio::test]
async fn s110_go_ahead_then_silence() {
    let server = Server::tcp(smtp_until_starttls().hang());
    let result = talk_for(200, "smtp", &TlsConfig::default(), &server).await;
    assert_failed(&result, K::Timeout);
    assert!(tls_of(&result).client_hello_bytes > 100);
    assert_eq!(script_of(&result).steps.len(), 6);
}

#[tokio::test]
async fn s112_go_ahead_one_byte_per_segment() {
    let (pki, tls) = good();
    let pause = Duration::from_millis(1);
    for (greeting, answer, go_ahead, dialogue) in [
        ("220 m\r\n", "250-m\r\n250-STARTTLS\r\n250 SIZE\r\n", "220-go\r\n220 go\r\n", "smtp"),
        ("* OK m\r\n", "", "* a remark\r\na1 OK go\r\n", "imap"),
        ("+OK m\r\n", "", "+OK go\r\n", "pop3"),
    ] {
        let mut script = Script::new().send_each(greeting, pause).read_line();
        if !answer.is_empty() {
            script = script.send_each(answer, pause).read_line();
        }
        let server = Server::tcp(script.send_each(go_ahead, pause).start_tls(&tls).hang());
        assert_passed(&talk(dialogue, &trusting(&pki.root), &server).await);
    }
}

#[tokio::test]
async fn s113_imap_greets_preauth() {
    let (_, tls) = good();
    let server = Server::tcp(
        Script::new()
            .send("* PREAUTH welcome back\r\n")
            .read_line()
            .send("a1 OK go\r\n")
            .start_tls(&tls),
    );
    let result = talk("imap", &TlsConfig::default(), &server).await;
    assert_refused(&result);
    assert_eq!(stuck(&result).2, Some(0));
    server.closed(0, Duration::from_secs(1)).await;
    assert_eq!(server.connection(0).text(), "");
}

#[tokio::test]
async fn s114_ehlo_reply_without_end() {
    let server =
        Server::tcp(Script::new().send("220 m\r\n").read_line().send_forever("250-MORE\r\n"));
    let result = talk("smtp", &TlsConfig::default(), &server).await;
    assert_eq!(stuck(&result), ("limit_lines", Some(Phase::Script), Some(2)));
    let limit = result.outcome.failure().unwrap().limit.unwrap();
    assert_eq!((limit.cap, limit.seen), (256, 257));
    assert!(script_of(&result).bytes_received < 100_000);
}

#[test]
fn s116_starttls_twice() {
    let smtp = Dialogue::by_name("smtp");
    let twice = Steps::new([Step::starttls(), Step::send("x"), Step::starttls()]);
    let after_dialogue = Steps::new([Step::starttls()]);
    for (dialogue, script) in [(None, twice), (smtp, after_dialogue)] {
        let config = TcpConfig { dialogue, script, ..TcpConfig::default() };
        let error = TcpProber::new(config).unwrap_err().to_string();
        assert!(error.starts_with("script"), "{error}");
        assert!(error.contains("starttls") && error.contains("TLS"), "{error}");
    }
}

#[tokio::test]
async fn s117_upgrade_refused_with_454() {
    for refusal in ["454 TLS not available\r\n", "454-TLS\r\n454 not available\r\n", "501 x\r\n"] {
        let server = Server::tcp(
            Script::new()
                .send("220 m\r\n")
                .read_line()
                .send("250 STARTTLS\r\n")
                .read_line()
                .send(refusal)
                .hang(),
        );
        let result = talk("smtp", &TlsConfig::default(), &server).await;
        assert_refused(&result);
        assert_eq!(stuck(&result).2, Some(4));
        assert!(result.to_string().contains(refusal.trim_end().split('\r').next().unwrap()));
    }
}

/// Every certificate row again, behind SMTP.
mod s118_certificate_faults_inside_starttls {
    use netsonde::FailureKind as K;
    use netsonde::tls::{CheckKind as C, OcspPolicy};
    use netsonde_support::pki::{CLIENT_AUTH, CertSpec, OcspSpec, SigAlg, Time, chains};
    use netsonde_support::{Authority, Key};

    use crate::tls::*;

    macro_rules! behind_smtp {
        ($($name:ident: $make:expr => $expected:expr;)*) => {
            $(#[tokio::test]
            async fn $name() {
                run_row($make, $expected, Way::StartTls).await;
            })*
        };
    }

    certificate_rows!(behind_smtp);
}

#[tokio::test]
async fn s120_name_for_verification_overridden() {
    let pki = Pki::new();
    let leaf = pki.leaf("b.test").ip([192, 0, 2, 7]).issue();
    let server = silent(&TlsServer::new(leaf));
    let verify = |name: Option<&str>| TlsConfig {
        verify_name: name.map(str::to_owned),
        ..trusting(&pki.root)
    };
    for (asked, verified, passes) in [
        (NAME, Some("b.test"), true),
        (NAME, Some("192.0.2.7"), true),
        (NAME, Some("c.test"), false),
        (NAME, None, false),
        // Good for the target, not for the override: only that counts.
        ("b.test", Some(NAME), false),
        ("b.test", None, true),
        ("127.0.0.1", Some("b.test"), true),
        ("192.0.2.7", Some("192.0.2.8"), false),
        ("192.0.2.7", None, true),
    ] {
        let config = verify(verified);
        let result = shake_as(asked, server.addr(), &config).await;
        if passes {
            assert_passed(&result);
        } else {
            assert_failed(&result, K::TlsNameMismatch);
        }
        let against = verified.unwrap_or(asked);
        assert_eq!(tls_of(&result).verified_name.as_deref(), Some(against));
        // What is sent stays the target's.
        let sent = asked.ends_with(".test").then_some(asked);
        assert_eq!(tls_of(&result).sni.as_deref(), sent);
        let seen = server.connections().pop().unwrap().hello.unwrap();
        assert_eq!(seen.sni.as_deref(), sent);
    }
}

/// Redirects are HTTP's. What they stand on is here: a prober that has looked at one host takes
/// nothing of its name to the next, one after the other or at once.
#[tokio::test]
async fn s121_fresh_name_for_another_host() {
    let (pki, tls) = good();
    let tls = tls.named("b.test", pki.leaf("b.test").issue());
    let server = silent(&tls);
    let config = TcpConfig { tls: Some(trusting(&pki.root)), ..TcpConfig::default() };
    let prober = prober_to(server.addr(), config);
    let cx = within_ms(5_000);
    let probe = |name| checked(&prober, &cx, target(name));
    let (a, b, c) = tokio::join!(probe(NAME), probe("b.test"), probe("c.test"));
    let again = probe(NAME).await;
    for (name, result) in [(NAME, a), ("b.test", b), ("c.test", c), (NAME, again)] {
        let tls = tls_of(&result);
        assert_eq!((tls.sni.as_deref(), tls.verified_name.as_deref()), (Some(name), Some(name)));
        if name == "c.test" {
            assert_failed(&result, K::TlsNameMismatch);
            assert!(detail(&result).contains("asked for c.test; it is for a.test"), "{result}");
        } else {
            assert_passed(&result);
            assert_eq!(tls.leaf().unwrap().names.dns, [name]);
        }
    }
    assert!(server.connections().iter().filter_map(|one| one.tls.clone()).all(|tls| !tls.resumed));
}

/// Everything that shows something about a probe, in one text.
fn everything(config: &TcpConfig, prober: &TcpProber, result: &ProbeResult<TcpReport>) -> String {
    let json = serde_json::to_string(config).unwrap();
    let yaml = serde_saphyr::to_string(config).unwrap();
    let told = serde_json::to_string_pretty(result).unwrap();
    format!(
        "{config:?} {config:#?} {json} {yaml} {prober:?} {prober:#?} \
         {result} {result:#} {result:?} {result:#?} {told}"
    )
}

#[tokio::test]
async fn s122_no_key_no_password_no_session_secret_in_text() {
    const PASSWORD: &str = "correct-horse-battery";
    let (pki, tls) = good();
    let folder = TempDir::new("secrets");
    let client = pki.client("c.test").issue();
    let key = client.key.private_pem();
    let key_file = folder.join("client.key");
    client.key.write_pem(&key_file);
    let key_log = folder.join("keys.log");
    let mut secrets: Vec<String> = vec![PASSWORD.to_owned()];
    secrets.extend(key.lines().filter(|line| !line.contains("---")).map(str::to_owned));
    let mut texts = Vec::new();

    let tls = tls.require_client(&pki.root);
    let (from_text, from_file) = (KeySource::Pem(key.as_str().into()), KeySource::File(key_file));
    for (tls, key, answer, ends) in [
        (tls.clone().tls12(), from_text.clone(), "235 welcome\r\n", "pass"),
        (tls.clone().tls13(), from_text, "", "timeout"),
        (tls.clone().tls12(), from_file.clone(), "535 no\r\n", "script_rejected"),
        (tls.tls13(), from_file, "235 welcome\r\n", "pass"),
    ] {
        let behind = Script::new().start_tls(&tls).read_line().send(answer).hang();
        let server = Server::tcp(smtp_until_starttls().then(&behind));
        let login = Step::send(format!("AUTH PLAIN {PASSWORD}\r\n")).with_secret();
        let chain = PemSource::Pem(client.chain_pem());
        let mut config = TcpConfig {
            tls: Some(TlsConfig {
                client_certificate: Some(ClientCertificate { chain, key }),
                key_log: Some(key_log.clone()),
                keep_der: true,
                ..trusting(&pki.root)
            }),
            dialogue: Dialogue::by_name("smtp"),
            script: Steps::new([login, Step::expect("^235").with_reject("^5")]),
            ..TcpConfig::default()
        };
        config.dialing.connect_to = Some(server.addr().to_string().parse().unwrap());
        let prober = TcpProber::new(config.clone()).unwrap();
        let result = prober.probe_with(&within_ms(500), &target(NAME)).await;
        assert_eq!(code(&result).0, ends, "{result}");
        // The secret did what it is for.
        assert!(server.connection(0).text().contains(PASSWORD));
        texts.push(everything(&config, &prober, &result));
    }
    // Keys that cannot be used are not quoted either.
    for broken in [key.replace("PRIVATE", "PUBLIC"), key.replace("MIG", "MIH"), key.to_lowercase()]
    {
        let client = ClientCertificate {
            chain: PemSource::Pem(client.chain_pem()),
            key: KeySource::Pem(broken.as_str().into()),
        };
        let tls = TlsConfig { client_certificate: Some(client), ..trusting(&pki.root) };
        let config = TcpConfig { tls: Some(tls), ..TcpConfig::default() };
        let error = TcpProber::new(config.clone()).unwrap_err();
        let chain = std::error::Error::source(&error).map(ToString::to_string);
        texts.push(format!("{error} {error:?} {error:#?} {chain:?} {config:?}"));
        secrets.extend(broken.lines().filter(|line| !line.contains("---")).map(str::to_owned));
    }
    // A pattern that cannot be used is quoted, but for that of a secret step.
    let step = Step::expect(format!("({PASSWORD}")).with_secret();
    let config = TcpConfig { script: Steps::new([step]), ..TcpConfig::default() };
    let error = TcpProber::new(config.clone()).unwrap_err();
    texts.push(format!("{error} {error:?} {config:?} {}", serde_json::to_string(&config).unwrap()));

    let log = std::fs::read_to_string(&key_log).unwrap();
    let logged = log.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned());
    secrets.extend(logged);
    assert!(log.contains("CLIENT_RANDOM ") && log.contains("SERVER_TRAFFIC_SECRET_0 "), "{log}");
    assert!(secrets.len() > 15 && secrets.iter().all(|secret| secret.len() > 12));
    for text in &texts {
        for secret in &secrets {
            let bytes = format!("{:?}", secret.as_bytes());
            assert!(!text.contains(secret.as_str()), "{secret} in {text}");
            assert!(!text.contains(bytes.trim_matches(['[', ']'])), "{secret} as bytes in {text}");
        }
    }
    // The test looks in the right places: what is no secret is there.
    assert!(texts[0].contains("keys.log") && texts[0].contains("BEGIN CERTIFICATE"));
}

#[tokio::test]
async fn s124_future_dropped_in_mid_handshake() {
    if !check::in_own_process("s124_future_dropped_in_mid_handshake", "") {
        return;
    }
    const SOON: Duration = Duration::from_secs(2);
    let (pki, tls) = good();
    let server = silent(&tls);
    let mute = Server::tcp(Script::new().hang());
    let config = |trust| TcpConfig {
        tls: Some(TlsConfig { trust, ..TlsConfig::default() }),
        ..TcpConfig::default()
    };
    let prober = prober_to(server.addr(), config(Trust::Pem(pki.root.pem())));
    let stuck = prober_to(mute.addr(), config(Trust::WebPki));
    let (target, cx) = (target(NAME), within_ms(60_000));
    assert!(prober.probe_with(&cx, &target).await.verdict.is_pass());
    server.closed(0, SOON).await;
    let leaks = Leaks::baseline();

    // At each of its await points.
    for _ in 0..5 {
        let before = server.count();
        let probe = || prober.probe_with(&cx, &target);
        let polls = leaks::poll_each_await(probe, async |_| leaks.assert_back_to_base(SOON).await);
        assert!(polls.await > 1);
        for connection in before..server.count() {
            server.closed(connection, SOON).await;
        }
    }
    // While it waits for a server that says nothing: gone within moments, not at its deadline.
    for connection in 0..5 {
        let given_up =
            tokio::time::timeout(Duration::from_millis(30), stuck.probe_with(&cx, &target));
        assert!(given_up.await.is_err());
        mute.closed(connection, Duration::from_millis(500)).await;
        assert!(mute.connection(connection).received_count > 100);
        leaks.assert_back_to_base(SOON).await;
    }
}
