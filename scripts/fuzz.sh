#!/usr/bin/env bash
# A short run of every fuzz target, one after the other:
#   scripts/fuzz.sh [TIME]
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-5s}
out=$(mktemp)
trap 'rm -f "$out"' EXIT

one() { CGO_ENABLED=0 go test -tags nomsgpack -run '^$' -fuzz "^$2\$" -fuzztime "$time" "./$1" 2>&1 | tee "$out"; }

grep -rnoE --include='*_test.go' 'func Fuzz[A-Za-z0-9_]+' . | grep -vE '^\./(tests|bench|tools)/' |
  sed -E 's|^\./(.*)/[^/]*:[0-9]+:func (Fuzz.*)$|\1 \2|' | sort -u | while read -r room target; do
  echo "== $room $target"
  one "$room" "$target" && continue
  # Go's fuzzer sometimes takes the input that it was busy with when the time was up for a failure: it names the deadline, and
  # writes no input down. Only that is run again.
  grep -q 'context deadline exceeded' "$out" && ! grep -q 'Failing input' "$out" || exit 1
  echo "== $room $target, again"
  one "$room" "$target" || exit 1
done
