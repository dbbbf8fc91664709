//! What a thread does that is less urgent than what others do. Linux alone has a priority for each thread; elsewhere it
//! would be that of the whole process.

/// The calling thread runs from now on only where nobody else wants to, or hardly: three thousandths of the time. Who wakes
/// need not wait for it, as he would, up to the end of a time slice, for a thread that is less urgent by its niceness.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "neither std nor rustix has sched_setscheduler, and musl's does nothing")]
pub(super) fn to_all() {
    // The one field of what the kernel calls sched_param.
    let priority: libc::c_int = 0;
    // SAFETY: the kernel reads `priority`, and keeps nothing.
    _ = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_IDLE, &raw const priority) };
}

/// The calling thread gets from now on a third of what another does where both want all of it.
#[cfg(target_os = "linux")]
pub(super) fn to_most() {
    const NICENESS: i32 = 5;
    // It may always be raised.
    _ = rustix::process::setpriority_process(None, NICENESS);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn to_all() {}

#[cfg(not(target_os = "linux"))]
pub(super) fn to_most() {}
