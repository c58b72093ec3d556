#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hostel_fuzz::environment_file(data));
