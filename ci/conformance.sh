#!/usr/bin/env bash
# Holds a broker to the standard, and leaves every form of report where a CI collects them.
#
#   ci/conformance.sh URL [OPTION OF `conformance run`]…
#
# CONFORMANCE          the program (default: conformance, from the PATH)
# CONFORMANCE_VERSION  the version of MQTT (default: all that the kit speaks)
# CONFORMANCE_BASELINE a file of expected failures (default: none)
# CONFORMANCE_REPORT   the directory for the reports (default: conformance-report)
# CONFORMANCE_WAIT     how long the broker may take to be there (default: 30s)
# BROKER_USERNAME, BROKER_PASSWORD, BROKER_CA, …: as for `conformance run`
#
# The exit code is the program's: 0 conforms, 1 failures, 2 usage, 3 could not run.
set -euo pipefail

url=${1:?"usage: ci/conformance.sh URL [OPTION]…"}
shift
report=${CONFORMANCE_REPORT:-conformance-report}
mkdir -p "$report"

arguments=(--wait "${CONFORMANCE_WAIT:-30s}" --repro "$report/failing")
for form in html=html junit=xml json=json markdown=md; do
    arguments+=(--report "${form%=*}=$report/conformance.${form#*=}")
done
if [ -n "${CONFORMANCE_VERSION:-}" ]; then arguments+=(--version "$CONFORMANCE_VERSION"); fi
if [ -n "${CONFORMANCE_BASELINE:-}" ]; then arguments+=(--baseline "$CONFORMANCE_BASELINE"); fi

code=0
"${CONFORMANCE:-conformance}" run "$url" "${arguments[@]}" "$@" || code=$?
# The page that GitHub shows of a run.
if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -f "$report/conformance.md" ]; then
    cat "$report/conformance.md" >>"$GITHUB_STEP_SUMMARY"
fi
exit "$code"
