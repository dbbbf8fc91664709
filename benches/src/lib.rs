//! What the benches have in common: a load client that costs little, the brokers it runs against, tables and plots.
//!
//! The benches themselves stand in `benches/benches/`; `README.md` says how to run and read them.

pub mod counts;
pub mod frames;
#[cfg(target_os = "linux")]
pub mod load;
pub mod options;
#[cfg(target_os = "linux")]
pub mod peers;
pub mod plot;
pub mod samples;
pub mod stage;
pub mod usage;

/// The allocator of the command `sol`: what is measured is what runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
