#!/usr/bin/env bash
# Tries the package in a fresh Debian: installed, started by its unit's command line as its user, upgraded with what it
# holds and with an edited configuration, removed and purged. Needs root, debootstrap, cargo-deb and mosquitto's clients.
#
# SOL_PROFILE      as for ci/deb.sh
# SOL_DEBIAN_ROOT  a directory or tar file that debootstrap made (default: one is made anew)
# SOL_DEBIAN       the suite and mirror (default: bookworm http://deb.debian.org/debian)
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

# In a network and with processes of its own: the usual port is free, and nothing outlives it.
if [ "${1:-}" != inside ]; then
    work=$(mktemp -d)
    trap 'rm -rf --one-file-system "$work"' EXIT
    for program in debootstrap cargo-deb mosquitto_sub; do
        command -v "$program" >/dev/null || { echo "$program is not installed: see the head of $0" >&2; exit 1; }
    done
    [ "$(id -u)" = 0 ] || { echo "this makes a root directory, which takes root" >&2; exit 1; }
    step "packages"
    ci/deb.sh --output "$work/one.deb" >/dev/null
    version=$(dpkg-deb -f "$work/one.deb" Version)
    ci/deb.sh --deb-version "$version+next" --output "$work/two.deb" >/dev/null
    ls -l "$work"/*.deb
    step "a fresh Debian"
    read -ra debian <<<"${SOL_DEBIAN:-bookworm http://deb.debian.org/debian}"
    mkdir "$work/root"
    if [ -d "${SOL_DEBIAN_ROOT:-}" ]; then
        cp -a "$SOL_DEBIAN_ROOT/." "$work/root"
    elif [ -n "${SOL_DEBIAN_ROOT:-}" ]; then
        tar -xf "$SOL_DEBIAN_ROOT" -C "$work/root"
    else
        debootstrap --variant=minbase "${debian[0]}" "$work/root" "${debian[1]}" >"$work/log" || { cat "$work/log"; exit 1; }
    fi
    cp "$work"/*.deb "$work/root/"
    cp /etc/resolv.conf "$work/root/etc/"
    # What the package depends on; from here on there is no network.
    chroot "$work/root" apt-get -qq update
    chroot "$work/root" apt-get -qq install --yes --no-install-recommends adduser libgcc-s1 >/dev/null
    unshare --mount-proc --net --pid --fork --kill-child -- bash "$0" inside "$work/root"
    exit
fi

root=$2
ip link set lo up
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
inside() { chroot "$root" "$@"; }
# KEY's value in the unit.
unit() { sed -n "s/^$1=//p" "$root/usr/lib/systemd/system/sol.service"; }

# Starts what the unit says as whom it says, in the directories that it asks for, until it says that clients can connect.
start() {
    local directory
    for directory in $(unit RuntimeDirectory); do inside install -d -o "$(unit User)" -g "$(unit Group)" "/run/$directory"; done
    read -ra command <<<"$(unit ExecStart)"
    : >"$root/log"
    chroot "$root" setpriv --reuid "$(unit User)" --regid "$(unit Group)" --init-groups --no-new-privs --bounding-set=-all \
        "${command[@]}" 2>>"$root/log" &
    broker=$!
    until grep -q ' listens on ' "$root/log"; do
        kill -0 "$broker" 2>/dev/null || { cat "$root/log"; fail "it does not start"; }
        sleep 0.1
    done
}

stop() {
    kill "$broker"
    wait "$broker" || { cat "$root/log"; fail "it does not stop in order"; }
    # As systemd does.
    rm -r "$root/run/sol"
}

said() {
    local heard
    heard=$(timeout 10 mosquitto_sub -h 127.0.0.1 -t greeting -C 1) || fail "nothing is heard"
    [ "$heard" = "$1" ] || fail "heard $heard in place of $1"
}

install_package() { inside env DEBIAN_FRONTEND=noninteractive dpkg --force-confold --install "$1" >/dev/null; }

step "installed"
install_package /one.deb
[ "$(inside stat -c '%U:%G %a' /etc/sol)" = "root:sol 750" ] || fail "/etc/sol is $(inside stat -c '%U:%G %a' /etc/sol)"
[ "$(inside stat -c '%U:%G %a' /var/lib/sol)" = "sol:sol 700" ] || fail "/var/lib/sol"
inside getent passwd sol | grep -q nologin || fail "the user sol can log in"
[ -L "$root/etc/systemd/system/multi-user.target.wants/sol.service" ] || fail "the unit is not enabled"
inside sol -t -c /etc/sol/sol.conf
for file in man/man1/sol.1.gz man/man5/sol.conf.5.gz bash-completion/completions/sol; do
    # Where the root leaves documentation out, there is none.
    [ -e "$root/usr/share/$file" ] || inside grep -rqs '^path-exclude' /etc/dpkg/dpkg.cfg.d || fail "no $file"
done

step "started by its unit's command line"
start
mosquitto_pub -h 127.0.0.1 -t greeting -m hello -r -q 1
said hello
grep -q 'durable:' "$root/log" || fail "nothing would survive"
[ "$(stat -c %u "/proc/$broker")" = "$(inside id -u sol)" ] || fail "it does not run as sol"

step "upgraded"
echo '# The administrator was here.' >>"$root/etc/sol/sol.conf"
# Without systemd nobody restarts it.
stop
install_package /two.deb
inside sol --version
[ "$(inside dpkg-query -W -f '${Version}' sol)" = "$(dpkg-deb -f "$root/two.deb" Version)" ] || fail "the version"
grep -q 'The administrator was here' "$root/etc/sol/sol.conf" || fail "the configuration is lost"
start
said hello
stop

step "removed"
inside dpkg --remove sol >/dev/null
[ ! -e "$root/usr/bin/sol" ] || fail "the program is still there"
[ -e "$root/etc/sol/sol.conf" ] && [ -d "$root/var/lib/sol" ] || fail "what it holds is gone"
install_package /two.deb
start
said hello
stop

step "purged"
inside dpkg --purge sol >/dev/null
left=$(inside find / -xdev -iname 'sol*' -not -path '/proc/*' -not -path '/sys/*' | grep -vE '^/(usr/share/|usr/lib/(python|perl)|var/cache)' || true)
left=$(grep -E '(^|/)sol(\.|$)' <<<"$left" || true)
[ -z "$left" ] || fail "left behind: $left"

printf '\ninstalled, started, upgraded, removed and purged\n'
