#!/usr/bin/env bash
# Runs a command beside a real Ollama that has the models of tests/models, named by SIGNALBOX_TEST_OLLAMA_URL, and stops it
# afterwards. Without a server program the command runs without one, unless SIGNALBOX_REQUIRE_REAL=1 asks for it.
#   tests/with-ollama.sh COMMAND [ARGUMENT...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/^version=\([^ ]*\).*/\1/p' "$here/../scripts/get-ollama.sh")
program=${SIGNALBOX_TEST_OLLAMA:-${XDG_CACHE_HOME:-$HOME/.cache}/signalbox-test/ollama-$version/ollama}

if [ ! -x "$program" ]; then
  if [ "${SIGNALBOX_REQUIRE_REAL:-}" = 1 ]; then
    echo "no real Ollama at $program (scripts/get-ollama.sh builds one)" >&2
    exit 1
  fi
  echo "skipped: no real Ollama (scripts/get-ollama.sh builds one)" >&2
  exec "$@"
fi

dir=$(mktemp -d)
server=
end() {
  [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
  rm -rf "$dir"
}
trap end EXIT
# A port may be taken between looking and listening, so another one is tried.
for _ in 1 2 3 4 5; do
  export OLLAMA_HOST=127.0.0.1:$((20000 + RANDOM % 12000)) # below the ports that the system gives out by itself
  HOME=$dir OLLAMA_MODELS=$dir/models OLLAMA_NO_CLOUD=1 "$program" serve >"$dir/log" 2>&1 &
  server=$!
  for _ in $(seq 300); do
    curl -fsS -o /dev/null "http://$OLLAMA_HOST/api/version" 2>/dev/null && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  kill -0 "$server" 2>/dev/null && break
  grep -q 'address already in use' "$dir/log" || break
done
kill -0 "$server" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
for model in echo agent; do
  HOME=$dir "$program" create "$model" -f "$here/models/Modelfile.$model" >"$dir/create" 2>&1 || { cat "$dir/create" >&2; exit 1; }
done
SIGNALBOX_TEST_OLLAMA_URL=http://$OLLAMA_HOST
SIGNALBOX_TEST_OLLAMA_PID=$server # for a test that wants it gone
unset OLLAMA_HOST # the gateway under test finds it by its configuration alone
export SIGNALBOX_TEST_OLLAMA_URL SIGNALBOX_TEST_OLLAMA_PID
"$@"
