#![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

use proptest::prelude::*;

use super::*;
use crate::wire::dns::{DnsErrorKind, Header, NameRef, Opcode, Rcode, Section};

fn server() -> SocketAddr {
    "192.0.2.53:53".parse().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Lab {
    engine: QueryEngine,
    start: Instant,
    random: u64,
    sent: Vec<u8>,
}

impl Lab {
    fn new(change: impl FnOnce(&mut QuerySetup)) -> Self {
        let name = "www.example.org".parse().unwrap();
        let mut setup = QuerySetup::new(server(), name, RecordType::A, Class::IN);
        change(&mut setup);
        let start = Instant::now();
        let engine = QueryEngine::new(setup, start);
        let mut lab = Lab { engine, start, random: 0x1234_5678_9abc_def1, sent: Vec::new() };
        assert!(lab.send(0).is_some());
        lab
    }

    fn send(&mut self, at: u64) -> Option<Transmit> {
        let mut bytes = Vec::new();
        let random = &mut self.random;
        let mut next = || {
            *random = random.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *random
        };
        let sent = self.engine.poll_transmit(self.start + ms(at), &mut next, &mut bytes)?;
        self.sent = match sent.protocol {
            Protocol::Udp => bytes,
            Protocol::Stream => {
                let len = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
                assert_eq!(bytes.len(), len + 2);
                bytes.split_off(2)
            }
        };
        Some(sent)
    }

    /// The answer of an honest server.
    fn answer(&self) -> Vec<u8> {
        self.answer_with(|_| {})
    }

    /// The same with another header.
    fn answer_with(&self, change: impl FnOnce(&mut Header)) -> Vec<u8> {
        let query = Message::parse(&self.sent).unwrap();
        let mut bytes = Vec::new();
        let mut composer = Composer::new(&mut bytes, query.header().id, Flags(0x8180));
        let question = query.questions().next().unwrap();
        composer.question(question.name, question.rtype, question.class).unwrap();
        let data = [192, 0, 2, 1];
        let add =
            composer.record(Section::Answer, question.name, RecordType::A, Class::IN, 60, &data);
        add.unwrap();
        composer.finish();
        let mut header = Header::parse(&bytes).unwrap();
        change(&mut header);
        bytes[..12].copy_from_slice(&header.to_bytes());
        bytes
    }

    /// An answer with this question in place of ours.
    fn about(&self, name: NameRef<'_>, rtype: RecordType, class: Class) -> Vec<u8> {
        let id = Header::parse(&self.sent).unwrap().id;
        let mut bytes = Vec::new();
        let mut composer = Composer::new(&mut bytes, id, Flags(0x8180));
        composer.question(name, rtype, class).unwrap();
        composer.finish();
        bytes
    }

    fn receive(&mut self, bytes: &[u8], at: u64) -> Result<(), Mismatch> {
        let number = self.engine.attempts().len() - 1;
        self.engine.received(number, server(), bytes, self.start + ms(at))
    }

    /// It is passed over for this reason, and the answer behind it is believed.
    #[track_caller]
    fn passes_over(mut self, bytes: &[u8], why: Mismatch) -> Self {
        assert_eq!(self.receive(bytes, 1), Err(why));
        assert_eq!(self.engine.attempts()[0].mismatches.of(why), 1);
        assert_eq!(self.engine.outcome(), None);
        let answer = self.answer();
        assert_eq!(self.receive(&answer, 2), Ok(()));
        assert_eq!(self.engine.outcome(), Some(&Outcome::Answered { attempt: 0 }));
        self
    }

    fn times_out(&mut self, at: u64) -> Outcome {
        self.engine.handle_timeout(self.start + ms(at));
        self.engine.outcome().unwrap().clone()
    }
}

fn plain() -> Lab {
    Lab::new(|_| {})
}

#[test]
fn d1_a_genuine_answer_is_the_answer() {
    let mut lab = plain();
    let answer = lab.answer();
    lab.receive(&answer, 12).unwrap();
    assert!(lab.engine.is_done() && lab.engine.poll_timeout().is_none());
    let attempt = &lab.engine.attempts()[0];
    assert_eq!((attempt.sent_ns, attempt.end_ns), (0, Some(12_000_000)));
    assert_eq!(attempt.fate, AttemptFate::Answered { left_over: 0 });
    let message = lab.engine.answer().unwrap();
    assert_eq!(message.section(Section::Answer).count(), 1);
    let query = Message::parse(&lab.sent).unwrap();
    let edns = query.edns().unwrap().unwrap();
    assert!(query.header().flags.recursion_desired() && edns.udp_payload == 1232);
}

#[test]
fn d2_another_id_is_passed_over() {
    let lab = plain();
    let other = lab.answer_with(|header| header.id ^= 1);
    lab.passes_over(&other, Mismatch::Id);
}

#[test]
fn d4_d5_d6_another_address_or_port_is_passed_over_and_kept_as_a_hint() {
    for from in ["192.0.2.54:53", "192.0.2.53:54"] {
        let (mut lab, from) = (plain(), from.parse().unwrap());
        let answer = lab.answer();
        let passed = lab.engine.received(0, from, &answer, lab.start + ms(1));
        assert_eq!(passed, Err(Mismatch::WrongSource));
        assert_eq!(lab.times_out(2000), Outcome::TimedOut);
        assert_eq!(lab.engine.attempts()[0].other_source, Some(from));
    }
}

#[test]
fn d8_another_opcode_is_passed_over_and_so_is_a_query() {
    let lab = plain();
    let other = lab.answer_with(|header| header.flags = header.flags.with_opcode(Opcode::NOTIFY));
    lab.passes_over(&other, Mismatch::Opcode);
    let lab = plain();
    let other = lab.answer_with(|header| header.flags = header.flags.with_response(false));
    lab.passes_over(&other, Mismatch::NotResponse);
}

#[test]
fn d9_without_a_question_it_is_no_answer_and_what_went_wrong_at_the_deadline() {
    let mut lab = plain();
    let id = Header::parse(&lab.sent).unwrap().id;
    let bare = Header { id, flags: Flags(0x8180), ..Header::default() }.to_bytes();
    assert_eq!(lab.receive(&bare, 1), Err(Mismatch::Question));
    assert_eq!(lab.engine.outcome(), None);
    let why = Mismatch::Question;
    assert_eq!(lab.times_out(2000), Outcome::Unreadable { why, error: None });
    plain().passes_over(&bare, Mismatch::Question);
}

#[test]
fn d10_old_servers_leave_the_question_out_of_a_refusal() {
    for rcode in [Rcode::FORMERR, Rcode::NOTIMP, Rcode::REFUSED] {
        let mut lab = plain();
        let id = Header::parse(&lab.sent).unwrap().id;
        let flags = Flags(0x8180).with_rcode_low(u8::try_from(rcode.0).unwrap());
        let bare = Header { id, flags, ..Header::default() }.to_bytes();
        lab.receive(&bare, 1).unwrap();
        assert_eq!(lab.engine.answer().unwrap().rcode(None), rcode);
    }
}

#[test]
fn d12_d13_d14_d17_another_question_is_passed_over() {
    let name: DnsName = "www.example.org".parse().unwrap();
    let other: DnsName = "www.example.com".parse().unwrap();
    for (name, rtype, class) in [
        (&other, RecordType::A, Class::IN),
        (&name, RecordType::AAAA, Class::IN),
        (&name, RecordType::A, Class::CH),
    ] {
        let lab = plain();
        let bytes = lab.about(name.as_ref(), rtype, class);
        lab.passes_over(&bytes, Mismatch::Question);
    }
    // The same name with a pointer in it, to a name in front of it that cannot be there.
    let lab = plain();
    let mut bytes = lab.about(other.as_ref(), RecordType::A, Class::IN);
    bytes.splice(12..29, [0xc0, 2]);
    assert!(plain_receive(lab, &bytes).is_err());
}

fn plain_receive(mut lab: Lab, bytes: &[u8]) -> Result<(), Mismatch> {
    lab.receive(bytes, 1)
}

#[test]
fn d16_the_case_of_letters_counts_only_if_it_was_mixed() {
    let upper: DnsName = "WWW.EXAMPLE.ORG".parse().unwrap();
    let mut lab = plain();
    let bytes = lab.about(upper.as_ref(), RecordType::A, Class::IN);
    lab.receive(&bytes, 1).unwrap();

    let lab = Lab::new(|setup| setup.mixed_case = true);
    let shown = lab.engine.attempts()[0].name.to_string();
    assert!(shown != shown.to_lowercase() && shown != shown.to_uppercase(), "{shown}");
    let sent = Message::parse(&lab.sent).unwrap().questions().next().unwrap().name.to_string();
    assert_eq!(sent, shown);
    let bytes = lab.about(upper.as_ref(), RecordType::A, Class::IN);
    lab.passes_over(&bytes, Mismatch::Question);
}

#[test]
fn d18_d20_d21_noise_and_broken_messages_do_not_end_the_wait() {
    plain().passes_over(&[], Mismatch::Short);
    let noise: Vec<u8> =
        (0..512_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    plain().passes_over(&noise, Mismatch::Id);
    let lab = plain();
    let mut broken = lab.answer();
    broken.truncate(broken.len() - 1);
    lab.passes_over(&broken, Mismatch::Malformed);
}

#[test]
fn d22_a_broken_answer_and_nothing_else_is_told_at_the_deadline_with_its_octet() {
    let mut lab = plain();
    let mut broken = lab.answer();
    broken.truncate(broken.len() - 1);
    assert_eq!(lab.receive(&broken, 1), Err(Mismatch::Malformed));
    lab.engine.handle_timeout(lab.start + ms(1999));
    assert_eq!(lab.engine.outcome(), None);
    let Outcome::Unreadable { why: Mismatch::Malformed, error: Some(error) } = lab.times_out(2000)
    else {
        panic!("{:?}", lab.engine.outcome())
    };
    assert_eq!((error.kind, error.offset), (DnsErrorKind::Short, broken.len()));
}

#[test]
fn d24_d25_copies_are_counted_and_cost_nothing() {
    let mut lab = Lab::new(|setup| setup.listen = ms(100));
    let answer = lab.answer();
    lab.receive(&answer, 1).unwrap();
    for _ in 0..10_000 {
        assert_eq!(lab.receive(&answer, 2), Err(Mismatch::Duplicate));
    }
    let mut other = answer.clone();
    *other.last_mut().unwrap() = 66;
    for _ in 0..3 {
        assert_eq!(lab.receive(&other, 3), Err(Mismatch::Conflict));
    }
    let attempt = &lab.engine.attempts()[0];
    assert_eq!((attempt.duplicates, attempt.conflicts), (10_000, 3));
    assert_eq!((&attempt.message, &attempt.conflict), (&answer, &other));
    assert!(!lab.engine.is_done());
    assert_eq!(lab.engine.poll_timeout(), Some(lab.start + ms(101)));
    lab.engine.handle_timeout(lab.start + ms(101));
    assert!(lab.engine.is_done());
}

#[test]
fn d26_an_answer_after_the_timeout_is_late() {
    let mut lab = plain();
    let answer = lab.answer();
    assert_eq!(lab.times_out(2000), Outcome::TimedOut);
    assert_eq!(lab.receive(&answer, 2001), Err(Mismatch::Late));
    assert_eq!(lab.engine.attempts()[0].mismatches.of(Mismatch::Late), 1);
    assert_eq!(lab.engine.outcome(), Some(&Outcome::TimedOut));
}

#[test]
fn d28_d29_an_icmp_error_ends_an_attempt_unless_errors_are_only_noted() {
    let mut lab = plain();
    lab.engine.refused(0, lab.start + ms(1));
    assert_eq!(lab.engine.outcome(), Some(&Outcome::Refused { attempt: 0 }));
    assert_eq!(lab.engine.attempts()[0].end_ns, Some(1_000_000));

    let mut lab = Lab::new(|setup| setup.errors_end = false);
    lab.engine.refused(0, lab.start + ms(1));
    assert_eq!((lab.engine.outcome(), lab.engine.attempts()[0].errors), (None, 1));
    let answer = lab.answer();
    lab.receive(&answer, 2).unwrap();
    assert_eq!(lab.engine.outcome(), Some(&Outcome::Answered { attempt: 0 }));
}

#[test]
fn d149_what_fails_on_this_host_ends_an_attempt_even_where_errors_do_not() {
    let mut lab = Lab::new(|setup| setup.errors_end = false);
    lab.engine.failed(0, lab.start + ms(1));
    assert_eq!(lab.engine.outcome(), Some(&Outcome::Refused { attempt: 0 }));
    assert_eq!(lab.engine.attempts()[0].fate, AttemptFate::Refused);
}

#[test]
fn d112_a_datagram_that_was_longer_cannot_be_read() {
    let mut lab = plain();
    let bytes = lab.answer();
    let part = lab.engine.received_part(0, server(), &bytes, lab.start + ms(1));
    assert_eq!((part, lab.engine.outcome()), (Err(Mismatch::Malformed), None));
    let cut = lab.answer_with(|header| header.flags = header.flags.with_truncated(true));
    lab.engine.received_part(0, server(), &cut, lab.start + ms(2)).unwrap();
    assert_eq!(lab.engine.attempts()[0].fate, AttemptFate::Truncated {});
}

#[test]
fn d44_d45_d46_a_truncated_answer_is_an_attempt_and_tcp_another_and_there_is_no_loop() {
    let cut = |lab: &Lab| {
        let mut bytes = lab.answer_with(|header| header.flags = header.flags.with_truncated(true));
        // Its records are not looked at.
        bytes.truncate(bytes.len() - 3);
        bytes
    };
    let mut lab = plain();
    let truncated = cut(&lab);
    lab.receive(&truncated, 1).unwrap();
    assert_eq!(lab.engine.outcome(), None);
    let sent = lab.send(2).unwrap();
    assert_eq!((sent.attempt, sent.protocol), (1, Protocol::Stream));
    assert_ne!(lab.engine.attempts()[0].id, lab.engine.attempts()[1].id);
    let truncated = cut(&lab);
    lab.receive(&truncated, 3).unwrap();
    assert_eq!(lab.engine.outcome(), Some(&Outcome::Truncated { attempt: 1 }));
    assert!(lab.engine.is_done() && lab.send(4).is_none());

    let mut lab = Lab::new(|setup| setup.tcp_fallback = false);
    let truncated = cut(&lab);
    lab.receive(&truncated, 1).unwrap();
    assert_eq!(lab.engine.outcome(), Some(&Outcome::Truncated { attempt: 0 }));
}

#[test]
fn d53_octets_behind_the_last_record_are_counted_or_refused() {
    let mut lab = plain();
    let mut answer = lab.answer();
    answer.extend([0; 5]);
    lab.receive(&answer, 1).unwrap();
    assert_eq!(lab.engine.attempts()[0].fate, AttemptFate::Answered { left_over: 5 });

    let lab = Lab::new(|setup| setup.strict = true);
    let mut answer = lab.answer();
    answer.extend([0; 5]);
    lab.passes_over(&answer, Mismatch::LeftOver);
}

#[test]
fn d145_further_attempts_are_made_as_configured_and_each_is_its_own() {
    let mut lab = Lab::new(|setup| (setup.retries, setup.timeout) = (2, ms(100)));
    let first = lab.answer();
    for at in [100, 200] {
        lab.engine.handle_timeout(lab.start + ms(at));
        assert_eq!(lab.engine.outcome(), None);
        assert!(lab.send(at).is_some() && lab.send(at).is_none());
    }
    // What comes for an earlier one is late.
    assert_eq!(lab.engine.received(0, server(), &first, lab.start + ms(210)), Err(Mismatch::Late));
    let third = lab.answer();
    lab.receive(&third, 220).unwrap();
    assert_eq!(lab.engine.outcome(), Some(&Outcome::Answered { attempt: 2 }));
    let ids: std::collections::BTreeSet<_> =
        lab.engine.attempts().iter().map(|attempt| attempt.id).collect();
    assert_eq!(ids.len(), 3);
    let fates: Vec<_> = lab.engine.attempts().iter().map(|attempt| attempt.fate).collect();
    assert_eq!(fates[..2], [AttemptFate::TimedOut; 2]);
}

#[test]
fn ids_and_letters_are_uniform() {
    // Chi-square over the 16 values of each half-octet of the id, and over each letter's case.
    let (mut nibbles, mut upper) = ([[0_u32; 16]; 4], [0_u32; 13]);
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = || {
        // xorshift64* (Vigna, 2016).
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let rounds = 20_000;
    for _ in 0..rounds {
        let name = "www.example.org".parse().unwrap();
        let mut setup = QuerySetup::new(server(), name, RecordType::A, Class::IN);
        setup.mixed_case = true;
        let start = Instant::now();
        let mut engine = QueryEngine::new(setup, start);
        engine.poll_transmit(start, &mut random, &mut Vec::new()).unwrap();
        let attempt = &engine.attempts()[0];
        for (place, counts) in nibbles.iter_mut().enumerate() {
            counts[usize::from(attempt.id >> (4 * place) & 15)] += 1;
        }
        let shown = attempt.name.to_string();
        let letters = shown.chars().filter(char::is_ascii_alphabetic);
        for (letter, count) in letters.zip(&mut upper) {
            *count += u32::from(letter.is_ascii_uppercase());
        }
    }
    let chi = |counts: &[u32], expected: f64| -> f64 {
        counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
    };
    for counts in nibbles {
        // 15 degrees of freedom: above 44 once in ten thousand times. The bits are always the same.
        let value = chi(&counts, f64::from(rounds) / 16.0);
        assert!(value < 44.0, "{value}");
    }
    for count in upper {
        let value = chi(&[count, rounds - count], f64::from(rounds) / 2.0);
        assert!(value < 15.0, "{value}");
    }
}

proptest! {
    #[test]
    fn nothing_that_comes_in_can_break_it(
        messages in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..80), any::<bool>(), 0u64..3000), 0..20,
        ),
    ) {
        let mut lab = Lab::new(|setup| setup.retries = 1);
        for (mut bytes, ours, at) in messages {
            if ours && bytes.len() >= 12 {
                let id = lab.engine.attempts().last().unwrap().id;
                bytes[..2].copy_from_slice(&id.to_be_bytes());
                bytes[2] |= 0x80;
            }
            let _ = lab.receive(&bytes, at);
            lab.engine.handle_timeout(lab.start + ms(at));
            let _ = lab.send(at);
        }
        for _ in 0..5 {
            if let Some(due) = lab.engine.poll_timeout() {
                lab.engine.handle_timeout(due);
            }
            let _ = lab.send(60_000);
        }
        prop_assert!(lab.engine.is_done());
        prop_assert!(lab.engine.attempts().len() <= 4);
    }
}
