#!/usr/bin/env bash
# The real Claude Code as a client of a real gateway, which SIGNALBOX_BIN names. Without npm and without a Claude Code that is
# there already nothing runs, unless SIGNALBOX_REQUIRE_REAL=1 asks for it.
set -euo pipefail
cd "$(dirname "$0")"
: "${SIGNALBOX_BIN:?name the gateway: make build, then SIGNALBOX_BIN=bin/signalbox}"
if [ -z "${SIGNALBOX_TEST_CLAUDE:-}" ]; then
  if command -v npm >/dev/null; then
    SIGNALBOX_TEST_CLAUDE=$(../scripts/get-claude-code.sh)
    export SIGNALBOX_TEST_CLAUDE
  fi
fi
cd claude-code
exec go test -count=1 -timeout 10m -v ./...
