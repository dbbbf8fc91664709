//! What another process has used. Linux alone tells; elsewhere all of it is `None`.

use std::fs;
use std::time::Duration;

/// The CPU time that the threads of a process have used so far, user and system.
pub fn cpu_time(process: u32) -> Option<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task")).ok()? {
        // In nanoseconds, where `stat` has ticks of 10 ms.
        let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += schedstat.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanoseconds))
}

/// The bytes of memory that a process has resident.
pub fn memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib = resident.split_whitespace().next()?.parse::<u64>().ok()?;
    Some(kib << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn this_process_has_used_something() {
        assert!(cpu_time(process::id()).unwrap() > Duration::ZERO);
        assert!(memory(process::id()).unwrap() > 100 << 10);
    }
}
