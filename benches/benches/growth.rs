//! What becomes of Sol as things grow: what a message costs among ever more connections, subscriptions, topics, retained
//! messages and subscribers, what each of these costs, and what more threads give.
//!
//! Not by criterion, for the reasons of `matrix.rs`.

#[cfg(target_os = "linux")]
#[path = "growth/measure.rs"]
mod measure;
#[cfg(target_os = "linux")]
#[path = "growth/report.rs"]
mod report;
#[cfg(target_os = "linux")]
#[path = "growth/run.rs"]
mod run;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return run::main();
    #[cfg(not(target_os = "linux"))]
    {
        eprintln!("growth is left out: only Linux tells what another process uses");
        std::process::ExitCode::SUCCESS
    }
}
