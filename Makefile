# rollcall: everything a developer runs. `make help` lists the targets.

GO            ?= go
GOFMT         ?= gofmt
BIN           := bin
# The release, as git tells it; a source archive without git is "devel".
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT        ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS       := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
# The stamp above replaces Go's own, which fails where git refuses the folder of another user.
BUILDFLAGS    := -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

# What the tests start: a Redis of their own on a private port, and real SIP clients.
TEST_PACKAGES ?= redis-server sip-tester baresip-core linphone-cli libpurple0 python3 openssl
BENCH_PACKAGES ?= kamailio kamailio-presence-modules kamailio-mysql-modules mariadb-server redis-server
RACE_PACKAGES ?= gcc libc6-dev

TEST_TIMEOUT  ?= 10m
TEST_ARGS     ?=
PKG           ?= ./...
FUZZTIME      ?= 30s
NIGHTLY       ?= 20
BENCH_ARGS    ?=
GOLANGCI      := golangci-lint
GOLANGCI_VERSION := v2.15.0

# No cgo: the binary is static, and a machine without a C compiler builds it.
export CGO_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help run build test test-packages race fuzz lint bench nightly conformance docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build, and start a server to try things on (loopback, accounts alice, bob, carol)
	@./$(BIN)/rollcall dev

build: ## build the commands into ./bin
	@mkdir -p $(BIN)
	$(GO) build $(BUILDFLAGS) -o $(BIN)/ ./cmd/...

test: test-packages ## install what the tests need, then vet, check formatting and run every test
	$(GO) mod download
	@unformatted=$$($(GOFMT) -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	@$(GO) run ./.ci/testsum -count=1 -timeout $(TEST_TIMEOUT) $(TEST_ARGS) $(PKG)

test-packages:
	@.ci/packages $(TEST_PACKAGES)

race: test-packages ## run every test under the race detector (needs a C compiler, installs one)
	@.ci/packages $(RACE_PACKAGES)
	@CGO_ENABLED=1 $(GO) run ./.ci/testsum -race -count=1 -timeout 30m $(TEST_ARGS) $(PKG)

fuzz: ## run each fuzz target for FUZZTIME (30s)
	@GO=$(GO) .ci/fuzz $(FUZZTIME)

lint: $(BIN)/$(GOLANGCI)-$(GOLANGCI_VERSION) ## run golangci-lint (built into ./bin the first time)
	$(BIN)/$(GOLANGCI)-$(GOLANGCI_VERSION) run ./...

$(BIN)/$(GOLANGCI)-$(GOLANGCI_VERSION):
	@mkdir -p $(BIN)
	GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(BIN)/$(GOLANGCI) $@

bench: ## measure beside Kamailio on this machine and print the ratios (BENCH_ARGS)
	@.ci/packages $(BENCH_PACKAGES)
	@$(GO) run ./bench/compare $(BENCH_ARGS)

nightly: test-packages ## the long runs: NIGHTLY (20) kills under load, linters, fuzzing, race detector
	@ROLLCALL_NIGHTLY=$(NIGHTLY) $(GO) run ./.ci/testsum -count=1 -timeout 3h ./integration/...
	@$(MAKE) lint fuzz race

conformance: ## regenerate docs/conformance.md from the RFC citations in the source
	$(GO) run ./rfc/conformance

docs: conformance ## regenerate everything in docs/ that is made from the source
	$(GO) generate ./...

clean: ## remove what was built
	rm -rf $(BIN) .bench
