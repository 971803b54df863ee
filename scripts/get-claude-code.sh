#!/usr/bin/env bash
# Leaves the real Claude Code in the cache folder where the tests look for it and prints its path. Needs npm, once (360 MB).
#
# Its program is a native binary in a package of its own for each platform, so nothing needs to run at install time.
set -euo pipefail

version=2.1.330
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/signalbox-test/claude-code-$version}

if [ ! -x "$dir/claude" ]; then
  # Installed beside its place and moved there whole, so that a broken-off installation never looks like a client.
  rm -rf "$dir.installing"
  mkdir -p "$dir.installing"
  npm install --prefix "$dir.installing" --ignore-scripts --no-audit --no-fund --no-save "@anthropic-ai/claude-code@$version" >&2
  program=$(find "$dir.installing/node_modules/@anthropic-ai" -path '*/claude-code-*/claude' -type f | head -n 1)
  [ -n "$program" ] || { echo "no program of Claude Code for this platform" >&2; exit 1; }
  ln -s "${program#"$dir.installing"/}" "$dir.installing/claude"
  rm -rf "$dir"
  mv "$dir.installing" "$dir"
fi
echo "$dir/claude"
