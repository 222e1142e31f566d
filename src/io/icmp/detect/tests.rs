use super::*;

fn told(flags: u32, tx_types: u32, rx_filters: u32, setting: [u32; 2]) -> InterfaceStamps {
    let mut info = [0; 11];
    (info[1], info[2], info[3], info[7]) = (flags, u32::MAX, tx_types, rx_filters);
    device("eth0".into(), &Ok(info), &Ok([0, setting[0], setting[1]]))
}

#[test]
fn a_card_that_offers_stamps_has_to_be_set_up_for_them() {
    // As ethtool -T shows it for a card with a clock, before and after hwstamp_ctl -t 1 -r 1.
    let off = told(0x5f, 0b11, 0b11, [0, 0]);
    assert!(off.kernel_send.is_available());
    for missing in [&off.hardware_send, &off.hardware_receive] {
        assert!(missing.remedy().unwrap().contains("hwstamp_ctl -i eth0"), "{missing}");
    }
    let on = told(0x5f, 0b11, 0b11, [1, 1]);
    assert!(on.hardware_send.is_available() && on.hardware_receive.is_available(), "{on:?}");
    // One that stamps PTP alone does not stamp echo replies.
    let ptp = told(0x5f, 0b11, 1 << 12 | 1, [1, 12]);
    assert!(ptp.hardware_send.is_available() && !ptp.hardware_receive.is_available(), "{ptp:?}");
}

#[test]
fn without_hardware_the_kernel_stamps_and_without_both_the_process_does() {
    let veth = told(0x1a, 0, 0, [0, 0]);
    assert!(veth.kernel_send.is_available() && !veth.hardware_send.is_available(), "{veth:?}");
    assert_eq!(veth.clock, None);
    let bare = told(0x18, 0, 0, [0, 0]);
    assert!(bare.kernel_send.remedy().is_some() && bare.hardware_send.remedy().is_some());
    let refused = || Err(io::Error::from_raw_os_error(libc::EPERM));
    let unknown = device("eth0".into(), &refused(), &Err(io::ErrorKind::Unsupported.into()));
    for one in [&unknown.kernel_send, &unknown.hardware_send, &unknown.hardware_receive] {
        assert!(matches!(one, Capability::Unavailable { errno: Some(libc::EPERM), .. }), "{one}");
        assert!(one.remedy().is_some());
    }
}

#[test]
fn every_error_of_opening_that_is_known_has_a_remedy() {
    for number in [
        libc::EPERM,
        libc::EACCES,
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EAFNOSUPPORT,
        libc::EPROTONOSUPPORT,
    ] {
        for mode in [SocketMode::Raw, SocketMode::Datagram] {
            let error = io::Error::from_raw_os_error(number);
            let remedy = remedy(mode, &error).unwrap();
            assert!(!remedy.contains('\n') && remedy.len() < 160, "{remedy}");
        }
    }
}
