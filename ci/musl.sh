#!/usr/bin/env bash
# Builds `sol` as one file that needs no library of the system, and prints its path. Needs rustup, and musl-gcc for the C
# in dependencies (Debian: musl-tools).
#
# SOL_PROFILE  the profile of the build (default: dist; dev is quick to build and slow to serve)
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${SOL_PROFILE:-dist}
target=$(uname -m)-unknown-linux-musl
rustup target add "$target" >&2
cargo build --quiet --locked -p sol --profile "$profile" --target "$target" >&2
program=${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/sol
if readelf --dynamic "$program" | grep -q NEEDED; then
    echo "$program needs libraries" >&2
    exit 1
fi
"$program" --version >&2
printf '%s\n' "$program"
