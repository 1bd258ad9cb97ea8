# `make` alone lists what there is to do. Everything works in a clean checkout
# with Go, make and git; the linter is built here when it is first needed.

GO ?= go

# Stamped into the binary. They come from this checkout's own .git, never from
# a repository that happens to lie around an unpacked archive; a packager sets
# them by hand: make build VERSION=1.2.3 COMMIT=… DATE=…
# The date is the commit's, in UTC, so that one commit builds to one binary.
GIT := git --git-dir=.git --work-tree=.
VERSION := $(shell $(GIT) describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT := $(shell $(GIT) rev-parse HEAD 2>/dev/null || echo unknown)
DATE := $(shell TZ=UTC $(GIT) log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || echo unknown)
LDFLAGS = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

# The linter refuses code that is newer than the Go that built it, so its file
# carries both versions and a change of either builds it again.
GOLANGCI_LINT_VERSION := v2.15.0
TOOLS := $(CURDIR)/bin/tools
GOLANGCI_LINT = $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)-$(GO_VERSION)
GO_VERSION := $(shell $(GO) env GOVERSION)

# Knobs, to be set on the command line or in the environment.
TEST_FLAGS ?=
TEST_PG_MAJORS ?= 12,13,14,15,16,17,18
FUZZTIME ?= 30s
ORACLE_CASES ?= 2000
CONFORMANCE_PAIR ?= random
BENCH_FLAGS ?=
BENCH_COUNT ?= 6
DEMO_FLAGS ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## build bin/verifierd, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/verifierd ./cmd/verifierd

.PHONY: demo
demo: build ## break a copied database and watch verifierd find it (DEMO_FLAGS)
	@code=0; bin/verifierd demo $(DEMO_FLAGS) || code=$$?; \
	case $$code in \
	1) echo "demo: exit code 1 means \"diverged\", which is what the demo sets out to show." ;; \
	0) echo "demo: exit code 0 means \"match\", but the demo's databases differ: this is a bug." >&2; exit 1 ;; \
	*) echo "demo: exit code $$code: the demo did not finish; 1 (diverged) was expected." >&2; exit 1 ;; \
	esac

.PHONY: test
test: ## run every test; PostgreSQL servers are found or fetched (TEST_FLAGS)
	$(GO) test -timeout 25m $(TEST_FLAGS) ./...

.PHONY: test-race
test-race: ## the same under the race detector; needs a C compiler
	CGO_ENABLED=1 $(GO) test -race -timeout 30m $(TEST_FLAGS) ./...

.PHONY: test-matrix
test-matrix: ## the same against every supported PostgreSQL, and all types between all pairs (TEST_PG_MAJORS)
	VERIFIERD_TEST_PG_MAJORS=$(TEST_PG_MAJORS) $(GO) test -timeout 90m $(TEST_FLAGS) ./...
	VERIFIERD_TEST_PG_MAJORS=$(TEST_PG_MAJORS) VERIFIERD_CONFORMANCE_PAIR=all $(GO) test -timeout 60m -count=1 -v -run '^TestMatrix$$' ./internal/conformance

.PHONY: test-pair
test-pair: ## every type between one more pair of versions (CONFORMANCE_PAIR)
	VERIFIERD_CONFORMANCE_PAIR=$(CONFORMANCE_PAIR) $(GO) test -timeout 20m -count=1 -v -run '^TestPair$$' ./internal/conformance

.PHONY: lint
lint: $(GOLANGCI_LINT) ## check style and the direction of imports, and that go.mod is tidy
	$(GOLANGCI_LINT) run
	$(GO) mod tidy -diff

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format as the linter wants it
	$(GOLANGCI_LINT) fmt

.PHONY: fuzz
fuzz: ## fuzz each target for FUZZTIME, then ORACLE_CASES random tables against SQL
	@GO="$(GO)" FUZZTIME="$(FUZZTIME)" ORACLE_CASES="$(ORACLE_CASES)" sh tools/fuzz.sh

.PHONY: bench
bench: ## measure against the floor, then the pure packages, in benchstat's format
	$(GO) run ./bench $(BENCH_FLAGS)
	$(GO) test -run '^$$' -bench . -benchmem -count $(BENCH_COUNT) ./pkg/merkle ./pkg/rowhash

.PHONY: install-tools
install-tools: $(GOLANGCI_LINT) ## build the linter into bin/tools

# Built aside and moved, so that an interrupted build leaves no half a linter.
$(GOLANGCI_LINT):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS)/new CGO_ENABLED=0 $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@rm -f $(TOOLS)/golangci-lint-*
	@mv $(TOOLS)/new/golangci-lint $@ && rmdir $(TOOLS)/new

.PHONY: clean
clean: ## remove what was built, but not the tools
	rm -rf bin/verifierd dist cover.out
