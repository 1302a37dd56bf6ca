//! The limits of a program that embeds the library.

use precompute::script::{Host, Limits, Settings};

#[test]
fn a_host_goes_on_after_a_script_that_met_a_limit() {
    let limits = Limits { steps: 10_000, memory: 1 << 20, ..Limits::default() };
    let host = Host::new(Settings { limits, ..Settings::default() }).unwrap();
    for (attack, sentence) in [
        ("loop {}", "the script takes more than 10000 steps"),
        (
            "let a = []; for i in 0..100 { a.push(zeros([10000])) }",
            "a tensor [10000] does not fit in memory: it takes 39.1 KiB, and tensors may take 1.0 MiB, of which 1015.6 KiB are taken",
        ),
        (
            "zeros([1000000])",
            "a tensor [1000000] does not fit in memory: it takes 3.8 MiB, and tensors may take 1.0 MiB",
        ),
        ("blob(10000000)", "the run needs more than 1.0 MiB of memory"),
    ] {
        let failure = host.eval(attack).unwrap_err();
        assert_eq!(failure.message(), sentence, "{attack}");
        assert_eq!(host.eval("zeros([1000]).numel + 1").unwrap().as_int(), Ok(1001), "{attack}");
    }
}
