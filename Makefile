# SPDX-License-Identifier: GPL-2.0-only
#
# make run     build the kernel and the modules, run every scenario, show the verdicts
# make test    the same as tests: the harness's own, then the scenarios
# make check   types, lints and formatting
#
# Both set up what they need, can be interrupted, and go on where they stopped.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin

.PHONY: run test check clean

run: $(READY)
	@$(BIN)/harness run

test: $(READY)
	@$(BIN)/harness build
	@$(BIN)/python -m pytest -n auto --dist worksteal

check: $(READY)
	$(BIN)/ruff check harness tests
	$(BIN)/ruff format --check harness tests
	$(BIN)/mypy

clean: $(READY)
	@$(BIN)/harness clean

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed, $(PYTHON) is older: name another with PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
		if [ "$$(id -u)" = 0 ]; then \
			echo "installing python3-venv" >&2; \
			{ apt-get update && apt-get install -y --no-install-recommends python3-venv; } > /dev/null; \
		else \
			echo "Python's venv is missing; install it with: sudo apt-get install python3-venv" >&2; exit 2; \
		fi
	@echo "setting up the virtual environment in $(VENV)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
