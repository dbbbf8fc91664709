//! `broker > restart`

use std::time::Instant;

use super::stage::Run;
use super::{Fault, seconds};
use crate::instance::Restarts;

/// Who did it, in the trace.
const BROKER: &str = "broker";

impl Run<'_> {
    /// The process is killed, and started again with what it has on disk. Everybody's connection is gone, with what came on
    /// it and was not looked at.
    pub(super) fn restart(&mut self) -> Result<(), Fault> {
        let Some(Restarts::This(instance)) = &self.target.restarts else {
            return Err(Fault::new("a broker that the kit can restart", "the kit has not started it"));
        };
        instance.kill();
        self.trace.note(BROKER, "killed");
        for cast in &mut self.cast {
            drop(cast.leave());
        }
        let start = Instant::now();
        let back = instance.start_again();
        back.map_err(|error| Fault::new("the broker to start again", error.to_string()))?;
        self.trace.note(BROKER, format!("accepts connections again after {}", seconds(start.elapsed())));
        Ok(())
    }
}
