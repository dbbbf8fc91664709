//! This program once more, under callgrind.

use std::process::Command;
use std::{env, fs};

use benches::counts::Row;

use crate::WORK;

/// Where callgrind leaves what it counted, a file for each piece of work.
pub(crate) const DIRECTORY: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/counts");

/// Does the work and counts.
pub(crate) fn count() -> Result<Vec<Row>, String> {
    if cfg!(debug_assertions) {
        return Err(
            "this was built without optimisations: `ci/counts.sh` builds it as it is to be".to_owned()
        );
    }
    // Of the last time.
    _ = fs::remove_dir_all(DIRECTORY);
    fs::create_dir_all(DIRECTORY).map_err(|error| format!("{DIRECTORY}: {error}"))?;
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .args(["--toggle-collect=counts::measured", "--dump-after=counts::measured"])
        .arg(format!("--callgrind-out-file={DIRECTORY}/out"))
        .arg(program)
        .arg(WORK)
        .output()
        .map_err(|error| format!("valgrind, of Debian's package of that name: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "the work ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    names
        .lines()
        .zip(1..)
        .map(|(line, number)| {
            let (name, elements) = line.split_once('\t').ok_or(line)?;
            let elements: u32 = elements.parse().map_err(|_| line)?;
            let file = format!("{DIRECTORY}/out.{number}");
            let instructions = total(&fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?);
            let instructions =
                instructions.filter(|count| *count > 0).ok_or(format!("{file}: nothing was counted"))?;
            Ok(Row { name: name.to_owned(), instructions: instructions as f64 / f64::from(elements) })
        })
        .collect()
}

/// Of all that was counted.
fn total(file: &str) -> Option<u64> {
    let totals = ["totals:", "summary:"];
    let line = totals.iter().find_map(|start| file.lines().find_map(|line| line.strip_prefix(start)));
    line?.trim().parse().ok()
}
