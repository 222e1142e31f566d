//! The certificate rows of the fault list: who serves what, and what is to come of it.

/// Hands every row to another macro: its name, a function that makes it, what is expected.
macro_rules! certificate_rows {
    ($with:ident) => { $with! {
        s1_valid_chain: |pki| Case::of(pki, pki.leaf(NAME)) => GOOD;
        s2_leaf_expired: |pki| Case::of(pki, pki.leaf(NAME).days(-30, -1))
            => bad(K::TlsExpired, C::Validity).at(0).saying("expired on 20");
        s4_intermediate_expired: |pki| {
            let old = pki.root.intermediate_spec("Old").days(-300, -1).authority();
            Case::of(pki, old.leaf(NAME))
        } => bad(K::TlsExpired, C::Validity).at(1).saying("expired on 20");
        s5_root_expired: |_| {
            let root = CertSpec::new().common_name("Old").ca(None).days(-300, -1).authority();
            Case::new(&root, root.leaf(NAME).issue())
        } => bad(K::TlsExpired, C::Validity).saying("the trusted root expired on 20");
        s6_wrong_host: |pki| {
            let names = (1..10).fold(pki.leaf("n0.test"), |spec, n| spec.dns(format!("n{n}.test")));
            Case::of(pki, names)
        } => bad(K::TlsNameMismatch, C::Name).at(0)
            .saying("asked for a.test; it is for n0.test, n1.test, n2.test, n3.test, n4.test, \
                n5.test, n6.test, n7.test, ...");
        s8_no_subject: |pki| Case::of(pki, pki.leaf(NAME).common_name("")) => GOOD;
        s9_wildcard_one_level: |pki| Case::of(pki, pki.leaf("*.a.test")).asked("x.a.test") => GOOD;
        s10_wildcard_two_levels: |pki| Case::of(pki, pki.leaf("*.a.test")).asked("x.y.a.test")
            => bad(K::TlsNameMismatch, C::Name).at(0);
        // Fixed: a wildcard needs two labels behind it, as browsers hold it for public suffixes.
        s12_wildcard_on_a_single_label: |pki| Case::of(pki, pki.leaf("*.test"))
            => bad(K::TlsNameMismatch, C::Name).at(0);
        s13_ip_target_with_ip_san: |pki| Case::of(pki, pki.leaf("127.0.0.1")).asked("127.0.0.1")
            => GOOD;
        s13_ipv6_target_with_ip_san: |pki| Case::of(pki, pki.leaf("2001:db8::1"))
            .asked("2001:db8::1") => GOOD;
        s14_ip_target_with_dns_san: |pki| {
            Case::of(pki, pki.leaf(NAME).no_names().dns("127.0.0.1")).asked("127.0.0.1")
        } => bad(K::TlsNameMismatch, C::Name).at(0);
        s16_punycode_name: |pki| Case::of(pki, pki.leaf("xn--bcher-kva.test")).asked("bücher.test")
            => GOOD;
        s17_san_with_embedded_nul: |pki| {
            Case::of(pki, pki.leaf(NAME).no_names().dns("a.test\0.evil.test"))
        } => bad(K::TlsNameMismatch, C::Name).at(0).saying("a.test\\x00.evil.test");
        s18_1000_sans: |pki| Case::new(&pki.root, chains::many_names(pki, NAME, 1000)) => GOOD;
        s20_self_signed: |pki| Case::of(pki, CertSpec::self_signed(NAME))
            => bad(K::TlsUnknownIssuer, C::Chain).saying("self-signed");
        s20_self_signed_authority: |pki| Case::of(pki, CertSpec::self_signed(NAME).ca(None))
            => bad(K::TlsUnknownIssuer, C::Chain).saying("self-signed");
        s21_unknown_root: |pki| Case::of(pki, Authority::root("Stranger").leaf(NAME))
            => bad(K::TlsUnknownIssuer, C::Chain);
        s22_intermediate_missing: |pki| {
            Case::new(&pki.root, pki.leaf(NAME).issue().with_chain([]))
        } => bad(K::TlsUnknownIssuer, C::Chain)
            .saying("no trusted certificate of: CN=Support Intermediate");
        s24_20_unrelated_certificates: |pki| {
            Case::new(&pki.root, chains::with_unrelated(pki, NAME, 20))
        } => GOOD.within_ms(100);
        s25_chain_depth_10: |_| {
            let (root, leaf) = chains::deep(NAME, 10);
            Case::new(&root, leaf)
        } => bad(K::TlsDepth, C::Chain);
        s26_ring_of_cross_signs: |pki| Case::new(&pki.root, chains::cross_sign_ring(NAME, 7))
            => bad(K::TlsBudget, C::Chain).within_ms(100);
        s26_ring_with_false_ways_up: |pki| Case::new(&pki.root, ring_with_false_ways_up(pki, 6))
            => bad(K::TlsBudget, C::Chain).within_ms(100);
        s28_name_constraint_grid: |_| {
            let (root, leaf) = chains::constraint_grid(NAME, 2048, 2048);
            Case::new(&root, leaf)
        } => bad(K::TlsBudget, C::Chain).within_ms(1_000);
        s29_name_constraint_violated: |pki| {
            let narrow = pki.root.intermediate_spec("N").name_constraints(&["b.test"], &[]);
            Case::of(pki, narrow.authority().leaf(NAME))
        } => bad(K::TlsNameConstraint, C::Chain);
        s29_name_excluded: |pki| {
            let narrow = pki.root.intermediate_spec("N").name_constraints(&[], &["test"]);
            Case::of(pki, narrow.authority().leaf(NAME))
        } => bad(K::TlsNameConstraint, C::Chain);
        s30_client_auth_only: |pki| Case::of(pki, pki.leaf(NAME).usages(&[CLIENT_AUTH]))
            => bad(K::TlsUsage, C::Usage).at(0).saying("only for: clientAuth");
        s32_leaf_used_as_issuer: |pki| {
            Case::of(pki, pki.leaf("b.test").issue().as_authority().leaf(NAME))
        } => bad(K::TlsNotCa, C::Chain).at(1);
        s33_path_length_exceeded: |pki| {
            let shallow = pki.root.intermediate_spec("Shallow").ca(Some(0)).authority();
            Case::of(pki, shallow.intermediate("Below").leaf(NAME))
        } => bad(K::TlsPathLength, C::Chain).at(2);
        s34_sha1_signature: |_| {
            let root = CertSpec::new().common_name("R").ca(None).key(Key::rsa(2048)).authority();
            Case::new(&root, root.leaf(NAME).algorithm(SigAlg::RsaSha1).issue())
        } => bad(K::TlsSignatureAlgorithm, C::Signature);
        s34_sha1_signature_ecdsa: |pki| Case::of(pki, pki.leaf(NAME).algorithm(SigAlg::EcdsaSha1))
            => bad(K::TlsSignatureAlgorithm, C::Signature);
        s36_rsa_512: |pki| Case::of(pki, pki.leaf(NAME).key(Key::rsa(512)))
            => bad(K::TlsWeakKey, C::HandshakeSignature).at(0);
        s36_rsa_512_issuer: |pki| {
            let weak = pki.root.intermediate_spec("Weak").key(Key::rsa(512)).authority();
            Case::of(pki, weak.leaf(NAME))
        } => bad(K::TlsWeakKey, C::Signature).at(1).saying("RSA of 512 bits");
        // Fixed: 1,024 bits are too few (the library takes 2,048 to 8,192).
        s37_rsa_1024: |pki| Case::of(pki, pki.leaf(NAME).key(Key::rsa(1024)))
            => bad(K::TlsWeakKey, C::HandshakeSignature).at(0);
        s37_rsa_1024_issuer: |pki| {
            let weak = pki.root.intermediate_spec("Weak").key(Key::rsa(1024)).authority();
            Case::of(pki, weak.leaf(NAME))
        } => bad(K::TlsWeakKey, C::Signature).at(1).saying("RSA of 1024 bits");
        s38_rsa_8192: |pki| Case::of(pki, pki.leaf(NAME).key(Key::rsa(8192))) => GOOD;
        s40_rsa_exponent_1: |pki| Case::of(pki, pki.leaf(NAME).key(Key::rsa_exponent_one()))
            => bad(K::TlsWeakKey, C::HandshakeSignature).at(0);
        s40_rsa_exponent_1_issuer: |pki| {
            let weak = pki.root.intermediate_spec("Weak").key(Key::rsa_exponent_one()).authority();
            Case::of(pki, weak.leaf(NAME))
        } => bad(K::TlsWeakKey, C::Signature).at(1);
        // Fixed: Ed25519 is fine. P-521 is not for ring; the real server that never comes to show it
        // is `s41_p521_of_openssl`. Here the server shows it and signs with something else.
        s41_ed25519: |pki| Case::of(pki, pki.leaf(NAME).key(Key::ed25519())) => GOOD;
        s41_p521: |pki| Case::of(pki, pki.leaf(NAME).key(Key::p521()))
            => bad(K::TlsUnsupportedKey, C::HandshakeSignature).at(0);
        // As with P-521; `s42_secp256k1_of_openssl` is the real server.
        s42_secp256k1: |pki| Case::of(pki, pki.leaf(NAME).key(Key::secp256k1()))
            => bad(K::TlsUnsupportedKey, C::HandshakeSignature).at(0);
        s44_signature_bit_flipped: |pki| Case::of(pki, pki.leaf(NAME).flip_signature_bit())
            => bad(K::TlsBadSignature, C::Signature);
        s45_der_cut_short: |pki| Case::of(pki, pki.leaf(NAME).cut_short(3))
            => bad(K::TlsCertificateEncoding, C::Chain).at(0);
        s46_der_with_trailing_bytes: |pki| Case::of(pki, pki.leaf(NAME).append([0]))
            => bad(K::TlsCertificateEncoding, C::Chain).at(0);
        s48_year_9999: |pki| {
            let end = Time::generalized("99991231235959Z");
            Case::of(pki, pki.leaf(NAME).validity(Time::days(-1), end))
        } => GOOD;
        s48_31_february: |pki| {
            let end = Time::utc("300231000000Z");
            Case::of(pki, pki.leaf(NAME).validity(Time::days(-1), end))
        } => bad(K::TlsCertificateEncoding, C::Chain).at(0).saying("notAfter");
        s48_until_1950: |pki| {
            let (start, end) = (Time::generalized("19400101000000Z"), Time::utc("500101000000Z"));
            Case::of(pki, pki.leaf(NAME).validity(start, end))
        } => bad(K::TlsCertificateEncoding, C::Chain);
        s49_unknown_critical_extension: |pki| {
            Case::of(pki, pki.leaf(NAME).extension("1.2.3.4", true, [5, 0]))
        } => bad(K::TlsCriticalExtension, C::Chain).at(0).saying("1.2.3.4");
        s52_revoked: |pki| {
            let leaf = pki.leaf(NAME).issue();
            let lists = [pki.intermediate.crl().revoke(&leaf).der(), pki.root.crl().der()];
            Case::new(&pki.root, leaf).crls(&lists)
        } => bad(K::TlsRevoked, C::Revocation);
        s52_not_revoked: |pki| Case::of(pki, pki.leaf(NAME))
            .crls(&[pki.intermediate.crl().revoke_serial([7]).der(), pki.root.crl().der()]) => GOOD;
        s53_crl_expired: |pki| Case::of(pki, pki.leaf(NAME))
            .crls(&[pki.intermediate.crl().days(-9, -1).der(), pki.root.crl().der()])
            => bad(K::TlsCrl, C::Revocation).saying("outdated since 20");
        s53_crl_expired_and_allowed: |pki| Case::of(pki, pki.leaf(NAME))
            .crls(&[pki.intermediate.crl().days(-9, -1).der(), pki.root.crl().der()])
            .with(|config| config.crl_policy.allow_expired = true) => GOOD;
        s53_crl_missing: |pki| Case::of(pki, pki.leaf(NAME)).crls(&[pki.intermediate.crl().der()])
            => bad(K::TlsCrl, C::Revocation);
        s53_crl_missing_and_allowed: |pki| Case::of(pki, pki.leaf(NAME))
            .crls(&[pki.intermediate.crl().der()])
            .with(|config| config.crl_policy.allow_missing = true) => GOOD;
        s53_crl_missing_above_the_leaf: |pki| Case::of(pki, pki.leaf(NAME))
            .crls(&[pki.intermediate.crl().der()])
            .with(|config| config.crl_policy.leaf_only = true) => GOOD;
        s54_staple_good: |pki| {
            let leaf = pki.leaf(NAME).issue();
            let response = pki.intermediate.ocsp(&leaf).der();
            Case::new(&pki.root, leaf).staple(response)
                .with(|config| config.ocsp = OcspPolicy::Fail)
        } => GOOD;
        s54_staple_garbage: |pki| Case::of(pki, pki.leaf(NAME)).staple("garbage")
            => GOOD.at(0).reporting(K::TlsOcsp);
        s54_staple_garbage_and_refused: |pki| Case::of(pki, pki.leaf(NAME)).staple("garbage")
            .with(|config| config.ocsp = OcspPolicy::Fail) => bad(K::TlsOcsp, C::Ocsp).at(0);
        s54_staple_expired: |pki| {
            let leaf = pki.leaf(NAME).issue();
            let response = pki.intermediate.ocsp(&leaf).days(-9, -2).der();
            Case::new(&pki.root, leaf).staple(response)
        } => GOOD.at(0).reporting(K::TlsOcsp).saying("outdated");
        s54_staple_expired_and_refused: |pki| {
            let leaf = pki.leaf(NAME).issue();
            let response = pki.intermediate.ocsp(&leaf).days(-9, -2).der();
            Case::new(&pki.root, leaf).staple(response)
                .with(|config| config.ocsp = OcspPolicy::Fail)
        } => bad(K::TlsOcsp, C::Ocsp).at(0).saying("outdated");
        s54_staple_says_revoked: |pki| {
            let leaf = pki.leaf(NAME).issue();
            let response = pki.intermediate.ocsp(&leaf).revoked().der();
            Case::new(&pki.root, leaf).staple(response)
        } => GOOD.at(0).reporting(K::TlsRevoked).saying("revoked on 20");
        s54_staple_says_revoked_and_refused: |pki| {
            let leaf = pki.leaf(NAME).issue();
            let response = pki.intermediate.ocsp(&leaf).revoked().der();
            Case::new(&pki.root, leaf).staple(response)
                .with(|config| config.ocsp = OcspPolicy::Fail)
        } => bad(K::TlsRevoked, C::Ocsp).at(0).saying("revoked on 20");
        s54_staple_of_a_stranger: |pki| {
            let leaf = pki.leaf(NAME).issue();
            let response = pki.intermediate.ocsp(&leaf).signed_by(&Key::p256()).der();
            Case::new(&pki.root, leaf).staple(response)
        } => GOOD.at(0).reporting(K::TlsOcsp).saying("wrongly signed");
        s54_staple_that_says_try_later: |pki| {
            Case::of(pki, pki.leaf(NAME)).staple(OcspSpec::error(3))
        } => GOOD.at(0).reporting(K::TlsOcsp).saying("try later");
    } };
}
