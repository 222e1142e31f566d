use netsonde_support::require_root;

use super::*;

#[test]
fn what_no_kernel_knows_is_refused_and_what_it_takes_is_told_from_it() {
    if require_root().is_none() {
        return;
    }
    for v6 in [false, true] {
        let error = takes_control(v6, SocketMode::Raw, 0x7fff).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{v6}: {error}");
        // SO_MARK has been taken there since Linux 4.20, by any kernel that this can be built for.
        takes_control(v6, SocketMode::Raw, libc::SO_MARK).unwrap();
    }
}

/// Echoes from this host to itself, in one batch, and all that comes back.
async fn a_batch(v6: bool, mode: SocketMode) {
    const COUNT: u16 = 60;
    const ID: u16 = 0x4e00;
    let setup = SocketSetup {
        id_base: ID,
        ids: 64,
        send_stamps: true,
        receive_stamps: true,
        receive_buffer: 1 << 20,
    };
    let _ = sys::wait_for_stamps();
    let socket = IcmpSocket::open(v6, mode, &setup).unwrap();
    assert_eq!((socket.is_v6(), socket.mode()), (v6, mode));
    assert_eq!(socket.id().is_some(), mode == SocketMode::Datagram);
    assert!(socket.stamps_sends());
    let loopback: SocketAddr =
        if v6 { "[::1]:0".parse().unwrap() } else { "127.0.0.1:0".parse().unwrap() };
    let mut batch = SendBatch::default();
    for number in 0..COUNT {
        let options = SendOptions {
            ttl: Some(20 + number as u8),
            dscp: Some(number as u8 % 64),
            source: (number % 2 == 0).then(|| loopback.ip()),
            ..SendOptions::default()
        };
        let slot = 7_000_000 + 3 * u32::from(number);
        let ticket = Ticket { slot, generation: 0, id: ID, seq: number };
        let payload = |bytes: &mut Vec<u8>| {
            bytes.extend(std::iter::repeat_n(0xa5, usize::from(number)));
            Ok::<_, std::convert::Infallible>(ticket)
        };
        let Ok(_) = socket.add(&mut batch, loopback, &options, payload);
    }
    let (sent, error) = socket.send(&batch, 0);
    assert!(sent == usize::from(COUNT) && error.is_none(), "{sent} {error:?}");

    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let (mut replies, mut stamps) = (Vec::new(), Vec::new());
    let mut received = IcmpSocket::receive_batch(64);
    let mut errors = IcmpSocket::error_batch();
    while replies.len() < sent || stamps.len() < sent {
        assert!(std::time::Instant::now() < end, "{} and {}", replies.len(), stamps.len());
        if sys::receive(&socket.socket, &mut received, 0).is_ok() {
            for message in received.messages() {
                let header = if !v6 && mode == SocketMode::Raw { 20 } else { 0 };
                let icmp = message.bytes.get(header..).unwrap().to_vec();
                replies.push((icmp, message.receive_stamp(), message.hops().1));
            }
        }
        if socket.receive_errors(&mut errors).is_ok() {
            stamps.extend(errors.messages().map(|message| message.send_stamp().unwrap()));
        }
        tokio::task::yield_now().await;
    }
    for ((icmp, stamp, class), number) in replies.iter().zip(0_u16..) {
        // Our own requests do not pass.
        assert_eq!(icmp.first(), Some(if v6 { &129 } else { &0 }));
        assert_eq!(icmp.get(6..8), Some(&number.to_be_bytes()[..]));
        assert_eq!(icmp.len(), 8 + usize::from(number));
        assert!(stamp.is_some(), "{number}");
        // Replies have the class of the request; a raw IPv4 socket has it in the header.
        assert_eq!(class.unwrap_or(0), (number as u8 % 64) << 2, "{number}");
    }
    let names: Vec<u32> = stamps.iter().map(|(name, _)| *name).collect();
    let wanted: Vec<u32> = match socket.names_stamps() {
        true => (0..COUNT).map(|number| 7_000_000 + 3 * u32::from(number)).collect(),
        false => (0..u32::from(COUNT)).collect(),
    };
    assert_eq!(names, wanted);
}

#[test]
fn i114_a_batch_of_either_kind_of_socket_comes_back_whole_and_stamped() {
    let Some(lab) = netsonde_support::Lab::new("batch") else { return };
    let namespace = lab.namespace("a");
    namespace.sysctl("ipv4/ping_group_range", "0 2147483647");
    namespace.block_on(async || {
        for v6 in [false, true] {
            a_batch(v6, SocketMode::Raw).await;
            a_batch(v6, SocketMode::Datagram).await;
        }
    });
}
