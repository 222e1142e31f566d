use proptest::prelude::*;

use super::*;

fn kinds(conf: &ResolvConf) -> Vec<(Option<usize>, ResolvWarningKind)> {
    conf.warnings.iter().map(|warning| (warning.line, warning.kind)).collect()
}

#[test]
fn servers_beyond_the_third_are_told() {
    let conf = ResolvConf::parse(
        "# one\n; two\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # note\n\
         nameserver fe80::1%eth0\nnameserver 192.0.2.4\nnameserver 300.1.1.1\nnameserver 192.0.2.1%eth0\n",
    );
    assert_eq!(conf.nameservers.len(), 3);
    assert_eq!(conf.nameservers[2].zone.as_deref(), Some("eth0"));
    use ResolvWarningKind::{Address, TooManyServers};
    assert_eq!(kinds(&conf), [(Some(6), TooManyServers), (Some(7), Address), (Some(8), Address)]);
}

#[test]
fn the_last_of_search_and_domain_wins() {
    let names = |conf: &ResolvConf| -> Vec<String> {
        conf.search.iter().flatten().map(ToString::to_string).collect()
    };
    let conf = ResolvConf::parse("search a.example b.example\ndomain c.example\n");
    assert_eq!(names(&conf), ["c.example."]);
    let mut conf = ResolvConf::parse("domain c.example extra\nsearch a.example b..example\n");
    assert_eq!(names(&conf), ["a.example."]);
    use ResolvWarningKind::{Name, Trailing};
    assert_eq!(kinds(&conf), [(Some(1), Trailing), (Some(2), Name)]);
    conf.apply_localdomain("d.example e.example");
    assert_eq!(names(&conf), ["d.example.", "e.example."]);
    let named = conf.search_or_domain_of("host.f.example");
    assert_eq!(named.len(), 2);
    let bare = ResolvConf::parse("");
    assert_eq!(bare.search_or_domain_of("host.f.example")[0].to_string(), "f.example.");
    assert!(bare.search_or_domain_of("host\n").is_empty());
    assert!(ResolvConf::parse("search\n").search_or_domain_of("h.x").is_empty());
}

#[test]
fn options_have_the_caps_of_glibc_and_are_never_cut_in_silence() {
    let conf = ResolvConf::parse("options ndots:16 timeout:31 attempts:0\n");
    assert_eq!((conf.options.ndots, conf.options.attempts), (15, 1));
    assert_eq!(conf.options.timeout, Duration::from_secs(30));
    assert_eq!(kinds(&conf), [(Some(1), ResolvWarningKind::Range); 3]);

    let mut conf = ResolvConf::parse(
        "options ndots:0 timeout:3 attempts:5 rotate edns0 trust-ad use-vc no-aaaa single-request\n\
         options ndots:x debug timeout: foo:1\n lookup file bind\nsortlist 192.0.2.0\nnameserver\n",
    );
    let o = &conf.options;
    assert_eq!((o.ndots, o.timeout.as_secs(), o.attempts), (0, 3, 5));
    assert!(o.rotate && o.edns0 && o.trust_ad && o.use_vc && o.no_aaaa && o.single_request);
    use ResolvWarningKind::{Keyword, Missing, Number, Option as Unknown, Unsupported};
    let wanted = [
        (Some(2), Number),
        (Some(2), Unknown),
        (Some(2), Number),
        (Some(2), Unknown),
        (Some(3), Keyword),
        (Some(4), Unsupported),
        (Some(5), Missing),
    ];
    assert_eq!(kinds(&conf), wanted);
    conf.apply_res_options("ndots:7 what");
    assert_eq!(conf.options.ndots, 7);
    assert_eq!(conf.warnings.last().unwrap().line, None);
}

proptest! {
    #[test]
    fn any_text_is_read_within_the_caps(text in "([a-z]{0,4}(nameserver|search|options|domain)? ?[ -~]{0,20}\n){0,8}") {
        let conf = ResolvConf::parse(&text);
        prop_assert!(conf.nameservers.len() <= MAX_NAMESERVERS);
        prop_assert!(conf.options.ndots <= 15 && (1..=5).contains(&conf.options.attempts));
        prop_assert!((1..=30).contains(&conf.options.timeout.as_secs()));
        let lines = text.lines().count();
        prop_assert!(conf.warnings.iter().all(|w| w.line.is_some_and(|line| (1..=lines).contains(&line))));
    }
}
