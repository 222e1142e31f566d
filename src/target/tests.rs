use proptest::prelude::*;

use super::*;

fn host(text: &str) -> Result<String, TargetError> {
    text.parse::<Host>().map(|host| host.to_string())
}

#[test]
fn addresses_in_every_spelling() {
    for text in
        ["127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x7f000001", "127.0.0.1."]
    {
        assert_eq!(host(text).as_deref(), Ok("127.0.0.1"), "{text}");
    }
    assert_eq!(host("017700000001").as_deref(), Ok("127.0.0.1"));
    assert_eq!(host("0").as_deref(), Ok("0.0.0.0"));
    assert_eq!(host("[::1]").as_deref(), Ok("::1"));
    assert_eq!(host("::FFFF:1.2.3.4").as_deref(), Ok("::ffff:1.2.3.4"));
    for text in [
        "256.1.1.1",
        "1.2.3.4.5",
        "1.2.3.256",
        "4294967296",
        "08.1.1.1",
        "1..1",
        "+1.1.1.1",
        "a.b.1",
    ] {
        assert_eq!(host(text), Err(TargetError::Address), "{text}");
    }
}

#[test]
fn names_are_checked() {
    assert_eq!(host("A.Example.").as_deref(), Ok("a.example."));
    assert_eq!(host(&format!("{}.x", "a".repeat(63))).as_deref().map(str::len), Ok(65));
    for text in ["", ".", "a..b", "-a.b", "a-.b", "a b", "a/b", "a\0b", "a@b"] {
        assert!(matches!(host(text), Err(TargetError::Name { .. })), "{text:?}");
    }
    let long = vec!["a"; 128].join(".");
    assert!(host(&format!("{}.x", "a".repeat(64))).is_err() && host(&long).is_err());
    assert!(host(&long[2..]).is_ok());
}

#[cfg(feature = "idna")]
#[test]
fn international_names_become_a_labels() {
    assert_eq!(host("BÜCHER.example").as_deref(), Ok("xn--bcher-kva.example"));
    assert_eq!(host("例え。テスト").as_deref(), Ok("xn--r8jz45g.xn--zckzah"));
    // Full-width digits turn into ASCII ones: what then looks like an address must be read as one.
    assert_eq!(host("１２７.０.０.１").as_deref(), Ok("127.0.0.1"));
    assert!(host("a\u{202e}b.example").is_err());
}

#[cfg(not(feature = "idna"))]
#[test]
fn international_names_need_the_feature() {
    assert_eq!(host("bücher.example"), Err(TargetError::IdnaFeature));
}

#[test]
fn zones_belong_to_ipv6() {
    assert_eq!(host("fe80::1%eth0").as_deref(), Ok("fe80::1%eth0"));
    for text in ["1.2.3.4%eth0", "fe80::1%", "name%eth0", "fe80::1%a b", "fe80::1%%"] {
        assert_eq!(host(text), Err(TargetError::Zone), "{text}");
    }
}

#[test]
fn t17_ports_zero_too_large_and_missing_are_refused() {
    let endpoint = |text: &str| text.parse::<Endpoint>().map(|e| e.to_string());
    assert_eq!(endpoint("a.example:1").as_deref(), Ok("a.example:1"));
    assert_eq!(endpoint("a.example:65535").as_deref(), Ok("a.example:65535"));
    for text in ["a:0", "a:65536", "a:", "a:+1", "a:1x", "[::1]:0"] {
        assert_eq!(endpoint(text), Err(TargetError::Port), "{text}");
    }
    for text in ["a", "::1", "[::1]", "::1:80", "2001:db8::1:443"] {
        assert_eq!(endpoint(text), Err(TargetError::PortMissing), "{text}");
    }
}

#[test]
fn targets_tell_their_forms_apart() {
    let target = |text: &str| text.parse::<Target>().unwrap();
    assert!(matches!(target("::1"), Target::Host(Host::V6 { .. })));
    assert!(matches!(target("[::1]"), Target::Host(Host::V6 { .. })));
    assert!(matches!(target("[::1]:80"), Target::Endpoint(_)));
    assert!(matches!(target("2001:db8::1:443"), Target::Host(_)));
    assert!(matches!(target("unix:@x"), Target::Unix(UnixAddress::Abstract(_))));
    assert!("unix:".parse::<Target>().is_err());
    assert!(format!("unix:/{}", "x".repeat(107)).parse::<Target>().is_err());
    assert!(format!("unix:/{}", "x".repeat(106)).parse::<Target>().is_ok());
}

#[test]
fn targets_are_text_in_json() {
    let target: Target = serde_json::from_str("\"LOCALHOST:25\"").unwrap();
    assert_eq!(serde_json::to_string(&target).unwrap(), "\"localhost:25\"");
    let error = serde_json::from_str::<Target>("\"a:0\"").unwrap_err().to_string();
    assert!(error.contains("`a:0`") && error.contains("port"), "{error}");
}

#[test]
fn scoped_socket_addresses_keep_their_zone() {
    let address = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 25, 0, 3);
    assert_eq!(Endpoint::from(std::net::SocketAddr::from(address)).to_string(), "[fe80::1%3]:25");
}

proptest! {
    #[test]
    fn what_parses_is_shown_in_a_form_that_parses_to_the_same(text in "\\PC{0,40}|[0-9a-fx.:%\\[\\]@]{0,24}|unix:.{0,8}") {
        if let Ok(target) = text.parse::<Target>() {
            prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
        }
    }

    #[test]
    fn addresses_round_trip(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), port in 1u16..) {
        for ip in [IpAddr::from(v4), IpAddr::from(v6)] {
            let endpoint = Endpoint::new(ip.into(), port);
            prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint.clone()));
            prop_assert_eq!(endpoint.to_string().parse::<std::net::SocketAddr>().ok(), Some((ip, port).into()));
        }
    }
}
