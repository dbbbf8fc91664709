//! A row for each QoS, of one pair of clients and of ten.

use std::io;
use std::process::ExitCode;

use benches::load::{Pattern, Plan};
use sol::codec::QoS;

use crate::callgrind::{self, Work};
use crate::perf::{self, KINDS, SystemCalls};

pub(crate) fn main() -> ExitCode {
    match print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print() -> io::Result<()> {
    let kinds = KINDS.map(|(kind, _)| format!("`{kind}`")).join(" | ");
    println!("| 64 bytes | system calls | {kinds} | others | allocations | instructions |");
    println!("|---|---|{}---|---|---|", "---|".repeat(KINDS.len()));
    for pairs in [1, 10] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let plan = Plan::new(Pattern::Pairs, pairs, pairs, qos);
            let SystemCalls { all, kinds } = perf::system_calls(plan)?;
            let Work { allocations, instructions } = callgrind::work(plan)?;
            let others = all - kinds.iter().sum::<f64>();
            let kinds = kinds.map(|count| format!("{count:.5}")).join(" | ");
            println!(
                "| {pairs}→{pairs}, QoS {qos} | {all:.5} | {kinds} | {others:.5} | {allocations:.3} | {instructions:.0} |"
            );
        }
    }
    Ok(())
}
