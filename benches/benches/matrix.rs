//! Sol beside its peers over loopback, each broker in a process of its own: the cells of issue 7.
//!
//! Not by criterion: it measures one broker for many samples before the next one's turn, while here a run of every broker
//! must lie beside a run of every other, as what else the machine does changes faster than that. And a run has more than one
//! number: rate, latency or memory, and the broker's CPU time.
//!
//! `README.md` says what is measured and how to read it.

#[cfg(target_os = "linux")]
#[path = "matrix/cells.rs"]
mod cells;
#[cfg(target_os = "linux")]
#[path = "matrix/report.rs"]
mod report;
#[cfg(target_os = "linux")]
#[path = "matrix/run.rs"]
mod run;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return run::main();
    #[cfg(not(target_os = "linux"))]
    {
        eprintln!("the matrix is left out: only Linux tells what another process uses");
        std::process::ExitCode::SUCCESS
    }
}
