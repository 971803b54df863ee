#!/usr/bin/env bash
# Leaves a real Ollama server in "$1" (default: the cache folder where the tests look for it) and prints its path.
#
# The program comes by name through the Go module proxy. Its C++ part includes two header libraries that Debian packages, and
# an audio decoder that no test of ours needs: a stand-in that refuses every clip takes its place.
# Cold it takes about 13 CPU minutes, once; a kept binary answers in under a second. Needs Go, a C++ compiler, and for the
# headers either a Debian-like system with root or the packages nlohmann-json and stb already installed.
set -euo pipefail

version=v0.17.4 # also internal/testkit/realollama.go
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/signalbox-test/ollama-$version}

if [ ! -x "$dir/ollama" ]; then
  include=$(mktemp -d)
  trap 'rm -rf "$include"' EXIT
  mkdir -p "$dir" "$include/miniaudio"

  if [ ! -e /usr/include/nlohmann/json.hpp ] || [ ! -e /usr/include/stb/stb_image.h ]; then
    apt-get install -y -q nlohmann-json3-dev libstb-dev >&2 ||
      { apt-get update -q >&2 && apt-get install -y -q nlohmann-json3-dev libstb-dev >&2; }
  fi

  cat >"$include/miniaudio/miniaudio.h" <<'HEADER'
/* A stand-in for the audio decoder that Ollama's C++ part includes: it refuses every clip. */
#pragma once
#include <stddef.h>
typedef int ma_result; typedef unsigned int ma_uint32; typedef unsigned long long ma_uint64;
#define MA_SUCCESS 0
enum ma_format { ma_format_f32 = 5 };
struct ma_decoder { int unused; }; struct ma_decoder_config { int unused; };
static inline ma_decoder_config ma_decoder_config_init(ma_format, ma_uint32, ma_uint32) { return {}; }
static inline ma_result ma_decoder_init_memory(const void *, size_t, const ma_decoder_config *, ma_decoder *) { return -1; }
static inline ma_result ma_decoder_get_length_in_pcm_frames(ma_decoder *, ma_uint64 *) { return -1; }
static inline ma_result ma_decoder_read_pcm_frames(ma_decoder *, void *, ma_uint64, ma_uint64 *) { return -1; }
static inline ma_result ma_decoder_uninit(ma_decoder *) { return 0; }
HEADER

  # Built beside its place and moved there whole, so that a broken-off build never looks like a server. Outside the module of
  # the working directory, since the build must not lean on its go.mod.
  mkdir -p "$dir/building"
  (cd "$include" && CGO_ENABLED=1 CPATH=$include GOFLAGS= GOBIN=$dir/building go install "github.com/ollama/ollama@$version" >&2)
  mv "$dir/building/ollama" "$dir/ollama"
  rmdir "$dir/building"
fi
echo "$dir/ollama"
