#!/usr/bin/env bash
# Makes the Debian package of the broker, and prints its path. Needs cargo-deb (cargo install --locked cargo-deb).
#
#   ci/deb.sh [OPTION OF `cargo deb`]…        such as --deb-version 1.2.3
#
# SOL_PROFILE  the profile of the build (default: dist; dev is quick to build and slow to serve)
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${SOL_PROFILE:-dist}
directory=${CARGO_TARGET_DIR:-target}/$profile
if [ "$profile" = dev ]; then directory=${CARGO_TARGET_DIR:-target}/debug; fi

cargo build --quiet --locked -p sol --profile "$profile" >&2
"$directory/sol" man "$directory/package/man"
"$directory/sol" completions bash >"$directory/package/sol.bash"
"$directory/sol" completions zsh >"$directory/package/_sol"
"$directory/sol" completions fish >"$directory/package/sol.fish"
cargo deb --quiet -p sol --no-build --profile "$profile" "$@"
