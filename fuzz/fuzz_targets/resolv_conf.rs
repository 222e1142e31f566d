#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| netsonde_fuzz::resolv_conf(text));
