//! ICMP on real sockets.

mod arrival;
pub(crate) mod calibrate;
pub(crate) mod detect;
pub(crate) mod fleet;
mod flow;
mod found;
mod judge;
pub(crate) mod mtu;
mod outbox;
mod port;
pub(crate) mod probe;
mod socket;
mod sweep;
pub(crate) mod trace;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::echo::{EchoEngine, Setup};
use crate::icmp::{EngineConfig, EngineStats, SocketChoice, SocketMode, Stamps};
use crate::io::socket::HiResTimer;
use crate::timing::Phase;
use crate::verdict::{LocalFault, LocalFaultKind};
use port::{Port, PortError, drive};
use socket::{IcmpSocket, SocketSetup};

/// Identifiers of a raw socket: for so many times 65,536 packets at a time.
const IDS: u16 = 64;

/// The sockets of an engine.
#[derive(Debug)]
pub(crate) struct Ports {
    config: EngineConfig,
    open: Mutex<[Option<Arc<Port>>; 2]>,
    /// What the sockets had done that are closed by now.
    before: Mutex<EngineStats>,
}

impl Ports {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Ports { config, open: Mutex::default(), before: Mutex::default() }
    }

    pub(crate) fn config(&self) -> &EngineConfig {
        &self.config
    }

    pub(crate) fn stats(&self) -> EngineStats {
        let mut stats = self.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().flatten().for_each(|port| stats.add(&port.stats()));
        stats
    }

    /// The socket of a family, opened if there is none.
    ///
    /// # Errors
    /// No kind of socket can be opened: why, and what would help.
    fn port(&self, v6: bool) -> Result<Arc<Port>, LocalFault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = open.get_mut(usize::from(v6)) else { return Err(unavailable(&[])) };
        if let Some(port) = place.as_ref().filter(|port| !port.is_over()) {
            return Ok(Arc::clone(port));
        }
        if let Some(over) = place.take() {
            let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
            before.add(&EngineStats { waiting: 0, ..over.stats() });
        }
        let port = self.start(v6)?;
        *place = Some(Arc::clone(&port));
        Ok(port)
    }

    fn start(&self, v6: bool) -> Result<Arc<Port>, LocalFault> {
        let keys = RandomState::new();
        let id_base = (keys.hash_one("id") as u16) & !(IDS - 1);
        let stamps = self.config.stamps;
        let setup = SocketSetup {
            id_base,
            ids: IDS,
            send_stamps: stamps == Stamps::Full,
            receive_stamps: stamps != Stamps::Off,
            receive_buffer: self.config.receive_buffer_bytes,
        };
        let modes: &[SocketMode] = match self.config.socket {
            SocketChoice::Raw => &[SocketMode::Raw],
            SocketChoice::Datagram => &[SocketMode::Datagram],
            SocketChoice::Auto => &[SocketMode::Raw, SocketMode::Datagram],
        };
        if stamps != Stamps::Off {
            // Without stamps in time the results say so.
            let _ = crate::io::socket::wait_for_stamps();
        }
        let mut refused = Vec::new();
        for mode in modes {
            match IcmpSocket::open(v6, *mode, &setup).and_then(|s| Ok((s, HiResTimer::new()?))) {
                Ok((socket, timer)) => {
                    let mut key = [0; 16];
                    for (half, place) in key.chunks_exact_mut(8).enumerate() {
                        place.copy_from_slice(&keys.hash_one(half).to_ne_bytes());
                    }
                    let mut setup = Setup::new(key, socket.id().unwrap_or(id_base));
                    setup.ids = if socket.id().is_some() { 1 } else { IDS };
                    setup.send_stamps = socket.stamps_sends();
                    let port = Port::new(socket, EchoEngine::new(setup));
                    // The socket could not have been registered without a runtime.
                    tokio::spawn(drive(Arc::clone(&port), timer));
                    return Ok(port);
                }
                Err(error) => refused.push((*mode, error)),
            }
        }
        Err(unavailable(&refused))
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        open.iter().flatten().for_each(|port| port.end(PortError::Engine));
    }
}

/// What it means that no socket can be opened.
fn unavailable(refused: &[(SocketMode, io::Error)]) -> LocalFault {
    let number = refused.first().and_then(|(_, error)| error.raw_os_error());
    let kind = number.and_then(super::errno::local).unwrap_or(LocalFaultKind::Io);
    let texts: Vec<String> = refused.iter().map(|(mode, error)| explain(*mode, error)).collect();
    let fault = LocalFault::new(kind).in_phase(Phase::Setup).with_detail(texts.join("; "));
    match number {
        Some(number) => fault.with_errno(number),
        None => fault,
    }
}

/// What was refused, and what would help.
fn explain(mode: SocketMode, error: &io::Error) -> String {
    let what = match mode {
        SocketMode::Datagram => "ICMP datagram socket",
        _ => "raw ICMP socket",
    };
    match detect::remedy(mode, error) {
        Some(remedy) => format!("{what}: {error} (remedy: {remedy})"),
        None => format!("{what}: {error}"),
    }
}
