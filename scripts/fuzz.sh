#!/bin/bash
# Runs every fuzz target of the module for the given time each (default one minute), one after the other.
# New inputs that fail are kept by Go under the package's testdata/fuzz, to be committed with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-1m}
failed=()
found=0
while read -r pkg target; do
	found=$((found + 1))
	echo "=== $target ($pkg)"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg" </dev/null || failed+=("$target ($pkg)")
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | while read -r pkg; do
	# `go test -list` prints the targets, then a line that begins with ok.
	go test -list '^Fuzz' "$pkg" | sed -n "s|^\(Fuzz[^ ]*\)\$|$pkg \1|p"
done)
echo "$found fuzz targets, ${#failed[@]} failed"
[ "$found" -gt 0 ] || { echo "no fuzz target was found: is everything compiling?" >&2; exit 1; }
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}" >&2; exit 1; }
