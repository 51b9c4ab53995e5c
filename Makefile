# kube-chaperone. `make` alone lists what there is. Every target installs what it needs into .venv and .local.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

LOCAL ?= .local
KUBE ?=
CLUSTER ?=
PY := .venv/bin/python
STACK := $(PY) -m hack.stack
TESTS ?= tests
export LOCAL

.PHONY: help
help: ## list the targets
	@echo "kube-chaperone: the control point between AI agents and Kubernetes"
	@echo
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'
	@echo
	@echo "  KUBE=path/to/kubeconfig   use that cluster instead of starting one (up, demo)"
	@echo "  LOCAL=folder              where the stack keeps its files (default .local): two can run side by side"

.venv/.installed: requirements/dev.lock setup.cfg pyproject.toml hack/venv.sh
	@hack/venv.sh requirements/dev.lock

.PHONY: setup
setup: .venv/.installed ## make .venv with all dependencies, pinned (about 1 minute, once)

.PHONY: up
up: setup ## start the whole stack; its kubeconfigs and urls.env are left in .local
	@$(STACK) up --dir $(LOCAL) $(if $(KUBE),--kube $(KUBE))

.PHONY: down
down: setup ## stop the stack and clean up behind it
	@$(STACK) down --dir $(LOCAL)

.PHONY: status
status: setup ## what of the stack is running, and where
	@$(STACK) status --dir $(LOCAL)

.PHONY: demo
demo: setup ## the story: an AI agent's kubectl identified, allowed, held, approved and blocked (about 4 minutes)
	@$(PY) -m hack.demo --dir $(LOCAL) $(if $(KUBE),--kube $(KUBE))

.PHONY: lint
lint: setup ## ruff, mypy strict, import contracts
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports --config setup.cfg

.PHONY: test
test: lint ## everything: lint, unit tests with coverage, and the end-to-end tests on a real cluster
	@hack/test.sh $(TESTS)

.PHONY: e2e
e2e: setup ## only the end-to-end tests; CLUSTER=kind uses Docker, KUBE=… your own cluster
	@CHAPERONE_E2E_KUBE="$(KUBE)" CHAPERONE_E2E_CLUSTER="$(CLUSTER)" .venv/bin/pytest tests/e2e

.PHONY: bench
bench: setup ## measure the gateway against kubectl proxy in one run (about 4 minutes)
	@$(PY) -m bench

.PHONY: lock
lock: ## write requirements/*.lock anew from setup.cfg
	@hack/lock.sh

.PHONY: clean
clean: ## stop the stack and remove .venv and .local
	@[ ! -d .venv ] || $(MAKE) down
	@rm -rf .venv $(LOCAL) build *.egg-info
