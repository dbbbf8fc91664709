//! A gate that no noise fools: how many instructions fixed pieces of work take, against `benches/counts.tsv`.
//!
//! `ci/counts.sh` builds and runs it. The work is done in a process under callgrind, which counts what happens inside of
//! [`measured`] and nothing else.

#![expect(clippy::unwrap_used, reason = "the work stops when it goes wrong")]

#[path = "counts/callgrind.rs"]
mod callgrind;
#[path = "counts/workloads.rs"]
mod workloads;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use benches::counts::{Table, compiler};

/// What a count may grow by, in percent. Runs of one program differ by 0.4 at most; the rest is for other processors, for
/// which the C library copies memory in other ways, and for the compiler, which may lay out code in another way for a change
/// elsewhere.
const TOLERANCE: f64 = 3.0;
/// And with another compiler than the one that the table was made with.
const OTHER_COMPILER_TOLERANCE: f64 = 10.0;

/// Does the work, under callgrind.
const WORK: &str = "--work";
const ACCEPT: &str = "--accept";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => compare(),
        [ACCEPT] => accept(),
        [WORK] => {
            workloads::run();
            Ok(true)
        }
        _ => Err(format!("usage: ci/counts.sh [{ACCEPT}]")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing takes more instructions than it may.
fn compare() -> Result<bool, String> {
    let path = path();
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let accepted: Table = text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
    let compiler = compiler()?;
    if !accepted.is_of_host(&compiler) {
        println!("skipped: the counts are of {:?}, and this is {compiler:?}", accepted.compiler);
        return Ok(true);
    }
    let counted = callgrind::count()?;
    let is_same_compiler = accepted.compiler == compiler;
    let tolerance = if is_same_compiler { TOLERANCE } else { OTHER_COMPILER_TOLERANCE };
    let judged = accepted.judge(&counted, tolerance);
    print!("{}", judged.text);
    if !is_same_compiler {
        println!(
            "The table is of {:?}, and this is {compiler:?}: {tolerance} % are allowed.",
            accepted.compiler
        );
    }
    if !judged.is_good {
        println!(
            "`callgrind_annotate --threshold=100 out.NUMBER` says where the instructions go, in {}. If the change is worth \
             them, `ci/counts.sh {ACCEPT}` writes them to benches/counts.tsv, to be committed with it.",
            callgrind::DIRECTORY
        );
    } else if judged.is_better {
        println!("`ci/counts.sh {ACCEPT}` makes sure that it stays so.");
    }
    Ok(judged.is_good)
}

fn accept() -> Result<bool, String> {
    let table = Table { compiler: compiler()?, rows: callgrind::count()? };
    print!("{table}");
    fs::write(path(), table.to_string()).map_err(|error| error.to_string())?;
    Ok(true)
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.tsv")
}

/// All that callgrind counts.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    // So that the call above is not the function's last, and its work not done outside of it.
    std::hint::black_box(());
}
