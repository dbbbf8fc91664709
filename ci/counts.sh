#!/usr/bin/env bash
# Counts the instructions of fixed pieces of work and holds them against benches/counts.tsv. `--accept` writes that file anew.
# Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."
# In pieces that depend on what was built before, code would not be the same each time.
export CARGO_INCREMENTAL=0
# Of the whole workspace, so that its dependencies are those that its tests have.
cargo build --quiet --workspace --bin counts --config benches/counts.toml
exec "${CARGO_TARGET_DIR:-target}/debug/counts" "$@"
