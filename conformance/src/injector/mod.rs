//! The kit's fault injector: a man in the middle that makes a correct broker seem to break the standard in one exact way.
//!
//! It proves that scenarios can fail. [`FAULTS`] are the ways in which a broker can break the statements; a [`Proxy`]
//! feigns one of them; [`self_test`] shows which scenario notices.

mod fault;
mod faults;
mod hand;
mod proxy;
mod self_test;
mod topic;
mod twins;

pub use fault::Fault;
pub use faults::FAULTS;
pub use proxy::{Face, Proxy};
pub use self_test::{Options, Report, Trial, self_test};
