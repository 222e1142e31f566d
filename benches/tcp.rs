//! Wall time of a probe on loopback beside a bare blocking socket that does the same job, in one
//! run. What it costs in CPU time and memory is measured by `benches/cost`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on stops"
)]

mod floor;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use netsonde::tcp::{TcpConfig, TcpProber};
use netsonde::tls::{Sni, TlsConfig, Trust};
use netsonde::{Prober, Target};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Servers on a thread of their own, until the program ends.
fn sink(tls: Option<Arc<rustls::ServerConfig>>) -> Vec<SocketAddr> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listeners = floor::listen().unwrap();
            tell.send(listeners.iter().map(|it| it.local_addr().unwrap()).collect()).unwrap();
            floor::serve(listeners, tls, || {}).await;
        });
    });
    told.recv().unwrap()
}

/// One after the other, round and round.
struct Cycle<T>(Vec<T>, AtomicUsize);

impl<T> Cycle<T> {
    fn next(&self) -> &T {
        &self.0[self.1.fetch_add(1, Ordering::Relaxed) % self.0.len()]
    }
}

fn probe(criterion: &mut Criterion, group: &str, config: TcpConfig, to: &Cycle<SocketAddr>) {
    let prober = TcpProber::new(config).unwrap();
    let targets = to.0.iter().map(|to| to.to_string().parse().unwrap()).collect();
    let targets: Cycle<Target> = Cycle(targets, AtomicUsize::new(0));
    let runtime = runtime();
    criterion.benchmark_group(group).bench_function("netsonde", |bencher| {
        bencher.iter(|| {
            let result = runtime.block_on(prober.probe(targets.next()));
            assert!(result.verdict.is_pass(), "{result}");
            result
        });
    });
}

fn connect(criterion: &mut Criterion) {
    let to = Cycle(sink(None), AtomicUsize::new(0));
    criterion.benchmark_group("connect").bench_function("floor", |bencher| {
        bencher.iter(|| floor::connect(*to.next()).unwrap());
    });
    probe(criterion, "connect", TcpConfig::default(), &to);
}

fn handshake(criterion: &mut Criterion) {
    let identity = floor::Identity::new().unwrap();
    let client = floor::client(&identity.root).unwrap();
    let to = Cycle(sink(Some(identity.server)), AtomicUsize::new(0));
    criterion.benchmark_group("handshake").bench_function("floor", |bencher| {
        bencher.iter(|| floor::handshake(*to.next(), &client).unwrap());
    });
    let tls = TlsConfig {
        trust: Trust::Pem(identity.root),
        sni: Sni::Name(floor::NAME.to_owned()),
        verify_name: Some(floor::NAME.to_owned()),
        ..TlsConfig::default()
    };
    let config = TcpConfig { tls: Some(tls), ..TcpConfig::default() };
    probe(criterion, "handshake", config, &to);
}

criterion_group!(benches, connect, handshake);
criterion_main!(benches);
