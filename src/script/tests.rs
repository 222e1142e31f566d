use super::*;

fn yaml(text: &str) -> Result<Script, serde_saphyr::Error> {
    serde_saphyr::from_str(text)
}

#[test]
fn yaml_gives_the_same_structs_as_code() {
    let text = r#"
variables: {domain: '${host}'}
captures: latest
steps:
  - name: greeting
    expect: '^220 (.*)'
    reject: '^[45]'
    max_lines: 5
    labels: [{name: mta, value: '${1}'}]
  - {send: "EHLO ${domain}\r\n", expand: true, allow_line_breaks: true}
  - {expect: '250-X', until: '^250 '}
  - send_hex: '00 08 04d2'
  - {send_hex: "70", secret: true}
  - expect_bytes: 'S'
  - expect_hex: 'ff'
  - expect_raw: '(?s)x.*y'
  - {expect: a, frame: ber}
  - {expect: a, frame: {length: {offset: 1, size: 2, order: little, add: -3}}}
  - starttls: true
"#;
    let field = LengthField { offset: 1, size: 2, order: ByteOrder::Little, add: -3 };
    let code = Script {
        captures: CaptureScope::Latest,
        ..Script::new([
            Step::expect("^220 (.*)")
                .with_name("greeting")
                .with_reject("^[45]")
                .with_max_lines(5)
                .with_label("mta", "${1}"),
            Step::send_expanded("EHLO ${domain}\r\n").with_line_breaks(),
            Step::expect("250-X").with_until("^250 "),
            Step { send_hex: Some("00 08 04d2".into()), ..Step::default() },
            Step::send_hex("p").with_secret(),
            Step::expect_bytes("S"),
            Step::expect_hex([0xff]),
            Step::expect_raw("(?s)x.*y"),
            Step::expect("a").with_frame(Frame::Ber),
            Step::expect("a").with_frame(Frame::Length(field)),
            Step::starttls(),
        ])
        .with_variable("domain", "${host}")
    };
    assert_eq!(yaml(text).unwrap(), code);
    let mut open = code.clone();
    open.steps.retain(|step| !step.secret);
    assert_eq!(yaml(&serde_saphyr::to_string(&open).unwrap()).unwrap(), open);
    assert!(code.uses_starttls());
}

#[test]
fn unknown_keys_are_refused() {
    for text in [
        "step: []",
        "steps: [{expects: x}]",
        "steps: [{expect: x, labels: [{name: a, value: b, more: c}]}]",
        "steps: [{expect: x, frame: {length: {length: 3}}}]",
        "steps: [{expect: x, frame: xer}]",
        "captures: never",
    ] {
        assert!(yaml(text).is_err(), "{text}");
    }
    assert!(serde_saphyr::from_str::<ScriptLimits>("{lines: 3}").is_err());
    let limits = serde_saphyr::from_str::<ScriptLimits>("{line: 3}").unwrap();
    assert_eq!(limits, ScriptLimits { line: 3, ..ScriptLimits::default() });
}

#[test]
fn a_dialogue_is_serialised_as_its_name() {
    let smtp = Dialogue::by_name("smtp").unwrap();
    assert_eq!((smtp.name(), smtp.port(), smtp.to_string()), ("smtp", 25, "smtp".to_owned()));
    assert_eq!(serde_json::to_string(&smtp).unwrap(), "\"smtp\"");
    assert_eq!(serde_json::from_str::<Dialogue>("\"smtp\"").unwrap(), smtp);
    let error = serde_json::from_str::<Dialogue>("\"smpt\"").unwrap_err();
    assert!(error.to_string().contains("\"smpt\"; there are ftp, imap, "), "{error}");
    assert_ne!(Dialogue::by_name("lmtp"), Some(smtp));
}

#[test]
fn codes_are_those_of_the_serialised_form() {
    use ScriptFailureKind::*;
    for kind in [
        BadFrame,
        Eof,
        FrameTooLong,
        InjectedPlaintext,
        LineTooLong,
        Mismatch,
        RawTooLong,
        Rejected,
        SendTooLong,
        TooManyBytes,
        TooManyLines,
        Unmatched,
        UnsafeExpansion,
    ] {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.code());
    }
    assert_eq!(serde_json::to_value(StepKind::StartTls).unwrap(), "starttls");
}

#[test]
fn capture_finds_the_latest_value_of_a_name() {
    let step = |value: &str| StepRecord {
        index: 0,
        name: None,
        kind: StepKind::Expect,
        outcome: StepOutcome::Passed,
        started_ns: 0,
        ended_ns: None,
        sent_bytes: None,
        sent: None,
        lines: None,
        matched: None,
        captures: vec![Capture { index: 1, name: Some("a".into()), value: value.into() }],
        secret: false,
    };
    let report = ScriptReport { steps: vec![step("1"), step("2")], ..Default::default() };
    assert_eq!(report.capture("a"), Some("2"));
    assert_eq!(report.capture("b"), None);
}

#[test]
fn secret_steps_are_not_shown() {
    let every = "
      - {expect: canary, reject: canary, until: canary, secret: true}
      - {expect_bytes: canary, secret: true}
      - {expect_raw: canary, secret: true}
      - {send: canary, expand: true, secret: true}
      - {expect_hex: '0c0c0c', secret: true}
      - {send_hex: '0c0c0c', secret: true}
    ";
    let steps: Vec<Step> = serde_saphyr::from_str(every).unwrap();
    for step in &steps {
        let shown = format!("{step:?} {}", serde_json::to_string(step).unwrap());
        assert!(!shown.contains("canary") && !shown.contains("0c0c"), "{shown}");
        assert!(shown.contains("***") && shown.contains("secret: true"), "{shown}");
        let open = Step { secret: false, ..step.clone() };
        let shown = format!("{open:?}");
        assert!(shown.contains("canary") || shown.contains("0c0c"), "{shown}");
    }
}
