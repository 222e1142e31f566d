//! The probers themselves: configuration checked once, then any number of probes.

use std::sync::Arc;
use std::time::Duration;

#[cfg(all(unix, feature = "unix"))]
use super::{StreamExpect, UnixConfig, UnixReport};
use super::{TcpConfig, TcpExpect, TcpReport};
use crate::engine::script::CompiledScript;
use crate::error::Error;
use crate::io::talk::Plan;
use crate::io::tcp::TcpPlan;
use crate::io::tls::TlsConnector;
#[cfg(all(unix, feature = "unix"))]
use crate::io::unix::UnixPlan;
use crate::limits::Limits;
use crate::probe::{ProbeContext, ProbeResult, Prober};
use crate::script::{Dialogue, Script};
use crate::target::Target;
use crate::tls::TlsConfig;

/// Connects to `HOST:PORT`, then speaks TLS and runs a script if it is told to. What the peer marks as
/// urgent is read in its place like everything else (RFC 6093).
///
/// ```
/// use netsonde::tcp::{TcpConfig, TcpProber};
/// use netsonde::Prober;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let target = listener.local_addr()?.into();
/// let prober = TcpProber::new(TcpConfig::default())?;
/// let result = prober.probe(&target).await;
/// assert!(result.verdict.is_pass());
/// assert!(result.timing.phase(netsonde::Phase::Connect).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TcpProber {
    plan: TcpPlan,
    expect: TcpExpect,
}

impl TcpProber {
    /// Checks the configuration, compiles the script, loads what TLS needs.
    ///
    /// # Errors
    /// [`Error`] naming the key that cannot be used, the file that cannot be read or the feature
    /// that is missing.
    pub fn new(config: TcpConfig) -> Result<Self, Error> {
        let TcpConfig { timeout, dialing, socket, tls, dialogue, script, limits, expect } = config;
        check_timeout(timeout)?;
        dialing.check().map_err(|error| error.under("dialing"))?;
        socket.check().map_err(|error| error.under("socket"))?;
        let talk = plan(tls.as_ref(), dialogue, &script, &limits)?;
        Ok(TcpProber { plan: TcpPlan { talk, dialing, socket, limits, timeout }, expect })
    }
}

impl Prober for TcpProber {
    type Report = TcpReport;

    async fn probe_with(&self, cx: &ProbeContext, target: &Target) -> ProbeResult<TcpReport> {
        crate::io::tcp::probe(&self.plan, cx, target).await.judged(&self.expect)
    }
}

/// Connects to a Unix stream socket, then speaks TLS and runs a script if it is told to.
///
/// ```
/// use netsonde::tcp::{UnixConfig, UnixProber};
/// use netsonde::Prober;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let prober = UnixProber::new(UnixConfig::default())?;
/// let result = prober.probe(&"unix:/nowhere/app.sock".parse()?).await;
/// assert_eq!(result.verdict.code(), Some("no_such_socket"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(all(unix, feature = "unix"))]
#[derive(Debug)]
pub struct UnixProber {
    plan: UnixPlan,
    expect: StreamExpect,
}

#[cfg(all(unix, feature = "unix"))]
impl UnixProber {
    /// Checks the configuration, compiles the script, loads what TLS needs.
    ///
    /// # Errors
    /// [`Error`] naming the key that cannot be used, the file that cannot be read or the feature
    /// that is missing.
    pub fn new(config: UnixConfig) -> Result<Self, Error> {
        let UnixConfig { timeout, busy_retry, tls, dialogue, script, limits, expect } = config;
        check_timeout(timeout)?;
        if busy_retry.is_zero() {
            return Err(Error::config("busy_retry", "must be longer than zero"));
        }
        let talk = plan(tls.as_ref(), dialogue, &script, &limits)?;
        Ok(UnixProber { plan: UnixPlan { talk, timeout, busy_retry }, expect })
    }
}

#[cfg(all(unix, feature = "unix"))]
impl Prober for UnixProber {
    type Report = UnixReport;

    async fn probe_with(&self, cx: &ProbeContext, target: &Target) -> ProbeResult<UnixReport> {
        crate::io::unix::probe(&self.plan, cx, target).await.judged(&self.expect)
    }
}

fn plan(
    tls: Option<&TlsConfig>,
    dialogue: Option<Dialogue>,
    script: &Script,
    limits: &Limits,
) -> Result<Plan, Error> {
    let script = whole_script(dialogue, script);
    let starttls = script.uses_starttls();
    let compiled = match CompiledScript::new(&script, &limits.script) {
        Ok(_) if script.steps.is_empty() => None,
        Ok(compiled) => Some(Arc::new(compiled)),
        Err(error) => return Err(Error::from(error).under("script")),
    };
    let default = TlsConfig::default();
    let tls = tls.or(starttls.then_some(&default));
    let connector = tls.map(TlsConnector::new).transpose().map_err(|error| error.under("tls"))?;
    Ok(Plan { script: compiled, tls: connector, starttls })
}

/// A timeout of nothing can only fail.
fn check_timeout(timeout: Duration) -> Result<(), Error> {
    if timeout.is_zero() {
        return Err(Error::config("timeout", "must be longer than zero"));
    }
    Ok(())
}

/// The steps of the dialogue, then the script's own; variables of the script win.
fn whole_script(dialogue: Option<Dialogue>, script: &Script) -> Script {
    let Some(dialogue) = dialogue else { return script.clone() };
    let mut whole = dialogue.script();
    whole.steps.extend(script.steps.iter().cloned());
    whole.variables.extend(script.variables.clone());
    whole.captures = script.captures;
    whole
}
