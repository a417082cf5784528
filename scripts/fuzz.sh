#!/bin/bash
# Runs every fuzz target of the module for the given time each (default one minute), one after the other.
# New inputs that fail are kept by Go under the package's testdata/fuzz, to be committed with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-1m}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
found=0

# fuzz PACKAGE TARGET
fuzz() {
	# Minimizing by count: by time, which is the default, it may take the whole run.
	go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 20x "$1" </dev/null 2>&1 | tee "$log" && return
	# On a busy machine Go takes the end of the time for a failure of the target now and then; then it has no input.
	! grep -q 'Failing input written\|panic:' "$log" && grep -q '^ *context deadline exceeded$' "$log"
}

for pkg in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do
	names=$(go test -list '^Fuzz' "$pkg") # the targets, then a line that begins with ok
	for target in $(grep '^Fuzz' <<<"$names" || true); do
		found=$((found + 1))
		echo "=== $target ($pkg)"
		fuzz "$pkg" "$target" || failed+=("$target ($pkg)")
	done
done
echo "$found fuzz targets, ${#failed[@]} failed"
[ "$found" -gt 0 ] || { echo "no fuzz target was found: is everything compiling?" >&2; exit 1; }
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}" >&2; exit 1; }
