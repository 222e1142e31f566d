//! Reading a message allocates nothing: header, questions, names, records of every type with their fields,
//! EDNS and its options.
#![cfg(feature = "dns")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unsafe_code,
    reason = "a panic is a failed test, and an allocator is unsafe by its trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use netsonde::wire::dns::{
    Composer, DnsName, EdnsOption, EdnsRepr, Flags, Message, RecordBuf, RecordType, Section,
};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Counts what each thread asks for by itself: the harness runs others.
struct Counting;

// SAFETY: everything is left to the system's allocator; a thread-local counter without a destructor is all
// that is touched besides, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    run();
    COUNT.with(Cell::get) - before
}

/// One message with records of many types, and EDNS with every option that is typed.
fn message() -> Vec<u8> {
    let zone = include_str!("dns/netsonde.test.zone");
    let mut out = Vec::new();
    let name: DnsName = "a.netsonde.test".parse().unwrap();
    let mut composer = Composer::new(&mut out, 7, Flags(0x8180));
    composer.question(name.as_ref(), RecordType::ANY, netsonde::wire::dns::Class::IN).unwrap();
    let (mut records, mut owner) = (0, "@".to_owned());
    for line in zone.lines().filter(|line| line.contains(" IN ")) {
        let (head, rest) = line.split_once(" IN ").unwrap();
        let mut words = head.split_whitespace();
        if !line.starts_with(' ') {
            owner = words.next().unwrap().to_owned();
        }
        let full = match owner.as_str() {
            "@" => "netsonde.test.".to_owned(),
            relative => format!("{relative}.netsonde.test."),
        };
        // Names in the data that count from the origin are read from the root here, which is as good.
        if let Ok(record) = format!("{full} 60 IN {rest}").parse::<RecordBuf>()
            && record.compose(&mut composer, Section::Answer).is_ok()
        {
            records += 1;
        }
    }
    assert!(records > 150, "{records}");
    let options = [
        EdnsOption::Nsid(b"one"),
        EdnsOption::ClientSubnet {
            address: "192.0.2.0".parse().unwrap(),
            source_prefix: 24,
            scope_prefix: 0,
        },
        EdnsOption::Cookie { client: [1; 8], server: &[2; 16] },
        EdnsOption::Keepalive(Some(7)),
        EdnsOption::Padding(9),
    ];
    composer.edns(&EdnsRepr { options: &options, ..EdnsRepr::default() }).unwrap();
    composer.finish();
    out
}

#[test]
fn reading_a_message_of_every_type_allocates_nothing() {
    let bytes = message();
    let (mut records, mut types) = (0, std::collections::BTreeSet::new());
    for (_, record) in Message::parse(&bytes).unwrap().records().flatten() {
        types.insert(record.rtype);
    }
    assert!(types.len() >= 30, "{types:?}");
    let count = allocations(|| {
        let message = Message::parse(black_box(&bytes)).unwrap();
        for question in message.questions() {
            black_box(question.name.labels().count());
        }
        for (_, record) in message.records().map(Result::unwrap) {
            black_box(record.owner.labels().count());
            black_box(record.rdata().unwrap());
            records += 1;
        }
        let edns = message.edns().unwrap().unwrap();
        for (_, option) in edns.options() {
            black_box(option.unwrap());
        }
        black_box(message.rcode(Some(&edns)));
        black_box(message.check().unwrap());
    });
    assert!(records > 150);
    assert_eq!(count, 0);
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Vec::<u8>::with_capacity(7)))), 1);
    assert_eq!(allocations(|| ()), 0);
}
