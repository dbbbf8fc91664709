//! Instructions and allocations, by callgrind. It runs one thread at a time and many times slower, so that more messages
//! come at a time: a broker with less to do makes more turns.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::Command;

use benches::load::Plan;

use crate::runs;

/// What the allocator of this package is asked by Rust.
const ALLOCATIONS: [&str; 3] = ["mi_malloc_aligned", "mi_zalloc_aligned", "mi_realloc_aligned"];

/// Per message.
pub(crate) struct Work {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

pub(crate) fn work(plan: Plan) -> io::Result<Work> {
    let [start, all] = runs::both(callgrind, plan)?;
    let messages = (all.messages - start.messages) as f64;
    let each = |count: fn(&str) -> u64| (count(&all.text) as f64 - count(&start.text) as f64) / messages;
    Ok(Work { instructions: each(instructions), allocations: each(allocations) })
}

fn callgrind(file: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet", "--fair-sched=yes"]);
    command.arg(format!("--callgrind-out-file={}", file.display()));
    command
}

fn instructions(text: &str) -> u64 {
    let total = text.lines().find_map(|line| line.strip_prefix("totals:"));
    total.and_then(|total| total.trim().parse().ok()).unwrap_or_default()
}

/// Calls of the allocator. A name is written once, behind a number that stands for it from there on: `cfn=(12) name`, then
/// `cfn=(12)`; the next line says how many calls there were: `calls=34 ...`.
fn allocations(text: &str) -> u64 {
    let mut names = HashMap::new();
    let (mut is_allocation, mut sum) = (false, 0);
    for line in text.lines() {
        let function = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn="));
        if let Some(function) = function {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if !name.is_empty() {
                names.insert(number, name);
            }
            is_allocation = names.get(number).is_some_and(|name| ALLOCATIONS.contains(name));
        } else if let Some(calls) = line.strip_prefix("calls=")
            && is_allocation
        {
            sum += calls.split(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        }
    }
    sum
}
