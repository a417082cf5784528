#!/bin/bash
# Runs the benchmarks and prints their figures: scripts/bench.sh [PATTERN]
# COUNT=6 scripts/bench.sh >new.txt gives benchstat something to compare.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/local/go/bin
echo "sregfs $(git describe --always --dirty 2>/dev/null || echo), $(go version), $(nproc) processors, $(uname -sr)"
exec go test -run '^$' -bench "${1:-.}" -benchmem -count "${COUNT:-1}" -timeout 60m -p 1 ./...
