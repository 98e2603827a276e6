# `make` lists the targets. Needs Go and make; `make test` also wants gcc, for
# the race detector.

# The Kubernetes version of tests and demo: a folder of test/servers.
KUBERNETES ?= v1.37
# How long `make fuzz` runs each target.
FUZZTIME ?= 10m
# Which tests `make test` runs, e.g. RUN=TestInject.
RUN ?= .

# What `gatepass version` and `gatepass-agent --version` say.
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),devel)

export GATEPASS_TEST_KUBERNETES := $(KUBERNETES)
CACHE := $(or $(GATEPASS_CACHE),$(CURDIR)/.cache)
LINTER := $(CACHE)/tools/golangci-lint
RACE := $(if $(shell command -v gcc || command -v clang || command -v cc),-race)
# What `make build` builds, and where to; test/release has others built.
PROGRAMS = ./cmd/...
BIN = bin/

.PHONY: help build images servers test e2e sdk demo lint vuln fuzz bench bench-gateway bench-e2e generate check-drift clean clean-cache
.DEFAULT_GOAL := help

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

build: ## Build the commands into bin/.
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN) $(PROGRAMS)

images: ## Build the container images into bin/images/, without Docker.
	cd test && go run ./images/build -version "$(VERSION)" -out ../bin/images

servers: ## Build etcd, kube-apiserver and kubectl for the tests, once.
	cd test && go run ./servers/build $(ADDONS)

test: ADDONS = -cert-manager
test: servers ## Run all tests of both modules, on a real API server.
	@$(if $(RACE),,echo "No C compiler on the PATH: the tests run WITHOUT the race detector. Install gcc to have it.")
	cd test && go run ./tally -summary $(CACHE)/tests.summary .. . -- $(RACE) -count=1 -timeout=15m -run='$(RUN)' ./...

e2e: ## Run the tests on a real node with real pods. Linux, as root.
	cd test && go run ./servers/build -node
	cd test && go run ./tally -summary $(CACHE)/e2e.summary . -- -tags=e2e $(RACE) -count=1 -parallel=6 -timeout=30m -run='$(RUN)' ./machine ./e2e/...

sdk: servers ## Point the V2 API's public SDK at the gateway. Needs Node.js and npm.
	cd test && go run ./tally -summary $(CACHE)/sdk.summary . -- -tags=sdk -count=1 -timeout=10m -run='$(RUN)' ./gateway/sdk

demo: servers ## Show the whole path from an annotated pod to its session.
	cd test && go run ./demo

lint: $(LINTER) ## Check both modules with golangci-lint, and that no binary is tracked.
	cd test && go run ./tracked
	$(LINTER) run --allow-parallel-runners
	cd test && $(LINTER) run --allow-parallel-runners --config ../.golangci.yml

$(LINTER): test/tools/go.mod test/tools/go.sum
	@echo "Building golangci-lint; this takes about 4 minutes on 2 cores, once."
	cd test/tools && GOWORK=off CGO_ENABLED=0 go build -trimpath -buildvcs=false -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

vuln: ## Check both modules for known vulnerabilities (needs the internet).
	cd test/tools && GOWORK=off go build -o $(CACHE)/tools/govulncheck golang.org/x/vuln/cmd/govulncheck
	$(CACHE)/tools/govulncheck ./...
	cd test && $(CACHE)/tools/govulncheck ./...

fuzz: ## Run every fuzz target for FUZZTIME each.
	@set -e; for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			go test -run='^$$' -fuzz="^$$target$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=2s $$package; \
		done; \
	done

bench: servers ## Run the benchmarks of both modules.
	go test -run='^$$' -bench=. -benchmem ./...
	cd test && go test -run='^$$' -bench=. -benchmem -timeout=30m ./...

bench-gateway: servers ## Measure the gateway and print one table. Takes 7 minutes.
	cd test && go test -run='^$$' -bench=. -benchtime=1x -timeout=30m ./gateway

bench-e2e: ## Measure what a session adds to a pod's start. Linux, as root.
	cd test && go test -tags=e2e -run='^$$' -bench=. -benchtime=1x -timeout=30m ./e2e

generate: ## Write generated files again.
	go generate ./...
	cd test && go generate ./...

check-drift: ## Fail if go.mod files or generated files are not up to date.
	go mod tidy -diff
	cd test && go mod tidy -diff
	@before=$$(git status --porcelain; git diff); $(MAKE) --no-print-directory generate; \
	after=$$(git status --porcelain; git diff); \
	[ "$$before" = "$$after" ] || { git status --short; echo "Generated files were not up to date; commit what make generate wrote."; exit 1; }

clean: ## Remove built commands.
	rm -rf bin $(CACHE)/bin $(CACHE)/bin.lock $(CACHE)/tests.summary

clean-cache: clean ## Also remove built servers and tools; building them again takes minutes.
	rm -rf $(CACHE)
