# Every target is a plain command or two; nothing here is needed to build or to test with Go alone:
#   go run -tags nomsgpack ./cmd/signalbox serve        (make run)
#   go test -tags nomsgpack ./...                       (make test)

GO      ?= go
TAGS    := -tags nomsgpack
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
CACHE   ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/signalbox-test
# The race detector needs a C compiler; without one the tests run plain.
RACE    := $(shell cc=$$($(GO) env CC); command -v $${cc%% *} >/dev/null 2>&1 && echo -race)
FUZZTIME ?= 5s

.PHONY: build run test test-real test-acceptance test-claude-code lint fuzz bench catalog docker ci clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath $(TAGS) -ldflags "$(LDFLAGS)" -o bin/signalbox ./cmd/signalbox

# Builds the gateway and runs it: make run ARGS="--port 4000"
run: build
	./bin/signalbox serve $(ARGS)

# All tests of the gateway. What a machine does not have (a real Ollama, a Prometheus) is named in the line before the last.
test:
	@$(GO) build -o bin/tally ./internal/testkit/tally
	$(if $(RACE),CGO_ENABLED=1 )$(GO) test $(RACE) $(TAGS) -json ./... 2>&1 | bin/tally

# The official SDKs as clients, beside a real Ollama when there is one. Needs node and npm.
test-real: build
	SIGNALBOX_BIN=$(CURDIR)/bin/signalbox tests/with-ollama.sh tests/sdks.sh

# The plan that it all grew from, from end to end, beside a real Ollama.
test-acceptance: build
	SIGNALBOX_BIN=$(CURDIR)/bin/signalbox tests/with-ollama.sh tests/acceptance/acceptance.sh

# The real Claude Code as a client, over scripted upstreams and beside a real Ollama when there is one. Needs npm, once.
test-claude-code: build
	SIGNALBOX_BIN=$(CURDIR)/bin/signalbox tests/with-ollama.sh tests/claude-code.sh

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	$(GO) vet $(TAGS) ./...
	@test -x $(CACHE)/bin/staticcheck || GOBIN=$(CACHE)/bin $(GO) install honnef.co/go/tools/cmd/staticcheck@v0.8.2
	$(CACHE)/bin/staticcheck $(TAGS) ./...

# A short run of every fuzz target, one after the other: make fuzz FUZZTIME=1m
fuzz:
	@scripts/fuzz.sh $(FUZZTIME)

# Benchmarks beside the code. The whole gateway under load, beside baselines: bench/run.sh
bench:
	$(GO) test $(TAGS) -run '^$$' -bench . -benchmem ./...

# Writes the price catalogue anew from its two sources; the difference is read like code.
catalog:
	cd tools/catalog && $(GO) run .

docker:
	docker build --build-arg VERSION=$(VERSION) -t signalbox:$(VERSION) .

ci:
	.ci/run

clean:
	rm -rf bin
