//! Which sockets are ready: asked of the system once a turn of a thread.
//!
//! async-io registers anew for each wait, which is right for any number of
//! tasks on a socket and any kind of source. A connection here is one task
//! on one thread, so one edge-triggered registration serves it for life, and
//! a turn is a single system call. Where there is no epoll, `polling` serves;
//! so it does on Linux with the feature `portable-poller`, for tests.

#[cfg(all(target_os = "linux", any(test, not(feature = "portable-poller"))))]
mod epoll;
#[cfg(any(not(target_os = "linux"), test, feature = "portable-poller"))]
mod portable;

#[cfg(all(target_os = "linux", not(feature = "portable-poller")))]
pub(super) use epoll::Poller;
#[cfg(any(not(target_os = "linux"), feature = "portable-poller"))]
pub(super) use portable::Poller;

/// The system's interface behind [`Poller`], by its name.
pub(super) const INTERFACE: &str = if cfg!(any(target_os = "linux", target_os = "android")) {
    "epoll"
} else if cfg!(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
)) {
    "kqueue"
} else if cfg!(any(target_os = "illumos", target_os = "solaris")) {
    "event ports"
} else if cfg!(windows) {
    "IOCP"
} else {
    "poll"
};

/// Sockets reported at a time.
const EVENTS: usize = 1024;

/// A socket that became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    /// The number it was added under.
    pub(super) key: usize,
    /// There is something to read, or the end.
    pub(super) readable: bool,
    /// There is room to write, or an error to find.
    pub(super) writable: bool,
    /// The end may stand behind what there is to read, and is not reported again.
    pub(super) ended: bool,
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use socket2::Socket;

    use super::Ready;

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

    fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        (near.into(), listener.accept().unwrap().0)
    }

    macro_rules! each_poller {
        ($($module:ident),*) => {$(
            mod $module {
                use super::*;
                use crate::net::poller::$module::Poller;

                /// Waits until the socket is reported as readable.
                fn wait_readable(poller: &Poller, near: &Socket) {
                    let mut ready: Vec<Ready> = Vec::new();
                    while !ready.iter().any(|ready| ready.key == 7 && ready.readable) {
                        poller.rearm(near, 7, true, false).unwrap();
                        ready.clear();
                        poller.wait(&mut ready, PATIENCE).unwrap();
                        assert!(!ready.is_empty(), "nothing came");
                    }
                }

                #[test]
                fn reports_what_comes_each_time() {
                    let poller = Poller::new().unwrap();
                    let (mut near, mut far) = pair();
                    poller.add(&near, 7).unwrap();
                    for _ in 0..3 {
                        far.write_all(b"x").unwrap();
                        wait_readable(&poller, &near);
                        assert_eq!(near.read(&mut [0; 8]).unwrap(), 1);
                    }
                    drop(far);
                    wait_readable(&poller, &near);
                    poller.delete(&near).unwrap();
                    poller.add(&near, 7).unwrap();
                    poller.close(&near);
                }

                #[test]
                fn a_notification_ends_a_wait() {
                    let poller = Poller::new().unwrap();
                    for _ in 0..3 {
                        std::thread::scope(|scope| {
                            scope.spawn(|| poller.notify());
                            poller.wait(&mut Vec::new(), None).unwrap();
                        });
                    }
                }
            }
        )*};
    }

    #[cfg(target_os = "linux")]
    each_poller!(epoll, portable);
    #[cfg(not(target_os = "linux"))]
    each_poller!(portable);
}
