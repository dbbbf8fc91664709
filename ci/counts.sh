#!/usr/bin/env bash
# Counts the instructions of fixed pieces of work and holds them against benches/counts.tsv. `--accept` writes that file anew.
# Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."
# In pieces that depend on what was built before, code would not be the same each time.
export CARGO_INCREMENTAL=0
# As a test of the whole workspace, so that the dependencies are those that its tests have.
cargo test --quiet --workspace --bench counts --config benches/counts.toml -- "$@"
