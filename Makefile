# Every habit of this project has a target here; `make check` is exactly what CI runs.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# The tag keeps gRPC's tracing pages, and with them html/template, out of the executable (docs/dependencies.md).
TAGS := grpcnotrace
export GOFLAGS := -buildvcs=false -tags=$(TAGS)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
FUZZTIME ?= 10s
# The packages that have end-to-end tests, one after another: each starts Engines of its own.
E2E = $(sort $(patsubst %/,./%,$(dir $(shell grep -rlE '^//go:build .*e2e' --include='*_test.go' cmd internal task))))
LINT := go tool -modfile=tools/checks/go.mod golangci-lint

##@ Every day

build: ## the host's executable, bin/contenttrust
	go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/contenttrust ./cmd/contenttrust

test: packages unit e2e ## all tests: those that need no Engine first, then end to end

unit: ## the tests that need nothing but Go and Node, in under a minute
	go test -shuffle=on ./...
	node --test $(or $(wildcard task/launcher/*.test.js),$(error no tests of the launcher))

fmt: ## format the Go files
	$(LINT) fmt

generate: ## make the generated pages of docs/ again
	go test ./task -run IsGenerated -update

cover: ## which lines the tests without an Engine reach; .cache/cover.html shows them
	mkdir -p .cache
	go test -coverprofile=.cache/cover.out -coverpkg=./cmd/contenttrust,./internal/...,./task/... ./...
	go tool cover -html=.cache/cover.out -o .cache/cover.html
	go tool cover -func=.cache/cover.out | tail -n 1

demo: ## build, push and sign an example on a stack of its own
	go run ./tools/package -host-only
	go run ./cmd/playground demo

##@ What check is made of

check: fmt-check packages unit lint vuln package race test ## what CI runs, fast failures first; what unit has run is not run again

fmt-check: ## fails when a Go file is not formatted
	@unformatted="$$(gofmt -s -l cmd internal task tools)"; \
	if [ -n "$$unformatted" ]; then printf 'not formatted, make fmt helps:\n%s\n' "$$unformatted"; exit 1; fi

lint: ## the rules of .golangci.yml
	$(LINT) run ./...

vuln: ## the vulnerability database; ../shared/vulndb where there is one, else the public one
	go run ./tools/vuln

packages: ## Debian's packages that the tests ask, installed where they are missing and it may
	go run ./tools/prepare -packages

race: packages ## the tests that need no Engine, under the race detector
	CGO_ENABLED=1 go test -race -shuffle=on ./...

prepare: ## what e2e needs: Debian's packages, and the programs that Debian lacks
	go run ./tools/prepare

e2e: prepare ## end to end: real Engines, registry, Notary server; the docker CLI 28 and notary judge
	go test -tags=$(TAGS),e2e -count=1 -p 1 -timeout 40m $(or $(E2E),$(error no end-to-end tests))

package: ## dist/task and dist/*.vsix
	go run ./tools/package

##@ Now and then

bench: prepare ## time and memory beside the docker CLI, into docs/performance.md
	go run ./tools/bench -write

fuzz: ## every fuzz target for FUZZTIME (10s)
	@found=0; \
	while IFS=: read -r file name; do \
		found=$$((found + 1)); \
		echo "== $$name in $$(dirname "$$file")"; \
		go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")"; \
	done < <(grep -roE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' cmd internal task tools | sed 's/:func /:/'); \
	if [ "$$found" = 0 ]; then echo 'no fuzz target found'; exit 1; fi; \
	echo "$$found fuzz targets"

clean: ## remove what was built; the programs in .cache stay
	rm -rf bin dist

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build test packages unit fmt generate cover demo check fmt-check lint vuln race prepare e2e package bench fuzz clean help
.NOTPARALLEL:
