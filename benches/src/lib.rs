//! What the benches have in common: a load client that costs little, and the brokers it runs against.
//!
//! The benches themselves stand in `benches/benches/`; `README.md` says how to run and read them.

pub mod cpu;
pub mod frames;
pub mod load;
pub mod peers;

/// The allocator of the command `sol`: what is measured is what runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
