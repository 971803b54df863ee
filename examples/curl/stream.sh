#!/usr/bin/env bash
# Streams an answer, then goes once around the tool loop: question, call, result, answer. Needs curl alone.
#   stream.sh [provider/model]        BASE is the gateway, default http://127.0.0.1:3456
set -euo pipefail
target=${1:-signalbox/echo}
base=${BASE:-http://127.0.0.1:3456}

ask() { # ask BODY: prints the events as they come
  curl -sS -N --fail-with-body "$base/v1/$target/messages" -H 'content-type: application/json' -d "$1"
}

echo "== a streamed answer"
ask '{"max_tokens":200,"stream":true,"messages":[{"role":"user","content":"Say: all signals are green."}]}'

tools='[{"name":"get_weather","description":"The weather of a city","input_schema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}]'
question='{"role":"user","content":"How is the weather in Oslo? Use get_weather."}'

echo "== the model calls a tool"
answer=$(ask '{"max_tokens":300,"tools":'"$tools"',"tool_choice":{"type":"tool","name":"get_weather"},"messages":['"$question"']}')
echo "$answer"
id=$(sed -n 's/.*"type":"tool_use","id":"\([^"]*\)".*/\1/p' <<<"$answer")
if [ -z "$id" ]; then
  echo "this model answered without a call" >&2
  exit 1
fi
content=$(sed 's/.*"content":\(\[.*\]\),"stop_reason".*/\1/' <<<"$answer")

echo "== the tool's result goes back, and the answer comes"
result='{"role":"user","content":[{"type":"tool_result","tool_use_id":"'"$id"'","content":"Oslo: 4 degrees, light snow"}]}'
ask '{"max_tokens":300,"stream":true,"tools":'"$tools"',"messages":['"$question"',{"role":"assistant","content":'"$content"'},'"$result"']}'
