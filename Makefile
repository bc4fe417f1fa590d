# Everything that people type. Needs Python 3.11 or newer with pip, and make; each target sets up what it uses.
#
#   make run      the whole thing on this machine, with Caddy in front and three sample sandboxes
#   make test     everything that .ci/run runs: the checks and all tests
#   make help     the other targets

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPILED := $(VENV)/.compiled
# The Python that makes the venv: `make install PYTHON=python3.13` uses another one.
PYTHON ?=

.DEFAULT_GOAL := help
.PHONY: help install run test test-deep check bench bench-quick fmt docs lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

install: $(COMPILED) ## the venv in .venv with every dependency, as locked, and the data plane compiled; instant the second time

$(STAMP): requirements-dev.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh deploy/make-venv.sh $(VENV)
	@echo "installing the locked dependencies into $(VENV)"
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# More than what is compiled, rather than a list that could miss one; what has not changed is compiled no second time.
$(COMPILED): $(STAMP) deploy/compile.py $(wildcard router/http1/*.py router/observe/*.py router/proxy/*.py \
		router/routes/*.py router/gate/*.py) router/hostname.py
	@$(BIN)/python deploy/compile.py
	@touch $@

run: install ## the router, Caddy and three sample sandboxes, until Ctrl-C
	@exec $(BIN)/miosa-router demo

# What looks at real time, sockets and processes runs by itself; the rest shares the processors.
test: check ## the checks and all tests
	@sh tests/install-pebble.sh
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile tests/unit tests/contract
	$(BIN)/python -m pytest tests/wire tests/e2e

test-deep: install ## minutes of generated requests against the whole API
	$(BIN)/python -m pytest -m deep

check: install ## style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## ours against other proxies in one run, a quarter of an hour; results in bench/results
	@sh bench/install.sh
	$(BIN)/python -m bench.run

bench-quick: install ## the same in a minute, less of it and less exact
	@sh bench/install.sh
	$(BIN)/python -m bench.run --quick

fmt: install ## put the code into its one format
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

docs: install ## write docs/settings.md anew
	$(BIN)/python -m docs.settings > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md

# Two locks of one resolution: the second is what runs in production (and the demo), without the tools.
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" pyproject.toml --extra demo
lock: install ## resolve the dependencies anew and write both locks
	$(LOCK) --group dev --output-file requirements-dev.lock
	$(LOCK) --constraint requirements-dev.lock --no-annotate --output-file requirements.lock

clean: ## remove the venv, the demo's state and every cache
	rm -rf $(VENV) build .demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find router -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
