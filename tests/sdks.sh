#!/usr/bin/env bash
# The official SDKs as clients of a real gateway: Go, then TypeScript. SIGNALBOX_BIN names the gateway.
set -euo pipefail
cd "$(dirname "$0")"
: "${SIGNALBOX_BIN:?name the gateway: make build, then SIGNALBOX_BIN=bin/signalbox}"
(cd sdk-go && go test -count=1 -v ./...)
if command -v npm >/dev/null; then
  cd sdk-ts
  [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --ignore-scripts --no-audit --no-fund
  npm test
elif [ "${SIGNALBOX_REQUIRE_REAL:-}" = 1 ]; then
  echo "no npm, but SIGNALBOX_REQUIRE_REAL=1 asks for the TypeScript SDK" >&2
  exit 1
else
  echo "skipped: no npm, so not the TypeScript SDK" >&2
fi
