# Every target works from a bare clone: it creates .venv and installs what it needs, once.
# Variables: PYTHON (the interpreter for .venv; 3.11, 3.12 or 3.13), WORKERS (test processes), ARGS (more arguments).

PYTHON ?= python3
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
WORKERS ?= $(shell test $(CORES) -lt 2 && echo 1 || echo 2)
ARGS ?=
PIP = -m pip --disable-pip-version-check --no-input

SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
define CREATE_VENV
	@for python in $(PYTHON) python3.13 python3.12 python3.11; do \
	    if command -v $$python >/dev/null && $$python -c '$(SUITABLE)' 2>/dev/null; then \
	        echo "Creating $(1) with $$python ($$($$python --version))"; \
	        exec $$python -m venv $(1); \
	    fi; \
	done; \
	echo "electrain needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not found)." >&2; \
	echo "Install one of them, or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1
endef

.PHONY: help quickstart test test-slow test-ray test-browser test-lowest docs lint audit format clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

quickstart: .venv/.base ## from nothing to a trained model that notices a wrong word, in minutes
	@.venv/bin/electrain quickstart --out runs/quickstart $(ARGS)

test: .venv/.dev ## the tests, but for the slow ones
	@.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal --durations 15 -m "not slow and not ray and not browser" $(ARGS)

test-slow: .venv/.dev ## the slow tests: compiled resume, real sizes, trainings of some hundred steps
	@.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal --durations 15 -m "slow and not ray and not browser" $(ARGS)

test-ray: .venv/.ray ## prepare on a Ray cluster of this machine; installs the extra, 240 MB
	@.venv/bin/python -m pytest -m ray tests/data/test_engines.py $(ARGS)

docs: .venv/.docs ## the guide, into site/; every link and anchor in it is checked
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict
	@echo "site/index.html"

lint: .venv/.dev ## style and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/pyright --warnings

audit: .venv/.dev ## known vulnerabilities of the versions in constraints.txt; needs the network
	@.venv/bin/python .ci/audit.py

format: .venv/.dev ## bring the style in order
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

test-browser: .venv/.browser ## the pages of inspect and report in a real browser; installs the extras demo and browser, 150 MB
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	    { echo "There is no chromium here; on Debian and Ubuntu: apt-get install chromium" >&2; exit 1; }
	@.venv/bin/python -m pytest -m browser tests/inspect tests/report $(ARGS)

test-lowest: .venv-lowest/.dev ## the tests with the oldest versions that pyproject.toml allows
	@.venv-lowest/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

clean: ## remove the environments and caches; runs/ stays
	rm -rf .venv .venv-lowest constraints-lowest.txt build dist site .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps .base and .dev say what has been installed; they grow old with pyproject.toml and constraints.txt.
.venv/.python:
	$(call CREATE_VENV,.venv)
	@touch $@

.venv/.base: .venv/.python pyproject.toml constraints.txt
	@echo "Installing electrain into .venv (once; some minutes)"
	@.venv/bin/python $(PIP) install --quiet -e . -c constraints.txt
	@touch $@

.venv/.dev: .venv/.python pyproject.toml constraints.txt
	@echo "Installing electrain and the tools of its developers into .venv (once; some minutes)"
	@.venv/bin/python $(PIP) install --quiet -e '.[dev]' -c constraints.txt
	@touch .venv/.base $@

.venv/.ray: .venv/.dev
	@echo "Installing Ray into .venv (once; half a minute)"
	@.venv/bin/python $(PIP) install --quiet -e '.[dev,ray]' -c constraints.txt
	@touch $@

.venv/.docs: .venv/.dev
	@echo "Installing what builds the guide into .venv (once; half a minute)"
	@.venv/bin/python $(PIP) install --quiet -e '.[dev,docs]' -c constraints.txt
	@touch $@

.venv/.browser: .venv/.dev
	@echo "Installing gradio and playwright into .venv (once; a minute)"
	@.venv/bin/python $(PIP) install --quiet -e '.[dev,demo,browser]' -c constraints.txt
	@touch $@

.venv-lowest/.python:
	$(call CREATE_VENV,.venv-lowest)
	@touch $@

constraints-lowest.txt: .venv-lowest/.python pyproject.toml .ci/lowest.py
	@.venv-lowest/bin/python .ci/lowest.py < pyproject.toml > $@.part && mv $@.part $@

.venv-lowest/.dev: constraints-lowest.txt
	@echo "Installing the oldest allowed versions into .venv-lowest (once; some minutes)"
	@.venv-lowest/bin/python $(PIP) install --quiet -e '.[dev]' -c constraints-lowest.txt
	@touch $@
