//! Room in the process's table of descriptors, made before it is needed.
//!
//! Linux doubles the table whenever it is full. With threads, the one that opened a descriptor waits then until no other
//! can still look at the old table, 10 to 20 ms: from 64 to 8,192 seven times, and whoever it serves waits with it.

/// Makes room for so many, as far as the process may have them.
#[cfg(target_os = "linux")]
pub(super) fn make_room(count: usize) {
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::io::fcntl_dupfd_cloexec;
    use rustix::process::{Resource, getrlimit};

    /// Half a megabyte of the kernel's memory. A larger table doubles seldom.
    const MOST: u64 = 65_536;

    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST);
    let last = i32::try_from(allowed.min(count as u64)).unwrap_or(i32::MAX) - 1;
    // The table keeps its size when the last of them is closed. Without room it grows later.
    if let Ok(any) = eventfd(0, EventfdFlags::CLOEXEC) {
        _ = fcntl_dupfd_cloexec(any, last);
    }
}

/// Not known to wait there.
#[cfg(not(target_os = "linux"))]
pub(super) fn make_room(_: usize) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_room() {
        make_room(1000);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        assert!(size.trim().parse::<usize>().unwrap() >= 1000, "{size}");
    }
}
