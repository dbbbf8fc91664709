#!/usr/bin/env bash
# The project's gate: what must pass before a change lands. Needs Rust; installs the peers that the tests
# run against where it may (Debian, as root), so that nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

# Installs a Debian package unless its program is there.
need() {
    if ! command -v "$1" >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2"
    fi
}

install_peers() {
    need mosquitto mosquitto
    need mosquitto_pub mosquitto-clients
    need ss iproute2
    need curl curl
    need openssl openssl
    need chromium chromium
    if ! python3 -c 'import paho.mqtt.enums, prometheus_client' 2>/dev/null; then
        # Debian's Python wants to hear that it is meant.
        python3 -m pip install --quiet 'paho-mqtt>=2,<3' prometheus-client 2>/dev/null ||
            python3 -m pip install --quiet --break-system-packages 'paho-mqtt>=2,<3' prometheus-client
    fi
    need node nodejs
    need npm npm
    # Where node looks for what is installed for all.
    NODE_PATH=${NODE_PATH:-$(npm root --global)}
    export NODE_PATH
    node -e 'require("mqtt")' 2>/dev/null || npm install --global --silent 'mqtt@5'
}

step "peers"
install_peers
# From here on a missing peer is a failure, not a reason to skip.
export SOL_REQUIRE_PEERS=1

step "format"
cargo fmt --all --check

step "dependencies"
# Building it takes longer than all the rest, so it is used where it is; the workflow on GitHub has it.
if ! command -v cargo-deny >/dev/null; then
    echo "skipped: cargo-deny is not installed"
elif [ -n "${SOL_ADVISORY_DB:-}" ]; then
    # A checkout of RustSec's advisory-db, where it cannot be fetched. cargo deny looks under a name made of its address.
    deny=$(mktemp -d)
    ln -s "$(realpath "$SOL_ADVISORY_DB")" "$deny/advisory-db-3157b0e258782691"
    sed "s|^\[advisories\]|&\ndb-path = \"$deny\"|" deny.toml >"$deny/deny.toml"
    cargo deny --offline --config "$deny/deny.toml" check
    rm -rf "$deny"
elif timeout 120 cargo deny fetch db; then
    cargo deny check
else
    cargo deny check bans licenses sources
    echo "skipped: advisories: no database can be fetched, and SOL_ADVISORY_DB names none"
fi

step "the systemd unit"
if command -v systemd-analyze >/dev/null; then
    # In tenths: the unit is at 1.5, where 10 is a program that may do anything.
    systemd-analyze security --offline=yes --threshold=20 --no-pager broker/sol.service | tail -1
else
    echo "skipped: systemd-analyze is not installed"
fi

# What reads the code and runs none of it.
read_code() {
    step "lints"
    cargo clippy --workspace --all-targets --quiet -- -D warnings

    step "documentation"
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

    step "other systems, and the static build"
    local target targets
    for target in x86_64-apple-darwin x86_64-unknown-freebsd x86_64-unknown-linux-musl; do
        # Tests run on the same system as those here.
        [[ $target = *-musl ]] && targets=(--lib --bins) || targets=(--all-targets)
        if rustup target add "$target"; then
            # Only Rust is looked at: the C in dependencies needs the other system's headers.
            TARGET_CC=true TARGET_AR=true \
                cargo clippy -p sol "${targets[@]}" --target "$target" --quiet -- -D warnings
        else
            echo "skipped: no standard library for $target"
        fi
    done
}

directory=${CARGO_TARGET_DIR:-target}/debug
# What is built here for the first time need not be ready to be built again.
[ -d "$directory" ] || export CARGO_INCREMENTAL=0
mkdir -p "$directory"
# What goes on beside this ends with it: groups of processes, which `set -m` makes.
beside=()
trap 'for group in "${beside[@]}"; do kill -- "-$group" 2>/dev/null || true; done' EXIT

step "tests, and what reads the code beside them"
# Tests mostly wait, so more of them run at once than there are processors, and what they leave of these is used to read the
# code. Cargo builds one thing at a time, so that begins when the tests are built; it gives way to them whenever they run.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
: >"$directory/gate-tests.log"
set -m
{
    until grep -q Running "$directory/gate-tests.log"; do sleep 1; done
    chrt --idle --pid 0 "$BASHPID"
    read_code
} >"$directory/gate-code.log" 2>&1 &
reader=$!
set +m
beside+=("$reader")
cargo test --workspace 2> >(tee "$directory/gate-tests.log" >&2)

step "tests of sockets, with the poller of other systems"
# All packages are named for their features, or the dependencies would be built once more.
cargo test --workspace --features sol/portable-poller \
    --test behaviour --test parallel --test survival --test tls --test unix_socket --test websocket

step "a plain cargo run is the broker"
cargo run --quiet -- --version | grep '^sol '

step "instructions of fixed work"
need valgrind valgrind
ci/counts.sh

step "the first five minutes of the README"
SOL_PROGRAM=$(realpath "$directory/sol") ci/first-minutes

step "the gate of other brokers, on this one"
log=$directory/gate-broker.log
set -m
"$directory/sol" -p 0 2>"$log" &
broker=$!
set +m
beside+=("$broker")
until address=$(grep -oE '127\.0\.0\.1:[0-9]+' "$log" | head -1) && [ -n "$address" ]; do
    kill -0 "$broker" || { cat "$log"; exit 1; }
    sleep 0.1
done
# The tests of the kit have built it.
CONFORMANCE=$directory/conformance CONFORMANCE_REPORT=$directory/conformance-report \
    ci/conformance.sh "mqtt://$address" --quiet --promises

code=0
wait "$reader" || code=$?
cat "$directory/gate-code.log"
exit "$code"
