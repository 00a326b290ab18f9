# Every target installs what it needs, quietly and once, and may be run again at any time.
# Knobs: V=1 shows test names; FUZZTIME, FUZZ; DURATION, KILLS, DUEL, SEED, TARGET, RACE, SIZES, CONSUMERS; SET; FORMAT; MODE; SQL, CONFIG, RECORD; KAFKA;
# ROWFERRY_TEST_PG15=URL and the like use a server you have; ROWFERRY_CACHE says where downloads are kept.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE ?= $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

DURATION ?= 2m
FUZZTIME ?= 1m
FUZZ ?= .
GOTEST := go test -timeout 45m -p 2 $(if $(V),-v)

.PHONY: help build test race lint generate verify fuzz torture conformance debezium-diff bench demo clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the static binary, build/rowferry
	@mkdir -p build
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o build/rowferry ./cmd/rowferry

# Pipelines into Kafka are heavy, and do not depend on the server's version.
KAFKA_TESTS := ^(TestKafka|TestFault27_SlowBrokers|TestFault7[89]|TestFault8[0-5]|TestFault.*Kafka)|^TestFailpoints$$/./^kafka$$|^TestPlantedBugsAreFound$$/kafka
E2E := $(GOTEST) -count=1

test: build ## all tests: units, and the real binary against real servers, Postgres 15 and 18, and Kafka
	@$(GOTEST) $$(go list ./... | grep -v /e2e)
	@$(GOTEST) -tags failpoints ./schema/failpoint ./sinks/file
	@$(E2E) ./e2e/...
	@ROWFERRY_TEST_MAJOR=18 $(E2E) -skip '$(KAFKA_TESTS)|^TestFailpoints$$' ./e2e ./e2e/faults ./e2e/load ./e2e/oracle

race: ## all unit tests under the race detector
	@e2e/install/tools.sh compiler >/dev/null
	@CGO_ENABLED=1 $(GOTEST) -race $$(go list ./... | grep -v /e2e)

lint: ## golangci-lint as .golangci.yml says, and vet of what build tags add
	@"$$(e2e/install/tools.sh golangci-lint)" run
	@go vet -tags failpoints ./...

generate: ## rewrite what is generated: reference pages, JSON Schema
	@go generate ./...

verify: lint ## lint, generated files up to date, import rules, known vulnerabilities
	@e2e/install/verify.sh generated
	@go test -count=1 -run '^TestImport' ./e2e
	@e2e/install/verify.sh vulnerabilities

fuzz: ## every fuzz target for FUZZTIME each, or those that FUZZ matches
	@e2e/install/fuzz.sh $(FUZZTIME) '$(FUZZ)'

torture: build ## load, random kills and oracles, for DURATION or KILLS, from SEED, into TARGET, with RACE=1; DUEL=10m: two daemons fight; SIZES=1: large things; CONSUMERS=1: Debezium's sink reads
	$(if $(RACE),@e2e/install/tools.sh compiler >/dev/null && CGO_ENABLED=1 go build -race -o build/rowferry-race ./cmd/rowferry)
	@go run ./e2e/torture $(if $(DUEL),-duel -duration $(DUEL),$(if $(KILLS),-kills $(KILLS),-duration $(DURATION))) $(if $(SEED),-seed $(SEED)) \
	  $(if $(TARGET),-targets $(TARGET)) $(if $(RACE),-binary build/rowferry-race) $(if $(SIZES),-sizes $(SIZES)) $(if $(CONSUMERS),-consumers)

debezium-diff: build ## SQL=FILE CONFIG=FILE: Debezium in Connect beside Rowferry, every record compared; RECORD=FOLDER keeps Debezium's
	@go run ./e2e/debezium/diff $(if $(SQL),-sql '$(SQL)') $(if $(CONFIG),-config '$(CONFIG)') $(if $(RECORD),-record '$(RECORD)')

conformance: build ## the open cases of ../shared/conformance, plain and with crashes
	@e2e/install/tools.sh python3 >/dev/null
	@go run ./e2e/conformance

bench: build ## figures into build/bench.jsonl, checked against their gates; SET=… runs a part, FORMAT=json writes that into Kafka
	@go run ./e2e/bench $(if $(SET),-set '$(SET)') $(if $(FORMAT),-format $(FORMAT))

demo: build ## see it work: copy, stream, be killed, go on, compare; KAFKA=1 adds a third target
	@go run ./e2e/demo $(if $(KAFKA),-kafka)

clean: ## remove what was built
	@rm -rf build
