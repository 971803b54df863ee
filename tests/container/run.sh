#!/usr/bin/env bash
# Builds the unchanged Dockerfile with buildah and starts the image with podman and runc, on a machine that reaches no
# registry of images: the base images are made here, from Debian packages and this machine's Go, under the names that the
# Dockerfile asks for, in a store of their own.
# Needs root, Debian's buildah, podman, runc and debootstrap, and the module cache of a build of this tree.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/signalbox-test
rootfs=$cache/bookworm-rootfs
work=$(mktemp -d)
name=signalbox-test-$$
export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay}
store=(--root "$cache/containers" --runroot "$cache/containers-run") # podman wants the pair unchanged from run to run
# runc alone: crun and pasta ask for more than a nested machine gives. Limits may be lowered there, not raised.
podman=(podman "${store[@]}" --runtime runc --cgroup-manager cgroupfs --log-level fatal)

end() {
  "${podman[@]}" rm -f -t 2 "$name" >/dev/null 2>&1 || true
  umount "$cache/containers/overlay" 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT
fail() {
  echo "container: $*" >&2
  "${podman[@]}" logs "$name" >&2 2>/dev/null || true
  exit 1
}

base() { # base TAG: an image of that name is committed from what stands in $box
  buildah "${store[@]}" commit -q --rm "$box" "$1" >/dev/null
}
goversion=$(go env GOVERSION)
if [ "$(buildah "${store[@]}" inspect --type image --format '{{index .OCIv1.Config.Labels "toolchain"}}' docker.io/library/golang:1.26-bookworm 2>/dev/null)" != "$goversion" ]; then
  if [ ! -d "$rootfs" ]; then
    mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | grep -v '^#' | head -n1 | tr -d ' ' || true)
    rm -rf "$rootfs.part"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$rootfs.part" ${mirror:+"$mirror"} >"$work/debootstrap" 2>&1 ||
      { tail -n 20 "$work/debootstrap" >&2; exit 1; }
    mv "$rootfs.part" "$rootfs"
  fi
  box=$(buildah "${store[@]}" from scratch)
  buildah "${store[@]}" add -q "$box" "$rootfs" / >/dev/null
  buildah "${store[@]}" add -q "$box" "$(go env GOROOT)" /usr/local/go >/dev/null
  buildah "${store[@]}" config --label "toolchain=$goversion" --env GOPATH=/go --env GOCACHE=/gocache --env GOTOOLCHAIN=local --workingdir /go \
    --env PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$box"
  base docker.io/library/golang:1.26-bookworm
fi
if ! buildah "${store[@]}" inspect --type image gcr.io/distroless/static:nonroot >/dev/null 2>&1; then
  box=$(buildah "${store[@]}" from scratch)
  buildah "${store[@]}" config --user 65532:65532 --workingdir / "$box"
  base gcr.io/distroless/static:nonroot
fi

# The modules come from this machine's cache, served as a file proxy (go.sum still checks each of them), and so do packages
# that "make build" has compiled with the same flags.
go mod download
buildah "${store[@]}" bud --isolation chroot --pull-never --layers=false --format docker \
  --volume "$(go env GOMODCACHE)/cache/download:/modules:ro" --build-arg GOPROXY=file:///modules \
  --volume "$(go env GOCACHE):/gocache" --build-arg VERSION=test \
  -t localhost/signalbox:test . >"$work/build" 2>&1 || { tail -n 40 "$work/build" >&2; exit 1; }

# As a careful operator starts it: no rights, nothing writable but the state, few files and processes.
port=$((20000 + RANDOM % 20000))
"${podman[@]}" run -d --name "$name" --network host --read-only --cap-drop all --security-opt no-new-privileges --no-healthcheck \
  --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 -v /var/lib/signalbox \
  localhost/signalbox:test serve --host 127.0.0.1 --port "$port" >"$work/id" 2>"$work/err" || { cat "$work/err" >&2; exit 1; }

url=http://127.0.0.1:$port
for _ in $(seq 100); do
  curl -fsS -o /dev/null "$url/livez" 2>/dev/null && break
  sleep 0.1
done
curl -fsS "$url/livez" >/dev/null || fail "no answer from /livez"
curl -fsS "$url/readyz" >/dev/null || fail "no answer from /readyz"
answer=$(curl -fsS -H 'content-type: application/json' "$url/v1/signalbox/echo/messages" \
  -d '{"model":"echo","max_tokens":50,"messages":[{"role":"user","content":"hello from outside"}]}') || fail "no answer to a message"
case $answer in *'"hello from outside"'*) ;; *) fail "the message is answered by: $answer" ;; esac
"${podman[@]}" exec "$name" /signalbox health --port "$port" >/dev/null || fail "the health check fails inside"
[ "$("${podman[@]}" inspect --format '{{.Config.User}}' "$name")" = 65532:65532 ] || fail "it does not run as nonroot"
"${podman[@]}" stop -t 20 "$name" >/dev/null
[ "$("${podman[@]}" inspect --format '{{.State.ExitCode}}' "$name")" = 0 ] || fail "it does not end with 0 on SIGTERM"
echo "container: built, answered and stopped ($("${podman[@]}" image inspect --format '{{.Size}}' localhost/signalbox:test) bytes)"
