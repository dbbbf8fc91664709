#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    // A scenario, or a place in the text.
    if let Err(wrong) = conformance::scenario::parse("fuzz/any", "any.scenario", text) {
        assert!((1..=text.lines().count().max(1)).contains(&wrong.line));
        _ = wrong.to_string();
    }
});
