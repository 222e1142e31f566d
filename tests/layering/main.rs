//! The layers and the house rules, checked on the text of the tree: `wire` and `engine` know no
//! clock and no socket, only `io` names the runtime and the TLS library, `unsafe` stays in
//! `io/socket`, files stay short, and nothing is left half done.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod source;

use std::path::Path;

use source::Source;

/// A rule on which words may stand where.
struct Rule {
    name: &'static str,
    applies: fn(&Source) -> bool,
    /// Paths or identifiers, matched whole. A last `!` or `(` is part of the word.
    words: &'static [&'static str],
    /// Whether the rule holds in test code as well.
    in_tests: bool,
}

const SOCKETS: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "TcpSocket",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "ToSocketAddrs",
];

const RULES: &[Rule] = &[
    Rule {
        name: "wire and engine do no input and output",
        applies: |file| file.is_under("src/wire") || file.is_under("src/engine"),
        words: &[
            "tokio",
            "socket2",
            "rustls",
            "tokio_rustls",
            "webpki",
            "libc",
            "std::fs",
            "std::env",
            "std::thread",
            "std::process",
            "unsafe",
        ],
        in_tests: false,
    },
    Rule {
        name: "wire and engine open no sockets",
        applies: |file| file.is_under("src/wire") || file.is_under("src/engine"),
        words: SOCKETS,
        in_tests: true,
    },
    Rule {
        name: "wire and engine read no clock",
        applies: |file| file.is_under("src/wire") || file.is_under("src/engine"),
        words: &["Instant::now", "SystemTime::now", "elapsed("],
        in_tests: false,
    },
    Rule {
        name: "wire depends on no other layer",
        applies: |file| file.is_under("src/wire"),
        words: &["crate::engine", "crate::io", "crate::tcp"],
        in_tests: false,
    },
    Rule {
        name: "engine depends on wire alone",
        applies: |file| file.is_under("src/engine"),
        words: &["crate::io", "crate::tcp"],
        in_tests: false,
    },
    Rule {
        name: "only io names the runtime, sockets and the TLS library",
        applies: |file| file.is_under("src") && !file.is_under("src/io"),
        words: &["tokio", "socket2", "rustls", "tokio_rustls", "webpki", "libc"],
        in_tests: false,
    },
    Rule {
        name: "only io opens sockets",
        applies: |file| file.is_under("src") && !file.is_under("src/io"),
        words: SOCKETS,
        in_tests: false,
    },
    Rule {
        name: "only io/socket is unsafe",
        applies: |file| {
            (file.is_under("src") && !file.is_under("src/io/socket"))
                || file.is_under("examples")
                || file.is_under("fuzz")
        },
        words: &["unsafe"],
        in_tests: true,
    },
    Rule {
        name: "nothing is left half done",
        applies: |_| true,
        words: &["todo!", "unimplemented!", "#[ignore", "dbg!"],
        in_tests: true,
    },
];

/// The most lines of a source file, its test modules left out.
const LINES: usize = 800;

/// Every breach of the rules in one file, as `path:line: rule: what`.
fn breaches(file: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut report = |line: usize, rule: &str, what: &str| {
        found.push(format!("{}:{line}: {rule}: {what}", file.path));
    };
    for rule in RULES.iter().filter(|rule| (rule.applies)(file)) {
        for (number, line) in file.code(rule.in_tests) {
            for word in rule.words.iter().filter(|word| source::has_word(line, word)) {
                report(number, rule.name, word);
            }
        }
    }
    for (number, line) in file.code(true) {
        if let Some(name) = source::function_name(line).filter(|name| name.starts_with("get_")) {
            report(number, "accessors have no `get_`", name);
        }
    }
    for (number, line) in file.comments() {
        for word in [concat!("FIX", "ME"), concat!("X", "XX"), concat!("TO", "DO")] {
            if source::has_word(line, word) {
                report(number, "nothing is left half done", word);
            }
        }
    }
    let lines = file.lines_without_tests();
    if lines > LINES && !file.is_test() {
        report(lines, "files stay short", &format!("{lines} lines, {LINES} are the most"));
    }
    found
}

#[test]
fn the_tree_keeps_its_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = source::tree(root);
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "nothing was scanned");
    let found: Vec<String> = files.iter().flat_map(breaches).collect();
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

#[test]
fn documents_name_no_folder_of_one_machine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = source::documents(root);
    assert!(documents.iter().any(|(path, _)| path == "docs/failure-codes.md"));
    let found: Vec<String> = documents
        .iter()
        .flat_map(|(path, text)| {
            source::machine_paths(text).map(move |line| format!("{path}: {line}"))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The rules that a snippet at this path breaks.
fn broken(path: &str, text: &str) -> Vec<String> {
    breaches(&Source::new(path, text))
}

#[track_caller]
fn assert_breaks(path: &str, text: &str, rule: &str) {
    let found = broken(path, text);
    assert!(found.iter().any(|breach| breach.contains(rule)), "{path} {text:?}: {found:?}");
}

#[track_caller]
fn assert_keeps(path: &str, text: &str) {
    assert_eq!(broken(path, text), [""; 0], "{path} {text:?}");
}

#[test]
fn each_layer_rule_can_break() {
    let layers = [
        ("src/wire/dns/header.rs", "use tokio::net;", "do no input and output"),
        ("src/wire/icmp.rs", "let x = unsafe { y };", "do no input and output"),
        ("src/engine/echo.rs", "std::fs::read(path)", "do no input and output"),
        ("src/engine/script.rs", "use socket2::Socket;", "do no input and output"),
        ("src/engine/script.rs", "use std::net::TcpStream;", "open no sockets"),
        ("src/engine/script/run.rs", "let now = Instant::now();", "read no clock"),
        ("src/wire/ip.rs", "std::time::SystemTime :: now()", "read no clock"),
        ("src/engine/echo.rs", "sent.elapsed()", "read no clock"),
        ("src/wire/dns.rs", "use crate::engine::query;", "wire depends on no other layer"),
        ("src/engine/query.rs", "use crate::{io::Stream, wire};", "engine depends on wire alone"),
        ("src/tcp/prober.rs", "rustls::ClientConfig", "only io names"),
        ("src/clock.rs", "tokio::time::Instant::now()", "only io names"),
        ("src/policy.rs", "std::net::UdpSocket::bind(at)", "only io opens sockets"),
        ("src/io/resolve.rs", "unsafe { libc::getaddrinfo() }", "only io/socket is unsafe"),
        ("examples/sonde/src/main.rs", "unsafe fn f() {}", "only io/socket is unsafe"),
    ];
    for (path, text, rule) in layers {
        assert_breaks(path, text, rule);
    }
    assert_keeps("src/io/socket/sys.rs", "unsafe { libc::socket(a, b, c) }");
    assert_keeps("src/io/stream.rs", "use tokio::net::TcpStream;");
    assert_keeps("src/tcp/prober.rs", "crate::io::rustls_free(); let not_tokio = 1;");
}

#[test]
fn each_house_rule_can_break() {
    let path = "src/io/stream.rs";
    assert_breaks(path, "fn f() { todo!() }", "half done");
    assert_breaks("tests/tcp.rs", "fn f() { unimplemented!(\"later\") }", "half done");
    assert_breaks("tests/tcp.rs", "#[test]\n#[ignore = \"flaky\"]\nfn t() {}", "half done");
    assert_breaks(path, "// FI\u{58}ME: later", "half done");
    assert_breaks(path, "pub const fn get_port(&self) -> u16 { 1 }", "no `get_`");
    assert_breaks(path, &"let a = 1;\n".repeat(LINES + 1), "files stay short");
    assert_keeps(path, &"let a = 1;\n".repeat(LINES));
    assert_keeps(path, "fn getter() {} fn budget_left() {} // the get_ of others");
    let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"f();\n".repeat(LINES) + "}\n";
    assert_keeps(path, &tests);
    assert_breaks(path, &("f();\n".repeat(LINES) + &tests + "f();\n"), "files stay short");
}

#[test]
fn comments_strings_and_tests_do_not_break_rules() {
    let path = "src/engine/script.rs";
    assert_keeps(
        path,
        "//! As tokio does it.\n/// Not `Instant::now`.\n/* rustls /* unsafe */ tokio */",
    );
    assert_keeps(
        path,
        r##"let a = "tokio \" rustls"; let b = r#"unsafe " tokio"#; let c = b"libc";"##,
    );
    assert_keeps(path, "let quote = '\"'; let life: &'static str = x; let c = '\\''; // tokio");
    assert_keeps(
        path,
        "#[cfg(test)]\nmod tests {\n    use super::*;\n    fn t() { Instant::now(); }\n}\n",
    );
    assert_keeps("src/engine/script/tests.rs", "let now = Instant::now();");
    assert_breaks(
        path,
        "#[cfg(test)]\nmod tests {\n}\nfn f() { Instant::now(); }",
        "read no clock",
    );
    assert_breaks(path, "#[cfg(test)]\nmod tests;\nfn f() { Instant::now(); }", "read no clock");
    assert_breaks(path, "let a = '\"'; tokio::spawn(f); let b = '\"';", "no input and output");
    assert_breaks(path, "/* closed */ tokio::spawn(f)", "no input and output");
    assert_breaks(path, "let a = \"x\"; tokio::spawn(f); let b = \"y\";", "no input and output");
}

#[test]
fn machine_paths_are_found() {
    let found = |text: &str| source::machine_paths(text).count();
    let home = format!("see /{}/me/x", "home");
    let root = format!("`/{}/.cargo`", "root");
    assert_eq!(found(&home), 1);
    assert_eq!(found(&root), 1);
    assert_eq!(found("a/home/x, /etc/ssl/certs and https://example.com/home/"), 0);
}
