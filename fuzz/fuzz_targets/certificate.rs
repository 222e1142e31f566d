#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| netsonde_fuzz::certificate(der));
