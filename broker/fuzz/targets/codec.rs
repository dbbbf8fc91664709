#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sol::fuzzing::codec(bytes));
