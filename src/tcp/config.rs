//! How the stream probers are set up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{SocketOptions, StreamExpect, TcpExpect};
use crate::limits::Limits;
use crate::resolve::Dialing;
use crate::script::{Dialogue, Script};
use crate::tls::TlsConfig;

/// How a TCP prober is set up; checked once, when the prober is built.
///
/// TLS starts where the script says so. A script without such a step, or none at all, runs under
/// TLS from the first byte if `tls` is set, and in the clear if it is not. A script that starts TLS
/// does so with the defaults of [`TlsConfig`] if `tls` is not set.
///
/// ```
/// use netsonde::tcp::TcpConfig;
/// use netsonde::tls::TlsConfig;
///
/// // The certificate of a web server, and nothing else.
/// let https = TcpConfig { tls: Some(TlsConfig::default()), ..TcpConfig::default() };
/// // A mail server that has to offer STARTTLS; the conversation goes on behind it.
/// let smtp: TcpConfig = serde_saphyr::from_str("
/// timeout: 5s
/// dialogue: smtp
/// script: {steps: [{send: \"QUIT\\r\\n\"}, {expect: '^221'}]}
/// expect: {common: {max_total: 2s}}
/// ")?;
/// # let _ = (https, smtp);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct TcpConfig {
    /// How long the whole probe may take. Default: 10 s. A context may set another.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// Families, address policy, where to connect.
    pub dialing: Dialing,
    /// Options of the socket.
    pub socket: SocketOptions,
    /// TLS. Default: none.
    pub tls: Option<TlsConfig>,
    /// A ready dialogue that runs before `script`. Default: none.
    pub dialogue: Option<Dialogue>,
    /// What to say and to wait for. Default: nothing; to connect is enough.
    pub script: Script,
    /// Every cap but those of TLS, which stand in [`TlsConfig::limits`].
    pub limits: Limits,
    /// What makes the probe pass beyond going through.
    pub expect: TcpExpect,
}

impl Default for TcpConfig {
    fn default() -> Self {
        TcpConfig {
            timeout: DEFAULT_TIMEOUT,
            dialing: Dialing::default(),
            socket: SocketOptions::default(),
            tls: None,
            dialogue: None,
            script: Script::default(),
            limits: Limits::default(),
            expect: TcpExpect::default(),
        }
    }
}

/// How a prober of Unix stream sockets is set up. TLS and script work as in [`TcpConfig`].
///
/// ```
/// use netsonde::tcp::UnixConfig;
///
/// let redis: UnixConfig = serde_saphyr::from_str("dialogue: redis")?;
/// # let _ = redis;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct UnixConfig {
    /// How long the whole probe may take. Default: 10 s. A context may set another.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// How long to wait before dialling again when the listener's queue is full, which a Unix
    /// socket says at once (`EAGAIN`, connect(2)). The deadline of the probe ends it. Default: 10 ms.
    #[serde(with = "crate::duration")]
    pub busy_retry: Duration,
    /// TLS. Default: none. A socket path is no name, so [`TlsConfig::verify_name`] is needed for
    /// the check of the name.
    pub tls: Option<TlsConfig>,
    /// A ready dialogue that runs before `script`. Default: none.
    pub dialogue: Option<Dialogue>,
    /// What to say and to wait for. Default: nothing; to connect is enough.
    pub script: Script,
    /// Every cap but those of TLS, which stand in [`TlsConfig::limits`].
    pub limits: Limits,
    /// What makes the probe pass beyond going through.
    pub expect: StreamExpect,
}

impl Default for UnixConfig {
    fn default() -> Self {
        UnixConfig {
            timeout: DEFAULT_TIMEOUT,
            busy_retry: Duration::from_millis(10),
            tls: None,
            dialogue: None,
            script: Script::default(),
            limits: Limits::default(),
            expect: StreamExpect::default(),
        }
    }
}

/// Long enough for a connection over a lossy path whose first SYN and its first repetition are
/// lost (1 s + 2 s, RFC 6298, 2.1), and for a handshake behind it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
