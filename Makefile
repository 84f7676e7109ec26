# Entrances to the project; each does its work in hack/.

.DEFAULT_GOAL := help
.PHONY: help demo build test test-seeded test-vendors fuzz bench generate lint tools

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Show the operator at work against emulated clouds (KEEP=1 leaves it running)
	@KEEP=$(KEEP) hack/demo

build: ## Build the static release binary bin/clickhouse-user-operator
	@hack/build

test: ## Run every test and print how many passed and failed
	@hack/test

test-seeded: ## Make each known mistake in turn and see that the tests notice it
	@hack/test-seeded

test-vendors: ## Run the tests against the vendors' SDKs and Keystone, which it installs
	@hack/vendors test

fuzz: ## Run each fuzz target for a while (SECONDS=20)
	@hack/fuzz $(or $(SECONDS),20)

bench: ## Measure the release build beside a bare writer, and write docs/performance.md
	@hack/bench

generate: ## Write crds/, the chart's CRDs, deploy/install.yaml and docs/reasons.md
	@hack/generate

lint: ## Check formatting, lints, licences and dependencies
	@hack/lint

tools: ## Build the tools that tests need (kube-apiserver, kubectl, etcd, helm, kstatus)
	@for tool in kube etcd helm kstatus; do hack/tools/build $$tool || exit; done
