#!/bin/bash
# Runs the benchmark of scripts/bench, whose doc.go says what it measures: scripts/bench.sh [-count N] [-only REGEXP] …
# Without a choice it takes some twenty minutes on an idle machine and writes RESULTS.md and cold-starts.svg there.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/local/go/bin
program=$(mktemp -d)
trap 'rm -rf "$program"' EXIT
go build -o "$program/bench" ./scripts/bench
"$program/bench" "$@"
