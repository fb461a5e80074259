# The short way to everything; `make help` lists it. Needs a Rust toolchain (rustup); `make deps` gets the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin

# Gives the right to use the Docker engine to somebody who was added to its group a moment ago.
WITH_DOCKER := scripts/with-docker.sh

## Everyday

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^## /{printf "\n%s\n", substr($$0, 4)} /^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: deps ## the whole loop on this machine: containers, registry, nginx on 127.0.0.1:8080 (ONCE=1: run through and exit)
	cargo build --release --quiet -p muster -p demo
	$(WITH_DOCKER) target/release/demo --muster target/release/muster $(if $(filter-out 0,$(ONCE)),--once)

.PHONY: test
test: deps simulate ## all tests, end to end ones included (real Docker engine, nginx, etcdctl)
	$(WITH_DOCKER) cargo test --workspace --no-fail-fast

.PHONY: verify
verify: deps ## the gate, changes nothing: formatting, clippy with warnings denied, tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(WITH_DOCKER) cargo test --workspace --no-fail-fast

.PHONY: fix
fix: deps ## apply what clippy can repair, then format
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

## To give away

.PHONY: image
image: deps ## the image muster:latest, from scratch, with an inventory; under 25 MiB
	$(WITH_DOCKER) scripts/image.sh

.PHONY: package
package: ## a Debian package with units, manual pages and completions: target/package/
	scripts/package.sh

.PHONY: release
release: ## archives, package, inventory and checksums of this version: target/release-<version>/
	scripts/release.sh

## Parts

.PHONY: deps
deps: ## install what is missing on Debian or Ubuntu (protoc, Docker engine, nginx, haproxy, etcd to test with, …)
	@scripts/deps.sh

.PHONY: build
build: deps ## the muster binary, optimised: target/release/muster
	cargo build --release -p muster

.PHONY: book
book: ## the guides as a book in target/book, where mdbook is installed (cargo install mdbook)
	mdbook build

.PHONY: simulate
simulate: ## the store in 600 simulated worlds that try to break it (more: target/release/simulate --minutes 60)
	cargo build --release --quiet -p store-sim
	target/release/simulate --seeds 600

.PHONY: fuzz
fuzz: deps ## what comes in from outside, fuzzed (MINUTES=60 for each target, side by side)
	scripts/fuzz.sh run $(or $(MINUTES),60)

.PHONY: fuzz-keep
fuzz-keep: ## merge what the fuzzer has learnt into fuzz/corpus
	scripts/fuzz.sh keep

.PHONY: torture
torture: deps ## three real members killed, paused, cut off and filled up for MINUTES=10 per scenario, two at a time
	cargo build --release --quiet -p muster
	FAULT_MINUTES=$(or $(MINUTES),10) cargo test --release --test faults -- --nocapture

.PHONY: fmt
fmt: ## format the code
	cargo fmt --all

.PHONY: failover
failover: deps ## how long nobody can write when a leader goes away, beside etcd, about six minutes; writes docs/failover.md
	cargo build --release -p muster -p bench
	target/release/bench --muster target/release/muster --case failover --case handover --rounds 6 --document docs/failover.md

.PHONY: bench
bench: deps ## side by side with etcd, about ten minutes; writes docs/benchmarks.md
	cargo build --release -p muster -p bench
	target/release/bench --muster target/release/muster --json docs/benchmarks.json --document docs/benchmarks.md

.PHONY: instructions
instructions: deps ## instructions of the hot paths beside those kept in docs/instructions.json, about five minutes with the build
	cargo build --release -p instructions
	target/release/instructions
