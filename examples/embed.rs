//! Health-check one dependency: `cargo run --example embed -- example.com:443`.

use netsonde::Prober;
use netsonde::tcp::{TcpConfig, TcpProber};
use netsonde::tls::TlsConfig;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = std::env::args().nth(1).unwrap_or_else(|| "localhost:443".to_owned()).parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = TcpConfig { tls: Some(TlsConfig::default()), ..TcpConfig::default() };
        let result = TcpProber::new(config)?.probe(&target).await;
        println!("{result}");
        Ok(())
    })
}
