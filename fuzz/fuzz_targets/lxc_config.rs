#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hostel_fuzz::lxc_config(data));
