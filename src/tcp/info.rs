//! What the kernel tells of a TCP connection.

use serde::{Deserialize, Serialize};

/// The kernel's own figures of a TCP connection at one moment (`TCP_INFO`, tcp(7)).
///
/// Every figure may be absent: an older kernel hands out a shorter record, another system hands out
/// none, and a figure that has not been measured yet is absent too. Times are in nanoseconds like
/// all others of this crate, but the kernel's resolution behind them is one microsecond.
///
/// ```
/// use netsonde::tcp::TcpInfo;
///
/// let info: TcpInfo = serde_json::from_str(r#"{"state":"established","rtt_ns":187000}"#)?;
/// assert_eq!(info.rtt_ns, Some(187_000));
/// assert_eq!(info.lost, None);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TcpInfo {
    /// State of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<TcpState>,
    /// Smoothed round-trip time (RFC 6298). Right after the handshake it is the handshake's own
    /// sample, SYN to SYN-ACK, unless a SYN was retransmitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// Mean deviation of the round-trip time (RFC 6298). After the first sample it is half of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rttvar_ns: Option<u64>,
    /// The smallest round-trip time seen lately: the kernel forgets after `tcp_min_rtt_wlen` seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_rtt_ns: Option<u64>,
    /// Retransmissions in a row that are not answered yet, SYNs included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u32>,
    /// Segments retransmitted since the connection was opened, SYNs included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_retransmits: Option<u32>,
    /// Segments in flight that the kernel takes for lost right now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u32>,
    /// Largest segment that is sent, in bytes of payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snd_mss: Option<u32>,
    /// Estimate of the largest segment that the peer sends, in bytes of payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rcv_mss: Option<u32>,
    /// The largest segment that was announced to the peer (RFC 9293, 3.7.1), in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// MTU of the path as far as it is known (RFC 1191, RFC 8201), in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pmtu: Option<u32>,
    /// Congestion window, in segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snd_cwnd: Option<u32>,
    /// Recent rate at which sent data was acknowledged, in bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_rate_bytes_per_s: Option<u64>,
    /// Bytes sent and acknowledged; the SYN counts as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_acked: Option<u64>,
    /// Bytes received; a FIN counts as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
    /// Both sides use timestamps (RFC 7323).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<bool>,
    /// Both sides use selective acknowledgements (RFC 2018).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sack: Option<bool>,
    /// Both sides use window scaling (RFC 7323).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_scaling: Option<bool>,
    /// Both sides agreed on explicit congestion notification (RFC 3168).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecn: Option<bool>,
    /// Name of the congestion control algorithm, such as `cubic`. It takes a system call of its own
    /// and is read with the final figures only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub congestion_control: Option<String>,
}

/// State of a TCP connection (RFC 9293, 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TcpState {
    /// Both directions open.
    Established,
    /// SYN sent, no answer yet.
    SynSent,
    /// SYN received, the handshake is not complete.
    SynReceived,
    /// FIN sent, not acknowledged.
    FinWait1,
    /// FIN acknowledged, the peer still sends.
    FinWait2,
    /// Closed on both sides, waiting for stray segments to die out.
    TimeWait,
    /// Closed.
    Closed,
    /// The peer sent its FIN; this side still sends.
    CloseWait,
    /// Closed on both sides, the last FIN is not acknowledged.
    LastAck,
    /// Waiting for connections.
    Listen,
    /// Both sides sent a FIN, neither is acknowledged.
    Closing,
}
