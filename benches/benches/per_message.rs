//! What a message costs a broker in a process of its own, over loopback, in figures that no clock has a part in: system
//! calls, allocations, instructions in user space. Prints a table in Markdown.
//!
//! Each run is made twice, once only until the first messages are through. What that took is taken off: what the broker does
//! at its start and end, and connecting and subscribing.

#[cfg(target_os = "linux")]
#[path = "per_message/callgrind.rs"]
mod callgrind;
#[cfg(target_os = "linux")]
#[path = "per_message/perf.rs"]
mod perf;
#[cfg(target_os = "linux")]
#[path = "per_message/runs.rs"]
mod runs;
#[cfg(target_os = "linux")]
#[path = "per_message/table.rs"]
mod table;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return table::main();
    #[cfg(not(target_os = "linux"))]
    {
        eprintln!("the costs of a message are left out: perf is Linux's");
        std::process::ExitCode::SUCCESS
    }
}
