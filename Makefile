# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
EXTRAS ?= dev
BIN := $(VENV)/bin
BENCHES ?= bus vad speech recording session
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help setup demo robot-demo check test pythons bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

setup: $(VENV)/.run ## a virtual environment with everything the default agent needs

demo: $(VENV)/.run ## a conversation with a synthesised person: recorded, replayed and compared
	$(BIN)/visavis demo

robot-demo: $(VENV)/.run ## the same with a simulated robot over MQTT: a broker, a robot, an agent, each its own process
	$(BIN)/visavis demo --robot

check: $(VENV)/.dev ## format, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.dev ## all tests, and the core's on every other supported Python that is installed
	$(BIN)/python -m pytest
	$(BIN)/python tests/every_python.py -q

pythons: $(VENV)/.dev ## only that last part
	$(BIN)/python tests/every_python.py

bench: $(VENV)/.dev ## all benchmarks (minutes; figures are printed beside their floor)
	@missed=; for b in $(BENCHES); do echo; echo "== $$b"; $(BIN)/python -m benchmarks.$$b || missed="$$missed $$b"; done; \
	if [ -n "$$missed" ]; then echo; echo "missed a target or failed:$$missed"; exit 1; fi

clean: ## remove what `make` made
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "visavis needs Python 3.11 or newer, and there is none on the PATH."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python cannot make a virtual environment here. On Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing visavis and what it needs into $(VENV) (once, about a minute) ..."
	@$(PIP) install -c constraints.txt -e '.[default]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing visavis and its development tools into $(VENV) (once, about a minute) ..."
	@$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@ $(VENV)/.run
