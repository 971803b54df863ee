# The gateway as one static binary in an image without a shell, run by a user without rights.
#
#   docker build -t signalbox --build-arg VERSION=$(git describe --tags --always) .
#   docker run --rm -p 127.0.0.1:3456:3456 signalbox serve --host 0.0.0.0 --allow-open
#
# --allow-open serves a non-loopback address without keys; publish such a port on 127.0.0.1 only.

FROM golang:1.26-bookworm AS build
WORKDIR /src
# Behind a module proxy of your own: --build-arg GOPROXY=…; without it, the default of Go.
ARG GOPROXY
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
# nomsgpack leaves out a codec that nobody here speaks: six megabytes less.
RUN CGO_ENABLED=0 go build -trimpath -tags nomsgpack -ldflags "-s -w -X main.version=${VERSION}" -o /out/signalbox ./cmd/signalbox \
 && mkdir -p /out/state

FROM gcr.io/distroless/static:nonroot
COPY --from=build /out/signalbox /signalbox
# The ledger and the pid file live here. A named volume takes over this owner, so that nonroot (65532) may write.
COPY --from=build --chown=65532:65532 /out/state /var/lib/signalbox
ENV SIGNALBOX_STATE_DIR=/var/lib/signalbox
VOLUME /var/lib/signalbox
USER 65532:65532
EXPOSE 3456
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/signalbox", "health"]
ENTRYPOINT ["/signalbox"]
CMD ["serve"]
