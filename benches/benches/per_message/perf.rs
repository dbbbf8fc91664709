//! System calls, counted by the kernel. strace would stop the broker at each, and so change what it counts.

use std::io;
use std::path::Path;
use std::process::Command;

use benches::load::Plan;

use crate::runs::{self, Counted};

/// Columns of the table, and the calls that each stands for.
pub(crate) const KINDS: [(&str, &[&str]); 5] = [
    ("recv", &["recvfrom"]),
    ("send", &["sendto", "sendmsg"]),
    ("epoll", &["epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_ctl"]),
    ("write", &["write"]),
    ("futex", &["futex"]),
];

/// Per message.
pub(crate) struct SystemCalls {
    pub(crate) all: f64,
    pub(crate) kinds: [f64; KINDS.len()],
}

pub(crate) fn system_calls(plan: Plan) -> io::Result<SystemCalls> {
    let [start, all] = runs::both(perf, plan)?;
    let messages = (all.messages - start.messages) as f64;
    let each = |event: &str| (count(&all, event) - count(&start, event)) / messages;
    Ok(SystemCalls {
        all: each(ALL),
        kinds: KINDS.map(|(_, calls)| calls.iter().map(|call| each(&event(call))).sum()),
    })
}

fn perf(file: &Path) -> Command {
    let calls = KINDS.iter().flat_map(|(_, calls)| calls.iter());
    let events = calls.map(|call| event(call)).chain([ALL.to_owned()]).collect::<Vec<_>>().join(",");
    let mut command = Command::new("perf");
    command.args(["stat", "--field-separator=,", "--event", &events, "--output"]).arg(file);
    command
}

const ALL: &str = "raw_syscalls:sys_enter";

fn event(call: &str) -> String {
    format!("syscalls:sys_enter_{call}")
}

/// How often it came: `count,unit,event,...`.
fn count(counted: &Counted, event: &str) -> f64 {
    let mut lines = counted.text.lines().map(|line| line.split(','));
    let line = lines.find(|fields| fields.clone().any(|field| field == event));
    line.and_then(|mut fields| fields.next()?.parse().ok()).unwrap_or_default()
}
