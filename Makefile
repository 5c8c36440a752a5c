# Everything a developer does here. Needs Python >= 3.11, make and git; `make` alone lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo up down status test check bench lock clean

BIN := .venv/bin
STAMP := .venv/bellweave-setup
PROJECTS := pyproject.toml $(wildcard libs/*/pyproject.toml elements/*/pyproject.toml services/*/pyproject.toml \
	cli/pyproject.toml deploy/local/pyproject.toml)
SOURCES := $(wildcard libs/*/src elements/*/src services/*/src cli/src deploy/local/src)
YANG := $(wildcard libs/qmodel/src/qmodel/yang/*.yang)

# Tests run in this many processes; each starts its own servers on its own ports.
JOBS ?= 2
TESTS ?= tests
NAME ?=

find_python = for name in $$PYTHON python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$name"; exit; fi; done

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(STAMP) ## make the virtual environment (every other target does it when needed)

$(STAMP): requirements.lock deploy/bootstrap.lock deploy/redis.lock deploy/bootstrap.py $(PROJECTS)
	@python=$$($(find_python)); \
	if [ -z "$$python" ]; then \
		echo "Bellweave needs Python 3.11 or newer; found: $$(python3 --version 2>&1 || echo none)." >&2; \
		echo "Install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	"$$python" deploy/bootstrap.py

demo: $(STAMP) ## the whole story on one machine, from a tenant's order to the invoice; leaves the stack up
	@$(BIN)/bellweave-local up
	@$(BIN)/python -m bellweave_local.demo

up: $(STAMP) ## start the stack and wait until it is ready
	@$(BIN)/bellweave-local up

down: $(STAMP) ## stop the stack; its state stays in .bellweave/
	@$(BIN)/bellweave-local down

status: $(STAMP) ## addresses, ports and process ids of the running stack
	@$(BIN)/bellweave-local status

test: $(STAMP) ## all tests (TESTS=tests/unit for some, JOBS=1 for one process)
	@$(BIN)/pytest -n $(JOBS) $(TESTS)

check: $(STAMP) ## lint, formatting, types, import directions, lock, YANG, registry hosts and secrets
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES) deploy/bootstrap.py deploy/check.py $(wildcard tests bench)
	$(BIN)/lint-imports
	$(BIN)/python deploy/check.py
	$(if $(YANG),$(BIN)/pyang --strict -p libs/qmodel/src/qmodel/yang $(YANG))

bench: $(STAMP) ## all benchmarks, or one: make bench NAME=commit
	@$(BIN)/python -m bench $(NAME)

lock: $(STAMP) ## resolve the dependencies again and rewrite requirements.lock (needs the registry)
	@python=$$($(find_python)); \
	"$$python" deploy/bootstrap.py uv lock $(if $(UPGRADE),--upgrade) && \
	"$$python" deploy/bootstrap.py uv export --quiet --all-packages --all-groups --no-emit-workspace \
		--no-annotate --no-header --output-file requirements.lock

clean: ## stop the stack and delete its state, the environment and every cache
	@if [ -x $(BIN)/bellweave-local ]; then $(BIN)/bellweave-local wipe --yes; fi
	rm -rf .bellweave .venv .uv uv.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
