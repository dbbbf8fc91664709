#!/usr/bin/env bash
# Makes the Debian package of the broker, and prints its path. Needs cargo-deb (cargo install --locked cargo-deb).
#
#   ci/deb.sh [OPTION OF `cargo deb`]…        such as --deb-version 1.2.3
#
# SOL_PROFILE  the profile of the build (default: dist; dev is quick to build and slow to serve)
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${SOL_PROFILE:-dist}
target=${CARGO_TARGET_DIR:-target}
# cargo deb takes it from here, whatever the profile.
package=$target/release/package

cargo build --quiet --locked -p sol --profile "$profile" >&2
rm -rf "$package"
mkdir -p "$package"
strip -o "$package/sol" "$target/${profile/#dev/debug}/sol"
"$package/sol" man "$package/man"
gzip -9n "$package"/man/*
"$package/sol" completions bash >"$package/sol.bash"
"$package/sol" completions zsh >"$package/_sol"
"$package/sol" completions fish >"$package/sol.fish"
cargo deb --quiet -p sol --no-build "$@"
