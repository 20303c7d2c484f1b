# What people type. Everything with logic is a program or script with a name that says what it does.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
SORTIE_CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/sortie
export SORTIE_CACHE
KIND ?= real
CLUSTER = cargo run --quiet --locked -p sortie-testkit --bin sortie-cluster --

.PHONY: help build demo demo-clean test test-fast test-full cluster cluster-down images bench lint fmt clean tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## all programs, dev profile
	cargo build --workspace --locked

demo: ## deploy v1, v2 and a broken v3 through a delegate into a real cluster
	tests/demo/demo.sh

demo-clean: ## remove what the demo made
	tests/demo/demo-clean.sh

# A cluster that the tests started goes with them; one that ran before stays.
define with_cluster
before=$$($(CLUSTER) kubeconfig 2>/dev/null || true); status=0; $(1) || status=$$?; \
	[ -n "$$before" ] || $(CLUSTER) down; exit $$status
endef

test: tools ## everything, on the real cluster too
	@$(call with_cluster,tests/run-suites fast cluster e2e)

test-fast: ## what needs no cluster
	@tests/run-suites fast

test-full: tools ## everything, with the long suites
	@export SORTIE_FULL=1; $(call with_cluster,tests/run-suites fast cluster e2e)

cluster: tools ## start a Kubernetes on this machine (KIND=real|kwok, NAME=...)
	$(CLUSTER) up --kind $(KIND) $(if $(NAME),--name $(NAME))

cluster-down: ## stop all clusters of this machine, or the one named NAME
	$(CLUSTER) down $(if $(NAME),--name $(NAME),--all)

images: tools ## container images as docker archives in the cache folder
	$(CLUSTER) images

bench: ## measure NAME=...
	tests/bench/bench.sh "$(NAME)"

lint: ## formatting, clippy, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	.ci/tidy
	.ci/deny
	.ci/charts

fmt: ## format
	cargo fmt --all

clean: cluster-down ## build results and clusters; the tools in the cache folder stay
	cargo clean

tools:
	@tests/cluster/build-tools.sh
