//! Reads `TCP_INFO` (tcp(7), `struct tcp_info` of linux/tcp.h).

use socket2::SockRef;

use super::cmsg::array;
use super::{AsSocket, sys};
use crate::tcp::{TcpInfo, TcpState};

/// The figures of a connection now, without the name of its congestion control. `None` where the
/// system has no such figures or refuses them.
pub(crate) fn read(socket: &impl AsSocket) -> Option<TcpInfo> {
    let mut record = [0; sys::TCP_INFO_BYTES];
    sys::tcp_info(socket, &mut record).ok().map(decode)
}

/// As [`read`], with the name of the congestion control: one more system call.
pub(crate) fn read_all(socket: &impl AsSocket) -> Option<TcpInfo> {
    let mut info = read(socket)?;
    info.congestion_control = sys::congestion_control(&SockRef::from(socket));
    Some(info)
}

/// Takes apart a `struct tcp_info` of any length, in the byte order of this machine. Figures that
/// begin beyond its end, or that are not measured yet, are absent.
pub(crate) fn decode(record: &[u8]) -> TcpInfo {
    let u8_at = |at: usize| record.get(at).copied();
    let u32_at = |at: usize| array(record, at).map(u32::from_ne_bytes);
    let u64_at = |at: usize| array(record, at).map(u64::from_ne_bytes);
    let option = |bit: u8| u8_at(5).map(|options| options & bit != 0);
    let ns = |us: u32| u64::from(us) * 1000;

    // Before the first sample tcpi_min_rtt is all ones, while tcpi_rtt is 0; but 0 may also be a
    // sample below a microsecond, so the one tells whether the other means anything. Kernels
    // before 4.9 have no tcpi_min_rtt.
    let min_rtt = u32_at(148);
    let sampled = |us: &u32| min_rtt.map_or(*us != 0, |min| min != u32::MAX);
    TcpInfo {
        state: u8_at(0).and_then(state),
        rtt_ns: u32_at(68).filter(sampled).map(ns),
        rttvar_ns: u32_at(72).filter(|_| u32_at(68).as_ref().is_some_and(sampled)).map(ns),
        min_rtt_ns: min_rtt.filter(|us| *us != u32::MAX).map(ns),
        retransmits: u8_at(2).map(u32::from),
        total_retransmits: u32_at(100),
        lost: u32_at(32),
        snd_mss: u32_at(16),
        rcv_mss: u32_at(20),
        advmss: u32_at(84),
        pmtu: u32_at(60),
        snd_cwnd: u32_at(80),
        // 0 stands for "no sample yet".
        delivery_rate_bytes_per_s: u64_at(160).filter(|rate| *rate != 0),
        bytes_acked: u64_at(120),
        bytes_received: u64_at(128),
        timestamps: option(1),
        sack: option(2),
        window_scaling: option(4),
        ecn: option(8),
        congestion_control: None,
    }
}

/// `TCP_ESTABLISHED` and so on, in the numbering of net/tcp_states.h.
fn state(number: u8) -> Option<TcpState> {
    Some(match number {
        1 => TcpState::Established,
        2 => TcpState::SynSent,
        // 12 is TCP_NEW_SYN_RECV.
        3 | 12 => TcpState::SynReceived,
        4 => TcpState::FinWait1,
        5 => TcpState::FinWait2,
        6 => TcpState::TimeWait,
        7 => TcpState::Closed,
        8 => TcpState::CloseWait,
        9 => TcpState::LastAck,
        10 => TcpState::Listen,
        11 => TcpState::Closing,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record in which every byte differs from its neighbours.
    fn counted(len: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    #[test]
    fn each_figure_lies_at_its_offset() {
        let mut record = counted(248);
        record[0] = 8;
        let at = |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().unwrap());
        let wide = |at: usize| u64::from_ne_bytes(record[at..at + 8].try_into().unwrap());
        let info = decode(&record);
        assert_eq!(info.state, Some(TcpState::CloseWait));
        assert_eq!(info.rtt_ns, Some(u64::from(at(68)) * 1000));
        assert_eq!(info.rttvar_ns, Some(u64::from(at(72)) * 1000));
        assert_eq!(info.min_rtt_ns, Some(u64::from(at(148)) * 1000));
        assert_eq!(info.total_retransmits, Some(at(100)));
        assert_eq!((info.snd_mss, info.rcv_mss), (Some(at(16)), Some(at(20))));
        assert_eq!((info.lost, info.pmtu), (Some(at(32)), Some(at(60))));
        assert_eq!((info.snd_cwnd, info.advmss), (Some(at(80)), Some(at(84))));
        assert_eq!(info.bytes_acked, Some(wide(120)));
        assert_eq!(info.bytes_received, Some(wide(128)));
        assert_eq!(info.delivery_rate_bytes_per_s, Some(wide(160)));
        assert_eq!((info.timestamps, info.sack), (Some(true), Some(false)));
        assert_eq!((info.window_scaling, info.ecn), (Some(true), Some(false)));
    }

    #[test]
    fn a_shorter_record_lacks_what_lies_beyond_it() {
        for len in 0..248 {
            let info = decode(&counted(len));
            assert_eq!(info.pmtu.is_some(), len >= 64, "{len}");
            assert_eq!(info.total_retransmits.is_some(), len >= 104, "{len}");
            assert_eq!(info.min_rtt_ns.is_some(), len >= 152, "{len}");
            assert_eq!(info.delivery_rate_bytes_per_s.is_some(), len >= 168, "{len}");
        }
        assert_eq!(decode(&counted(248)), decode(&counted(400)));
    }

    #[test]
    fn no_sample_is_no_time() {
        let mut record = vec![0; 248];
        record[148..152].fill(0xff);
        let info = decode(&record);
        assert_eq!((info.rtt_ns, info.rttvar_ns, info.min_rtt_ns), (None, None, None));
        assert_eq!(info.delivery_rate_bytes_per_s, None);

        // Below the kernel's resolution, yet measured.
        record[148..152].fill(0);
        assert_eq!(decode(&record).rtt_ns, Some(0));
        // An old kernel without tcpi_min_rtt.
        assert_eq!(decode(&record[..104]).rtt_ns, None);
        record[68] = 9;
        assert_eq!(decode(&record[..104]).rtt_ns.is_some(), cfg!(target_endian = "little"));
    }
}
