#![no_main]
#[path = "../../tests/fuzz/targets.rs"]
#[allow(dead_code, reason = "the other targets")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::head(data));
