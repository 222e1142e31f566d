//! `sonde script`.

use netsonde::Report;
use netsonde_support::{Pki, Script, Server, TempDir, TlsServer};

use crate::{json, sonde};

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

const LOGIN: &str = r#"
variables: {user: nobody}
steps:
  - expect: '^220 (?P<name>\S+)'
    labels: [{name: server, value: '${name}'}]
  - send: "USER ${user}\r\n"
    expand: true
  - expect: '^331'
  - send: "PASS canary-4711\r\n"
    secret: true
  - expect: '^(?P<code>2\d+)'
    reject: '^5'
"#;

#[test]
fn a_script_from_a_file_is_spoken() {
    let folder = TempDir::new("tool");
    let login = file(&folder, "login.yml", LOGIN);
    let server = Server::tcp(
        Script::new()
            .send("220 demo\r\n")
            .read_line()
            .send("331 pass\r\n")
            .read_line()
            .send("230 in\r\n"),
    );
    let target = server.addr().to_string();
    let (run, result) = json(&["script", &login, &target, "--set", "user=somebody"]);
    run.ended(0);
    let Report::Tcp(report) = &result.report else { panic!("{result}") };
    assert_eq!(report.script.as_ref().unwrap().labels["server"], "demo");
    assert_eq!(server.connection(0).text(), "USER somebody\r\nPASS canary-4711\r\n");
    let run = sonde(&["script", &login, &target]).ended(0);
    assert!(run.out.contains("server = demo"), "{run:?}");
}

#[test]
fn secrets_are_never_printed() {
    let folder = TempDir::new("tool");
    let login = file(&folder, "login.yml", LOGIN);
    let server = Server::tcp(
        Script::new()
            .send("220 demo\r\n")
            .read_line()
            .send("331 pass\r\n")
            .read_line()
            .send("530 no\r\n"),
    );
    let target = server.addr().to_string();
    for format in ["text", "json", "jsonl", "prometheus"] {
        let run = sonde(&["script", &login, &target, "--format", format]).ended(1);
        assert!(!run.out.contains("canary") && !run.err.contains("canary"), "{format}: {run:?}");
    }
    assert!(server.connection(0).text().contains("canary"));
    let broken = file(&folder, "broken.yml", &LOGIN.replace("secret: true", "secrt: true"));
    let run = sonde(&["script", &broken, &target]).ended(2);
    assert!(run.err.contains("secrt") && !run.err.contains("canary"), "{run:?}");
}

#[test]
fn a_ready_dialogue_goes_by_its_name() {
    let server = Server::tcp(Script::new().send("SSH-2.0-demo_1.0 hi\r\n"));
    let run = sonde(&["script", "ssh", &server.addr().to_string()]).ended(0);
    assert!(run.out.contains("demo_1.0"), "{run:?}");
}

#[test]
fn errors_in_a_file_name_key_line_and_column() {
    let folder = TempDir::new("tool");
    for (text, wanted) in [
        ("steps:\n  - expct: '^220'\n", ":2:5: steps[0].expct: unknown field `expct`"),
        ("steps:\n  - send: x\n  - expect: '('\n", ":3:13: steps[1].expect: regex parse error"),
        ("steps:\n  - send: x\n    expect: y\n", ":2:5: steps[0]: a step does one thing"),
        ("variables: {'1': x}\nsteps: []\n", ": variables.1: "),
        ("steps: [", ":1:"),
    ] {
        let path = file(&folder, "bad.yml", text);
        let run = sonde(&["script", &path, "127.0.0.1:1"]).ended(2);
        assert!(run.err.starts_with(&format!("error: {path}{wanted}")), "{text}: {}", run.err);
        assert!(run.out.is_empty());
    }
    let run = sonde(&["script", "/nowhere/x.yml", "127.0.0.1:1"]).ended(2);
    assert!(run.err.contains("/nowhere/x.yml"), "{run:?}");
}

#[test]
fn tls_goes_where_it_is_asked_for() {
    let folder = TempDir::new("tool");
    let pki = Pki::new();
    pki.root.write_pem(folder.join("ca.pem"));
    let ca = folder.join("ca.pem").display().to_string();
    let settings = TlsServer::new(pki.leaf("127.0.0.1").issue());
    let server = Server::tcp(Script::new().start_tls(&settings).send("220 secure\r\n"));
    let greet = file(&folder, "greet.yml", "steps: [{expect: '^220 secure'}]");
    let target = server.addr().to_string();
    sonde(&["script", &greet, &target, "--tls", "--ca", &ca]).ended(0);
    let run = sonde(&["script", &greet, &target, "--ca", &ca]).ended(2);
    assert!(run.err.contains("--tls"), "{run:?}");
    let run = sonde(&["script", "smtp", &target, "--tls"]).ended(2);
    assert!(run.err.contains("--tls"), "{run:?}");
}
