#!/bin/sh
# Builds the gateway and the harness and runs the paired measurement: servers on CPU 0, the upstream and the load on CPU 1.
# Arguments go to "bench run": bench/run.sh -only direct,floor,signalbox -rounds 5; bench/run.sh -check.
# SIGNALBOX_BIN measures another binary than this tree's.
set -eu
cd "$(dirname "$0")"
OUT=${OUT:-results}
mkdir -p "$OUT/home" "$OUT/state" "$OUT/state2"
if [ -z "${SIGNALBOX_BIN:-}" ]; then
  SIGNALBOX_BIN=$PWD/$OUT/signalbox
  (cd .. && CGO_ENABLED=0 go build -trimpath -tags nomsgpack -ldflags '-s -w' -o "$SIGNALBOX_BIN" ./cmd/signalbox)
fi
export SIGNALBOX_BIN
go build -o "$OUT/bench" .
exec taskset -c "${LOAD_CPU:-1}" "$OUT/bench" run -config contenders.json -out "$OUT" \
  -server-cpu "${SERVER_CPU:-0}" -load-cpu "${LOAD_CPU:-1}" "$@"
