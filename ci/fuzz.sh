#!/usr/bin/env bash
# Runs the fuzz targets, each for so many seconds. Needs a nightly Rust and cargo-fuzz. Without a sanitizer: what is fuzzed
# has no `unsafe`, and what is looked for is a panic, a hang or an answer that does not hold.
#
#   ci/fuzz.sh [SECONDS [TARGET…]]            (default: 60, all)
set -euo pipefail
cd "$(dirname "$0")/../broker/fuzz"

seconds=${1:-60}
shift || true
if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046
    set -- $(cargo +nightly fuzz list --fuzz-dir .)
fi

# What is right already, where a file has it: it takes long to be found by chance.
seed() {
    mkdir -p "corpus/$1"
    case $1 in
        config) cp ../sol.conf corpus/config/ ;;
        scenario) find ../../scenarios -name '*.scenario' | head -50 | while read -r file; do cp "$file" "corpus/scenario/$(tr / - <<<"${file#../../}")"; done ;;
    esac
}

for target; do
    printf '\n== %s\n' "$target"
    seed "$target"
    cargo +nightly fuzz run --fuzz-dir . --sanitizer none "$target" -- -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -verbosity=0 -print_final_stats=1
done
