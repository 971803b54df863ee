#!/usr/bin/env bash
# The plan that this project grew from, from end to end: an agent named oss:code-reviewer is set to ollama/codellama; its requests go
# to a real Ollama and cost nothing; with Ollama gone Claude answers, and says so; without a fallback there is a clear error.
# Needs SIGNALBOX_BIN, and a server of its own to stop: tests/with-ollama.sh tests/acceptance/acceptance.sh
set -euo pipefail
cd "$(dirname "$0")"
: "${SIGNALBOX_BIN:?name the gateway: make build, then SIGNALBOX_BIN=bin/signalbox}"
if [ -z "${SIGNALBOX_TEST_OLLAMA_URL:-}" ]; then
  [ "${SIGNALBOX_REQUIRE_REAL:-}" != 1 ] || { echo "no real Ollama" >&2; exit 1; }
  echo "skipped: no real Ollama"
  exit 0
fi
signalbox=$(realpath "$SIGNALBOX_BIN")
dir=$(mktemp -d)
claude=
end() {
  HOME=$dir "$signalbox" stop --port "$port" >/dev/null 2>&1 || true
  [ -z "$claude" ] || kill "$claude" 2>/dev/null || true
  rm -rf "$dir"
}
passed=0
fail() { echo "FAIL: $*" >&2; [ ! -e "$dir/answer" ] || cat "$dir/head" "$dir/answer" >&2; exit 1; }
ok() { passed=$((passed + 1)); echo "ok    $*"; }
# has WHAT TEXT: the last answer, head and body, holds the text.
has() { cat "$dir/head" "$dir/answer" | tr -d '\r' | grep -qiF -- "$2" || fail "$1: no $2"; }
port=$((20000 + RANDOM % 12000))
trap end EXIT
url=http://127.0.0.1:$port

go build -o "$dir/anthropic" ./anthropic
"$dir/anthropic" "$dir/credentials" >"$dir/claude-url" &
claude=$!
for _ in $(seq 100); do [ -s "$dir/claude-url" ] && break; sleep 0.05; done

# The user's machine: a home, an Ollama with codellama, an Anthropic account of the caller's own.
curl -fsS "$SIGNALBOX_TEST_OLLAMA_URL/api/copy" -d '{"source":"echo","destination":"codellama"}'
mkdir -p "$dir/.config/signalbox" "$dir/project"
cat >"$dir/.config/signalbox/config.yaml" <<YAML
listen: 127.0.0.1:$port
providers:
  ollama: {kind: ollama, base_url: "$SIGNALBOX_TEST_OLLAMA_URL"}
  anthropic: {kind: anthropic, base_url: "$(cat "$dir/claude-url")"}
YAML
run() { (cd "$dir/project" && env -i PATH="$PATH" HOME="$dir" "$signalbox" "$@"); }
ask() {
  local body=$1
  shift
  curl -sS -D "$dir/head" -o "$dir/answer" "$url/v1/messages" -H 'content-type: application/json' "$@" -d "$body"
}
question='{"model":"claude-sonnet-4-5","max_tokens":100,"messages":[{"role":"user","content":"Review this, please."}]}'
streamed=${question/\"max_tokens\"/\"stream\":true,\"max_tokens\"}
as=(-H 'x-signalbox-agent: oss:code-reviewer')
own=(-H 'x-api-key: sk-ant-of-the-caller')

# 1. Set it, and check it.
run models set oss:code-reviewer ollama/codellama >"$dir/out"
grep -q '"oss:code-reviewer": *"ollama/codellama"' "$dir/.oss/config.json" || fail "models set wrote $(cat "$dir/.oss/config.json")"
run agent-model-check --agent oss:code-reviewer >"$dir/check"
for part in '"useProxy":true' '"model":"ollama/codellama"' '"provider":"ollama"' "\"proxyUrl\":\"$url\"" '"fallbackEnabled":false'; do
  grep -qF "$part" "$dir/check" || fail "agent-model-check: no $part in $(cat "$dir/check")"
done
run agent-model-check --agent somebody-else >"$dir/check"
grep -qF '"useProxy":false' "$dir/check" || fail "an agent without an entry needs no proxy"
ok "set and checked"

# 2. Start it, send the agent's request, read the answer.
run start --json >"$dir/started"
grep -qF '"background":true' "$dir/started" || fail "start said $(cat "$dir/started")"
ask "$question" "${as[@]}"
has "the answer" 'Review this, please.'
has "who answered" 'x-signalbox-target: ollama/codellama'
has "what it cost" 'x-signalbox-cost-usd: 0'
ask "$streamed" "${as[@]}"
has "the streamed answer" 'event: message_stop'
ask '{"model":"claude-sonnet-4-5","max_tokens":100,"system":"<!-- OSS-ROUTE-AGENT: oss:code-reviewer -->","messages":[{"role":"user","content":"Marked."}]}'
has "the marked request" 'x-signalbox-target: ollama/codellama'
ok "answered by Ollama, named by header and by marker"

# 3. It costs nothing, and the book says whose it was.
run costs --json --by agent,provider >"$dir/costs"
grep -qF '"cost_nanousd":0' "$dir/costs" && grep -qF 'oss:code-reviewer' "$dir/costs" || fail "costs: $(cat "$dir/costs")"
run costs >"$dir/costs"
grep -qF '$0.00' "$dir/costs" || fail "costs does not show \$0"
run explain --agent oss:code-reviewer <<<"$question" >"$dir/explained"
grep -qF '"target":"ollama/codellama"' "$dir/explained" || fail "explain names another target"
ok "cost \$0"

# 4. Whoever has no entry goes to Claude with the credential of their own.
run models set other claude >/dev/null
for _ in $(seq 100); do # a running gateway watches the file
  ask "$question" -H 'x-signalbox-agent: other' "${own[@]}"
  grep -qi 'x-signalbox-target: anthropic/' "$dir/head" && break
  sleep 0.05
done
has "claude" 'This is Claude.'
grep -q 'sk-ant-of-the-caller' "$dir/credentials" || fail "the caller's own credential did not arrive"
ok "a change of the file is seen; claude gets the caller's own credential"

# 5. Stop it.
run stop >/dev/null
curl -fsS "$url/livez" >/dev/null 2>&1 && fail "it still answers after stop"
ok "stopped"

# 6. Ollama is gone. With the fallback enabled Claude answers, and everybody says so.
curl -fsS -X DELETE "$SIGNALBOX_TEST_OLLAMA_URL/api/delete" -d '{"model":"codellama"}'
if [ -n "${SIGNALBOX_TEST_OLLAMA_PID:-}" ]; then
  kill "$SIGNALBOX_TEST_OLLAMA_PID"
  for _ in $(seq 100); do curl -fsS "$SIGNALBOX_TEST_OLLAMA_URL/api/version" >/dev/null 2>&1 || break; sleep 0.05; done
fi
sed -i 's/"models": *{/&"fallbackEnabled":true,/' "$dir/.oss/config.json"
run agent-model-check --agent oss:code-reviewer >"$dir/check"
grep -qF '"fallbackEnabled":true' "$dir/check" || fail "fallbackEnabled is not seen in $(cat "$dir/.oss/config.json")"
run start --json >/dev/null
ask "$question" "${as[@]}" "${own[@]}"
has "the fallback's answer" 'This is Claude.'
has "the fallback's name" 'x-signalbox-fallback: ollama/codellama -> anthropic/claude-sonnet-4-5;'
grep -q '"msg":"fallback"' "$dir"/.oss/proxy-*.log || fail "the log does not name the fallback"
curl -fsS "$url/metrics" >"$dir/metrics"
grep -q '^signalbox_fallbacks_total{from="ollama/codellama"' "$dir/metrics" || fail "the metrics do not name the fallback"
run costs --rows --json >"$dir/rows"
grep -qF '"fallback":"ollama/codellama; ' "$dir/rows" || fail "the ledger does not name the fallback"
ok "answered by Claude, named as a fallback in header, log, metric and ledger"

# 7. Nobody pays with somebody else's credential, and nobody is left without a reason.
ask "$question" "${as[@]}"
has "without a credential" '"type":"error"'
has "without a credential" 'start it with: ollama serve'
sed -i 's/"fallbackEnabled":true,//' "$dir/.oss/config.json"
for _ in $(seq 100); do
  ask "$question" "${as[@]}" "${own[@]}"
  grep -qi 'HTTP/1.1 502' "$dir/head" && break
  sleep 0.05
done
has "with fallback disabled" 'HTTP/1.1 502'
has "with fallback disabled" 'ollama serve'
ok "a clear error with fallback disabled"
run stop >/dev/null
echo "$passed passed, 0 failed"
