//! What one echo request costs in the engine, without a socket: prepared, sent, answered, told.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use netsonde::engine::echo::{
    Arrival, EchoEngine, FlowId, Outgoing, Reading, Received, Setup, Stamp, Ticket,
};

const START_NS: i64 = 1_790_000_000_000_000_000;

struct Bench {
    engine: EchoEngine,
    flow: FlowId,
    outgoing: Outgoing,
    now: Reading,
}

impl Bench {
    /// An engine in which so many packets wait.
    fn with(waiting: usize) -> Self {
        let mut engine = EchoEngine::new(Setup::new([7; 16], 0x4000));
        let flow = engine.open();
        let destination = IpAddr::from([192, 0, 2, 1]);
        let outgoing = Outgoing::new(destination, Duration::from_secs(1));
        let now = Reading::new(Instant::now(), START_NS);
        let mut bench = Bench { engine, flow, outgoing, now };
        let mut payload = Vec::new();
        for _ in 0..waiting {
            bench.send(&mut payload);
        }
        bench
    }

    fn send(&mut self, payload: &mut Vec<u8>) -> Ticket {
        payload.clear();
        let ticket = self.engine.prepare(self.flow, &self.outgoing, payload).unwrap();
        self.engine.sent(ticket, self.now, self.now.mono);
        ticket
    }

    fn answer(&mut self, ticket: Ticket, payload: &[u8]) {
        let (from, id, seq) = (self.outgoing.destination, ticket.id, ticket.seq);
        let reply = Arrival::Reply { from, id, seq, payload, ttl: Some(64), tos: Some(0) };
        let mut received = Received::at(self.now.later(Duration::from_millis(1)));
        received.stamp = Some(Stamp::new(START_NS + 900_000));
        self.engine.receive(reply, &received).unwrap();
        black_box(self.engine.poll_event().unwrap());
    }
}

/// The packet that is measured is answered at once; the others stand by.
fn packet(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo_packet");
    group.throughput(Throughput::Elements(1));
    for waiting in [0, 9_999, 99_999] {
        let (mut bench, mut payload) = (Bench::with(waiting), Vec::new());
        group.bench_function(format!("of_{}_waiting", waiting + 1), |b| {
            b.iter(|| {
                let ticket = bench.send(&mut payload);
                bench.answer(ticket, &payload);
            });
        });
    }
    group.finish();
}

/// All are sent, then all are answered: every place is cold again when its answer comes.
fn wave(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo_wave");
    for count in [10_000, 100_000] {
        group.throughput(Throughput::Elements(count));
        let mut bench = Bench::with(0);
        let mut sent = vec![];
        group.bench_function(format!("of_{count}"), |b| {
            b.iter(|| {
                sent.clear();
                for _ in 0..count {
                    let mut payload = Vec::with_capacity(56);
                    let ticket = bench.send(&mut payload);
                    sent.push((ticket, payload));
                }
                for (ticket, payload) in &sent {
                    bench.answer(*ticket, payload);
                }
            });
        });
    }
    group.finish();
}

fn timeouts(c: &mut Criterion) {
    const COUNT: usize = 100_000;
    let mut group = c.benchmark_group("echo_timeouts");
    group.throughput(Throughput::Elements(COUNT as u64)).sample_size(20);
    group.bench_function(format!("of_{COUNT}"), |b| {
        let handle = |bench: &mut Bench| {
            bench.engine.handle_timeout(bench.now.mono + Duration::from_secs(1));
            while bench.engine.poll_event().is_some() {}
            assert_eq!(bench.engine.waiting(), 0);
        };
        b.iter_batched_ref(|| Bench::with(COUNT), handle, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, packet, wave, timeouts);
criterion_main!(benches);
